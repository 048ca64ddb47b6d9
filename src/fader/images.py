"""Picture file <-> array <-> pixels in [-1, 1]: the only home of 127.5.

A *picture* is whatever the user has: a path, a PIL image or an array. An *array* is uint8, H x W x C. *Pixels* are
the networks' tensors, [B, C, H, W] in [-1, 1] (section 5.1).

Importing this module does not import torch, so that preparing workers start quickly.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from fader.errors import UserError
from fader.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

MODES = {1: "L", 3: "RGB"}
# A picture of more pixels than this is refused before it is decoded: a few hundred bytes can claim gigabytes.
MAX_PIXELS = 100_000_000
# Pillow's names of the formats that are read: of those that people have, the ones whose files are one picture. Others
# are programs (EPS), hold a file of any format (IPTC, ICNS, ICO) or are decoded in Python, by the pixel (QOI, FITS).
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000", "PPM", "TGA")
# Each scan of a JPEG goes over all of its pixels and takes as little as 59 bytes: some 2 ns a pixel and scan.
MAX_SCANNED = 20 * MAX_PIXELS
MAX_SEGMENTS, MAX_JPEG_BYTES = 10_000, 1 << 28
# A segment of a JPEG: all but what stands alone or in the middle of data (stuffing, RSTn, TEM).
SEGMENT = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
SOI, EOI, SOS = b"\xd8", b"\xd9", b"\xda"
# Pillow decodes BMPs with run-length encoding (RLE8, RLE4) in Python, at some 100 ns a pixel.
RUN_LENGTH, MAX_RUN_LENGTH_PIXELS = (1, 2), 10_000_000
SRGB = ImageCms.createProfile("sRGB")


def open_picture(source: str | PathLike[str] | BinaryIO | Image.Image, name: str | None = None) -> Image.Image:
    """Decode a picture (a file of one of FORMATS, or a PIL image), upright and in sRGB ("RGB", or "L").

    The orientation in the EXIF data and an embedded colour profile are applied, transparency is laid on white,
    grey of more than 8 bits is scaled to 8, and of an animation the first frame is taken.

    Raises UserError, naming the picture, where it is missing, unreadable, truncated, of over MAX_PIXELS pixels, or made
    to be decoded for minutes.
    """
    name = name or (str(source) if isinstance(source, str | PathLike) else "the picture")
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged metadata, and of decompression bombs, which the limit below refuses.
            warnings.simplefilter("ignore")
            with (
                nullcontext(source) if isinstance(source, Image.Image) else Image.open(source, formats=FORMATS) as image
            ):
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(
                        f"{name}: {image.width} x {image.height} pixels are over the limit of"
                        f" {MAX_PIXELS // 1_000_000} million; scale it down first."
                    )
                if image is not source and isinstance(image, ImageFile.ImageFile):
                    _refuse_slow(image, name)
                image.load()
                return _plain(image)
    except FileNotFoundError:
        raise UserError(f"{name}: there is no such file.") from None
    except IsADirectoryError:
        raise UserError(f"{name}: this is a folder, not a picture.") from None
    except (UserError, MemoryError):  # That there is no room now says nothing of the picture.
        raise
    except Image.DecompressionBombError:
        raise UserError(f"{name}: it claims more pixels than the limit of {MAX_PIXELS // 1_000_000} million.") from None
    except Exception as error:  # Pillow's decoders raise many kinds, from OSError to SyntaxError and struct.error.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = f"not a picture of one of the formats {', '.join(FORMATS)}"
        raise UserError(f"{name}: it cannot be read as a picture ({reason}).") from None


def _refuse_slow(image: ImageFile.ImageFile, name: str) -> None:
    """Raise UserError for a file that, however small, would be decoded for minutes."""
    pixels = image.width * image.height
    if image.format in ("JPEG", "MPO") and image.fp is not None:
        most = MAX_SCANNED // max(pixels, 1)
        if _scans_over(image.fp, most):
            raise UserError(
                f"{name}: it is stored in more than the {most:,} scans that a JPEG of {image.width} x {image.height}"
                " pixels may have, or in absurdly many segments or bytes; save it anew, as PNG."
            )
    elif image.format == "BMP" and image.info.get("compression") in RUN_LENGTH and pixels > MAX_RUN_LENGTH_PIXELS:
        raise UserError(
            f"{name}: a BMP of {image.width} x {image.height} pixels with run-length encoding is over the limit of"
            f" {MAX_RUN_LENGTH_PIXELS // 1_000_000} million; save it as PNG."
        )


def _scans_over(file: IO[bytes], most: int) -> bool:
    """Whether a JPEG has more than so many scans, found as libjpeg finds them, or is absurdly long before it ends."""
    came_from = file.tell()
    size = min(file.seek(0, io.SEEK_END), MAX_JPEG_BYTES)  # To read as much as there may be would clear as much memory.
    file.seek(0)
    data = file.read(size)
    file.seek(came_from)
    position, scans = len(b"\xff" + SOI), 0
    for _ in range(MAX_SEGMENTS):
        found = SEGMENT.search(data, position)
        if found is None:
            return len(data) == MAX_JPEG_BYTES
        if found[1] in (EOI, SOI):  # libjpeg stops at either.
            return False
        scans += found[1] == SOS
        if scans > most:
            return True
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return True


def _plain(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    with contextlib.suppress(Exception):  # Damaged EXIF data, in as many ways: the picture is taken as it lies.
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _eight_bit(image)
    if "A" in image.getbands() or "transparency" in image.info:
        grey = image.mode in ("1", "L", "LA")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("L" if grey else "RGB")
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if profile:
        image = _in_srgb(image, profile)
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, of integers or of floating point (up to 1, 255 or 65,535) as grey of 8 bits."""
    array = np.asarray(image, dtype=np.float32)
    most = float(np.max(array, initial=0, where=np.isfinite(array)))
    array = np.nan_to_num(array, posinf=most)  # What is infinite is as bright as the brightest, and not all else dark.
    if image.mode.startswith("I;16") or most > 255:
        array /= 257.0
    elif image.mode == "F" and most <= 1:
        array *= 255.0
    return Image.fromarray(np.clip(np.rint(array), 0, 255).astype(np.uint8))


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image  # A damaged profile, or one for another mode: the values are taken as sRGB, as browsers do.
    assert converted is not None
    return converted.convert("L") if image.mode == "L" else converted


