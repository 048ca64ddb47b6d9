"""The frozen specification of the `portraits-1` data set: who portrait number i is.

Everything here is frozen: tests hold a checksum of the labels and of 64 pictures. A change makes another data set,
which needs another name (`portraits-2`), or figures would no longer compare.

Attributes are drawn independently of one another and of everything else. What an added thing looks like follows from
what can be seen without it, so that a swap has one right answer: the beard has the hair's colour, the kind of glasses
and of hat go with the length of the hair, the hat's colour with the hair's, and each pair of Smiling and Mouth_Open
has one mouth. The hair shows under every hat, its colour and length at least; what the hat covers of it is the one
thing that removing an attribute leaves open.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

from fader.attributes import Schema

NAME = "portraits-1"
SIZE = 64
COUNT = 12_000
FIRST_NEWCOMER = 1_000_000_000  # From here on portraits are in no dataset: they are for showing what a model does.
# The part of the avatar's 280 x 280 canvas that is drawn (left, top, width, height): the face fills the frame.
VIEW_BOX = (52, 24, 176, 176)
# Where a face has its points on the canvas: the pupils, the tip of the nose, the corners of the mouth (between the
# widest and the narrowest), in the order of `alignment.Face`.
FACE = ((114, 112), (166, 112), (140, 134), (122, 154), (158, 154))

# The share of portraits that have each attribute.
BASE_RATES = {"Eyeglasses": 0.4, "Smiling": 0.5, "Mouth_Open": 0.5, "Beard": 0.4, "Hat": 0.35}
SCHEMA = Schema.binary(BASE_RATES)

SKINS = ("#614335", "#8d5524", "#ae5d29", "#d08b5b", "#edb98a", "#ffdbb4")
HAIRS = ("#2c1b18", "#4a312c", "#724133", "#a55728", "#b58143", "#d6b370", "#ecdcbf", "#c93305", "#e8e1e1")
HAT_OF_HAIR = {
    "#2c1b18": "#ff5c5c",
    "#4a312c": "#5199e4",
    "#724133": "#65c9ff",
    "#a55728": "#25557c",
    "#b58143": "#a7ffc4",
    "#d6b370": "#ff488e",
    "#ecdcbf": "#3c4f5c",
    "#c93305": "#262e33",
    "#e8e1e1": "#929598",
}
# Hair this close to the skin's colour (Euclidean, in 8-bit RGB) would hide a beard.
LEAST_CONTRAST = 60.0
SHORT_HAIR = (
    "dreads01",
    "shaggy",
    "shortCurly",
    "shortFlat",
    "shortRound",
    "shortWaved",
    "sides",
    "theCaesar",
    "theCaesarAndSidePart",
)
LONG_HAIR = (
    "bob",
    "curly",
    "curvy",
    "dreads",
    "dreads02",
    "fro",
    "longButNotTooLong",
    "miaWallace",
    "shaggyMullet",
    "straight01",
    "straight02",
    "straightAndStrand",
)
EYES = ("closed", "default", "happy", "side", "squint", "surprised", "wink")
EYEBROWS = (
    "angryNatural",
    "default",
    "defaultNatural",
    "flatNatural",
    "frownNatural",
    "raisedExcited",
    "raisedExcitedNatural",
    "sadConcerned",
    "sadConcernedNatural",
    "upDown",
    "upDownNatural",
)
CLOTHES = (
    "blazerAndShirt",
    "blazerAndSweater",
    "collarAndSweater",
    "hoodie",
    "overall",
    "shirtCrewNeck",
    "shirtScoopNeck",
    "shirtVNeck",
)
CLOTHES_COLORS = (
    "#262e33",
    "#65c9ff",
    "#5199e4",
    "#25557c",
    "#e6e6e6",
    "#929598",
    "#3c4f5c",
    "#b1e2ff",
    "#a7ffc4",
    "#ffafb9",
    "#ffffb1",
    "#ff488e",
    "#ff5c5c",
    "#ffffff",
)
BACKGROUNDS = (
    "#b6e3f4",
    "#c0aede",
    "#d1d4f9",
    "#ffd5dc",
    "#ffdfbf",
    "#f2f2f2",
    "#cfe8cf",
    "#9fc9c0",
    "#88a0c8",
    "#e8d8a8",
    "#a8b8a0",
    "#6f7f95",
    "#c88f8f",
    "#4f6d7a",
    "#8a7ca8",
    "#d9c7b8",
)
# (Smiling, Mouth_Open) to the mouth.
MOUTHS = {(0, 0): "serious", (0, 1): "disbelief", (1, 0): "twinkle", (1, 1): "smile"}
BEARD = "beardMedium"
GLASSES = {"short": "prescription02", "long": "round"}
GLASSES_COLOR = "#262e33"
HATS = {"short": "hat", "long": "winterHat04"}


@dataclass(frozen=True)
class Person:
    """What of a portrait no attribute changes."""

    skin: str
    hair: str
    hair_length: str
    hair_color: str
    eyes: str
    eyebrows: str
    clothes: str
    clothes_color: str
    background: str


def person_and_labels(index: int) -> tuple[Person, tuple[int, ...]]:
    """Who portrait number `index` is, and its labels in the order of SCHEMA: a pure function of the index."""
    # random.Random(text).random() is the one stream that Python promises to keep from version to version.
    draw = random.Random(f"{NAME}/{index}").random

    def choose(options: tuple[str, ...]) -> str:
        return options[int(draw() * len(options))]

    labels = tuple(int(draw() < rate) for rate in BASE_RATES.values())
    skin = choose(SKINS)
    hair_length = choose(("short", "long"))
    person = Person(
        skin=skin,
        hair_length=hair_length,
        hair=choose(SHORT_HAIR if hair_length == "short" else LONG_HAIR),
        hair_color=choose(tuple(hair for hair in HAIRS if _contrast(hair, skin) >= LEAST_CONTRAST)),
        eyes=choose(EYES),
        eyebrows=choose(EYEBROWS),
        clothes=choose(CLOTHES),
        clothes_color=choose(CLOTHES_COLORS),
        background=choose(BACKGROUNDS),
    )
    return person, labels


def split(index: int) -> str:
    """Ten of every twelve portraits are for training, one for validation, one for testing."""
    return {10: "valid", 11: "test"}.get(index % 12, "train")


def avatar_options(person: Person, labels: tuple[int, ...]) -> dict[str, Any]:
    """The avatar library's options for a person with these labels."""
    eyeglasses, smiling, mouth_open, beard, hat = labels
    return {
        "skinColor": [person.skin],
        "topVariant": [person.hair],
        "topProbability": 100,
        "hairColor": [person.hair_color],
        "eyesVariant": [person.eyes],
        "eyebrowsVariant": [person.eyebrows],
        "clothesVariant": [person.clothes],
        "clothesColor": [person.clothes_color],
        "backgroundColor": [person.background],
        "mouthVariant": [MOUTHS[smiling, mouth_open]],
        "accessoriesVariant": [GLASSES[person.hair_length]],
        "accessoriesColor": [GLASSES_COLOR],
        "accessoriesProbability": 100 * eyeglasses,
        "facialHairVariant": [BEARD],
        "facialHairColor": [person.hair_color],
        "facialHairProbability": 100 * beard,
        "hatVariant": [HATS[person.hair_length]],
        "hatColor": [HAT_OF_HAIR[person.hair_color]],
        "hatProbability": 100 * hat,
    }


def _contrast(first: str, second: str) -> float:
    channels = zip(bytes.fromhex(first[1:]), bytes.fromhex(second[1:]), strict=True)
    return math.sqrt(sum((a - b) ** 2 for a, b in channels))
