"""What strangers' files go into: for each kind the seeds, how they are damaged, and everything that reads them."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from fader.errors import UserError
from tests.fuzz import mutations

Attempt = Callable[[Any, Path], None]


@dataclass(frozen=True)
class Target:
    """Something that reads files."""

    inputs: st.SearchStrategy[Any]
    write: Callable[[Any, Path], None]
    """Puts an input into an empty folder."""
    read: Callable[[Path, Path], Any]
    """Does all that there is to do with what `write` wrote; may write below the second folder alone."""
    own: bool = False
    """Whether what is read belongs to the user and may be written to as well."""


Make = Callable[[Path], Target]
"""Makes the seeds in a folder, and a target of them."""


def _files(*names: str) -> Callable[[Any, Path], None]:
    """Writes one file of several kinds: an input is the number of the name, and the content."""

    def write(drawn: tuple[int, bytes], folder: Path) -> None:
        (folder / names[drawn[0]]).write_bytes(drawn[1])

    return write


def _one_damaged(seeds: Path, strategies: dict[str, st.SearchStrategy[bytes]]) -> tuple[Any, Any]:
    """Inputs, and how they are written: the folder `seeds` with one of its files damaged."""
    inputs = st.one_of(*(st.tuples(st.just(name), content) for name, content in strategies.items()))

    def write(drawn: tuple[str, bytes], folder: Path) -> None:
        shutil.copytree(seeds, folder, dirs_exist_ok=True)
        (folder / drawn[0]).write_bytes(drawn[1])

    return inputs, write


def _tried(*calls: Callable[[], Any]) -> None:
    """Calls that are of the same input but do not need one another: each may refuse it."""
    for call in calls:
        try:
            call()
        except UserError as error:
            _check(error)


def _check(error: UserError) -> None:
    assert str(error).isprintable(), "a message that could steer a terminal"
    assert len(str(error)) < 100_000, "a message that fills the terminal"


def portrait(size: int = 48) -> Image.Image:
    from fader.datasets.portraits.renderer import portrait as drawn

    return Image.fromarray(drawn(3, size))


def picture_seeds() -> dict[str, bytes]:
    """A picture in every format that Pillow writes and reads, in several modes."""
    Image.init()
    seeds, picture = {}, portrait()
    for kind in sorted(set(Image.SAVE) & set(Image.OPEN)):
        for mode in ("RGB", "RGBA", "L", "1", "P", "I;16", "F", "CMYK"):
            stream = io.BytesIO()
            try:
                picture.convert("I" if mode == "I;16" else mode).convert(mode).save(stream, kind)
            except Exception:  # Many formats know few modes; which is no matter here.
                continue
            seeds[f"{kind}-{mode}"] = stream.getvalue()
    frames = [picture.rotate(angle) for angle in (0, 90)]
    for kind in ("GIF", "PNG", "TIFF", "WEBP", "AVIF"):
        stream = io.BytesIO()
        picture.save(stream, kind, save_all=True, append_images=frames)
        seeds[f"{kind}-animated"] = stream.getvalue()
    metadata: dict[str, dict[str, Any]] = {
        "JPEG": {"exif": _exif(), "icc_profile": _profile(), "progressive": True},
        "PNG": {"exif": _exif(), "icc_profile": _profile()},
        "TIFF": {"compression": "tiff_lzw", "icc_profile": _profile()},
    }
    for kind, options in metadata.items():
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        seeds[f"{kind}-metadata"] = stream.getvalue()
    return seeds


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    return exif.tobytes()


def _profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pictures(folder: Path) -> Target:
    from fader.images import open_picture, to_array

    seeds = picture_seeds()
    pngs = [data for name, data in seeds.items() if name.startswith("PNG")]
    bombs = [_bomb(side) for side in (9_000, 20_000, 2**31 - 1)]
    content = st.one_of(mutations.damaged(list(seeds.values())), mutations.damaged_png(pngs), st.sampled_from(bombs))

    def read(given: Path, output: Path) -> None:
        to_array(open_picture(given / "picture"), 32)

    return Target(content, lambda data, to: _write(to / "picture", data), read)


def _bomb(side: int) -> bytes:
    """A PNG that claims so many rows and columns, of one colour or of nothing."""
    stream = io.BytesIO()
    Image.new("1", (min(side, 9_000),) * 2).save(stream, "PNG")
    data = bytearray(stream.getvalue())
    data[16:24] = side.to_bytes(4, "big") * 2
    return mutations._with_checksums(bytes(data))


def tables(folder: Path) -> Target:
    from fader.datasets.tables import read_table

    rows = [
        ("file", "Smiling", "Hair", "split"),
        *((f"{i}.png", i % 2, ("a", "b", "c")[i % 3], i % 3) for i in range(9)),
    ]
    texts = ["\n".join(separator.join(map(str, row)) for row in rows).encode() for separator in ",;\t"]
    texts += [texts[0].replace(b"a", b'"a ""quoted"", and more"'), b"\xef\xbb\xbf" + texts[0].replace(b"\n", b"\r\n")]
    stream = io.BytesIO()
    columns = {str(name): [str(row[i]) for row in rows[1:]] for i, name in enumerate(rows[0])}
    import_module("pyarrow.parquet").write_table(import_module("pyarrow").table(columns), stream)
    cell = st.one_of(
        st.sampled_from(["0", "1", "-1", "yes", "nan", "a", "", "train", *mutations.TEXTS]), st.text(max_size=9)
    )
    grid = st.lists(st.lists(cell, min_size=1, max_size=5), min_size=1, max_size=8).map(_csv)
    inputs = st.one_of(
        st.tuples(st.integers(0, 1), st.one_of(mutations.damaged(texts), grid)),
        st.tuples(st.just(2), mutations.damaged([stream.getvalue()])),
    )

    def read(given: Path, output: Path) -> None:
        (path,) = given.iterdir()
        table = read_table(path)
        _tried(
            lambda: table.attributes(None),
            lambda: table.attributes(list(table.columns)),
            *(lambda name=name: table.splits(name) for name in table.columns),
        )

    return Target(inputs, _files("table.csv", "table.tsv", "table.parquet"), read)


def _csv(rows: Iterable[Iterable[str]]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def archives(folder: Path) -> Target:
    """Zip archives of pictures, prepared as datasets."""
    from fader.datasets.folder import prepare_folder
    from fader.datasets.pictures import PictureFiles

    contents = [data for name, data in picture_seeds().items() if name in ("PNG-RGB", "JPEG-RGB", "GIF-P")]
    labels = b"file,Smiling\na.png,0\nb/c.png,1\n../out.png,1\n"
    sound = mutations._archive([("a.png", contents[0], 8, 0o100644), ("b/c.png", contents[1], 0, 0o100644)])
    inputs = st.one_of(mutations.hostile_archives(contents), mutations.damaged_zip([sound]))

    def write(data: bytes, to: Path) -> None:
        _write(to / "pictures.zip", data)
        _write(to / "labels.csv", labels)

    def read(given: Path, output: Path) -> None:
        def fetch() -> None:
            with PictureFiles(given / "pictures.zip") as files:
                for name in files.names:
                    _tried(lambda name=name: files.fetch(name), lambda name=name: files.read(name, 1000))  # type: ignore[misc]

        def prepare(table: Path | None) -> None:
            prepare_folder(given / "pictures.zip", table, output / "dataset", size=32, workers=1, overwrite=True)

        _tried(fetch, lambda: prepare(given / "labels.csv"), lambda: prepare(None))

    return Target(inputs, write, read)


def datasets(folder: Path) -> Target:
    from fader.datasets.portraits.source import prepare_portraits
    from fader.datasets.prepared import open_dataset
    from fader.images import Framing
    from fader.info import describe

    prepare_portraits(folder / "dataset", count=12, size=32, workers=1)
    manifest = json.loads((folder / "dataset/dataset.json").read_bytes())
    inputs, write = _one_damaged(
        folder / "dataset",
        {
            "dataset.json": mutations.damaged_json_bytes([manifest]),
            "labels.npz": mutations.damaged_zip([(folder / "dataset/labels.npz").read_bytes()]),
            "images.npy": mutations.damaged([(folder / "dataset/images.npy").read_bytes()]),
        },
    )

    def read(given: Path, output: Path) -> None:
        data = open_dataset(given)
        _tried(
            data.verify,
            lambda: describe(given),
            lambda: data.indices("train"),
            lambda: Framing.from_json(data.info["framing"]),
            lambda: data.images[np.arange(len(data))],
            lambda: data.has_counterfactuals and data.counterfactual(0, {data.schema.names[0]: 1}),
        )

    return Target(inputs, write, read)


def models(folder: Path) -> Target:
    """Model folders: loaded, used and saved again."""
    import fader
    from fader.info import describe
    from fader.model import save_model
    from tests.models import tiny_model

    save_model(tiny_model(), folder / "model")
    config = json.loads((folder / "model/config.json").read_bytes())
    inputs, write = _one_damaged(
        folder / "model",
        {
            "config.json": mutations.damaged_json_bytes([config]),
            "model.safetensors": mutations.damaged_safetensors([(folder / "model/model.safetensors").read_bytes()]),
            "classifier.safetensors": mutations.damaged_safetensors(
                [(folder / "model/classifier.safetensors").read_bytes()]
            ),
        },
    )
    picture = portrait()

    def read(given: Path, output: Path) -> None:
        model = fader.load(given, device="cpu")
        name = model.schema.names[0]
        _tried(
            lambda: describe(given),
            lambda: model.encode(picture).edit({name: 1}),
            lambda: save_model(model, output / "again", overwrite=True),
        )

    return Target(inputs, write, read)


def classifiers(folder: Path) -> Target:
    from fader.config import ClassifierConfig
    from fader.info import describe
    from fader.networks.classifier import make_classifier
    from fader.training.classifier import Classifier, load_classifier, save_classifier
    from tests.models import SCHEMA

    config = ClassifierConfig(width=4, max_width=8, hidden=8)
    info = {"accuracy": dict.fromkeys(SCHEMA.names, 0.9), "dataset": "0123456789abcdef"}
    network = make_classifier(config, 32, 3, SCHEMA).eval()
    save_classifier(Classifier(network, SCHEMA, 32, 3, config, info), folder / "classifier")
    weights = (folder / "classifier/classifier.safetensors").read_bytes()
    inputs, write = _one_damaged(
        folder / "classifier",
        {
            "config.json": mutations.damaged_json_bytes([json.loads((folder / "classifier/config.json").read_bytes())]),
            "classifier.safetensors": mutations.damaged_safetensors([weights]),
        },
    )
    return Target(inputs, write, lambda given, output: _tried(lambda: load_classifier(given), lambda: describe(given)))


def released(folder: Path) -> Target:
    """The authors' checkpoints, in both serialisations."""
    import torch

    from fader.interop.released import import_released
    from tests.fuzz.seeds import released_files

    networks, classifiers = released_files(folder)
    zipped = [data for data in networks if data.startswith(b"PK")]
    content = st.one_of(mutations.damaged_zip(zipped), mutations.damaged(networks))
    inputs = st.one_of(
        st.tuples(content, st.none()), st.tuples(st.just(networks[0]), mutations.damaged(classifiers).map(lambda x: x))
    )

    def write(drawn: tuple[bytes, bytes | None], to: Path) -> None:
        _write(to / "network.pth", drawn[0])
        if drawn[1] is not None:
            _write(to / "classifier.pth", drawn[1])

    def read(given: Path, output: Path) -> None:
        classifier = given / "classifier.pth"
        with torch.no_grad():
            import_released(
                given / "network.pth", output / "model", classifier if classifier.exists() else None, overwrite=True
            )

    return Target(inputs, write, read)


