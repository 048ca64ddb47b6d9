"""How faces in whole photos are edited: found and aligned as the model's pictures are, and pasted back if wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fader.alignment import Placement
from fader.errors import UserError
from fader.images import open_picture
from fader.model import Model


@dataclass(frozen=True)
class Alignment:
    """What to do about the faces in photos."""

    face: int = 1
    """Which face of a photo with several to edit: 1 is the largest."""
    paste: bool = False
    """Put the edited face back into the whole photo, instead of giving what the model sees."""

    def __post_init__(self) -> None:
        if self.face < 1:
            raise UserError(f"face is {self.face}; it has to be at least 1, which is the largest.")

    def to_json(self) -> dict[str, Any]:
        return {"face": self.face, "paste": self.paste}


def framed(
    model: Model, picture: Path | BinaryIO, name: str, align: Alignment | None
) -> tuple[np.ndarray, Placement | None]:
    """What the model sees of a picture (uint8, S x S x C), and where that lies in it if it is aligned.

    Raises UserError, with the picture's name, as `Model.frame` and `Model.place` do.
    """
    if align is None:
        return model.frame(picture, name), None
    photo = open_picture(picture, name)
    placement = model.place(photo, name, align.face)
    return model.cut(photo, placement), placement
