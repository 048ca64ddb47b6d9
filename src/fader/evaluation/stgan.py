"""The protocol of STGAN (Liu et al., CVPR 2019): which attributes it inverts, and what must not go together.

It is the only published comparison with Fader Networks in it: one of 13 attributes is inverted at a time, and a
classifier says whether that is seen and how many of the other 12 are not as they were.
"""

from __future__ import annotations

import numpy as np

from fader.attributes import Schema

ATTRIBUTES = (
    "Bald",
    "Bangs",
    "Black_Hair",
    "Blond_Hair",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Eyeglasses",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "No_Beard",
    "Pale_Skin",
    "Young",
)
HAIR_COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")
CONFLICTS = {
    "Bald": ("Bangs",),
    "Bangs": ("Bald", "Receding_Hairline"),
    **{name: tuple(other for other in HAIR_COLOURS if other != name) for name in HAIR_COLOURS[:3]},
    "Mustache": ("No_Beard",),
    "No_Beard": ("Mustache",),
}
"""What is set to absent when one of them becomes present."""


def present(schema: Schema) -> list[int]:
    """The positions of those of the 13 attributes that a schema has."""
    return [k for k, attribute in enumerate(schema) if attribute.binary and attribute.name in ATTRIBUTES]


def inverted(labels: np.ndarray, k: int, schema: Schema) -> np.ndarray:
    """Labels int64 [N, n] with attribute k inverted, and absent what conflicts with it where it becomes present."""
    changed = labels.copy()
    changed[:, k] = 1 - labels[:, k]
    for name in CONFLICTS.get(schema.names[k], ()):
        if name in schema.names:
            changed[changed[:, k] == 1, schema.index(name)] = 0
    return changed