def runs(folder: Path) -> Target:
    """Run folders: what they say of themselves, their records, and checkpoints to resume from."""
    import torch

    from fader.config import Config
    from fader.info import describe
    from fader.training.checkpoints import newest_checkpoint, save_checkpoint
    from fader.training.choice import open_run_dataset, show_candidates
    from fader.training.records import read_records
    from fader.training.run import RunOf, open_run
    from tests.models import SCHEMA

    run = folder / "run"
    save_checkpoint(run / "checkpoints", 7, {"player": {"weight": torch.zeros(3, 2)}, "list": [1, "two", None]})
    about = {"path": str(folder / "nowhere"), "name": "faces", "fingerprint": "0123456789abcdef"}
    description = RunOf(run, Config(), SCHEMA, about, None).to_json()
    _write(run / "run.json", mutations.json_bytes(description))
    records = [
        {"kind": "train", "step": 5, "loss": 0.5},
        {
            "kind": "evaluation",
            "step": 7,
            "epoch": 1,
            "seconds": 9.5,
            "mse": 0.1,
            "mean_accuracy": 0.5,
            "accuracy": dict.fromkeys(SCHEMA.names, 0.5),
        },
        {"kind": "epoch", "step": 7, "epoch": 1, "stage": "gan", "seconds": 9.5, "loss": 1.0},
    ]
    _write(run / "metrics.jsonl", b"\n".join(map(mutations.json_bytes, records)) + b"\n")
    checkpoint = "checkpoints/step-000000007.pt"
    inputs, write = _one_damaged(
        run,
        {
            "run.json": mutations.damaged_json_bytes([description]),
            "metrics.jsonl": st.one_of(
                mutations.damaged([(run / "metrics.jsonl").read_bytes()]),
                mutations.damaged_json([records]).map(_lines),
            ),
            checkpoint: mutations.damaged_zip([(run / checkpoint).read_bytes()]),
        },
    )

    def read(given: Path, output: Path) -> None:
        _tried(
            lambda: newest_checkpoint(given / "checkpoints"),
            lambda: read_records(given / "metrics.jsonl"),
            lambda: describe(given),
            lambda: show_candidates(given),
            lambda: open_run_dataset(open_run(given)),
        )

    return Target(inputs, write, read, own=True)


