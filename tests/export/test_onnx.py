"""The graphs compute what the model computes, of pictures that neither the exporter nor its own check has seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fader.attributes import Schema
from fader.config import IcganConfig, IcganNetworkConfig
from fader.export import onnx as export
from fader.export.graphs import Graph, graphs
from fader.images import to_pixels
from fader.model import Model, make_network
from tests.models import tiny_model
from tests.refusals import refusal


def run(graph: Path | bytes, **inputs: np.ndarray) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(graph if isinstance(graph, bytes) else str(graph))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def levels_apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("count", [1, 5])
def test_the_graphs_compute_what_the_model_does(model: Model, exported: Path, pictures: np.ndarray, count: int) -> None:
    pictures = pictures[:count]
    faces = model.encode_framed(pictures)

    latent = run(exported / "encoder.onnx", picture=pictures)
    np.testing.assert_allclose(latent["latent_0"], faces.latent[0], atol=1e-4)

    seen = run(exported / "classifier.onnx", picture=pictures)
    np.testing.assert_array_equal(seen["labels"], faces.labels)
    np.testing.assert_array_equal(seen["values"], faces.own_values)
    np.testing.assert_allclose(seen["confidences"], faces.confidences, atol=1e-5)

    values = np.array([[-1, 2, 0.25], [2, 0, 1], [0, 1, 0], [1, 2, -0.5], [0.5, 0, 2]], np.float32)[:count]
    decoded = run(exported / "decoder.onnx", **latent, values=values)
    expected = model.decode_pixels(faces.latent, torch.from_numpy(values))
    np.testing.assert_allclose(decoded["pixels"], expected, atol=1e-4)
    assert decoded["picture"].dtype == np.uint8
    assert levels_apart(decoded["picture"], faces.decode(torch.from_numpy(values)[:, None])[:, 0]) <= 1

    again = run(exported / "decoder.onnx", **latent, values=seen["values"])
    assert levels_apart(again["picture"], decoded["picture"]) > 1  # The values matter.
    told = run(exported / "familiarity.onnx", picture=pictures, pixels=again["pixels"])
    np.testing.assert_allclose(told["errors"][:, 0], faces.reconstruction_errors, rtol=1e-4)
    assert told["familiar"].tolist() == faces.familiar


def test_every_graph_says_what_it_is_of(model: Model, exported: Path) -> None:
    names = {"encoder", "decoder", "classifier", "familiarity"}
    assert {file.stem for file in exported.iterdir()} == names
    for name in names:
        graph = onnx.load(exported / f"{name}.onnx")
        about = json.loads({entry.key: entry.value for entry in graph.metadata_props}["fader"])
        assert about.pop("fader")
        assert about == {
            "graph": name,
            "format": "fader-onnx",
            "version": 1,
            "fingerprint": model.fingerprint,
            "system": "fader",
            "size": 64,
            "channels": 3,
            "attributes": [
                {"name": "Smiling", "values": ["absent", "present"]},
                {"name": "Hair", "values": ["black", "blond", "red"]},
                {"name": "5_o_Clock_Shadow", "values": ["absent", "present"]},
            ],
            "framing": model.framing.to_json(),
            "ends": {},
        }
        assert all(put.type.tensor_type.shape.dim[0].dim_param for put in (*graph.graph.input, *graph.graph.output))


def test_a_graph_that_computes_something_else_is_not_written(
    model_folder: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(graph: Graph) -> Any:
        proto = onnx.load(exported / f"{graph.name}.onnx")
        weight = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        array = onnx.numpy_helper.to_array(weight).copy()
        array.flat[0] += 10
        weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
        return proto

    monkeypatch.setattr(export, "_exported", spoilt)
    message = refusal(lambda: export.export_onnx(model_folder, tmp_path / "out"))
    assert "encoder as ONNX differs" in message
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert "exists already" in refusal(lambda: export.export_onnx(model_folder, tmp_path / "out"))
    assert "something else" in refusal(lambda: export.export_onnx(model_folder, tmp_path / "out", overwrite=True))
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"channels": 1, "skips": 1, "norm": "instance", "upsampling": "nearest"}, [f"a{i}" for i in range(40)]),
        ({"upsampling": "pixelshuffle"}, ["a"]),
    ],
)
def test_other_decoders(fields: dict[str, Any], names: list[str]) -> None:
    model = tiny_model(Schema.binary(names), **fields)
    graph = next(graph for graph in graphs(model) if graph.name == "decoder")
    exported = export._exported(graph).SerializeToString()
    picture = np.random.default_rng(0).integers(0, 256, (3, 32, 32, model.channels), dtype=np.uint8)
    latent = model.encode_pixels(to_pixels(picture))
    values = np.linspace(-1, 2, 3 * len(names), dtype=np.float32).reshape(3, -1)
    fed = {f"latent_{i}": part.numpy() for i, part in enumerate(latent)}
    decoded = run(exported, **fed, values=values)
    np.testing.assert_allclose(decoded["pixels"], model.decode_pixels(latent, torch.from_numpy(values)), atol=1e-4)
    assert decoded["picture"].shape == picture.shape


def test_an_icgan_takes_along_what_excludes_what_was_set() -> None:
    schema = Schema.binary(["Black_Hair", "Blond_Hair", "Smiling"])
    config = IcganConfig(network=IcganNetworkConfig(width=4, noise=8))
    network = make_network(config, schema).eval()
    model = Model(network, schema, config)
    graph = next(graph for graph in graphs(model) if graph.name == "decoder")
    exported = export._exported(graph).SerializeToString()
    latent = model.encode_pixels(to_pixels(np.zeros((3, 64, 64, 3), np.uint8)))
    own = torch.tensor([[1.0, 0, 0]] * 3)
    values = torch.tensor([[1.0, 1, 0], [1, 0.25, 0], [1, 0, 1]])  # Dyed blond, halfway, and only a smile.
    decoded = run(
        exported,
        **{f"latent_{i}": part.numpy() for i, part in enumerate(latent)},
        values=values.numpy(),
        own=own.numpy(),
    )
    settled = torch.tensor([[0.0, 1, 0], [0.75, 0.25, 0], [1, 0, 1]])
    np.testing.assert_allclose(decoded["pixels"], model.decode_pixels(latent, settled), atol=1e-4)
