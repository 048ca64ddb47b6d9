"""What the page is told of a model: the `Model` of page/engine.js, which the exported page is told alike."""

from __future__ import annotations

import math
from typing import Any

from fader.attributes import Attribute
from fader.model import TITLES, Model
from fader.studio.starts import has_starts

ROOM = 1.0  # What a fader has beyond 0 and 1, and beyond where an evaluation marked its ends.


def describe(model: Model, name: str, key: str) -> dict[str, Any]:
    """A model as JSON. `name` is what the page calls it, `key` what requests do."""
    drawn = has_starts(model)
    points = model.framing.points
    return {
        "id": key,
        "name": name,
        "kind": TITLES[model.config.system][0],
        "size": model.size,
        "attributes": [_attribute(attribute, model.ends.get(attribute.name, {})) for attribute in model.schema],
        "drawn": drawn,
        "starts": "drawn" if drawn else None,
        "crop": {"size": model.framing.picture_size, "box": model.framing.crop} if model.framing.crop else None,
        "points": None if points is None else [list(point) for point in points],
    }


def _attribute(attribute: Attribute, ends: dict[str, float | None]) -> dict[str, Any]:
    absent, present = ends.get("absent"), ends.get("present")
    least, most = (0.0, float(len(attribute.values) - 1))
    if attribute.binary:
        least = math.floor(min(0.0, 0.0 if absent is None else absent) - ROOM)
        most = math.ceil(max(1.0, 1.0 if present is None else present) + ROOM)
    return {
        "name": attribute.name,
        "values": list(attribute.values),
        "binary": attribute.binary,
        "least": least,
        "most": most,
        "absent": absent,
        "present": present,
    }
