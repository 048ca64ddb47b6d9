"""Draws portraits: avatars of the style Avataaars by Pablo Stanley, composed by dicebear-core, rasterised by resvg.

The renderer can do what no collection of photographs can: draw the same person with attributes changed and everything
else identical, which is the true answer to a swap.
"""

from __future__ import annotations

import copy
import importlib.resources
import io
import json
from collections.abc import Mapping
from functools import cache

import numpy as np
import resvg_py
from dicebear import Avatar, Style
from PIL import Image

from fader.datasets.portraits.specification import (
    FIRST_NEWCOMER,
    SCHEMA,
    SIZE,
    VIEW_BOX,
    avatar_options,
    person_and_labels,
)

HAT_VARIANTS = ("hat", "winterHat04")
# Hats sit a little higher than the style draws them, so that the hair shows: its units are the canvas's, of 280.
HAT_LIFT = {"hat": 10, "winterHat04": 16}


def labels(index: int) -> np.ndarray:
    """The labels of portrait number `index`: int64 [5], in the order of SCHEMA."""
    return np.array(person_and_labels(index)[1], dtype=np.int64)


def portrait(index: int, size: int = SIZE) -> np.ndarray:
    """Portrait number `index`: uint8, size x size x 3."""
    return counterfactual(index, {}, size)


def newcomer(number: int, size: int = SIZE) -> Image.Image:
    """A portrait to start from, `number` being any from 0: one that no model has seen, as datasets end before it."""
    return Image.fromarray(portrait(FIRST_NEWCOMER + number, size))


def counterfactual(index: int, changes: Mapping[str, int], size: int = SIZE) -> np.ndarray:
    """Portrait number `index` with attributes changed, e.g. {"Smiling": 1}, and everything else identical.

    Returns uint8, size x size x 3. Raises UserError for an attribute that portraits do not have.
    """
    person, values = person_and_labels(index)
    changed = list(values)
    for name, value in changes.items():
        changed[SCHEMA.index(name)] = int(value)
    svg = Avatar(_style(), avatar_options(person, tuple(changed))).to_string()
    svg = svg.replace('viewBox="0 0 280 280"', 'viewBox="{} {} {} {}"'.format(*VIEW_BOX), 1)
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    with Image.open(io.BytesIO(bytes(png))) as image:
        return np.asarray(image.convert("RGB"))


@cache
def _style() -> Style:
    """The style with hats as a component of their own, drawn over the hair instead of in its place."""
    text = importlib.resources.files("dicebear_styles").joinpath("avataaars.json").read_text("utf-8")
    definition = json.loads(text)
    hair = definition["components"]["top"]
    hats = {variant: _lifted(hair["variants"][variant], HAT_LIFT[variant]) for variant in HAT_VARIANTS}
    definition["components"]["hat"] = {**hair, "variants": hats}
    elements = definition["canvas"]["elements"]
    position = next(i for i, element in enumerate(elements) if element.get("name") == "top")
    elements.insert(position + 1, {**elements[position], "name": "hat"})
    return Style(definition)


def _lifted(variant: dict[str, object], lift: int) -> dict[str, object]:
    group = {"type": "element", "name": "g", "attributes": {"transform": f"translate(0 {-lift})"}}
    return {**variant, "elements": [{**group, "children": copy.deepcopy(variant["elements"])}]}
