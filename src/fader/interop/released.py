"""The models that the paper's authors released, as models of fader's that compute the same.

Where their network is written down otherwise than ours, the weights are mapped and nothing is left to a setting:

- Their decoder appends the code before a skip connection's channels, ours behind them: the kernels' inputs change
  places.
- Their decoders without transposed convolutions have biases, ours have none. The first attribute's entries of the code
  add up to 1 whatever its value, so a bias is a share of their kernels: of its middle, which never lies on the padding.
- Their dropout comes before the decoder's ReLU and ours behind it, which is the same.
- A classifier of theirs may be of more attributes, in another order: of its last layer the rows that are wanted remain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fader.alignment import STANDARD
from fader.attributes import BINARY, MAX_CODE, Attribute, Schema
from fader.config import PRESETS, ClassifierConfig, Config, NetworkConfig, from_json
from fader.errors import UserError
from fader.files import file_digest, refuse_existing
from fader.images import Framing
from fader.interop.checkpoint import Checkpoint, Record, fields, opened, stored_tensor
from fader.model import WEIGHTS, Model, save_model
from fader.networks.autoencoder import AutoEncoder
from fader.networks.blocks import Network, place
from fader.networks.classifier import make_classifier

AUTOENCODER, CLASSIFIER = "src.model.AutoEncoder", "src.model.Classifier"
CONTAINERS = ("torch.nn.modules.container.ModuleList", "torch.nn.modules.container.Sequential")
CONVOLUTION = ("kernel_size", "stride", "padding", "output_padding", "dilation", "groups", "transposed")
NORM = ("eps", "affine")
LAYERS: dict[str, tuple[str, ...]] = {
    "torch.nn.modules.conv.Conv2d": CONVOLUTION,
    "torch.nn.modules.conv.ConvTranspose2d": CONVOLUTION,
    "torch.nn.modules.batchnorm.BatchNorm2d": NORM,
    "torch.nn.modules.instancenorm.InstanceNorm2d": NORM,
    "torch.nn.modules.activation.LeakyReLU": ("negative_slope",),
    "torch.nn.modules.activation.ReLU": (),
    "torch.nn.modules.activation.Tanh": (),
    "torch.nn.modules.upsampling.Upsample": ("scale_factor", "mode"),
    "torch.nn.modules.upsampling.UpsamplingNearest2d": ("scale_factor", "mode"),
    "torch.nn.modules.pixelshuffle.PixelShuffle": ("upscale_factor",),
    "torch.nn.modules.linear.Linear": (),
    "torch.nn.modules.dropout.Dropout": (),
}
"""The layers of the release, each with the attributes that decide what it computes."""
OPTIONAL = {"padding_mode": "zeros", "track_running_stats": None, "_use_running_stats": False}
"""Attributes that not every PyTorch had, and what they have to be; None: as our layer has it."""
SAME = {"Halving": "Conv2d", "UpsamplingNearest2d": "Upsample"}
PASSED_OVER = ("Dropout", "Flatten")  # They compute nothing once a network is trained.
UPSAMPLING = {"convtranspose": "transposed", "upsampling": "nearest", "pixelshuffle": "pixelshuffle"}
MODULES = {AUTOENCODER, CLASSIFIER, *CONTAINERS, *LAYERS}
MOST_LAYERS, MOST_CATEGORIES = 200, 1000


def import_released(path: Path, output: Path, classifier: Path | None = None, overwrite: bool = False) -> Model:
    """Read the authors' checkpoint, and a classifier of theirs, and write a model folder.

    Raises UserError, naming the file and what was met in it, where it is anything else; nothing in it is ever run.
    """
    refuse_existing(output, overwrite, WEIGHTS)
    model = read_released(path, classifier)
    save_model(model, output, overwrite=overwrite)
    return model


def read_released(path: Path, classifier: Path | None = None) -> Model:
    """The model in the authors' checkpoint. Raises UserError as `import_released` does."""
    with opened(path, MODULES) as checkpoint:
        record = _root(checkpoint, AUTOENCODER)
        schema = _schema(record)
        # How it was trained the file does not say.
        config = Config(_network_config(record), PRESETS["released"].discriminator, PRESETS["released"].training)
        network = _built(lambda: AutoEncoder(config.network, schema.code_size))
        parts = _part(record, "_modules")
        if set(parts) != {"enc_layers", "dec_layers"}:
            raise UserError(f"its network has the parts {', '.join(parts)[:100]} and not enc_layers and dec_layers.")
        weights = _weights(checkpoint, network.encoder.layers, parts["enc_layers"], "encoder.layers.")
        weights |= _weights(checkpoint, network.decoder.layers, parts["dec_layers"], "decoder.layers.")
        _map_decoder(weights, network, config.network, schema)
        _fill(network, weights)
    # All that they released is of CelebA, in the frame that STANDARD was measured in.
    framing = Framing(points=STANDARD)
    model = Model(network, schema, config, framing, dataset={"imported": path.name, "sha256": file_digest(path)})
    if classifier is not None:
        model.classifier, model.classifier_config = _read_classifier(classifier, model)
    return model


