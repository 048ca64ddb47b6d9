"""What a model computes, as modules from bytes and fader values to bytes: each becomes a graph of its own.

Neither the pixels' scaling nor the code of a fader value is left to whoever runs the graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fader.familiarity import limits, reconstruction_errors
from fader.images import to_levels, to_pixels
from fader.model import Model
from fader.networks.icgan import IcGAN

EXAMPLES = 2  # Pictures in what the modules are traced with: a batch of one would be taken for a constant.


@dataclass(frozen=True)
class Graph:
    """A module to be exported. All of its inputs and outputs have the batch first, of any size."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    """By name, in order, with examples."""
    outputs: tuple[str, ...]


def graphs(model: Model) -> Iterator[Graph]:
    """The graphs of a model:

    - encoder: `picture`, uint8 [B, S, S, C], to the latent, float32, of one or more tensors `latent_0`, ...
    - decoder: the latent and `values`, float32 [B, n] (and of an IcGAN `own`, see `_Decoder`), to `picture`, uint8
      [B, S, S, C], and `pixels`, float32 [B, C, S, S] in [-1, 1]
    - familiarity: a `picture` and the `pixels` of its reconstruction to `errors`, float32 [B, 2], its
      familiarity.MEASURES, and, where the model knows what is usual, `familiar`, bool [B]
    - classifier, where the model has one: `picture` to `labels`, int64 [B, n], `confidences`, the probability given to
      each, float32 [B, n], and `values`, those to reconstruct the picture with, float32 [B, n]
    """
    picture = torch.zeros(EXAMPLES, model.size, model.size, model.channels, dtype=torch.uint8)
    values = torch.zeros(EXAMPLES, len(model.schema))
    with torch.no_grad():
        latent = {f"latent_{i}": part for i, part in enumerate(model.network.encoder(to_pixels(picture)))}
    yield Graph("encoder", _Encoder(model), {"picture": picture}, tuple(latent))
    own = {"own": values.clone()} if isinstance(model.network, IcGAN) else {}
    yield Graph("decoder", _Decoder(model), {**latent, "values": values, **own}, ("picture", "pixels"))
    pixels = torch.zeros(EXAMPLES, model.channels, model.size, model.size)
    told = ("errors", "familiar") if model.errors else ("errors",)
    yield Graph("familiarity", _Familiarity(model), {"picture": picture, "pixels": pixels}, told)
    if model.classifier is not None:
        classifier = _Classifier(model, model.classifier)
        yield Graph("classifier", classifier, {"picture": picture}, ("labels", "confidences", "values"))


class _Encoder(nn.Module):
    def __init__(self, model: Model) -> None:
        super().__init__()
        self.encoder = model.network.encoder

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        return self.encoder(to_pixels(picture))


class _Decoder(nn.Module):
    """An IcGAN takes the picture's own values besides, and so knows which were set and what goes along with them."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.network
        self.code: Callable[[Tensor], Tensor] = model.schema.code

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.network, IcGAN):
            *latent, values, own = inputs
            values = self.network.settle_where(values, values != own)
        else:
            *latent, values = inputs
        pixels = self.network.decoder(tuple(latent), self.code(values))
        return to_levels(pixels), pixels


class _Familiarity(nn.Module):
    def __init__(self, model: Model) -> None:
        super().__init__()
        self.most = torch.tensor(list(limits(model.errors).values()))

    def forward(self, picture: Tensor, pixels: Tensor) -> tuple[Tensor, ...]:
        errors = reconstruction_errors(to_pixels(picture), pixels)
        return (errors, (errors <= self.most).all(dim=1)) if len(self.most) else (errors,)


class _Classifier(nn.Module):
    def __init__(self, model: Model, classifier: nn.Module) -> None:
        super().__init__()
        self.network = model.network
        self.classifier = classifier
        self.predictions: Callable[[Tensor], tuple[Tensor, Tensor]] = model.schema.predictions

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = to_pixels(picture)
        labels, confidences = self.predictions(self.classifier(pixels))
        # Of a Fader Network these are the labels, and the exporter drops the encoder.
        values = self.network.own_values(self.network.encoder(pixels), labels)
        return labels, confidences, values.to(torch.float32)
