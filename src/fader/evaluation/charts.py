"""Line charts: the strength curves of one or several systems, a panel for each attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from fader.evaluation.strength import MIDDLE

COLOURS = ("#1f6fb4", "#d9480f", "#2b8a3e", "#862e9c", "#c92a2a", "#5c940d", "#0b7285", "#495057")
WIDTH, HEIGHT = 250, 170  # Of a panel's plot, in pixels.
LEFT, TOP, RIGHT, BOTTOM = 44, 28, 14, 26  # Around the plot, within its panel.
ACROSS = 3  # Panels beside each other, at most.
ASKED = {"to_absent": (-inf, MIDDLE), "to_present": (MIDDLE, inf)}  # The values at which a change is asked for.
FONT_SIZE, LINE = 13, 18
DASH = 6


@dataclass(frozen=True)
class Line:
    """One line of a panel: points (x, y), where y is a share from 0 to 1, or None for a gap."""

    points: Sequence[tuple[float, float | None]]
    colour: str
    dashed: bool = False


def strength_chart(reports: Mapping[str, dict[str, Any]]) -> Image.Image:
    """The strength curves in reports by system: whole lines are accuracy, dashed ones are preservation."""
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(reports)}
    panels: dict[str, list[Line]] = {}
    for name, report in reports.items():
        for attribute, curve in report["strength"].items():
            for key in ("to_absent", "to_present", "preservation"):
                low, high = ASKED.get(key, (-inf, inf))
                points = [(float(x), y) for x, y in curve[key].items() if low <= float(x) <= high]
                panels.setdefault(attribute, []).append(Line(points, colours[name], key == "preservation"))
    legend = [(f"{name}: seen", colours[name], False) for name in reports]
    legend += [(f"{name}: others unchanged", colours[name], True) for name in reports]
    return chart(panels, legend)


def chart(panels: Mapping[str, Sequence[Line]], legend: Sequence[tuple[str, str, bool]]) -> Image.Image:
    """Panels by title, and beneath them a legend of (text, colour, dashed). Without a panel it is the legend alone."""
    font = ImageFont.load_default(FONT_SIZE)
    width, height = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM
    across, down = max(1, min(ACROSS, len(panels))), -(-len(panels) // ACROSS)
    figure = Image.new("RGB", (across * width, down * height + LINE * (len(legend) + 1)), "white")
    draw = ImageDraw.Draw(figure)
    for i, (title, lines) in enumerate(panels.items()):
        _panel(draw, title, lines, i % ACROSS * width + LEFT, i // ACROSS * height + TOP, font)
    for i, (text, colour, dashed) in enumerate(legend):
        y = down * height + LINE * i + LINE // 2
        _stroke(draw, [(LEFT, y), (LEFT + 36, y)], colour, dashed)
        draw.text((LEFT + 44, y), _plain(text, figure.width - LEFT - 44, font), fill="black", font=font, anchor="lm")
    return figure


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _panel(draw: ImageDraw.ImageDraw, title: str, lines: Sequence[Line], left: int, top: int, font: Font) -> None:
    values = [x for line in lines for x, _ in line.points]
    low, high = min(values), max(values)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + WIDTH * (x - low) / ((high - low) or 1), top + HEIGHT * (1 - y)

    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        draw.line([place(low, share), place(high, share)], fill="#dddddd")
        draw.text((left - 6, place(low, share)[1]), f"{share:.0%}", fill="black", font=font, anchor="rm")
    for value in range(-(-int(low * 100) // 100), int(high) + 1):
        draw.line([place(value, 0), place(value, 1)], fill="#dddddd")
        draw.text((place(value, 0)[0], top + HEIGHT + 4), str(value), fill="black", font=font, anchor="ma")
    draw.text((left + WIDTH / 2, top - 4), _plain(title, WIDTH, font), fill="black", font=font, anchor="ms")
    for line in lines:
        stroke: list[tuple[float, float]] = []
        for x, y in [*line.points, (high, None)]:
            if y is not None:
                stroke.append(place(x, y))
            else:
                _stroke(draw, stroke, line.colour, line.dashed)
                stroke = []


def _stroke(draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: str, dashed: bool) -> None:
    """A line through points; dashed, every second piece of DASH pixels is left out."""
    if not dashed:
        draw.line(list(points), fill=colour, width=2)
        return
    drawn = 0.0
    for (x, y), (to_x, to_y) in pairwise(points):
        length = ((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5
        pieces = max(1, round(length / DASH))
        for i in range(pieces):
            if int(drawn) % 2 == 0:
                begin, end = i / pieces, (i + 1) / pieces
                ends = [(x + (to_x - x) * share, y + (to_y - y) * share) for share in (begin, end)]
                draw.line(ends, fill=colour, width=2)
            drawn += 1


def _plain(text: str, width: float, font: Font) -> str:
    """Text that may hold anything, on one line that is no wider."""
    text = "".join(c if c.isprintable() else " " for c in text[:200]).strip()
    while text and font.getlength(text) > width:
        text = text[:-1]
    return text
