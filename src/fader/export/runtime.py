"""The files of ONNX Runtime Web that an exported page runs on: one version, known by its hashes."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fader.errors import UserError
from fader.progress import say

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web@{VERSION}"
CDN = "https://cdn.jsdelivr.net"
MOST = 2**29  # Bytes that the package may unpack to; it has about 150 MB.
PATIENCE = 600  # Seconds that npm may take for some 33 MB.
LICENCE = """ONNX Runtime Web, https://onnxruntime.ai

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


@dataclass(frozen=True)
class File:
    """A file of the package's folder dist/."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Runtime:
    """What it takes to run graphs: a script, which loads a second one, which loads the program."""

    provider: str
    script: File
    loader: File
    program: File

    @property
    def files(self) -> tuple[File, File, File]:
        return self.script, self.loader, self.program


WASM = Runtime(
    "wasm",
    File("ort.wasm.min.mjs", "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
    File("ort-wasm-simd-threaded.mjs", "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"),
    File("ort-wasm-simd-threaded.wasm", "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
)
WEBGPU = Runtime(
    "webgpu",
    File("ort.webgpu.min.mjs", "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0"),
    File("ort-wasm-simd-threaded.asyncify.mjs", "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28"),
    File("ort-wasm-simd-threaded.asyncify.wasm", "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da"),
)
"""WASM as well, besides WebGPU."""


def copy_runtime(runtime: Runtime, source: Path | None, folder: Path) -> None:
    """Write the runtime's files into a folder, from the npm package: unpacked, or its .tgz; by default npm fetches it.

    Raises UserError where a file is missing or is not the one that it has to be, and where npm does not help.
    """
    if source is None:
        with TemporaryDirectory() as temporary:
            return copy_runtime(runtime, fetch(Path(temporary)), folder)
    folder.mkdir(parents=True)
    read = _from_archive(source) if source.is_file() else _from_folder(source)
    for file in runtime.files:
        content = read(file.name)
        if content is None:
            raise UserError(f"{source}: there is no {file.name} of {PACKAGE} in it; {_remedy()}.")
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise UserError(f"{source}: its {file.name} is not that of {PACKAGE}, or was changed; {_remedy()}.")
        (folder / published(file)).write_bytes(content)
    (folder / "LICENSE.txt").write_text(LICENCE)


def fetch(folder: Path) -> Path:
    """Have npm put the package's archive into a folder; returns its path. Raises UserError where it does not."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"The page runs on {PACKAGE}, and there is no npm here to fetch it; {_remedy()}.")
    say(f"npm pack {PACKAGE} ...")
    try:
        subprocess.run(
            [npm, "pack", PACKAGE, "--pack-destination", str(folder)],
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=folder,
        )
    except (OSError, subprocess.SubprocessError) as error:
        told = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise UserError(f"npm pack {PACKAGE} failed ({told[-1] if told else error}); {_remedy()}.") from None
    return next(folder.glob("*.tgz"))


def published(file: File) -> str:
    """What a file is called on the page: many servers do not know that .mjs is JavaScript."""
    return file.name.replace(".mjs", ".js")


def _from_folder(source: Path) -> Callable[[str], bytes | None]:
    def read(name: str) -> bytes | None:
        found = next((path for path in (source / "dist" / name, source / name) if path.is_file()), None)
        return None if found is None else found.read_bytes()

    return read


def _from_archive(source: Path) -> Callable[[str], bytes | None]:
    def read(name: str) -> bytes | None:
        try:
            with gzip.open(source) as unpacked, tarfile.open(fileobj=_Limited(unpacked), mode="r|") as archive:
                for member in archive:
                    if member.name == f"package/dist/{name}" and member.isreg():
                        content = archive.extractfile(member)
                        return None if content is None else content.read()
                return None
        except (OSError, ValueError, OverflowError, tarfile.TarError, EOFError, zlib.error) as error:
            raise UserError(f"{source}: it cannot be read as a package of npm ({error}).") from None

    return read


class _Limited(io.RawIOBase):
    """A stream that refuses to be larger than such a package is: few bytes unpack to as many as one likes."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._left = MOST

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"it unpacks to over {MOST:,} bytes")
        return content


def _remedy() -> str:
    return f"where npm is, 'npm pack {PACKAGE}' makes a file to name with --runtime"
