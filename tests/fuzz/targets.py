"""What strangers' files go into: for each kind the seeds, how they are damaged, and everything that reads them."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from fader.errors import UserError
from tests.fuzz import mutations
from tests.fuzz.bounds import ran_out

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
            if memory := ran_out(error):
                raise memory from error
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
    hostile = hostile_pictures()
    read_ones = [data for data in seeds.values() if _is_read(data)]
    others = [data for data in seeds.values() if data not in read_ones]
    files = mutations.often(mutations.damaged(read_ones), mutations.damaged([*others, *hostile]))
    content = mutations.often(
        st.one_of(files, mutations.damaged_png(pngs)), st.sampled_from([*bombs, *hostile, _many_scans()]), 20
    )

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


def _is_read(data: bytes) -> bool:
    """Whether a sound picture is of a format that is read."""
    from fader.images import open_picture

    try:
        open_picture(io.BytesIO(data))
    except UserError:
        return False
    return True


def hostile_pictures() -> list[bytes]:
    """What Pillow would hand on: PostScript in IPTC, a page of a FITS file in gzip, and QOI, which is slow."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(touch) show\n%%EOF\n"

    def field(record: int, number: int, data: bytes) -> bytes:
        return bytes([0x1C, record, number]) + len(data).to_bytes(2, "big") + data

    header = ((60, b"\1\0"), (20, b"\n"), (30, b"\n"), (120, b"\5"))
    iptc = b"".join(field(3, number, data) for number, data in header) + field(8, 10, eps)

    def cards(*lines: str) -> bytes:
        return b"".join(line.encode().ljust(80) for line in lines).ljust(2880)

    numbers = {"BITPIX": 8, "NAXIS": 2, "NAXIS1": 8, "NAXIS2": 1, "PCOUNT": 0, "ZBITPIX": 8, "ZNAXIS": 2}
    numbers |= {"ZNAXIS1": 64, "ZNAXIS2": 64}
    table = [f"{name:<8}= {value:>20}" for name, value in numbers.items()]
    fits = cards("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "END") + cards(
        "XTENSION= 'BINTABLE'", *table, "ZIMAGE  = T", "ZCMPTYPE= 'GZIP_1  '", "END"
    )
    qoi = b"qoif" + (64).to_bytes(4, "big") * 2 + b"\4\0" + bytes(64 * 64)
    return [eps, iptc, fits + bytes(8) + gzip.compress(bytes(64 * 64 * 4)), qoi]


def _many_scans() -> bytes:
    """A progressive JPEG that takes long to decode for its size."""
    stream = io.BytesIO()
    Image.new("L", (6_000, 6_000), 128).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last = data.rfind(b"\xff\xda")
    return data[:last] + data[last:-2] * 150 + data[-2:]