def _read_classifier(path: Path, model: Model) -> tuple[nn.Module, ClassifierConfig]:
    """Their classifier, of the model's attributes."""
    with opened(path, MODULES) as checkpoint:
        record = _root(checkpoint, CLASSIFIER)
        size, channels, whole = fields(record).get("img_sz"), fields(record).get("img_fm"), _schema(record)
        if (size, channels) != (model.size, model.channels):
            raise UserError(
                f"the classifier is not of pictures as the model's, {model.size} x {model.size} x {model.channels}."
            )
        for attribute in model.schema:
            if attribute not in whole.attributes:
                raise UserError(f"the classifier does not know the attribute {attribute.name} of the model.")
        maps, units = _outputs(record, "Conv2d"), _outputs(record, "Linear")
        config = ClassifierConfig(width=maps[0], max_width=max(maps), hidden=units[0])
        network = _built(lambda: make_classifier(config, model.size, model.channels, whole))
        weights = _weights(checkpoint, network, record, "")
        rows = torch.cat([torch.arange(whole.code_size)[whole.slices[whole.index(n)]] for n in model.schema.names])
        last = [name for name in weights if name.startswith("head.")][-2:]
        weights |= {name: weights[name][rows] for name in last}
        network = _built(lambda: make_classifier(config, model.size, model.channels, model.schema))
        return _fill(network, weights), config


def _root(checkpoint: Checkpoint, kind: str) -> Record:
    root = checkpoint.root
    if not isinstance(root, Record) or root.kind != kind:
        found = root.kind if isinstance(root, Record) else type(root).__name__
        raise UserError(f"it holds a {found} and not a {kind}, which is what the authors released.")
    return root


def _schema(record: Record) -> Schema:
    """The attributes, from `attr`: (name, number of categories) of each. Categories have no names but their numbers."""
    given, attributes = fields(record).get("attr"), dict[str, Attribute]()
    code_size = 0
    for entry in given if isinstance(given, list | tuple) else [None]:
        match entry:
            case (str(name), int(count)) if 2 <= count <= MOST_CATEGORIES:
                code_size += count
                # At once: a few bytes name one again, and its values with it.
                if name in attributes or code_size > MAX_CODE:
                    raise UserError(f"it names an attribute twice, or more than {MAX_CODE:,} values in all.")
                attributes[name] = Attribute(name, BINARY if count == 2 else tuple(map(str, range(count))))
            case _:
                raise UserError("its list of attributes is not one of names, each with a number of categories.")
    schema = Schema(tuple(attributes.values()))
    if fields(record).get("n_attr") != schema.code_size:
        raise UserError(f"its n_attr does not agree with its attributes, whose code has {schema.code_size} numbers.")
    return schema


def _network_config(record: Record) -> NetworkConfig:
    names = {
        "img_sz": "size",
        "img_fm": "channels",
        "n_layers": "layers",
        "init_fm": "width",
        "max_fm": "max_width",
        "n_skip": "skips",
        "dropout": "decoder_dropout",
    }
    for name in (*names, "instance_norm", "deconv_method"):
        if not isinstance(fields(record).get(name), str if name == "deconv_method" else int | float):
            raise UserError(f"its network does not say what its {name} is.")
    given = {ours: fields(record)[theirs] for theirs, ours in names.items()}
    method = fields(record)["deconv_method"]
    if method not in UPSAMPLING:
        raise UserError(f"its deconv_method is {str(method)[:100]!r} and not one of {', '.join(UPSAMPLING)}.")
    norm = "instance" if fields(record)["instance_norm"] else "batch"
    return from_json(NetworkConfig, {**given, "norm": norm, "upsampling": UPSAMPLING[method]})


def _weights(checkpoint: Checkpoint, ours: nn.Module, theirs: Any, prefix: str) -> dict[str, Tensor]:
    """Their weights by our names, and biases of theirs where our convolutions have none.

    Raises UserError unless the two consist of the same layers.
    """
    named = [(name, layer) for name, layer in ours.named_modules() if not any(layer.children())]
    named = [(name, layer) for name, layer in named if type(layer).__name__ not in PASSED_OVER]
    records = [record for record in _leaves(theirs) if _kind(record) not in PASSED_OVER]
    if len(records) != len(named):
        raise UserError(f"a part of its network has {len(records)} layers where the release has {len(named)}.")
    weights = {}
    for (name, layer), record in zip(named, records, strict=True):
        _compare(layer, record)
        given = {**_part(record, "_parameters"), **_part(record, "_buffers")}
        shapes = {key: tuple(tensor.shape) for key, tensor in layer.state_dict().items()}
        if given.get("bias") is not None and isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            shapes["bias"] = (layer.out_channels,)
        for key, shape in shapes.items():
            if key == "num_batches_tracked":  # PyTorch 0.3 did not count them, and nothing here depends on it.
                weights[f"{prefix}{name}.{key}"] = torch.tensor(0)
            else:
                weights[f"{prefix}{name}.{key}"] = checkpoint.read(stored_tensor(given.get(key)), shape)
    return weights


