"""Arrays of whole numbers in MATLAB files of version 5, in which Oxford-102 has its labels and splits.

Only that is read, plain or compressed, after "MAT-File Format" by The MathWorks. A file may claim what it likes: it is
believed no size that it has not the bytes for, and no more than MOST_BYTES of it are unpacked.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from fader.errors import UserError

MOST_BYTES = 1 << 20  # Of a file, and of all that is unpacked of it: the splits of Oxford-102 take 64 KiB.
HEADER_BYTES = 128
MATRIX, COMPRESSED = 14, 15
NUMERIC_CLASSES = range(6, 16)  # double, single, and integers of 8 to 64 bits.
COMPLEX = 0x0800
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}


def read_whole_numbers(content: bytes, where: str) -> dict[str, np.ndarray]:
    """The arrays of real whole numbers in a file by name, each in one dimension: int64, in MATLAB's order.

    `where` is what errors call the file. Arrays of anything else are passed over. Raises UserError if the file is of
    another kind, damaged or over MOST_BYTES.
    """
    try:
        if len(content) > MOST_BYTES:
            raise ValueError(f"over {MOST_BYTES:,} bytes")
        order = {b"IM": "<", b"MI": ">"}.get(content[126:HEADER_BYTES])
        if order is None or struct.unpack(f"{order}H", content[124:126]) != (0x0100,):
            raise ValueError("not of version 5")
        return dict(_arrays(content[HEADER_BYTES:], order))
    except (ValueError, struct.error, zlib.error) as error:
        raise UserError(f"{where}: it is not a sound MATLAB file of labels ({error}); fetch it again.") from None


def _arrays(data: bytes, order: str) -> Iterator[tuple[str, np.ndarray]]:
    left = MOST_BYTES
    for kind, body in _elements(data, order):
        unpacked = [(kind, body)]
        if kind == COMPRESSED:
            body = zlib.decompressobj().decompress(body, left + 1)
            left -= len(body)
            if left < 0:
                raise ValueError(f"over {MOST_BYTES:,} bytes when unpacked")
            unpacked = list(_elements(body, order))
        for kind, body in unpacked:
            found = _array(body, order) if kind == MATRIX else None
            if found is not None:
                yield found


def _array(body: bytes, order: str) -> tuple[str, np.ndarray] | None:
    """Name and values of a matrix, if it is of real whole numbers."""
    elements = _elements(body, order)
    flags, _ = struct.unpack(f"{order}II", _next(elements))
    if flags & 0xFF not in NUMERIC_CLASSES or flags & COMPLEX:
        return None
    dimensions = np.frombuffer(_next(elements), f"{order}i4").tolist()
    name = _next(elements).decode("ascii", "replace")
    kind, data = next(elements, (0, b""))
    if kind not in TYPES:
        raise ValueError(f"{name} has values of the unknown type {kind}")
    values = np.frombuffer(data, order + TYPES[kind])
    if len(values) != math.prod(dimensions):
        raise ValueError(f"{name} has {len(values):,} values and claims to be {' x '.join(map(str, dimensions))}")
    if not (np.isfinite(values).all() and (np.abs(values) < 2**31).all() and (values == np.rint(values)).all()):
        return None
    return name, values.astype(np.int64)


def _next(elements: Iterator[tuple[int, bytes]]) -> bytes:
    kind, data = next(elements, (0, b""))
    if not kind:
        raise ValueError("cut off")
    return data


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Types and contents of the elements that data consists of."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start = at + 8
        # Contents are filled up to 8 bytes, but for those of compressed ones.
        following = start + size + (0 if kind == COMPRESSED else -size % 8)
        if kind >> 16:  # A small one has its size beside its type, and its content where others have the size.
            kind, size, start, following = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise ValueError("a small element of over 4 bytes")
        if start + size > len(data):
            raise ValueError("cut off")
        yield kind, data[start : start + size]
        at = following