def _lines(records: Any) -> bytes:
    return b"\n".join(map(mutations.json_bytes, records if isinstance(records, list) else [records])) + b"\n"


def studies(folder: Path) -> Target:
    """Study folders, and what Mechanical Turk gives back."""
    from fader.study.folder import open_key
    from fader.study.report import report
    from fader.study.turk import export, import_results
    from tests.fuzz.seeds import small_study

    study = small_study(folder / "study")
    _write(folder / "study/results.csv", _csv(_turk_rows([item.picture for item in study.tasks[0].items])))
    import_results(folder / "study", folder / "study/results.csv")
    text = (folder / "study/results.csv").read_bytes()
    inputs, write = _one_damaged(
        folder / "study",
        {
            "study.json": mutations.damaged_json_bytes([study.to_json()]),
            "key.json": mutations.damaged_json_bytes([json.loads((folder / "study/key.json").read_bytes())]),
            "answers.sqlite": mutations.damaged([(folder / "study/answers.sqlite").read_bytes()]),
            "results.csv": mutations.damaged([text, text.replace(b"\n", b"\r\n")]),
        },
    )

    def read(given: Path, output: Path) -> None:
        from fader.study.folder import open_study

        _tried(
            lambda: import_results(given, given / "results.csv"),
            lambda: open_key(open_study(given)),
            lambda: report(given, output / "report", overwrite=True),
            lambda: export(given, output / "turk", "https://example.org/pictures", overwrite=True),
        )

    return Target(inputs, write, read, own=True)


