"""`fader export onnx`: a model as ONNX graphs, checked against PyTorch before they are there (extra `export`)."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fader
from fader.errors import UserError
from fader.export.graphs import Graph, graphs
from fader.files import new_folder
from fader.locations import ModelLocation
from fader.model import Model, load

FORMAT, VERSION = "fader-onnx", 1
METADATA = "fader"  # Where a graph's metadata has a JSON object about the model.
TOLERANCE = 1e-3  # Of pixels in [-1, 1], of latents, of probabilities.
BATCHES = (1, 2, 5)  # Pictures, in the check.
OPSET = 20


def export_onnx(location: ModelLocation, output: Path, overwrite: bool = False) -> str:
    """Write a model's graphs (`graphs.graphs`) into a folder, a file .onnx each; return what they are.

    Raises UserError, with nothing written, where there is no model, the extra "export" is missing, or onnxruntime
    computes something else of the graphs than PyTorch does.
    """
    model = load(location, device="cpu")
    with new_folder(output, overwrite, "encoder.onnx") as folder:
        write_graphs(model, folder)
        return "\n".join(
            f"{output / file.name}  {file.stat().st_size / 2**20:.1f} MB" for file in sorted(folder.iterdir())
        )


def write_graphs(model: Model, folder: Path) -> None:
    """Write a model's graphs into a folder, each once it is found to compute what PyTorch does.

    Raises UserError as `export_onnx` does.
    """
    _needs_extra()
    batches = [_inputs(model, batch) for batch in BATCHES]
    about = describe(model)
    for graph in graphs(model):
        proto = _exported(graph)
        entry = proto.metadata_props.add()
        entry.key, entry.value = METADATA, json.dumps({"graph": graph.name, **about}, ensure_ascii=False)
        serialized = proto.SerializeToString()
        for known in batches:
            known |= _check(graph, serialized, {name: known[name] for name in graph.inputs})
        (folder / f"{graph.name}.onnx").write_bytes(serialized)


def describe(model: Model) -> dict[str, Any]:
    """What the graphs say of the model that they are of."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "fader": fader.__version__,
        "fingerprint": model.fingerprint,
        "system": model.config.system,
        "size": model.size,
        "channels": model.channels,
        "attributes": model.schema.to_json(),
        "framing": model.framing.to_json(),
        "ends": model.ends,
    }


def _needs_extra() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError("Exporting takes the extra 'export': pip install 'fader-networks[export]'.") from None


def _exported(graph: Graph) -> Any:
    """The graph as an onnx.ModelProto."""
    batch = torch.export.Dim("batch")
    examples = tuple(graph.inputs.values())
    # The decoder takes *inputs: its dynamic shapes are then a tuple in a tuple.
    shapes: Any = tuple({0: batch} for _ in examples)
    with _quiet(), torch.no_grad():
        program = torch.export.export(
            graph.module.eval(), examples, dynamic_shapes=(shapes,) if graph.name == "decoder" else shapes, strict=False
        )
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert exported is not None
    return exported.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """What the exporter tells its own developers is not for users: operators of packages that are not installed, ..."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _check(graph: Graph, serialized: bytes, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """What PyTorch computes of inputs. Raises UserError if onnxruntime computes something else."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # Errors.
    session = onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = dict(zip(graph.outputs, graph.module(*inputs.values()), strict=True))
    got = session.run(list(expected), {name: tensor.numpy() for name, tensor in inputs.items()})
    for (name, tensor), array in zip(expected.items(), got, strict=True):
        difference = (tensor.double() - torch.from_numpy(array).double()).abs().max()
        # Bytes lie a whole level apart where the pixel is halfway between two.
        if not difference <= (1 if tensor.dtype == torch.uint8 else TOLERANCE):
            raise UserError(
                f"The {graph.name} as ONNX differs from PyTorch's by {difference:.3g} in its {name} and is not written;"
                " try the versions in fader's constraints.txt of torch, onnx, onnxscript and onnxruntime."
            )
    return expected


def _inputs(model: Model, batch: int) -> dict[str, Tensor]:
    """Pictures and values of a batch, drawn at random: what the graphs are fed in the check, beside the latent."""
    generator = torch.Generator().manual_seed(batch)
    # Coarse patterns with noise on them, so that there is something in every layer to see.
    side, shape = model.size // 4, (batch, 4, 4, model.channels)
    coarse = torch.randint(0, 200, shape, generator=generator).repeat_interleave(side, 1).repeat_interleave(side, 2)
    picture = (coarse + torch.randint(0, 56, coarse.shape, generator=generator)).to(torch.uint8)
    values, own = (
        torch.stack(
            [
                torch.rand(batch, generator=generator) * 3 - 1
                if attribute.binary
                else torch.randint(len(attribute.values), (batch,), generator=generator).float()
                for attribute in model.schema
            ],
            dim=1,
        )
        for _ in range(2)
    )
    return {"picture": picture, "values": values, "own": own}