def tables(folder: Path) -> Target:
    from fader.datasets.tables import read_table

    rows = [
        ("file", "Smiling", "Hair", "split"),
        *((f"{i}.png", i % 2, ("a", "b", "c")[i % 3], i % 3) for i in range(9)),
    ]
    texts = ["\n".join(separator.join(map(str, row)) for row in rows).encode() for separator in ",;\t"]
    texts += [texts[0].replace(b"a", b'"a ""quoted"", and more"'), b"\xef\xbb\xbf" + texts[0].replace(b"\n", b"\r\n")]
    cell = st.one_of(
        st.sampled_from(["0", "1", "-1", "yes", "nan", "a", "", "train", *mutations.TEXTS]), st.text(max_size=9)
    )
    grid = st.lists(st.lists(cell, min_size=1, max_size=5), min_size=1, max_size=8).map(_csv)
    inputs = st.one_of(
        st.tuples(st.integers(0, 1), st.one_of(mutations.damaged(texts), grid)),
        st.tuples(st.just(2), mutations.often(mutations.damaged(_parquets(rows)), st.sampled_from(_odd_parquets()))),
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


def _parquet(columns: dict[str, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    import_module("pyarrow.parquet").write_table(import_module("pyarrow").table(columns), stream, **options)
    return stream.getvalue()


def _parquets(rows: list[tuple[Any, ...]]) -> list[bytes]:
    """Tables of text, and of every other kind of column."""
    columns = {str(name): [str(row[i]) for row in rows[1:]] for i, name in enumerate(rows[0])}
    when = datetime.datetime(2026, 11, 24, 1, 2, 3)
    kinds: list[Any] = [
        *(7, True, 0.5, None, b"bytes", decimal.Decimal("1.50"), when, when.date(), when.time()),
        *(datetime.timedelta(days=1), [1, 2], {"a": 1}, when.replace(tzinfo=datetime.UTC)),
    ]
    others = {f"column {i}": [kind, None, kind] * 3 for i, kind in enumerate(kinds)}
    files = {"file": columns["file"]}
    return [
        _parquet(columns),
        _parquet(columns, compression="zstd", use_dictionary=False),
        _parquet(files | others),
        *(_parquet(files | {name: column}) for name, column in others.items()),
    ]


def _odd_parquets() -> list[bytes]:
    """Columns of dates and times that there are not, of numbers at the ends of their types, and of few bytes."""
    arrow = import_module("pyarrow")

    def column(number: int, kind: Any, source: Any = None) -> Any:
        return arrow.array([number, 1], source or arrow.int64()).cast(kind)

    columns = [
        column(10**8, arrow.date32(), arrow.int32()),
        *(column(2**50, arrow.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
        column(2**62, arrow.timestamp("us", tz="Nowhere/Land")),
        column(2**62, arrow.time64("us")),
        *(column(2**62, arrow.duration(unit)) for unit in ("s", "us", "ns")),
        *(arrow.array([value, value]) for value in (float("nan"), float("inf"), 1e308, 2**63 - 1)),
        arrow.array([[None] * 1000, []]),
    ]
    files = [_parquet({"file": ["0.png", "1.png"], "x": column}) for column in columns]
    many = arrow.array(np.zeros(1_000_000, np.int64))
    return [*files, _parquet({"file": many, "x": many}, compression="zstd")]


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

        _tried(fetch, lambda: prepare(None))
        prepare(given / "labels.csv")

    return Target(inputs, write, read)


def datasets(folder: Path) -> Target:
    """Prepared datasets, in a folder and at a URL."""
    from fader.datasets.portraits.source import prepare_portraits
    from fader.datasets.prepared import PreparedDataset, open_dataset
    from fader.files import write_json, write_text
    from fader.images import Framing
    from fader.info import describe

    prepare_portraits(folder / "dataset", count=12, size=32, workers=1)
    manifest = json.loads((folder / "dataset/dataset.json").read_bytes())
    labels = (folder / "dataset/labels.npz").read_bytes()
    one_file, write_one = _one_damaged(
        folder / "dataset",
        {
            "dataset.json": mutations.damaged_json_bytes([manifest]),
            "labels.npz": st.one_of(mutations.damaged_zip([labels]), _other_labels(labels)),
            "images.npy": mutations.damaged([(folder / "dataset/images.npy").read_bytes()]),
        },
    )
    # Checksums keep out what was damaged by accident, and not what was made to do harm.
    inputs = st.tuples(one_file, st.sampled_from([True, True, False]))

    def write(drawn: tuple[tuple[str, bytes], bool], to: Path) -> None:
        write_one(drawn[0], to)
        if drawn[1]:
            _mend_checksums(to)

    def read(given: Path, output: Path) -> None:
        def look(data: PreparedDataset) -> None:
            _tried(
                data.verify,
                lambda: describe(given),
                lambda: data.indices("train"),
                lambda: Framing.from_json(data.info["framing"]),
                lambda: data.images[np.arange(len(data))],
                lambda: data.has_counterfactuals and data.counterfactual(0, {data.schema.names[0]: 1}),
                lambda: write_text(output / "names.txt", "\n".join(data.names)),
                lambda: write_json(output / "info.json", data.info),
            )

        def look_from_afar() -> None:
            for file in given.iterdir():
                memory.pipe_file(f"/faces/{file.name}", file.read_bytes())
            look(open_dataset("memory://faces"))

        os.environ["FADER_CACHE"] = str(output / "cache")
        _tried(look_from_afar)
        look(open_dataset(given))

    memory = import_module("fsspec").filesystem("memory")
    return Target(inputs, write, read)


def _other_labels(labels: bytes) -> st.SearchStrategy[bytes]:
    """Files of labels that are whole, but hold something else."""
    with np.load(io.BytesIO(labels)) as file:
        arrays = dict(file)
    numbers = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 2, 3]))
    name = st.one_of(st.text(max_size=5), st.sampled_from([*mutations.TEXTS, "9" * 30, "-1", "\u0663", "1_0"]))
    count = len(arrays["names"])
    changes = st.one_of(
        st.lists(name, min_size=count, max_size=count).map(lambda names: {"names": np.array(names)}),
        st.tuples(st.integers(0, count - 1), numbers).map(lambda at: {"labels": _with(arrays["labels"], *at)}),
        st.tuples(st.integers(0, count - 1), numbers).map(lambda at: {"splits": _with(arrays["splits"], *at)}),
        st.tuples(st.sampled_from(sorted(arrays)), st.sampled_from(["i8", "f4", "U9", "?", "S3", "M8[s]", "c16"])).map(
            lambda drawn: {drawn[0]: np.zeros(arrays[drawn[0]].shape, drawn[1])}
        ),
        st.sampled_from(sorted(arrays)).map(lambda key: {key: arrays[key][..., None]}),
        st.sampled_from(sorted(arrays)).map(lambda key: {key: arrays[key][:-1]}),
        st.sampled_from(sorted(arrays)).map(lambda key: {key: np.asfortranarray(arrays[key][::-1])}),
    )

    def saved(changed: dict[str, np.ndarray]) -> bytes:
        stream = io.BytesIO()
        np.savez(stream, **(arrays | changed))
        return stream.getvalue()

    return changes.map(saved)


def _with(array: np.ndarray, place: int, value: int) -> np.ndarray:
    changed = array.copy()
    changed[place] = value
    return changed


def _mend_checksums(folder: Path) -> None:
    """Makes `dataset.json` tell of the files that are there, as far as it can be read."""
    from fader.datasets.prepared import BLOCK, SPLITS

    try:
        info = json.loads((folder / "dataset.json").read_bytes())
        labels, images = ((folder / name).read_bytes() for name in ("labels.npz", "images.npy"))
        length = max(1, info["size"]) ** 2 * info["channels"] * BLOCK
        pixels = images[10 + int.from_bytes(images[8:10], "little") :]
        blocks = [pixels[at : at + length] for at in range(0, len(pixels), length)]
        checksums = [hashlib.sha256(block).hexdigest() for block in blocks]
        info["checksums"] = {"images.npy": checksums, "labels.npz": hashlib.sha256(labels).hexdigest()}
        with np.load(io.BytesIO(labels)) as file:
            info["splits"] = {name: int((file["splits"] == k).sum()) for k, name in enumerate(SPLITS)}
        (folder / "dataset.json").write_bytes(mutations.json_bytes(info))
    except Exception:  # What is damaged so far is found without checksums.
        return


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

    def read(given: Path, output: Path) -> None:
        _tried(lambda: describe(given))
        load_classifier(given)

    return Target(inputs, write, read)


def released(folder: Path) -> Target:
    """The authors' checkpoints, in both serialisations."""
    import torch

    from fader.interop.released import import_released
    from tests.fuzz.seeds import released_files

    networks, classifiers = released_files(folder)
    zipped = [data for data in networks if data.startswith(b"PK")]
    zipped_classifiers = [data for data in classifiers if data.startswith(b"PK")]
    content = mutations.often(mutations.damaged_torch(zipped), mutations.damaged(networks), 4)
    judges = mutations.often(mutations.damaged_torch(zipped_classifiers), mutations.damaged(classifiers), 4)
    inputs = st.one_of(st.tuples(content, st.none()), st.tuples(st.just(networks[0]), judges))

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
    from fader.datasets.portraits.source import prepare_portraits
    from fader.datasets.prepared import open_dataset
    from fader.demo import report_of_model
    from fader.info import describe
    from fader.model import save_model
    from fader.networks.weights import save_weights
    from fader.training.checkpoints import newest_checkpoint, save_checkpoint
    from fader.training.choice import choose, open_run_dataset, show_candidates
    from fader.training.classifier import Classifier, save_classifier
    from fader.training.records import read_records
    from fader.training.run import RunOf, open_run
    from tests.formats.make import HERE as FORMATS
    from tests.models import tiny_model

    run = folder / "run"
    save_checkpoint(run / "checkpoints", 7, {"player": {"weight": torch.zeros(3, 2)}, "list": [1, "two", None]})
    prepare_portraits(folder / "portraits", count=12, size=32, workers=1)
    data = open_dataset(folder / "portraits")
    schema = data.schema.select(["Smiling", "Eyeglasses"])
    model = tiny_model(schema)
    assert isinstance(model.config, Config)
    about = {"path": str(folder / "portraits"), "name": "portraits", "fingerprint": data.fingerprint}
    description = RunOf(run, model.config, schema, about, None).to_json()
    (run / "candidates").mkdir()
    save_weights(model.network, run / "candidates/epoch-0001.safetensors")
    candidate = (run / "candidates/epoch-0001.safetensors").read_bytes()
    save_model(model, run / "model")
    assert model.classifier is not None
    assert model.classifier_config is not None
    known = {"accuracy": dict.fromkeys(schema.names, 0.9), "dataset": data.fingerprint}
    save_classifier(Classifier(model.classifier, schema, 32, 3, model.classifier_config, known), run / "classifier")
    with zipfile.ZipFile(FORMATS / "evaluation-1.zip") as archive:
        report = json.loads(archive.read("report.json"))
    report["meta"]["model"]["selection"] = model.selection
    _write(run / "evaluation/report.json", mutations.json_bytes(report))
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
            "accuracy": dict.fromkeys(schema.names, 0.5),
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
            checkpoint: mutations.damaged_torch([(run / checkpoint).read_bytes()]),
            "candidates/epoch-0001.safetensors": mutations.damaged_safetensors([candidate]),
            "evaluation/report.json": mutations.damaged_json_bytes([report]),
        },
    )

    def read(given: Path, output: Path) -> None:
        _tried(
            lambda: newest_checkpoint(given / "checkpoints"),
            lambda: read_records(given / "metrics.jsonl"),
            lambda: describe(given),
            lambda: open_run_dataset(open_run(given)),
            lambda: report_of_model(given),
            lambda: choose(given, 1),
        )
        show_candidates(given, count=1)

    return Target(inputs, write, read, own=True)