def _turk_rows(names: list[str]) -> list[list[str]]:
    """The lines of a batch's results, of two pictures a HIT."""
    header = ["HITId", "WorkerId", "AssignmentStatus", "Input.picture_1", "Input.picture_2"]
    header += ["Answer.answer_1", "Answer.answer_2"]
    pairs = zip(names[::2], names[1::2], strict=False)
    return [header, *([f"HIT{i}", "A1WORKER", "Approved", *pair, "0", "1"] for i, pair in enumerate(pairs))]


def published(folder: Path) -> Target:
    """The labels of Oxford-102, and the text files of CelebA."""
    from fader.datasets.celeba import prepare_celeba
    from fader.datasets.matlab import read_whole_numbers

    seeds = [b"x" * 124 + b"\0\1IM" + _matrix(compressed) for compressed in (False, True)]
    celeba = {
        "list_attr_celeba.txt": b"3\nSmiling Male\n" + b"".join(b"%06d.jpg -1  1\n" % i for i in (1, 2, 3)),
        "list_eval_partition.txt": b"".join(b"%06d.jpg %d\n" % (i, i % 3) for i in (1, 2, 3)),
    }
    stream = io.BytesIO()
    portrait(218).resize((178, 218)).save(stream, "JPEG")
    for number in (1, 2, 3):
        _write(folder / f"celeba/img_align_celeba/{number:06}.jpg", stream.getvalue())
    for name, content in celeba.items():
        _write(folder / "celeba" / name, content)
    texts, write_celeba = _one_damaged(
        folder / "celeba", {name: mutations.damaged([content]) for name, content in celeba.items()}
    )

    def write(drawn: Any, to: Path) -> None:
        if isinstance(drawn, bytes):
            _write(to / "labels.mat", drawn)
        else:
            write_celeba(drawn, to)

    def read(given: Path, output: Path) -> None:
        if (given / "labels.mat").exists():
            read_whole_numbers((given / "labels.mat").read_bytes(), "labels.mat")
        else:
            prepare_celeba(given, output / "dataset", size=32, workers=1, overwrite=True)

    return Target(st.one_of(mutations.damaged(seeds), texts), write, read)


def _matrix(compressed: bool) -> bytes:
    """An array of a MATLAB file: labels 1 x 6 of doubles."""
    import struct
    import zlib

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    parts = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", 1, 6)) + element(1, b"labels")
    matrix = element(14, parts + element(9, np.arange(6.0).tobytes()))
    if not compressed:
        return matrix
    packed = zlib.compress(matrix)
    return struct.pack("<II", 15, len(packed)) + packed


