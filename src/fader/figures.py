"""Grids of pictures with their labels, and animations: the only home of figures made of pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fader.images import save_picture, to_picture

MARGIN, GAP = 8, 4  # Pixels around the grid and between its pictures.
FONT_SIZE, LINE = 14, 18  # Pixels; a line holds ascenders and descenders of the font.
MOST_LINES = 2  # Of a label; what does not fit into them is cut.
ROW_LABEL_WIDTH = 120  # Pixels.
COMFORTABLE = 128  # Pictures are enlarged until a further step would bring their side over this many pixels.
LONGEST = 200  # Characters of a label that are looked at.


def grid(
    rows: Sequence[Sequence[np.ndarray]],
    columns: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    scale: int | None = None,
) -> Image.Image:
    """A figure of rows of pictures (uint8, H x W x 1 or 3), with labels above the columns and left of the rows.

    Pictures are enlarged by the whole factor `scale`, by default the largest that keeps their side within COMFORTABLE
    (so 2 for 64 pixels). Labels may hold anything: they are broken, and cut where that is not enough, so that the
    figure's size depends on the pictures and on how many lines the longest label takes alone.

    Raises ValueError if there is no picture, or if there are more labels than rows or columns.
    """
    pictures = [array for row in rows for array in row]
    if not pictures:
        raise ValueError("A figure needs a picture.")
    across, down = max(len(row) for row in rows), len(rows)
    if len(columns) > across or len(row_labels) > down:
        raise ValueError("A figure has more labels than rows or columns.")
    height, width = (max(array.shape[axis] for array in pictures) for axis in (0, 1))
    scale = scale or max(1, COMFORTABLE // max(height, width))
    height, width = height * scale, width * scale

    font = ImageFont.load_default(FONT_SIZE)
    titles = [_lines(text, width, font) for text in columns]
    sides = [_lines(text, ROW_LABEL_WIDTH, font) for text in row_labels]
    left = MARGIN + (ROW_LABEL_WIDTH + GAP if any(sides) else 0)
    top = MARGIN + LINE * max(map(len, titles), default=0)
    figure = Image.new(
        "RGB", (left + across * (width + GAP) - GAP + MARGIN, top + down * (height + GAP) - GAP + MARGIN), "white"
    )
    # Text first: where a glyph reaches out of its line, the pictures cover it.
    draw = ImageDraw.Draw(figure)
    for j, lines in enumerate(titles):
        _write(draw, lines, font, left + j * (width + GAP) + width / 2, top - LINE * len(lines), "ma")
    for i, lines in enumerate(sides):
        _write(draw, lines, font, MARGIN, top + i * (height + GAP) + (height - LINE * len(lines)) / 2, "la")
    for i, row in enumerate(rows):
        for j, array in enumerate(row):
            picture = to_picture(array).convert("RGB")
            if scale > 1:
                picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)
            figure.paste(picture, (left + j * (width + GAP), top + i * (height + GAP)))
    return figure


def animation(frames: Sequence[Image.Image], path: Path, milliseconds: int = 120) -> None:
    """Write pictures of one size as a GIF that loops for ever, each shown for so long (equal neighbours as one).

    All frames share one palette of 256 colours, so that what stands still does not flicker.
    Raises UserError if it cannot be written.
    """
    # The colours of a sample of all frames' pixels. Maximum coverage keeps rare ones, which a median cut averages away.
    colours = np.concatenate([np.asarray(frame.convert("RGB")).reshape(-1, 3) for frame in frames])
    sample = colours[:: len(colours) // 2**17 + 1]
    palette = Image.fromarray(sample[None]).quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=3)
    first, *rest = (frame.convert("RGB").quantize(palette=palette) for frame in frames)
    save_picture(first, path, save_all=True, append_images=rest, duration=milliseconds, loop=0)


def _lines(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """`text` in at most MOST_LINES lines of this width, broken at spaces and underscores, cut if that is not enough."""
    text = "".join(c if c.isprintable() else " " for c in text[:LONGEST]).strip()
    lines: list[str] = []
    for piece in re.findall(r"[^ _]*[ _]?", text):
        if lines and (len(lines) == MOST_LINES or font.getlength((lines[-1] + piece).strip()) <= width):
            lines[-1] += piece
        elif piece:
            lines.append(piece)
    return [_cut(line.strip(), width, font) for line in lines]


def _cut(line: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"


def _write(
    draw: ImageDraw.ImageDraw,
    lines: Sequence[str],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    x: float,
    y: float,
    anchor: str,
) -> None:
    for i, line in enumerate(lines):
        draw.text((x, y + i * LINE), line, fill="black", font=font, anchor=anchor)
