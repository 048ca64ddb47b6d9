"""Curves in panels, drawn with Pillow: enough of a plot for the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

SCALE = 2  # Drawn so many times as large, for smooth lines.
WIDTH, HEIGHT, ACROSS = 420, 280, 2  # Of a panel in pixels; panels in a row.
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 30, 34  # Around the axes of a panel.
TICKS = 4
FONT_SIZE, LINE = 13, 22

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """A line through its points. Of the same `name` and `colour` there may be several."""

    name: str
    colour: str
    points: Sequence[Point]
    width: int = 2


def plot(panels: Sequence[tuple[str, Sequence[Curve]]], x_label: str) -> Image.Image:
    """A panel for each title and its curves, and beneath them a legend. All panels share the x axis, from 0."""
    longest = max(x for _, curves in panels for curve in curves for x, _ in curve.points)
    colours = {curve.name: curve.colour for curve in panels[0][1]}
    bottom = -(-len(panels) // ACROSS) * HEIGHT
    figure = Image.new("RGB", (ACROSS * WIDTH * SCALE, (bottom + LINE * (len(colours) + 1)) * SCALE), "white")
    draw = ImageDraw.Draw(figure)
    for k, (title, curves) in enumerate(panels):
        _panel(draw, k % ACROSS * WIDTH, k // ACROSS * HEIGHT, title, curves, longest, x_label)
    for i, (name, colour) in enumerate(colours.items()):
        y = bottom + LINE * (i + 0.5)
        _line(draw, [(LEFT, y), (LEFT + 24, y)], colour, 3)
        _text(draw, LEFT + 32, y, name, "lm")
    return figure.resize((figure.width // SCALE, figure.height // SCALE), Image.Resampling.LANCZOS)


def _panel(
    draw: ImageDraw.ImageDraw, x0: int, y0: int, title: str, curves: Sequence[Curve], longest: float, x_label: str
) -> None:
    values = [y for curve in curves for _, y in curve.points]
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.01
    low, high = low - margin, high + margin
    left, right, top, bottom = x0 + LEFT, x0 + WIDTH - RIGHT, y0 + TOP, y0 + HEIGHT - BOTTOM

    def place(x: float, y: float) -> Point:
        return left + x / longest * (right - left), bottom - (y - low) / (high - low) * (bottom - top)

    _text(draw, left, y0 + 8, title, "lt")
    for k in range(TICKS + 1):
        x, y = longest * k / TICKS, low + (high - low) * k / TICKS
        _line(draw, [place(0, y), place(longest, y)], "#e0e0e0", 1)
        _text(draw, left - 6, place(0, y)[1], f"{y:.2f}", "rm")
        if k:
            _text(draw, place(x, low)[0], bottom + 6, f"{x:.3g}", "rt" if k == TICKS else "mt")
    _text(draw, left, bottom + 6, x_label, "lt")
    for curve in curves:
        _line(draw, [place(x, y) for x, y in curve.points], curve.colour, curve.width)


def _line(draw: ImageDraw.ImageDraw, points: Sequence[Point], colour: str, width: int) -> None:
    draw.line([(SCALE * x, SCALE * y) for x, y in points], fill=colour, width=SCALE * width, joint="curve")


def _text(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, anchor: str) -> None:
    font = ImageFont.load_default(SCALE * FONT_SIZE)
    draw.text((SCALE * x, SCALE * y), text, fill="black", font=font, anchor=anchor)