def centre_box(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest centred square of a width x height picture as (left, top, right, bottom)."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


Box = tuple[float, float, float, float]
"""Of a picture, in its pixels: left, top, right, bottom."""
FacePoints = tuple[tuple[float, float], ...]
"""Where the five points of `alignment.Face` lie in a frame, in units of its side: pairs of x and y."""


@dataclass(frozen=True)
class Framing:
    """How a dataset's pictures were cut, so that others can be cut alike."""

    crop: Box | None = None
    """What was cut out; by default the largest centred square."""
    picture_size: tuple[int, int] | None = None
    """The (width, height) that all of its pictures had, where they had one."""
    points: FacePoints | None = field(default=None, compare=False)
    """Where faces have their five points in its pictures, if it is of faces and that is known. Framings that cut alike
    are equal without them."""

    def box(self, width: int, height: int) -> Box:
        """What to cut out of a picture of this size: the crop if it is the dataset's size, else the centred square."""
        return self.crop if self.crop and self.picture_size == (width, height) else centre_box(width, height)

    def to_json(self) -> dict[str, Any]:
        points = {"points": [list(point) for point in self.points]} if self.points else {}
        return {
            "crop": list(self.crop) if self.crop else "centre",
            "picture_size": list(self.picture_size) if self.picture_size else None,
            **points,
        }

    @classmethod
    def from_json(cls, data: Any) -> Framing:
        """The framing that `to_json` wrote. Raises UserError if `data` is anything else."""
        crop: Any = data.get("crop") if isinstance(data, dict) else None
        size: Any = data.get("picture_size") if isinstance(data, dict) else None
        points: Any = data.get("points") if isinstance(data, dict) else None
        if points is not None and not (
            isinstance(points, list)
            and len(points) == 5
            and all(_numbers(point, 2) and all(-1 <= number <= 2 for number in point) for point in points)
        ):
            raise UserError("The framing is damaged: points has to be five pairs of numbers, from 0 to 1 in the frame.")
        if (crop == "centre" or _numbers(crop, 4)) and (size is None or _numbers(size, 2)):
            crop, size = None if crop == "centre" else tuple(crop), tuple(size) if size else None
            right, bottom = size or (float("inf"), float("inf"))
            if crop is None or (0 <= crop[0] < crop[2] <= right and 0 <= crop[1] < crop[3] <= bottom):
                return cls(crop, size, tuple((x, y) for x, y in points) if points else None)
        raise UserError("The framing is damaged: it takes a crop, which is centre or a box, and a picture_size.")


def _numbers(data: Any, count: int) -> bool:
    return isinstance(data, list) and len(data) == count and all(type(number) in (int, float) for number in data)


def to_array(image: Image.Image, size: int, channels: int = 3, box: Box | None = None) -> np.ndarray:
    """Cut `box` (left, top, right, bottom; the centred square by default) and scale it: uint8, size x size x channels.

    Lanczos, over the whole of the box in one step, which is a proper low-pass filter when shrinking.
    """
    left, top, right, bottom = box or centre_box(*image.size)
    # Cut first: the filter is wider than a pixel and would reach for what lies outside the box.
    whole = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
    image = image.crop(whole)
    if image.mode != MODES[channels]:
        image = image.convert(MODES[channels])
    box = left - whole[0], top - whole[1], right - whole[0], bottom - whole[1]
    image = image.resize((size, size), Image.Resampling.LANCZOS, box=box)
    return np.asarray(image).reshape(size, size, channels)


def to_picture(array: np.ndarray) -> Image.Image:
    """An array (uint8, H x W x C with C of 1 or 3) as a PIL image."""
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def to_pixels(arrays: np.ndarray | Tensor, device: Any = None) -> Tensor:
    """Arrays (uint8, B x H x W x C) as pixels: float, [B, C, H, W] in [-1, 1] on `device`.

    The bytes travel to the device, not the floats. The memory format is channels-last, as the arrays are.
    """
    import torch

    batch = torch.as_tensor(arrays).to(device).permute(0, 3, 1, 2).to(torch.get_default_dtype())
    # By a tensor: by a number a GPU does not divide but multiply with its rounded reciprocal, to other pixels.
    return batch.div_(batch.new_full((), 127.5)).sub_(1.0)


def from_pixels(pixels: Tensor) -> np.ndarray:
    """Pixels [B, C, H, W] as arrays (uint8, B x H x W x C); values outside [-1, 1] are cut off."""
    return to_levels(pixels.detach()).contiguous().cpu().numpy()


def to_levels(pixels: Tensor) -> Tensor:
    """What `from_pixels` returns, as a tensor where the pixels are."""
    import torch

    levels = pixels.float().add(1.0).mul(127.5).round_().clamp_(0, 255)
    return levels.permute(0, 2, 3, 1).to(torch.uint8)


def names_picture(path: str | PathLike[str]) -> bool:
    """Whether a file's ending stands for a picture format that Pillow writes."""
    return Image.registered_extensions().get(Path(path).suffix.lower(), "") in Image.SAVE


def picture_format(path: str | PathLike[str]) -> str:
    """The format that a file's ending stands for, e.g. "PNG". Raises UserError if Pillow writes none such."""
    suffix = Path(path).suffix
    if not names_picture(path):
        raise UserError(f"{path}: {suffix or 'no ending'} names no picture format; use .png.")
    return Image.registered_extensions()[suffix.lower()]


def save_picture(image: Image.Image, path: str | PathLike[str], **options: Any) -> None:
    """Write a picture (whole or not at all) without any metadata; `options` are those of Pillow's format.

    Raises UserError if the ending names no format or it can't be written.
    """
    kind = picture_format(path)
    try:
        with replacing(Path(path)) as temporary:
            # PNG, JPEG and others would write out what was read into `info`: profile, comment, EXIF.
            image = image.copy()
            image.info.clear()
            image.save(temporary, format=kind, **options)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{path}: it cannot be written ({reason}).") from None