def studio(folder: Path) -> Target:
    """The studio's uploads, requests and frames."""
    from starlette.testclient import TestClient

    from fader.studio.bench import Bench
    from fader.studio.serve import application
    from fader.web.guard import Site
    from tests.models import tiny_model

    site = Site(("http://127.0.0.1:8766",), "secret")
    headers = {"Origin": site.origins[0], "Host": "127.0.0.1:8766"}
    client = TestClient(application([Bench(tiny_model(), "faces")], site), base_url=site.link, headers=headers)
    client.__enter__()  # One event loop for all inputs; it ends with the process.
    files = list(picture_seeds().values())
    photo = client.post("api/photos", content=files[0]).json()["id"]
    place = {"x": 24, "y": 24, "side": 48, "angle": 0.5}
    opening = {"model": "0", "photo": photo, "placement": place}
    face = client.post("api/faces", json=opening).json()["id"]
    values = [0.5, 2, -1]
    requests = {
        "api/faces": mutations.damaged_json_bytes([opening, {"model": "0", "start": 5}]),
        "api/paste": mutations.damaged_json_bytes([{"face": face, "values": values}]),
        # What is closed is gone for all later inputs: only what is not there.
        "api/close": mutations.damaged_json_bytes([{"face": "none", "photo": "none"}]),
        "api/photos": mutations.damaged(files),
        "": mutations.damaged_json_bytes([{"n": 7, "face": face, "values": [values, values]}]),
    }
    addresses = st.sampled_from(
        ["../serve.py", "%2e%2e/serve.py", "api/starts/0/0", "api/starts/9/9999999999", "api/photos/x"]
    )
    inputs = st.one_of(
        *(st.tuples(st.just(path), content) for path, content in requests.items()),
        st.tuples(addresses, st.none()),
    )

    def read(given: Path, output: Path) -> None:
        path = (given / "path").read_text()
        content = (given / "content").read_bytes() if (given / "content").exists() else None
        if path == "":
            with client.websocket_connect("/secret/api/frames", headers=headers) as socket:
                try:
                    socket.send_text(content.decode()) if content else socket.send_bytes(b"")
                except UnicodeDecodeError:
                    socket.send_bytes(content or b"")
                answer = socket.receive()
                if answer["type"] == "websocket.close":
                    assert answer["code"] == 1008
                    raise UserError(answer["reason"])
        else:
            _answered(client.post(path, content=content) if content is not None else client.get(path))

    return Target(inputs, _write_request, read)


def _write_request(drawn: tuple[str, bytes | None], to: Path) -> None:
    (to / "path").write_text(drawn[0])
    if drawn[1] is not None:
        (to / "content").write_bytes(drawn[1])


def _answered(response: Any) -> None:
    """Raises UserError where a request was refused; nothing may go wrong at the server's end."""
    assert response.status_code < 500, response.status_code
    if response.status_code >= 400:
        assert "Traceback" not in response.text
        raise UserError(response.text)


def raters(folder: Path) -> Target:
    """The study server's requests."""
    from starlette.testclient import TestClient

    from fader.study.answers import Answers
    from fader.study.serve import application
    from fader.web.guard import Site
    from tests.fuzz.seeds import small_study

    study = small_study(folder / "study")
    answers = Answers(study)
    site = Site(("http://127.0.0.1:8765",), answers.secret())
    client = TestClient(application(study, answers, site), base_url=site.link, headers={"Origin": site.origins[0]})
    client.__enter__()
    client.post("api/consent", content=b"")
    task = study.tasks[0]
    client.post("api/begin", json={"task": task.id})
    requests = {
        "api/begin": mutations.damaged_json_bytes([{"task": task.id}]),
        "api/answer": mutations.damaged_json_bytes([{"task": task.id, "item": task.items[0].id, "answer": 1}]),
        "api/consent": st.binary(max_size=8),
    }
    addresses = ["../study.json", "pictures/..%2fkey.png", "pictures/%2e%2e/key.json", "api/state", "key.json"]
    inputs = st.one_of(
        *(st.tuples(st.just(path), content) for path, content in requests.items()),
        st.tuples(st.sampled_from([*addresses, f"pictures/{task.items[0].picture}.png"]), st.none()),
    )

    def read(given: Path, output: Path) -> None:
        path = (given / "path").read_text()
        content = (given / "content").read_bytes() if (given / "content").exists() else None
        _answered(client.post(path, content=content) if content is not None else client.get(path))

    return Target(inputs, _write_request, read)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


TARGETS: dict[str, Make] = {
    "pictures": pictures,
    "tables": tables,
    "archives": archives,
    "datasets": datasets,
    "models": models,
    "classifiers": classifiers,
    "released": released,
    "runs": runs,
    "studies": studies,
    "published": published,
    "studio": studio,
    "raters": raters,
}
