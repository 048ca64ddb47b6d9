"""Picture file <-> array <-> pixels in [-1, 1]: the only home of 127.5.

A *picture* is whatever the user has: a path, a PIL image or an array. An *array* is uint8, H x W x C. *Pixels* are
the networks' tensors, [B, C, H, W] in [-1, 1] (section 5.1).

Importing this module does not import torch, so that preparing workers start quickly.
"""

from __future__ import annotations

import io
import warnings
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from fader.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

MODES = {1: "L", 3: "RGB"}
# A picture of more pixels than this is refused before it is decoded: a few hundred bytes can claim gigabytes.
MAX_PIXELS = 100_000_000
SRGB = ImageCms.createProfile("sRGB")


def open_picture(source: str | PathLike[str] | BinaryIO, name: str | None = None) -> Image.Image:
    """Decode a picture file of any format that Pillow reads, upright and in sRGB ("RGB", or "L" for grey).

    The orientation in the EXIF data and an embedded colour profile are applied, transparency is laid on white,
    16-bit grey is scaled to 8, and of an animation the first frame is taken.

    Raises UserError, naming the picture, where it is missing, unreadable, truncated or of over MAX_PIXELS pixels.
    """
    name = name or (str(source) if isinstance(source, str | PathLike) else "the picture")
    try:
        with warnings.catch_warnings():
            # Pillow only warns of a possible decompression bomb; the limit below is ours and refuses.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(
                        f"{name}: {image.width} x {image.height} pixels are over the limit of"
                        f" {MAX_PIXELS // 1_000_000} million; scale it down first."
                    )
                image.load()
                return _plain(image)
    except FileNotFoundError:
        raise UserError(f"{name}: there is no such file.") from None
    except IsADirectoryError:
        raise UserError(f"{name}: this is a folder, not a picture.") from None
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(f"{name}: it claims more pixels than the limit of {MAX_PIXELS // 1_000_000} million.") from None
    except Exception as error:  # Pillow's decoders raise many kinds, from OSError to SyntaxError and struct.error.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "not a picture in any known format"
        raise UserError(f"{name}: it cannot be read as a picture ({reason}).") from None


def _plain(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        array = np.asarray(image, dtype=np.float64)
        if image.mode.startswith("I;16") or array.max(initial=0) > 255:
            array = array / 257.0
        image = Image.fromarray(np.clip(np.rint(array), 0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(background, image).convert("RGB")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if image.mode != "L":
                image = ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB") or image
        except ImageCms.PyCMSError:
            pass  # A damaged or unsuitable profile: the picture's values are taken as sRGB, as browsers do.
    return image if image.mode == "L" else image.convert("RGB")


def centre_box(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest centred square of a width x height picture as (left, top, right, bottom)."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def to_array(
    image: Image.Image, size: int, channels: int = 3, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Cut `box` (left, top, right, bottom; the centred square by default) and scale it: uint8, size x size x channels.

    Lanczos, over the whole of the box in one step, which is a proper low-pass filter when shrinking.
    """
    image = image.convert(MODES[channels])
    image = image.resize((size, size), Image.Resampling.LANCZOS, box=box or centre_box(*image.size))
    return np.asarray(image).reshape(size, size, channels)


def to_picture(array: np.ndarray) -> Image.Image:
    """An array (uint8, H x W x C with C of 1 or 3) as a PIL image."""
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def to_pixels(arrays: np.ndarray | Tensor, device: Any = None) -> Tensor:
    """Arrays (uint8, B x H x W x C) as pixels: float, [B, C, H, W] in [-1, 1] on `device`.

    The bytes travel to the device, not the floats. The memory format is channels-last, as the arrays are.
    """
    import torch

    batch = torch.as_tensor(arrays).to(device)
    return batch.permute(0, 3, 1, 2).to(torch.get_default_dtype()).div_(127.5).sub_(1.0)


def from_pixels(pixels: Tensor) -> np.ndarray:
    """Pixels [B, C, H, W] as arrays (uint8, B x H x W x C); values outside [-1, 1] are cut off."""
    import torch

    arrays = pixels.detach().float().add(1.0).mul(127.5).round_().clamp_(0, 255)
    return arrays.permute(0, 2, 3, 1).to(torch.uint8).contiguous().cpu().numpy()


def save_picture(image: Image.Image, path: str | PathLike[str]) -> None:
    """Write a picture without any metadata. Raises UserError if the ending names no format or it can't be written."""
    path = Path(path)
    try:
        image.save(path)
    except ValueError:
        raise UserError(f"{path}: {path.suffix or 'no ending'} names no picture format; use .png.") from None
    except OSError as error:
        raise UserError(f"{path}: it cannot be written ({error.strerror or error}).") from None