def _compare(layer: nn.Module, record: Record) -> None:
    """Raises UserError unless the record is of a layer that computes what ours does with the same weights."""
    kind, given = type(layer).__name__, fields(record)
    if _kind(record) != SAME.get(kind, kind):
        raise UserError(f"it has a {_kind(record)} where the release has a {SAME.get(kind, kind)}.")
    needed: dict[str, Any] = {name: getattr(layer, name) for name in LAYERS[record.kind]}
    for name, default in OPTIONAL.items():
        if name in given and (default is not None or hasattr(layer, name)):
            needed[name] = getattr(layer, name) if default is None else default
    for name, value in needed.items():
        if name not in given or not _equal(given[name], value):
            raise UserError(f"the {name} of a {_kind(record)} of it is not {value}, as it is in the release.")


def _equal(given: Any, value: Any) -> bool:
    """Whether settings are the same, a pair of equal numbers being as good as the number."""
    if isinstance(value, tuple) and not isinstance(given, tuple):
        return all(given == side for side in value)
    if isinstance(given, tuple) and not isinstance(value, tuple):
        return 0 < len(given) <= 3 and all(side == value for side in given)
    return bool(given == value)


def _kind(record: Record) -> str:
    kind = record.kind.rpartition(".")[2]
    return SAME.get(kind, kind)


def _part(record: Record, name: str) -> Mapping[str, Any]:
    part = fields(record).get(name)
    if not isinstance(part, dict):
        raise UserError(f"its {record.kind} has no {name}.")
    return part


def _leaves(record: Any) -> list[Record]:
    """The layers of a module, in order; containers are taken apart."""
    leaves: list[Record] = []
    todo = [record]
    for _ in range(2 * MOST_LAYERS):
        if not todo:
            return leaves
        module = todo.pop()
        if not isinstance(module, Record):
            raise UserError("a layer of its network is missing or no layer.")
        if module.kind in LAYERS:
            leaves.append(module)
        elif module.kind in (*CONTAINERS, CLASSIFIER):
            inner = _part(module, "_modules").values()
            if len(inner) > MOST_LAYERS:
                break
            todo += [*inner][::-1]
        else:
            raise UserError(f"it has a {module.kind} where a layer should be.")
    raise UserError(f"its network has more than {MOST_LAYERS} layers.")


def _map_decoder(weights: dict[str, Tensor], network: AutoEncoder, config: NetworkConfig, schema: Schema) -> None:
    """Brings the kernels of their decoder into our order, with the biases inside (see above)."""
    for i, layer in enumerate(network.decoder.layers):
        for j, module in enumerate(layer.children()):
            if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                continue
            name = f"decoder.layers.{i}.{j}"
            features = config.encoder_widths[-1 - i]
            kernel, bias = weights[f"{name}.weight"], weights.pop(f"{name}.bias", None)
            transposed = isinstance(module, nn.ConvTranspose2d)
            inputs_first = kernel if transposed else kernel.transpose(0, 1)
            of_features, of_code, of_skip = inputs_first.tensor_split([features, features + schema.code_size])
            if bias is not None:
                # Of a kernel of 4 and stride 2, too, the inner entries reach every output exactly once.
                of_code[schema.slices[0], :, 1:-1, 1:-1] += bias[:, None, None]
            inputs_first = torch.cat([of_features, of_skip, of_code])
            weights[f"{name}.weight"] = inputs_first if transposed else inputs_first.transpose(0, 1)


def _outputs(record: Record, kind: str) -> list[int]:
    """How many outputs the layers of one kind have."""
    layers = [layer for layer in _leaves(record) if _kind(layer) == kind]
    shapes = [stored_tensor(_part(layer, "_parameters").get("weight")).shape for layer in layers]
    if not shapes or not all(shapes):
        raise UserError(f"the classifier has no {kind}.")
    return [shape[0] for shape in shapes]


def _built(build: Callable[[], Network]) -> Network:
    """The network on the meta device, where absurd sizes take no memory."""
    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, TypeError, ValueError, ArithmeticError):
        raise UserError("the sizes that it states make no network.") from None


def _fill(network: Network, weights: Mapping[str, Tensor]) -> Network:
    network.load_state_dict(weights, assign=True)
    return place(network.eval(), "cpu")
