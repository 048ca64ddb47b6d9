"""Whole networks that PyTorch pickled, read without unpickling.

The opcodes of the pickle are interpreted here, and all that they can build is inert: numbers, text, lists, tuples,
dicts, and records that say which class or function the file names, with what arguments and state. Nothing is ever
imported or called on a file's behalf. Weights stay in the file until they are asked for, with the shape they must have.

Both serialisations are read: the zip archive of today and the stream of PyTorch 0.2 to 1.5. On which device a weight
lay when it was saved does not matter.
"""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from fader.errors import UserError

MOST_PICKLE = 2**20  # Bytes of all that is no weight. The source code that old files quote takes about 100 KB.
LONGEST_INT = 80  # Bits; the number that old files start with has 77.
MOST_SIDES = 64  # Of a weight.
MOST_PARTS = 6  # Of a reference to a storage or a class.
ZIP, MAGIC, PROTOCOL = b"PK\x03\x04", 0x1950A86A20F9469CFC6C, 1001
DTYPES = {
    "HalfStorage": torch.float16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
}
PLAIN = frozenset(
    {
        "collections.OrderedDict",
        "builtins.set",
        "torch.Size",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.nn.parameter.Parameter",
        # What a module of PyTorch 0.2 and 0.3 computes with.
        "torch.nn.backends.thnn._get_thnn_function_backend",
    }
    | {f"{module}.{name}" for module in ("torch", "torch.cuda") for name in DTYPES}
)
"""What any pickled network may name, beside its modules."""


@dataclass(frozen=True)
class Name:
    """A class or function that a file names."""

    path: str


