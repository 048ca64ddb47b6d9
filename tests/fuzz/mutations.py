"""Strategies of damage: bytes, JSON, and the containers that have to be whole for what lies in them to be looked at."""

from __future__ import annotations

import copy
import io
import json
import pickletools
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

Damage = Callable[[bytes], bytes]

NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 4096, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63)
TEXTS = (
    "",
    "x" * 5000,
    "\0",
    "\ud800",
    "\x1b[2J",
    "a\nb",
    "../../x",
    "/etc/passwd",
    "<script>",
    "1e999",
    "\u202e",
    "%s%n",
    "=1",
)
HOSTILE_JSON: list[Any] = [
    *NUMBERS, 10**40, 10**400, 0.5, 1e308, -0.0, float("nan"), float("inf"), True, False, None, *TEXTS,
    [], {}, [[]], [None], {"": None}, [1, 2], ["a", "a"], list(range(300)),
]  # fmt: skip


def damaged(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the seeds with a few things done to it; seldom as it was."""
    damages = st.lists(one_damage(seeds), min_size=0, max_size=4)
    return st.tuples(st.sampled_from(list(seeds)), damages).map(lambda drawn: _applied(*drawn))


def one_damage(seeds: Sequence[bytes]) -> st.SearchStrategy[Damage]:
    # Most of what a format says of itself stands at one of its ends.
    place = st.one_of(
        st.floats(0, 1), st.integers(0, 400).map(lambda at: at + 2.0), st.integers(1, 200).map(lambda at: -float(at))
    )
    return st.one_of(
        st.builds(_byte, place, st.integers(0, 255)),
        st.builds(_number, place, st.sampled_from(NUMBERS), st.sampled_from("bBhHiIqQ"), st.sampled_from("<>")),
        st.builds(
            _written_number, place, st.sampled_from([*map(str, NUMBERS), "9" * 30, "9" * 5000, "1e999", "-0", "0x"])
        ),
        st.builds(_cut, place),
        st.builds(_without, place, st.integers(1, 64)),
        st.builds(_repeated, place, st.integers(1, 64), st.integers(2, 2000)),
        st.builds(_inserted, place, st.one_of(st.binary(max_size=16), st.sampled_from(TEXTS).map(_encoded))),
        st.builds(_spliced, place, st.sampled_from(list(seeds))),
    )


def often(usual: st.SearchStrategy[Any], seldom: st.SearchStrategy[Any], share: int = 8) -> st.SearchStrategy[Any]:
    """The one, and once in `share` times the other."""
    return st.integers(1, share).flatmap(lambda number: seldom if number == share else usual)


def damaged_json(seeds: Sequence[Any]) -> st.SearchStrategy[Any]:
    """One of the documents with a few of its parts replaced, left out, doubled, or changed a little."""
    kinds = ["replace", "delete", "rename", "nest", "near", "near", "near"]
    edit = st.tuples(st.integers(0, 10**6), st.sampled_from(kinds), st.sampled_from(HOSTILE_JSON))
    return st.tuples(st.sampled_from(list(seeds)), st.lists(edit, max_size=3)).map(lambda drawn: _edited(*drawn))


def damaged_json_bytes(seeds: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """JSON documents damaged in their parts, and their text damaged."""
    texts = [json.dumps(seed).encode() for seed in seeds]
    text = often(damaged(texts), st.just(b"[" * 100_000))
    return often(damaged_json(seeds).map(json_bytes), text, 4)


def json_bytes(document: Any) -> bytes:
    return json.dumps(document).encode()


def damaged_zip(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """A stored archive with one member damaged and the archive whole again, or the archive itself damaged."""
    members = [_members(seed) for seed in seeds]
    inside = st.builds(
        lambda which, position, damages: _packed(
            {
                name: _applied(data, damages) if i == position % len(which) else data
                for i, (name, data) in enumerate(which.items())
            }
        ),
        st.sampled_from(members),
        st.integers(0, 100),
        st.lists(one_damage([data for one in members for data in one.values()]), min_size=1, max_size=3),
    )
    return st.one_of(inside, damaged(seeds))


def hostile_archives(contents: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Archives of entries whose names lead outside, whose kinds are odd, and whose sizes are lies."""
    names = st.sampled_from(
        ["a.png", "b/c.png", "../out.png", "/tmp/out.png", "C:\\out.png", "..\\out.png", "a/../../out.png", "a.png/",
         "\0.png", "\U0001f600.png", "x" * 300 + ".png", ".hidden.png", "CON.png", "labels.csv", "a.PNG", "a//b.png"]
    )  # fmt: skip
    entry = st.tuples(
        names,
        st.one_of(st.sampled_from(list(contents)), damaged(contents), st.just(bytes(10_000_000))),
        st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
        st.sampled_from([0o100644, 0o120777, 0o010644, 0o020644, 0o040755, 0]),
    )
    whole = st.lists(entry, min_size=1, max_size=4).map(_archive)
    return st.one_of(
        whole, st.tuples(whole, st.lists(one_damage(contents), max_size=2)).map(lambda drawn: _applied(*drawn))
    )


def damaged_safetensors(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Weights whose header claims something else, and files damaged anywhere."""
    headers = [json.loads(seed[8 : 8 + struct.unpack("<Q", seed[:8])[0]]) for seed in seeds]

    begins = [8 + struct.unpack("<Q", seed[:8])[0] for seed in seeds]

    def put_together(header: Any, data: bytes = seeds[0][begins[0] :]) -> bytes:
        text = json_bytes(header)
        return struct.pack("<Q", len(text)) + text + data

    def with_other_numbers(which: int, damages: Sequence[Damage]) -> bytes:
        """The header is right: it is only the numbers that are others."""
        seed, begin = seeds[which], begins[which]
        return seed[:begin] + _applied(seed[begin:], damages)[: len(seed) - begin].ljust(len(seed) - begin, b"\xff")

    tensor = st.builds(
        _other_tensor,
        st.sampled_from(headers),
        st.integers(0, 10**6),
        st.sampled_from(["dtype", "shape", "shared", "renamed", "doubled"]),
        st.integers(0, 10**6),
    )
    numbers = st.builds(with_other_numbers, st.integers(0, len(seeds) - 1), st.lists(one_damage(seeds), max_size=3))
    header = often(tensor, damaged_json(headers), 3).map(put_together)
    return often(st.one_of(header, numbers), damaged(seeds), 8)


def _other_tensor(headers: dict[str, Any], number: int, kind: str, choice: int) -> dict[str, Any]:
    """The header with one tensor of it told of wrongly, but so that as many bytes are spoken of as there are."""
    header = copy.deepcopy(headers)
    names = [name for name in header if name != "__metadata__"]
    name = names[number % len(names)]
    tensor = header[name]
    if kind == "dtype":
        tensor["dtype"] = ("F32", "I32", "U32", "F16", "BF16", "F64", "I64", "BOOL", "U8", "F8_E4M3")[choice % 10]
    elif kind == "shape":
        shape = tensor["shape"]
        count = 1
        for side in shape:
            count *= side
        others = [shape[::-1], [*shape, 1], [1, *shape], [count], shape[1:] + shape[:1], [count, 1, 1, 1], [], [0]]
        tensor["shape"] = others[choice % len(others)]
    elif kind == "shared":  # Two tensors of the same bytes.
        tensor["data_offsets"] = header[names[choice % len(names)]]["data_offsets"]
    elif kind == "renamed":
        header[("x" * 70_000, "", "\x1b[2J", "\n", names[choice % len(names)], "a.b")[choice % 6]] = header.pop(name)
    else:
        header[f"{name}.again"] = dict(tensor)
    return header


PICKLE_PARTS = (
    *(b"N", b")", b"]", b"}", b"(", b"t", b"0", b"1", b"2", b"R", b"\x81", b"b", b"u", b"s", b"a", b"e", b"Q", b"."),
    *(b"h\x00", b"h\xff", b"q\x00", b"q\x07", b"j\xff\xff\xff\x7f", b"\x88", b"\x89", b"\x85", b"\x86", b"\x87"),
    *(
        b"K\x00",
        b"K\xff",
        b"M\xff\xff",
        b"J\xff\xff\xff\x7f",
        b"J\xff\xff\xff\xff",
        b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
    ),
    *(b"\x8a\x00", b"\x8b" + struct.pack("<i", 300) + b"\x7f" * 300, b"G" + struct.pack(">d", float("nan"))),
    *(b"cposix\nsystem\n", b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n", b"I01\n", b"L9999999999999L\n"),
    *(
        b"X" + struct.pack("<I", len(text)) + text
        for text in (b"", b"x" * 5000, b"\x1b[2J\n", b"../x", b"\xed\xa0\x80")
    ),
)
"""Instructions to be put among those of a pickle."""


def damaged_pickle(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """A pickle with a few of its instructions left out, doubled, in another order, or in place of others."""
    programs = [_instructions(seed) for seed in seeds]
    edit = st.tuples(
        st.integers(0, 10**6),
        st.sampled_from([*["like"] * 5, "replace", "delete", "repeat", "swap", "insert"]),
        st.integers(0, 10**6),
    )
    return st.builds(_reprogrammed, st.sampled_from(programs), st.lists(edit, min_size=1, max_size=3))


def _instructions(pickled: bytes) -> list[bytes]:
    places = [place or 0 for _, _, place in pickletools.genops(pickled)]
    return [pickled[a:b] for a, b in pairwise([*places, len(pickled)])]


def _reprogrammed(program: Sequence[bytes], edits: Sequence[tuple[int, str, int]]) -> bytes:
    parts = list(program)
    for number, kind, choice in edits:
        at = number % len(parts)
        if kind == "like":  # Another number, text or name where there is one already.
            alike = [part for part in (*program, *PICKLE_PARTS) if part[:1] == parts[at][:1]]
            parts[at] = alike[choice % len(alike)] if alike else b"N"
        elif kind == "replace":
            parts[at] = PICKLE_PARTS[choice % len(PICKLE_PARTS)]
        elif kind == "delete" and len(parts) > 1:
            del parts[at]
        elif kind == "repeat":
            parts[at : at + choice % 7 + 1] *= (2, 3, 100, 5000)[choice % 4]
        elif kind == "swap":
            other = choice % len(parts)
            parts[at], parts[other] = parts[other], parts[at]
        else:
            parts.insert(at, PICKLE_PARTS[choice % len(PICKLE_PARTS)])
    return b"".join(parts)[: 2**21]


def damaged_torch(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Zip archives as torch writes them: whole, but for the pickle in them."""

    def with_pickle(drawn: tuple[dict[str, bytes], bytes]) -> bytes:
        members, pickled = drawn
        return _packed({name: pickled if name.endswith("data.pkl") else data for name, data in members.items()})

    def of_one(members: dict[str, bytes]) -> st.SearchStrategy[bytes]:
        pickles = [data for name, data in members.items() if name.endswith("data.pkl")]
        return st.tuples(st.just(members), damaged_pickle(pickles)).map(with_pickle)

    return often(st.one_of([of_one(_members(seed)) for seed in seeds]), damaged_zip(seeds), 4)


def damaged_png(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """PNG files damaged within their chunks, with the checksums right again: else nothing else would be looked at."""
    return damaged(seeds).map(_with_checksums)


def _applied(data: bytes, damages: Sequence[Damage]) -> bytes:
    for damage in damages:
        data = damage(data)
    return data[: 2**21]


def _at(data: bytes, place: float) -> int:
    """A place: a share of the length from 0 to 1, from 2 on counted from the beginning, below 0 from the end."""
    if place < 0:
        return max(0, len(data) + int(place))
    return int(place * len(data)) if place <= 1 else min(int(place) - 2, len(data))


def _byte(place: float, value: int) -> Damage:
    return lambda data: data[: (at := _at(data, place))] + bytes([value]) + data[at + 1 :]


def _number(place: float, value: int, form: str, order: str) -> Damage:
    size = struct.calcsize(f"{order}{form}")
    raw = (value % 256**size).to_bytes(size, "little" if order == "<" else "big")
    return lambda data: data[: (at := _at(data, place))] + raw + data[at + size :]


def _written_number(place: float, text: str) -> Damage:
    def damage(data: bytes) -> bytes:
        found = re.compile(rb"-?\d+(\.\d+)?").search(data, max(0, _at(data, place) - 8))
        return data if found is None else data[: found.start()] + text.encode() + data[found.end() :]

    return damage


def _cut(place: float) -> Damage:
    return lambda data: data[: _at(data, place)]


def _without(place: float, count: int) -> Damage:
    return lambda data: data[: (at := _at(data, place))] + data[at + count :]


def _repeated(place: float, count: int, times: int) -> Damage:
    return lambda data: data[: (at := _at(data, place))] + data[at : at + count] * times + data[at + count :]


def _inserted(place: float, what: bytes) -> Damage:
    return lambda data: data[: (at := _at(data, place))] + what + data[at:]


def _spliced(place: float, other: bytes) -> Damage:
    return lambda data: data[: _at(data, place)] + other[_at(other, place) :]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _edited(document: Any, edits: Sequence[tuple[int, str, Any]]) -> Any:
    root = [copy.deepcopy(document)]
    for number, kind, value in edits:
        places = list(_places(root))
        holder, key = places[number % len(places)]
        if kind == "delete" and holder is not root:
            del holder[key]
        elif kind == "rename" and isinstance(holder, dict):
            holder[value if isinstance(value, str) else "renamed"] = holder.pop(key)
        elif kind == "nest":
            holder[key] = [holder[key]] * 2
        elif kind == "near":
            holder[key] = _near(holder[key], number // len(places))
        else:
            holder[key] = copy.deepcopy(value)
    return root[0]


def _near(value: Any, number: int) -> Any:
    """Something of the same kind."""
    others: list[Any] = [0]
    if isinstance(value, bool):
        others = [not value]
    elif isinstance(value, int | float) and abs(value) < 1e100:
        others = [value + 1, value - 1, -value, value * 2, value / 2, float(value), value * 1e6, 0, 1, 10**9]
    elif isinstance(value, str):
        others = ["", value + "x", value[:-1], value.upper(), value * 100, f"{value}\n", f"\u202e{value}"]
    elif isinstance(value, list):
        others = [value[::-1], value[:-1], value * 2, value * 300, [*value, None]]
    elif isinstance(value, dict):
        others = [dict(list(value.items())[:-1]), {**value, "more": 1}, dict.fromkeys(value)]
    return others[number % len(others)]


def _places(holder: Any) -> Any:
    for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _places(holder[key])


def _members(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def _packed(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _archive(entries: Sequence[tuple[str, bytes, int, int]]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # Of two entries of one name.
        for name, content, method, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, method
            archive.writestr(info, content)
    return stream.getvalue()


def _with_checksums(data: bytes) -> bytes:
    result, at = data[:8], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        body = data[at + 4 : at + 8 + length]
        result += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return result