def _lines(records: Any) -> bytes:
    return b"\n".join(map(mutations.json_bytes, records if isinstance(records, list) else [records])) + b"\n"


def edits(folder: Path) -> Target:
    """Folders of edited pictures, gone on with."""
    from fader.editing.folder import edit_folder
    from fader.model import save_model
    from tests.models import tiny_model

    model, edited = folder / "model", folder / "edits/edited"
    save_model(tiny_model(), model)
    (folder / "edits/pictures/a").mkdir(parents=True)
    for name in ("a/b.png", "c.png"):
        portrait().save(folder / "edits/pictures" / name)
    edit_folder(model, folder / "edits/pictures", edited, {"Smiling": 1}, device="cpu", workers=1)
    lines = (edited / "manifest-0.jsonl").read_bytes()
    records = [json.loads(line) for line in lines.splitlines()]
    inputs, write = _one_damaged(
        folder / "edits",
        {
            "edited/edits.json": mutations.damaged_json_bytes([json.loads((edited / "edits.json").read_bytes())]),
            "edited/manifest-0.jsonl": st.one_of(
                mutations.damaged([lines]), mutations.damaged_json([records]).map(_lines)
            ),
        },
    )

    def read(given: Path, output: Path) -> None:
        def edit(edited: Path, overwrite: bool = False) -> None:
            pictures, values = given / "pictures", {"Smiling": 1}
            edit_folder(model, pictures, edited, values, device="cpu", workers=1, overwrite=overwrite)

        shutil.copytree(given / "edited", output / "edited")
        _tried(lambda: edit(output / "edited", overwrite=True))
        edit(given / "edited")

    return Target(inputs, write, read, own=True)