@dataclass
class Record:
    """What a file would have made by calling a class or function: nothing was called."""

    kind: str
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True)
class Storage:
    """Numbers of one type in a row, somewhere in the file."""

    dtype: torch.dtype
    key: str
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the file: which numbers of which storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Checkpoint:
    """An open file with one pickled object, `root`; a context manager.

    Opening it raises UserError (which does not name the file) where it is none, is damaged, or names a class or
    function that is neither plain nor one of `modules`.
    """

    def __init__(self, path: Path, modules: Collection[str]) -> None:
        self._names = PLAIN | set(modules)
        self._storages: dict[str, Storage] = {}
        self._unread = path.stat().st_size
        """Bytes that may still be read: weights take no more memory than the file is large."""
        self._unpaired = MOST_PICKLE
        """Pairs that dictionaries may still be made of: a file has bytes for each, unless it names them repeatedly."""
        self._file = path.open("rb")
        self._bytes: Callable[[Storage, int, int], bytes]
        try:
            self.root = self._open_zip() if self._file.read(4) == ZIP else self._open_stream()
        except (
            ValueError, LookupError, TypeError, EOFError, OverflowError, RuntimeError, zipfile.BadZipFile, struct.error
        ):  # fmt: skip
            self._file.close()
            raise UserError("it is no whole file of PyTorch's; download it again.") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def read(self, tensor: StoredTensor, shape: tuple[int, ...]) -> Tensor:
        """The tensor as float32, which has to be of this shape and of 32 or 16 bits. Raises UserError if it is not."""
        if tensor.shape != shape:
            raise UserError(f"a weight of it has the shape {_shown(tensor.shape)} and not {shape}.")
        storage = tensor.storage
        if storage.dtype not in (torch.float32, torch.float16):
            raise UserError(f"a weight of it is of the type {storage.dtype} and not float32 or float16.")
        if len(tensor.stride) != len(shape):
            raise UserError("a weight of it is damaged.")
        count = torch.Size(shape).numel()
        # Without gaps and repetitions, so that what is made of the bytes is not larger than they are.
        extent = 1 + sum((side - 1) * stride for side, stride in zip(shape, tensor.stride, strict=True))
        if extent != count or not 0 <= tensor.offset <= storage.count - extent:
            raise UserError("a weight of it lies scattered or outside of its storage.")
        size = storage.dtype.itemsize
        self._unread -= extent * size
        if self._unread < 0:
            raise UserError("its weights claim more than the file holds.")
        data = self._bytes(storage, tensor.offset * size, extent * size)
        if len(data) != extent * size:
            raise UserError("it ends within its weights; download it again.")
        flat = torch.frombuffer(bytearray(data), dtype=storage.dtype)
        return flat.as_strided(shape, tensor.stride).to(torch.float32).contiguous()

    def _open_zip(self) -> Any:
        archive = zipfile.ZipFile(self._file)
        (pickle,) = (info for info in archive.infolist() if info.filename.endswith("/data.pkl"))
        folder = pickle.filename.removesuffix("/data.pkl")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise UserError("its archive is compressed, which PyTorch's is not.")
        order = f"{folder}/byteorder"
        if order in archive.namelist() and archive.open(order).read(len(b"little")) != b"little":
            raise UserError("it is of a machine with another order of bytes; save it anew on a usual one.")
        if pickle.file_size > MOST_PICKLE:
            raise UserError(f"its pickle is longer than {MOST_PICKLE:,} bytes.")
        self._bytes = partial(_from_archive, archive, folder)
        return self._unpickled(io.BytesIO(archive.read(pickle)))

    def _open_stream(self) -> Any:
        self._file.seek(0)
        head = io.BytesIO(self._file.read(MOST_PICKLE))
        if self._unpickled(head) != MAGIC or self._unpickled(head) != PROTOCOL:
            raise ValueError("no file of PyTorch's")
        if not self._unpickled(head)["little_endian"]:
            raise UserError("it is of a machine with another order of bytes; save it anew on a usual one.")
        root = self._unpickled(head)
        keys, positions = self._unpickled(head), {}
        position = head.tell()
        for key in keys:  # The order in which the storages follow, each after the count of its numbers.
            storage = self._storages[_text(key)]
            self._file.seek(position)
            (count,) = struct.unpack("<q", self._file.read(8))
            if count != storage.count:
                raise ValueError("a storage of another size than the pickle says")
            positions[storage.key] = position + 8
            position += 8 + count * storage.dtype.itemsize
        if positions.keys() != self._storages.keys():
            raise ValueError("a storage is missing")
        self._bytes = lambda storage, start, size: _from_file(self._file, positions[storage.key] + start, size)
        return root

    def _unpickled(self, stream: io.BytesIO) -> Any:
        """The next pickle of a stream, as inert values."""
        stack: list[Any] = []
        marks: list[int] = []
        memo: dict[int, Any] = {}

        def since_mark() -> list[Any]:
            start = marks.pop()
            values = stack[start:]
            del stack[start:]
            return values

        def called(arguments: Any, name: Any) -> Any:
            if not isinstance(name, Name) or not isinstance(arguments, tuple):
                raise ValueError("a call of what is no class or function")
            if name.path == "collections.OrderedDict":
                return self._ordered(arguments[0] if arguments else [])
            return Record(name.path, arguments)

        argument: Any
        for opcode, argument, _ in pickletools.genops(stream):
            match opcode.name:
                case "PROTO" | "FRAME":
                    pass
                case "MARK":
                    marks.append(len(stack))
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
                case "BININT" | "BININT1" | "BININT2" | "INT" | "LONG" | "LONG1" | "LONG4":
                    if argument.bit_length() > LONGEST_INT:
                        raise ValueError("an absurd number")
                    stack.append(argument)
                case (
                    "BINFLOAT" | "FLOAT" | "BINUNICODE" | "SHORT_BINUNICODE" | "UNICODE" | "SHORT_BINSTRING"
                    | "BINSTRING" | "STRING"
                ):  # fmt: skip
                    stack.append(argument)
                case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                    stack.append({"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}[opcode.name]())
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    count = int(opcode.name[-1])
                    values = tuple(stack[-count:])
                    del stack[-count:]
                    stack.append(values)
                case "TUPLE":
                    stack.append(tuple(since_mark()))
                case "LIST":
                    stack.append(since_mark())
                case "DICT":
                    stack.append(_filled({}, since_mark()))
                case "APPEND":
                    value = stack.pop()
                    _extended(stack[-1], [value])
                case "APPENDS":
                    values_since = since_mark()
                    _extended(stack[-1], values_since)
                case "SETITEM":
                    value, key = stack.pop(), stack.pop()
                    _filled(stack[-1], [key, value])
                case "SETITEMS":
                    values_since = since_mark()
                    _filled(stack[-1], values_since)
                case "GLOBAL":
                    stack.append(self._named(*argument.split(" ", 1)))
                case "STACK_GLOBAL":
                    name, module = stack.pop(), stack.pop()
                    stack.append(self._named(_text(module), _text(name)))
                case "REDUCE" | "NEWOBJ":
                    arguments, name = stack.pop(), stack.pop()
                    stack.append(called(arguments, name))
                case "BUILD":
                    state = stack.pop()
                    if isinstance(stack[-1], Record):
                        stack[-1].state = state
                    elif not isinstance(stack[-1], dict):  # An OrderedDict's own attributes are left out.
                        raise ValueError("the state of what has none")
                case "BINPERSID":
                    stack.append(self._persistent(stack.pop()))
                case "BINPUT" | "LONG_BINPUT" | "PUT":
                    memo[argument] = stack[-1]
                case "MEMOIZE":
                    memo[len(memo)] = stack[-1]
                case "BINGET" | "LONG_BINGET" | "GET":
                    stack.append(memo[argument])
                case "STOP":
                    return stack.pop()
                case other:
                    raise UserError(f"its pickle uses the instruction {other}, which no released model does.")
        raise EOFError

    def _ordered(self, pairs: Any) -> dict[str, Any]:
        """What `OrderedDict(pairs)` holds. Of all there is to build this alone makes more than the file spells out."""
        if not isinstance(pairs, list | tuple):
            raise ValueError("a dictionary of no pairs")
        self._unpaired -= len(pairs)
        if self._unpaired < 0 or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            raise ValueError("a dictionary of no pairs, or of those of many others")
        return _filled({}, [value for pair in pairs for value in pair])

    def _named(self, module: str, name: str) -> Name:
        path = f"{module}.{name}"
        if module == "__builtin__":  # As Python 2 calls it.
            path = f"builtins.{name}"
        if path not in self._names:
            raise UserError(
                f"it names {path[:100]}, which a network of the release does not consist of; nothing of it was run."
            )
        return Name(path)

    def _persistent(self, identity: Any) -> Any:
        """What pickles hold by reference: a storage, or a class beside its source code."""
        if not isinstance(identity, tuple) or not 2 <= len(identity) <= MOST_PARTS:
            raise ValueError("no reference")
        kind, *about = identity
        if kind == "module":
            return about[0]
        storage_type, key, _device, count, *view = about
        if kind != "storage" or not isinstance(storage_type, Name) or not _natural(count):
            raise ValueError("no storage")
        if any(view):
            raise UserError("its weights are views of one another's storage; save it anew with today's PyTorch.")
        storage = Storage(DTYPES[storage_type.path.rpartition(".")[2]], _text(key), count)
        if self._storages.setdefault(storage.key, storage) != storage:
            raise ValueError("two storages under one name")
        return storage


@contextmanager
def opened(path: Path, modules: Collection[str]) -> Iterator[Checkpoint]:
    """A file as a `Checkpoint`; errors that are raised in the block name it."""
    try:
        with Checkpoint(path, modules) as checkpoint:
            yield checkpoint
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise UserError(f"{path}: it cannot be read ({error.strerror or error}).") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def stored_tensor(value: Any) -> StoredTensor:
    """The tensor that a record of a parameter, a buffer or a tensor stands for. Raises UserError if it is none."""
    while isinstance(value, Record) and value.kind in (
        "torch.nn.parameter.Parameter",
        "torch._utils._rebuild_parameter",
    ):
        value = value.arguments[0] if value.arguments else None
    if isinstance(value, Record) and value.kind.startswith("torch._utils._rebuild_tensor"):
        match value.arguments:
            case (Storage() as storage, offset, shape, stride, *_):
                sides, steps = _plain_tuple(shape), _plain_tuple(stride)
                if _natural(offset) and all(map(_natural, (*sides, *steps))):
                    return StoredTensor(storage, offset, sides, steps)
    raise UserError("a weight of it is missing or no tensor.")


def fields(record: Record) -> Mapping[str, Any]:
    """The attributes of a record. Raises UserError if it has none."""
    if not isinstance(record.state, dict):
        raise UserError(f"its {record.kind} has no attributes.")
    return record.state


def _plain_tuple(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Record) and value.kind == "torch.Size" and value.arguments:
        value = value.arguments[0]
    if not isinstance(value, tuple | list) or len(value) > MOST_SIDES:
        raise UserError("a weight of it has a damaged shape.")
    return tuple(value)


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def _extended(target: Any, values: list[Any]) -> None:
    if not isinstance(target, list):
        raise ValueError("appending to what is no list")
    target.extend(values)


def _filled(target: Any, flat: list[Any]) -> dict[str, Any]:
    if not isinstance(target, dict):
        raise ValueError("setting an item of what is no dict")
    target.update(zip(map(_text, flat[::2]), flat[1::2], strict=True))
    return target


def _shown(shape: tuple[int, ...]) -> str:
    return str(shape) if len(shape) <= 8 else f"of {len(shape)} sides"


def _from_archive(archive: zipfile.ZipFile, folder: str, storage: Storage, start: int, size: int) -> bytes:
    try:
        with archive.open(f"{folder}/data/{storage.key}") as member:
            member.seek(start)
            return member.read(size)
    except (KeyError, zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError):
        raise UserError("a weight of it is missing from its archive; download it again.") from None


def _from_file(file: io.BufferedReader, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)
