"""What an evaluation asks of a model."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from fader.attributes import Schema
from fader.images import Framing


class EditingModel(Protocol):
    """A model that decodes a picture with other attributes: a Fader Network, or whatever is compared with one.

    What a latent is, is the model's own affair. No gradient is needed of anything.
    """

    @property
    def schema(self) -> Schema: ...

    @property
    def size(self) -> int:
        """The side of its pictures."""
        ...

    @property
    def channels(self) -> int: ...

    @property
    def framing(self) -> Framing:
        """What it sees of a picture."""
        ...

    def encode_pixels(self, pixels: Tensor) -> Any:
        """The latent of pixels [B, C, S, S] in [-1, 1]."""
        ...

    def decode_pixels(self, latent: Any, values: Tensor) -> Tensor:
        """Pixels [B, C, S, S] in [-1, 1] from a latent and labels or fader values [B, n]."""
        ...

    def own_values(self, latent: Any, labels: Tensor) -> Tensor:
        """The values [B, n] that pictures with these labels [B, n] are reconstructed with."""
        ...

    def latent_features(self, latent: Any) -> Tensor:
        """What a probe reads of a latent, [B, F]: what should tell nothing of the attributes."""
        ...
