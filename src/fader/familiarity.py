"""Whether a picture is of the kind that a model was trained on, told by how well the model reconstructs it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

MEASURES = ("mse", "relative")
"""Of each picture: the mean squared error of its pixels in [-1, 1], and that over the variance of its own pixels. The
second finds what hardly has anything to reconstruct, such as a blank wall, of which any average face is a fair copy."""
MARGIN = 1.5  # A familiar picture may be this much worse than 99% of the validation pictures (docs/models.md).
LEAST_VARIANCE = 1e-6  # Of a picture of one colour, so that its relative error is large and finite.


def reconstruction_errors(pixels: Tensor, reconstruction: Tensor) -> Tensor:
    """The MEASURES [B, 2] of the reconstructions of pixels, both [B, C, S, S] in [-1, 1]."""
    mse = (reconstruction - pixels).square().mean(dim=(1, 2, 3))
    variance = pixels.var(dim=(2, 3), correction=0).mean(dim=1)
    return torch.stack([mse, mse / variance.clamp(min=LEAST_VARIANCE)], dim=1)


def summary(errors: Tensor) -> dict[str, float]:
    """What is kept of the errors [N, 2] of pictures that a model did not learn from, but that are as those it did."""
    quantiles = {"median": 0.5, "p99": 0.99, "max": 1.0}
    return {
        f"{measure}_{name}": float(column.double().quantile(share))
        for measure, column in zip(MEASURES, errors.unbind(1), strict=True)
        for name, share in quantiles.items()
    }


def limits(known: Mapping[str, float]) -> dict[str, float]:
    """The largest error of a familiar picture by each of MEASURES, from a summary; empty where that is empty."""
    return {measure: MARGIN * known[f"{measure}_p99"] for measure in MEASURES} if known else {}


def familiar(errors: Tensor, known: Mapping[str, float]) -> list[bool | None]:
    """Whether the pictures with these errors [N, 2] are familiar; None where nothing is known of the training's."""
    if not known:
        return [None] * len(errors)
    most = torch.tensor(list(limits(known).values()), dtype=torch.float64)
    return (errors.double() <= most).all(dim=1).tolist()


def unfit_to_paste(errors: Tensor, known: Mapping[str, float]) -> list[str | None]:
    """Why edits of the pictures with these errors [N, 2] are better not pasted into photos: the end of a sentence that
    names the picture; None where they may be."""
    reason = (
        "the model's own copy of this face is too far from it for an edit to be pasted; such faces it did not learn."
    )
    return [reason if known_kind is False else None for known_kind in familiar(errors, known)]
