"""Models on the hub, against a stand-in of its HTTP interface that runs here."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch
from PIL import Image

import fader
from fader.attributes import Schema
from fader.cli import main
from fader.model import save_model
from tests.models import tiny_model
from tests.refusals import refusal

pytest.importorskip("huggingface_hub")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Repositories as dicts of files; what it was asked to make, it notes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, bytes] = {}
        self.sizes: dict[str, int] = {}  # What it says instead of how large files are.
        self.heads: list[str] = []  # What its branch points to, at each time that this is asked, before COMMIT.
        self.created: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str]] = []  # Methods and paths.


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append((self.command, path))
        if path == "/api/models/someone/faces" or path.startswith("/api/models/someone/faces/revision/"):
            sha = COMMIT if path.endswith(COMMIT) else self.server.heads.pop(0) if self.server.heads else COMMIT
            sizes = {name: len(data) for name, data in self.server.files.items()} | self.server.sizes
            siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
            self._json({"id": "someone/faces", "sha": sha, "siblings": siblings})
        elif path.startswith("/api/models/someone/faces/tree/"):
            self._json(
                [{"type": "file", "path": n, "size": len(d), "oid": _hash(d)} for n, d in self.server.files.items()]
            )
        elif "/resolve/" in path and (name := path.split(f"/resolve/{COMMIT}/")[-1]) in self.server.files:
            self._send(self.server.files[name])
        else:
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self._json({"url": "https://huggingface.co/someone/faces", "name": "someone/faces"})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            self._json({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        elif "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._json({"commitUrl": f"https://huggingface.co/someone/faces/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self._json({})

    def _json(self, data: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(data).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        about = {"Content-Length": str(len(data)), "ETag": f'"{_hash(data)}"', "X-Repo-Commit": COMMIT}
        for name, value in {**about, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(
        "huggingface_hub.HfApi.__init__.__defaults__", (address, "hf_token", *[None] * 4), raising=False
    )
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_pushed_and_loaded(hub: Hub, tmp_path: Path) -> None:
    model = tiny_model()
    save_model(model, tmp_path / "model")
    (tmp_path / "model" / "private.txt").write_text("not part of a model")
    fader.push_to_hub(tmp_path / "model", "someone/faces")
    assert [made.get("private") or made.get("visibility") == "private" for made in hub.created] == [True]
    assert set(hub.files) - {".gitattributes"} == {
        "README.md",
        "classifier.safetensors",
        "config.json",
        "model.safetensors",
    }
    hub.files["evil.py"] = b"raise SystemExit"
    loaded = fader.load("hf:someone/faces", device="cpu")
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, loaded.network.state_dict()[name])
    assert not list((tmp_path / "cache").rglob("evil.py"))
    assert not any(path.endswith("evil.py") for _, path in hub.asked)


def test_what_is_on_the_hub_is_not_trusted(hub: Hub, tmp_path: Path) -> None:
    put(hub, tiny_model(), tmp_path)
    hub.files["model.safetensors"] = hub.files["classifier.safetensors"]
    assert "model.safetensors" in refusal(lambda: fader.load("hf:someone/faces"))


@pytest.mark.parametrize(
    ("name", "size"), [("model.safetensors", 4 * 10**9 + 1), ("config.json", 10**6 + 1), ("README.md", 10**12)]
)
def test_absurd_sizes_are_refused_before_anything_is_fetched(hub: Hub, tmp_path: Path, name: str, size: int) -> None:
    put(hub, tiny_model(), tmp_path)
    hub.sizes[name] = size
    message = refusal(lambda: fader.load("hf:someone/faces"))
    assert message.startswith(f"hf:someone/faces: {name} takes {size:,} bytes; of a model it may take ")
    assert not any("/resolve/" in path and method == "GET" for method, path in hub.asked)
    hub.files["huge.bin"] = b"of no concern"
    hub.sizes = {"huge.bin": 10**15}
    fader.load("hf:someone/faces", device="cpu")


def test_what_was_looked_at_is_what_is_fetched(hub: Hub, tmp_path: Path) -> None:
    """The branch moves on after the sizes were asked for."""
    put(hub, tiny_model(), tmp_path)
    hub.heads = [COMMIT, *["f" * 40] * 9]
    fader.load("hf:someone/faces", device="cpu")
    assert len(hub.heads) == 9
    fetched = [path for method, path in hub.asked if "/resolve/" in path]
    assert fetched
    assert all(COMMIT in path for path in fetched)


@pytest.mark.parametrize("offline", [False, True])
def test_what_was_fetched_is_there_without_the_hub(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    put(hub, tiny_model(), tmp_path)
    before = fader.load("hf:someone/faces", device="cpu")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    hub.shutdown()
    hub.server_close()
    assert fader.load("hf:someone/faces", device="cpu").fingerprint == before.fingerprint
    assert refusal(lambda: fader.load("hf:someone/others")).startswith("hf:someone/others: ")


def test_verbs_take_a_name(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(hub, tiny_model(Schema.binary(["Smiling"])), tmp_path)
    picture = str(tmp_path / "me.png")
    Image.new("RGB", (40, 50), (90, 60, 30)).save(picture)
    assert main(["info", "hf:someone/faces"]) == 0
    assert "Model hf:someone/faces" in capsys.readouterr().out
    assert main(["swap", "hf:someone/faces@main", picture, "-o", str(tmp_path / "swap.png")]) == 0
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (40, 50)).save(tmp_path / "pictures" / "a.png")
    assert main(["swap", "hf:someone/faces", str(tmp_path / "pictures"), "-o", str(tmp_path / "edited")]) == 0


def put(hub: Hub, model: fader.Model, tmp_path: Path) -> None:
    """The files of a model on the hub."""
    save_model(model, tmp_path / "model")
    hub.files = {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}


def test_nothing_there(hub: Hub, tmp_path: Path) -> None:
    assert refusal(lambda: fader.load("hf:nobody/nothing")).startswith("hf:nobody/nothing: ")
    assert refusal(lambda: fader.load("hf:../../etc")).startswith("hf:../../etc: ")
    assert "no such folder" in refusal(lambda: fader.push_to_hub(tmp_path / "none", "someone/faces"))
    assert not hub.created
