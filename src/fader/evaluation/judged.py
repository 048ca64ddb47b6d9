"""What is judged of each system's pictures: the part that all systems see, at one size.

Systems differ in what they see of a picture: a Fader Network takes 178 x 178 pixels of CelebA's, IcGAN 138 x 138. To be
compared, what they make of it is cut to what all of them see, and scaled to one size, as section 5.1 does.
"""

from __future__ import annotations

from torch import Tensor

from fader.datasets import celeba
from fader.datasets.prepared import PreparedDataset
from fader.datasets.views import WHOLE, cut, framing_of, part, view
from fader.errors import UserError
from fader.images import Box, Framing, from_pixels, to_pixels

JUDGED_SIZE = 64  # The side at which pictures are judged, as in section 5.1.
ICGAN_CROP = (30, 40, 168, 178)
"""What IcGAN sees of CelebA's pictures of 178 x 218: x 30 to 168 and y 20 to 158 of the Fader Network's part."""


def judged_framing(dataset: PreparedDataset) -> Framing:
    """What is judged of its pictures: of CelebA what IcGAN sees, of others all."""
    framing = framing_of(dataset)
    if dataset.info["source"].get("kind") == "celeba" and framing == Framing(celeba.CROP, celeba.PICTURE_SIZE):
        return Framing(ICGAN_CROP, celeba.PICTURE_SIZE)
    return framing


def judged(dataset: PreparedDataset) -> PreparedDataset:
    """A dataset as the judge sees it: cut, and of 64 pixels, or the largest power of two that it has."""
    return view(dataset, judged_framing(dataset), 2 ** (min(JUDGED_SIZE, dataset.size).bit_length() - 1))


def judged_part(framing: Framing, dataset: PreparedDataset) -> Box:
    """The part of what a model makes of a dataset's pictures that is judged; `framing` is the model's.

    Raises UserError if the model does not see all of it.
    """
    box = part(framing, judged_framing(dataset))
    if box is None:
        raise UserError(
            f"{dataset.path}: the model does not see all of a picture that is judged; take pictures that were cut as"
            " those that it was trained on."
        )
    return box


def seen_in(pixels: Tensor, box: Box, size: int) -> Tensor:
    """A part of pixels [B, C, S, S] scaled to [B, C, size, size], as it would be shown: rounded to 8 bits."""
    if pixels.shape[2] == size and box == WHOLE:
        return pixels
    return to_pixels(cut(from_pixels(pixels), box, size), pixels.device)