def runtimes(folder: Path) -> Target:
    """What npm packed: archives of the runtime that exported pages have."""
    from fader.export.runtime import WASM, _from_archive, copy_runtime

    seeds, plain = [], []
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=kind) as archive:
            for file in (*WASM.files, "x" * 120):
                name = file if isinstance(file, str) else file.name
                info = tarfile.TarInfo(f"package/dist/{name}")
                info.size = 2000
                archive.addfile(info, io.BytesIO(b"content " * 250))
        plain.append(stream.getvalue())
        seeds.append(gzip.compress(stream.getvalue()))
    bombs = [gzip.compress(data[:156] + kind + data[157:] + bytes(2**24)) for data in plain for kind in (b"x", b"L")]
    inside = mutations.damaged(plain).map(gzip.compress)
    inputs = mutations.often(st.one_of(inside, mutations.damaged(seeds)), st.sampled_from(bombs), 20)

    def read(given: Path, output: Path) -> None:
        package = given / "package.tgz"
        _tried(lambda: copy_runtime(WASM, package, output / "runtime"))
        if _from_archive(package)(WASM.loader.name) is None:
            raise UserError("it is not in there.")

    return Target(inputs, lambda data, to: _write(to / "package.tgz", data), read)


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
            lambda: export(given, output / "turk", "https://example.org/pictures", overwrite=True),
        )
        report(given, output / "report", overwrite=True)

    return Target(inputs, write, read, own=True)


def _turk_rows(names: list[str]) -> list[list[str]]:
    """The lines of a batch's results, of two pictures a HIT."""
    header = ["HITId", "WorkerId", "AssignmentStatus", "Input.picture_1", "Input.picture_2"]
    header += ["Answer.answer_1", "Answer.answer_2"]
    pairs = zip(names[::2], names[1::2], strict=False)
    return [header, *([f"HIT{i}", "A1WORKER", "Approved", *pair, "0", "1"] for i, pair in enumerate(pairs))]


def published(folder: Path) -> Target:
    """The labels and captions of Oxford-102, and the text files of CelebA."""
    from fader.datasets.celeba import prepare_celeba
    from fader.datasets.flowers import prepare_flowers
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

    captions = {
        f"text_c10/class_00001/image_{number:05}.txt": b"A flower with pink petals.\n" * 10 for number in (1, 2, 3)
    }
    for number in (1, 2, 3):
        _write(folder / f"flowers/jpg/image_{number:05}.jpg", stream.getvalue())
    for name, content in captions.items():
        _write(folder / "flowers" / name, content)
    _write(folder / "flowers/imagelabels.mat", b"x" * 124 + b"\0\1IM" + _matrix(False, [1, 1, 1]))
    sets = (("trnid", 1), ("valid", 2), ("tstid", 3))
    parts = b"".join(_matrix(False, [number], name) for name, number in sets)
    _write(folder / "flowers/setid.mat", b"x" * 124 + b"\0\1IM" + parts)
    flowers, write_flowers = _one_damaged(
        folder / "flowers",
        {name: mutations.damaged([content]) for name, content in captions.items()}
        | {
            name: mutations.damaged([(folder / "flowers" / name).read_bytes()])
            for name in ("imagelabels.mat", "setid.mat")
        },
    )

    def write(drawn: Any, to: Path) -> None:
        if isinstance(drawn, bytes):
            _write(to / "labels.mat", drawn)
        elif drawn[0] in celeba:
            write_celeba(drawn, to)
        else:
            write_flowers(drawn, to)

    def read(given: Path, output: Path) -> None:
        if (given / "labels.mat").exists():
            read_whole_numbers((given / "labels.mat").read_bytes(), "labels.mat")
        elif (given / "jpg").exists():
            prepare_flowers(given, output / "dataset", size=32, published_split=True, workers=1, overwrite=True)
        else:
            prepare_celeba(given, output / "dataset", size=32, workers=1, overwrite=True)

    return Target(st.one_of(mutations.damaged(seeds), texts, flowers), write, read)


def _matrix(compressed: bool, values: Sequence[float] = range(6), name: str = "labels") -> bytes:
    """An array of a MATLAB file: 1 x N of doubles."""
    import struct
    import zlib

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    shape = struct.pack("<ii", 1, len(values))
    parts = element(6, struct.pack("<II", 6, 0)) + element(5, shape) + element(1, name.encode())
    matrix = element(14, parts + element(9, np.array(values, np.float64).tobytes()))
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
    files = [data for data in picture_seeds().values() if _is_read(data)]
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
    "edits": edits,
    "runtimes": runtimes,
    "studies": studies,
    "published": published,
    "studio": studio,
    "raters": raters,
}
