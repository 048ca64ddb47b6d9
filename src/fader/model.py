"""The model folder and the public object: load, encode, decode, edit.

What edits and evaluates asks only for `encode_pixels`, `decode_pixels`, `latent_features` and `classify`, so that it
works with any model that has those.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from io import IOBase
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fader import alignment, familiarity, hub, locations, markdown
from fader.alignment import Placement
from fader.attributes import Schema
from fader.config import AnyConfig, ClassifierConfig, IcganConfig, from_json, read_config
from fader.devices import find_device
from fader.errors import UserError
from fader.files import new_folder, read_json, write_json, write_text
from fader.images import FacePoints, Framing, from_pixels, open_picture, to_array, to_picture, to_pixels
from fader.locations import ModelLocation
from fader.networks.autoencoder import AutoEncoder, Latent
from fader.networks.classifier import make_classifier
from fader.networks.icgan import AttributeReader, IcGAN
from fader.networks.weights import load_weights, save_weights

FORMAT, VERSION = "fader-model", 1
CONFIG, WEIGHTS, CLASSIFIER_WEIGHTS = "config.json", "model.safetensors", "classifier.safetensors"
FILES = (CONFIG, WEIGHTS, CLASSIFIER_WEIGHTS, "README.md")  # All that a model folder consists of.
MOST_NESTED = 20  # Objects in objects, of what a model folder says of its dataset and its selection.
MOST = 1000  # A fader's end lies closer to 0 than this.
TITLES = {
    "fader": (
        "Fader Network",
        "*Fader Networks: Manipulating Images by Sliding Attributes*\n(Lample et al., 2017)",
    ),
    "icgan": ("IcGAN", "*Invertible Conditional GANs for image editing*\n(Perarnau et al., 2016)"),
}
"""Of a model card: what the system is called, and the paper that it is of."""
PIXELS_AT_ONCE = 2**21  # Of a batch: 32 pictures of 256 pixels, 512 of 64, so that memory stays bounded.

Picture: TypeAlias = str | PathLike[str] | BinaryIO | Image.Image | np.ndarray | Tensor
"""A path, an open file, a PIL image, an array (uint8, H x W x C), or float pixels [C, H, W] in [-1, 1]."""
Value: TypeAlias = float | str | bool
"""Of an attribute: a fader value (0 absent, 1 present, more and less exaggerate) or the name of one of its values."""
Labels: TypeAlias = Mapping[str, Value] | Sequence[Mapping[str, Value]] | None
"""What is known of pictures, by attribute: one mapping a picture, or one for all."""
Ends: TypeAlias = dict[str, dict[str, float | None]]
"""By binary attribute, the fader values "absent" and "present" from which on 95% of the pictures show that value, as a
judge sees it; None where there is none within the values that were tried."""
OneOrMany: TypeAlias = Any
"""What is returned of a picture encoded alone, and a list of it where many were: a union would be a nuisance to use."""


@dataclass(eq=False, repr=False)
class Model:
    """A trained Fader Network (or an IcGAN, which is used alike), with what it takes to use it on anyone's pictures."""

    network: AutoEncoder | IcGAN
    schema: Schema
    config: AnyConfig
    framing: Framing = field(default_factory=Framing)
    """How pictures are cut, as those were that it was trained on."""
    classifier: nn.Module | None = None
    """Estimates the labels of pictures that come without: pixels to logits [B, code_size]. An IcGAN's is its E_y."""
    classifier_config: ClassifierConfig | None = None
    """Of a classifier that is a network of its own."""
    dataset: dict[str, Any] = field(default_factory=dict)
    """What it was trained on: name, fingerprint, ..."""
    selection: dict[str, Any] = field(default_factory=dict)
    """Why these weights were chosen: epoch, validation mse, swap accuracies, ..."""
    ends: Ends = field(default_factory=dict)
    """Where an evaluation marked the ends of faders; it may know none."""
    errors: dict[str, float] = field(default_factory=dict)
    """How well it reconstructs validation pictures (`familiarity.summary`); empty of models of older versions."""

    @property
    def size(self) -> int:
        """The side of its pictures in pixels."""
        return self.config.network.size

    @property
    def channels(self) -> int:
        """3 for colour, 1 for grey."""
        return self.config.network.channels

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify what it makes of pictures: networks, weights, attributes, framing."""
        classifier = asdict(self.classifier_config) if self.classifier_config else None
        about = [asdict(self.config.network), self.schema.to_json(), self.framing.to_json(), classifier]
        digest = hashlib.sha256(json.dumps(about).encode())
        for network in (self.network, self.classifier):
            for name, tensor in (network.state_dict() if network is not None else {}).items():
                digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def __repr__(self) -> str:
        return f"Model({self.size} x {self.size} x {self.channels}, {', '.join(self.schema.names)}, {self.device})"

    def encode(
        self,
        pictures: Picture | Iterable[Picture],
        values: Labels = None,
        *,
        align: bool = False,
        face: int = 1,
        placements: Placement | Sequence[Placement] | None = None,
    ) -> Faces:
        """Encode a picture, or many, to be edited.

        Args:
            pictures: One picture (path, open file, PIL image, uint8 array of H x W x C, float tensor [C, H, W] in
                [-1, 1]), or many: a sequence of such, an array of N x H x W x C, a tensor [N, C, H, W]. Pictures of any
                size are cut as the model's framing says and scaled to its size.
            values: Labels that are known, by attribute, as names or numbers; one mapping a picture, or one for all.
                What is not given is estimated by the model's classifier.
            align: Find the face in each picture, and cut the picture so that the face lies as in the training pictures.
                `Faces.paste` puts the edited face back. Takes the extra [align].
            face: Which face of a picture with several: 1 is the largest.
            placements: Where to cut instead: one a picture, or one for all. Needs no detector.

        Raises UserError on a picture that cannot be read, or has no such face, and on labels that are wrong, or missing
        with no classifier.
        """
        given, one = _listed(pictures)
        if not given:
            raise UserError("There is no picture to encode; give one at least.")
        if face != 1 and (not align or placements is not None):
            raise UserError(
                f"face={face} chooses among the faces that align=True finds; there are none to choose from."
            )
        known = self._known(values, len(given))
        names = [_name(picture, i) for i, picture in enumerate(given)]
        if not align and placements is None:
            arrays = [self.frame(picture, name) for picture, name in zip(given, names, strict=True)]
            return self.encode_framed(np.stack(arrays), known, one)
        photos = [_opened(picture, name) for picture, name in zip(given, names, strict=True)]
        if placements is None:
            placed = [self.place(photo, name, face) for photo, name in zip(photos, names, strict=True)]
        else:
            placed = [placements] * len(photos) if isinstance(placements, Placement) else list(placements)
        if len(placed) != len(photos):
            raise UserError(f"There are {len(photos)} picture(s) and {len(placed)} placements; give one for each.")
        arrays = [self.cut(photo, placement) for photo, placement in zip(photos, placed, strict=True)]
        faces = self.encode_framed(np.stack(arrays), known, one)
        faces.photos, faces.placements = photos, placed
        return faces

    def encode_framed(
        self,
        arrays: np.ndarray,
        known: np.ndarray | None = None,
        one: bool = False,
    ) -> Faces:
        """Encode pictures that are as `frame` returns them: uint8, N x S x S x C. With `one`, a picture by itself.

        `known` are labels, whole numbers [N, n], -1 where the model's classifier has to estimate it; by default all.
        """
        labels = torch.full((len(arrays), len(self.schema)), -1) if known is None else torch.tensor(known).long()
        confidences = torch.ones(labels.shape)
        unknown = labels < 0
        latents = []
        for part in self.batches(len(arrays)):
            pixels = to_pixels(arrays[part], self.device)
            latents.append(self.encode_pixels(pixels))
            if unknown[part].any():
                seen, sure = self.classify(pixels)
                labels[part] = torch.where(unknown[part], seen.cpu(), labels[part])
                confidences[part] = torch.where(unknown[part], sure.float().cpu(), confidences[part])
        latent = tuple(torch.cat(entries) for entries in zip(*latents, strict=True))
        return Faces(self, arrays, latent, labels, confidences, one)

    def frame(self, picture: Picture, name: str | None = None) -> np.ndarray:
        """What the model sees of a picture: uint8, size x size x channels. `name` is what errors call it."""
        image = _opened(picture, name)
        return to_array(image, self.size, self.channels, self.framing.box(*image.size))

    def place(self, photo: Image.Image, name: str = "the picture", face: int = 1) -> Placement:
        """Where to cut an upright picture for its face to lie as in the training pictures; of several the largest.

        Raises UserError if there is no such face, or no detector, or this model's pictures are not known to be faces.
        """
        return alignment.place(alignment.find_face(photo, name, face).points, self._points())

    def require_alignment(self) -> None:
        """Raises UserError if no photo can be aligned for this model: `place` would for every one."""
        self._points()
        alignment.require_detector()

    def _points(self) -> FacePoints:
        if self.framing.points is None:
            raise UserError(
                "This model does not know where faces lie in its pictures, and so cannot align others; it was trained"
                " on a dataset that was prepared without pip install 'fader-networks[align]', or not on faces."
            )
        return self.framing.points

    def cut(self, photo: Image.Image, placement: Placement) -> np.ndarray:
        """What the model sees of an upright picture that is cut there: uint8, size x size x channels."""
        return alignment.cut(photo, placement, self.size, self.channels)

    @torch.inference_mode()
    def encode_pixels(self, pixels: Tensor) -> Latent:
        """The latent of pixels [B, C, S, S] in [-1, 1]."""
        return self.network.encoder(pixels)

    @torch.inference_mode()
    def decode_pixels(self, latent: Latent, values: Tensor) -> Tensor:
        """Pixels [B, C, S, S] in [-1, 1] from a latent and labels or fader values [B, n]."""
        return self.network.decoder(latent, self.schema.code(values.to(self.device)))

    @torch.inference_mode()
    def own_values(self, latent: Latent, labels: Tensor) -> Tensor:
        """The values [B, n] to reconstruct pictures with: their labels [B, n], or an IcGAN's own estimate as it is."""
        return self.network.own_values(latent, labels)

    def settle(self, values: Tensor, wanted: Iterable[int]) -> Tensor:
        """Values [..., n] of an edit that sets the attributes at the positions `wanted`, with what goes along with it.

        A Fader Network leaves all others as they are; for an IcGAN see `IcGAN.settle`.
        """
        return self.network.settle(values, wanted) if isinstance(self.network, IcGAN) else values

    def latent_features(self, latent: Latent) -> Tensor:
        """What the latent discriminator reads of a latent, flattened: [B, F]. A probe for attributes reads the same."""
        return latent[-1].flatten(1)

    @torch.inference_mode()
    def classify(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest labels, int64 [B, n], and the probability given to each, [B, n], for pixels [B, C, S, S].

        Raises UserError if the model has no classifier.
        """
        if self.classifier is None:
            raise UserError(
                "This model has no classifier to estimate labels with; give them all, as in"
                f" encode(picture, values={dict.fromkeys(self.schema.names, 0)})."
            )
        return self.schema.predictions(self.classifier(pixels))

    @property
    def pictures_at_once(self) -> int:
        """How many pictures the networks are given at once at the most."""
        return max(1, PIXELS_AT_ONCE // self.size**2)

    def batches(self, count: int) -> Iterator[slice]:
        """Slices of a batch of `count` pictures: usually one, more where the batch could fill the memory."""
        most = self.pictures_at_once
        return (slice(start, start + most) for start in range(0, count, most))

    def _known(self, values: Labels, count: int) -> np.ndarray:
        """Labels that were given, int64 [count, n], with -1 for what is not known."""
        each = [values or {}] * count if values is None or isinstance(values, Mapping) else values
        if len(each) != count:
            raise UserError(f"There are {count} picture(s) and {len(each)} sets of values; give one for each.")
        labels = np.full((count, len(self.schema)), -1, dtype=np.int64)
        for i, known in enumerate(each):
            for name, given in known.items():
                k = self.schema.index(name)
                attribute = self.schema.attributes[k]
                value = attribute.value(given)
                if value not in range(len(attribute.values)):
                    raise UserError(
                        f"{name} of a picture is one of {', '.join(attribute.values)}; {value:g} is no label."
                    )
                labels[i, k] = int(value)
        return labels


class Faces:
    """One encoded picture, or many: what comes back is then a list with an entry for each."""

    def __init__(
        self, model: Model, arrays: np.ndarray, latent: Latent, labels: Tensor, confidences: Tensor, one: bool
    ) -> None:
        self.model = model
        self.arrays = arrays
        """The pictures as the model sees them: uint8, N x S x S x C."""
        self.latent = latent
        self.labels = labels
        """int64 [N, n], in the order of the model's schema."""
        self.confidences = confidences
        """[N, n], of the labels; 1.0 where a label was given."""
        self.photos: list[Image.Image] | None = None
        """The whole pictures, upright, where they were encoded aligned or with a placement."""
        self.placements: list[Placement] | None = None
        """Where the faces were cut out of them."""
        self._one = one

    @property
    def values(self) -> OneOrMany:
        """The labels by attribute, e.g. {"Smiling": 0, "Hair": "blond"}: those given, otherwise estimated."""
        return self._each(
            {
                attribute.name: label if attribute.binary else attribute.values[label]
                for attribute, label in zip(self.model.schema, labels, strict=True)
            }
            for labels in self.labels.tolist()
        )

    @property
    def confidence(self) -> OneOrMany:
        """The probability that the classifier gives to each label, by attribute; 1.0 where the label was given."""
        return self._each(dict(zip(self.model.schema.names, row, strict=True)) for row in self.confidences.tolist())

    @property
    def original(self) -> OneOrMany:
        """The picture as the model sees it, a PIL image."""
        return self._each(to_picture(array) for array in self.arrays)

    def reconstruction(self) -> OneOrMany:
        """The picture decoded with its own values, a PIL image."""
        return self._each(to_picture(array) for array in self.decode(self.own_values[:, None])[:, 0])

    @property
    def own_values(self) -> Tensor:
        """The values that a reconstruction decodes: [N, n]."""
        return self.model.own_values(self.latent, self.labels).float().cpu()

    @property
    def reconstruction_errors(self) -> np.ndarray:
        """The mean squared error of each picture's reconstruction, of pixels in [-1, 1]: [N]."""
        return self.errors[:, 0].numpy()

    @property
    def familiar(self) -> OneOrMany:
        """Whether the picture is of the kind that the model was trained on, as far as its reconstruction tells.

        What a model makes of other pictures is seldom worth looking at. None where the model does not know what errors
        are usual (one of an older version, an imported one).
        """
        return self._each(familiarity.familiar(self.errors, self.model.errors))

    @cached_property
    def errors(self) -> Tensor:
        """How far the pictures are from their reconstructions, by each of `familiarity.MEASURES`: [N, 2]."""
        errors, values = [], self.own_values
        for part in self.model.batches(len(self.arrays)):
            pixels = to_pixels(self.arrays[part], self.model.device)
            decoded = self.model.decode_pixels(tuple(z[part] for z in self.latent), values[part])
            errors.append(familiarity.reconstruction_errors(pixels, decoded).cpu())
        return torch.cat(errors)

    def edit(self, changes: Mapping[str, Value] | None = None, /, **values: Value) -> OneOrMany:
        """The picture with attributes changed, a PIL image; what is not named stays as it is.

        `edit(Smiling=1, Hair="blond")`, or `edit({"5_o_Clock_Shadow": 0.5})` where a name is no Python name. All
        pictures are decoded in one batch. Raises UserError on an attribute or a value that there is none of.
        """
        decoded = self.decode(self.changed({**(changes or {}), **values})[:, None])
        return self._each(to_picture(array) for array in decoded[:, 0])

    @property
    def unfit_to_paste(self) -> list[str | None]:
        """Of each picture the reason why it is not pasted, the end of a sentence; None where it may be."""
        return familiarity.unfit_to_paste(self.errors, self.model.errors)

    def paste(self, changes: Mapping[str, Value] | None = None, /, **values: Value) -> OneOrMany:
        """The whole picture with the face edited as `edit` does and put back, in full resolution: a PIL image.

        Raises UserError as `edit` does, if the pictures were not encoded with `align` or `placements`, and if one is
        not familiar: what is pasted would not be that face.
        """
        if self.photos is None or self.placements is None:
            raise UserError("There is no picture to paste into; encode it with align=True, or with placements.")
        for i, reason in enumerate(self.unfit_to_paste):
            if reason:
                raise UserError(f"Picture {i + 1}: {reason}")
        wanted = self.changed({**(changes or {}), **values}).float()
        decoded = self.decode(torch.stack([self.own_values, wanted], dim=1))
        return self._each(
            alignment.paste(photo, edited, placement, before)
            for photo, placement, (before, edited) in zip(self.photos, self.placements, decoded, strict=True)
        )

    def changed(self, changes: Mapping[str, Value]) -> Tensor:
        """The values that an edit decodes: [N, n], the pictures' own but for the attributes named."""
        values = self.labels.float()
        for name, given in changes.items():
            k = self.model.schema.index(name)
            values[:, k] = self.model.schema.attributes[k].value(given)
        return self.model.settle(values, map(self.model.schema.index, changes))

    def sweep(self, name: str, start: float, stop: float, steps: int = 10) -> OneOrMany:
        """The picture at `steps` evenly spaced values of one attribute, both ends included: a list of PIL images.

        All of them are decoded in one batch. Raises UserError as `edit` does.
        """
        decoded = self.decode(self.swept(name, start, stop, steps))
        return self._each([to_picture(array) for array in row] for row in decoded)

    def swept(self, name: str, start: float, stop: float, steps: int) -> Tensor:
        """The values that a sweep decodes: [N, steps, n], the pictures' own but for one attribute."""
        if steps < 1:
            raise UserError(f"A sweep of {steps} steps shows nothing; it needs at least 1.")
        k = self.model.schema.index(name)
        attribute = self.model.schema.attributes[k]
        values = self.labels.float()[:, None].repeat(1, steps, 1)
        slid = np.linspace(attribute.value(start), attribute.value(stop), steps)
        values[:, :, k] = torch.tensor([attribute.value(value) for value in slid])
        return self.model.settle(values, [k])

    def decode(self, values: Tensor) -> np.ndarray:
        """Every picture with each of its K vectors of labels or fader values: [N, K, n] to uint8, N x K x S x S x C."""
        count, columns, _ = values.shape
        pictures, flat = torch.arange(count).repeat_interleave(columns), values.flatten(0, 1)
        arrays = []
        for part in self.model.batches(count * columns):
            rows = pictures[part].to(self.latent[0].device)
            arrays.append(from_pixels(self.model.decode_pixels(tuple(z[rows] for z in self.latent), flat[part])))
        return np.concatenate(arrays).reshape(count, columns, *self.arrays.shape[1:])

    def _each(self, results: Iterable[Any]) -> OneOrMany:
        """The results, one a picture; alone where one picture was encoded."""
        results = list(results)
        return results[0] if self._one else results


def load(location: ModelLocation, device: str = "auto") -> Model:
    """Load a model: a model folder, or the run folder of a training, whose best model so far is taken.

    "portraits" is the model that comes with fader (a folder of that name here is "./portraits"), "hf:user/model" a
    model on the Hugging Face Hub, "hf:user/model@REVISION" that of a commit or tag.
    `device` is "auto" (a GPU where there is one), "cpu", "cuda", "mps", ... Nothing in the folder is trusted: no code
    in it is ever run, and no memory is taken before what its files claim has been found to fit together.

    Raises UserError where there is no model, or a damaged one, or one of a newer version of fader.
    """
    folder = _model_folder(locations.fetched(location, FILES))
    data = read_json(folder / CONFIG)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UserError(f"{folder / CONFIG}: this does not describe a Fader Network; name a folder with one.")
    if data.get("version") != VERSION:
        raise UserError(
            f"{folder / CONFIG}: format version {data.get('version')!r} is not the one that this fader reads"
            f" ({VERSION}); if it is newer, upgrade with pip install --upgrade fader-networks."
        )
    try:
        config = read_config(data.get("system", "fader"), data.get("config"))
        schema = Schema.from_json(data.get("attributes"))
        framing = Framing.from_json(data.get("framing"))
        given = data.get("classifier")
        classifier_config = None if given is None else from_json(ClassifierConfig, given)
        for part in ("dataset", "selection"):
            if not isinstance(data.get(part), dict):
                raise UserError(f"The part {part!r} is damaged: it has to be an object of named fields.")
            if _nested_over(data[part], MOST_NESTED):
                raise UserError(f"The part {part!r} is damaged: it is nested over {MOST_NESTED} deep.")
        ends = _checked_ends(data.get("ends", {}), schema)
        errors = _checked_errors(data.get("errors", {}))
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from None
    where = find_device(device)
    network = load_weights(lambda: make_network(config, schema), folder / WEIGHTS, where)
    classifier = attribute_reader(network)
    if classifier_config is not None:
        size, channels, chosen = config.network.size, config.network.channels, classifier_config
        classifier = load_weights(
            lambda: make_classifier(chosen, size, channels, schema), folder / CLASSIFIER_WEIGHTS, where
        )
    return Model(
        network,
        schema,
        config,
        framing,
        classifier,
        classifier_config,
        data["dataset"],
        data["selection"],
        ends,
        errors,
    )


def _nested_over(value: Any, most: int) -> bool:
    """Whether what JSON holds is nested deeper than this."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return most == 0 or any(_nested_over(one, most - 1) for one in inner)


def make_network(config: AnyConfig, schema: Schema) -> AutoEncoder | IcGAN:
    """The networks that a configuration describes, with random weights."""
    if isinstance(config, IcganConfig):
        return IcGAN(config.network, schema)
    return AutoEncoder(config.network, schema.code_size)


def attribute_reader(network: AutoEncoder | IcGAN) -> nn.Module | None:
    """The classifier that a network brings along: an IcGAN's E_y."""
    return AttributeReader(network.encoder.attributes, network.schema) if isinstance(network, IcGAN) else None


def save_model(model: Model, folder: Path, half: bool = False, overwrite: bool = False) -> None:
    """Write a model folder, whole or not at all: weights (float16 with `half`), configuration and model card.

    Raises UserError if it cannot be written, and if the folder exists: with `overwrite` only if it is no model folder.
    """
    with new_folder(folder, overwrite, WEIGHTS) as temporary:
        save_weights(model.network, temporary / WEIGHTS, half)
        if model.classifier is not None and model.classifier_config is not None:
            save_weights(model.classifier, temporary / CLASSIFIER_WEIGHTS, half)
        write_json(
            temporary / CONFIG,
            {
                "format": FORMAT,
                "version": VERSION,
                "system": model.config.system,
                "config": model.config.to_json(),
                "attributes": model.schema.to_json(),
                "framing": model.framing.to_json(),
                "classifier": asdict(model.classifier_config) if model.classifier_config else None,
                "dataset": model.dataset,
                "selection": model.selection,
                "ends": model.ends,
                "errors": model.errors,
            },
        )
        write_text(temporary / "README.md", model_card(model))


def push_to_hub(location: ModelLocation, repository: str, private: bool = True) -> str:
    """Put a model (named as for `load`) on the Hugging Face Hub as `user/model`, and return its address.

    The model folder's files go there and nothing else. The repository is made where there is none, for its owner's eyes
    alone unless `private` is False; who may see one that is there already does not change.

    Raises UserError where there is no sound model to push, and where the hub does not take it.
    """
    folder = _model_folder(locations.fetched(location, FILES))
    load(folder, device="cpu")
    return hub.upload(folder, FILES, repository, private)


def mark_ends(path: Path, ends: Ends) -> None:
    """Save with a model (its folder, or that of its run) where its faders end; nothing else of it changes."""
    config = _model_folder(path) / CONFIG
    write_json(config, {**read_json(config), "ends": ends})


def model_card(model: Model) -> str:
    """The README.md of a model folder: what the model is, how to use it, and what it came from."""
    names = model.schema.names
    pictures = f"{'colour' if model.channels == 3 else 'grey'} pictures, seen at {model.size} x {model.size} pixels"
    title, origin = TITLES[model.config.system]
    return f"""# {title}: {markdown.escape(", ".join(names))}

Changes attributes of {pictures}, each by a fader: 0 is absent, 1 is present, values beyond exaggerate.
Made with fader (`pip install fader-networks`), after {origin}.

## Use

```python
import fader

model = fader.load("this/folder")
face = model.encode("picture.jpg")
face.values
face.edit({{{names[0]!r}: 1}})
face.sweep({names[0]!r}, -1, 2, steps=9)
```

## Attributes

{markdown.table(("attribute", "values"), ((attribute.name, ", ".join(attribute.values)) for attribute in model.schema))}
The faders know what the data's labels say, no more, and may move what came along with an attribute in that data.

## Data

{markdown.fields(model.dataset)}
## Figures

Of the weights that were chosen, on the data's validation split; `mse` is of pixels in [-1, 1].

{markdown.fields(model.selection)}
## Settings

{markdown.fields(model.config.to_json())}"""


def _checked_ends(data: Any, schema: Schema) -> Ends:
    """Raises UserError if this is not what `mark_ends` wrote for a model of these attributes."""
    sides, names = {"absent", "present"}, set(schema.names)
    if not isinstance(data, dict) or not all(
        name in names
        and isinstance(ends, dict)
        and set(ends) == sides
        and all(value is None or (type(value) in (int, float) and abs(value) < MOST) for value in ends.values())
        for name, ends in data.items()
    ):
        raise UserError("The part 'ends' is damaged: it has to name attributes, each with its absent and present end.")
    return data


def _checked_errors(data: Any) -> dict[str, float]:
    """Raises UserError if this is not what `familiarity.summary` returns, or nothing."""
    names = familiarity.summary(torch.zeros(1, len(familiarity.MEASURES)))
    if data != {} and not (
        isinstance(data, dict)
        and set(data) == set(names)
        and all(type(value) in (int, float) and 0 <= value < math.inf for value in data.values())
    ):
        raise UserError(f"The part 'errors' is damaged: it has to name {', '.join(names)}, each a number from 0.")
    return data


def _model_folder(path: Path) -> Path:
    if (path / CONFIG).is_file():
        return path
    if (path / "model" / CONFIG).is_file():
        return path / "model"
    if (path / "run.json").is_file():
        problem = "this run has no model yet; go on with the same fader train command, which continues where it stopped"
    elif (path / "dataset.json").is_file():
        problem = "this is a prepared dataset, not a model; train one on it with fader train"
    elif path.exists():
        problem = f"this is no model folder ({CONFIG}, {WEIGHTS}) and no run folder (run.json)"
    else:
        problem = "there is no such folder; name a run folder that fader train wrote, as runs/demo, or a model folder"
    raise UserError(f"{path}: {problem}.")


def _listed(pictures: Picture | Iterable[Picture]) -> tuple[list[Picture], bool]:
    """The pictures, and whether it was one by itself."""
    if isinstance(pictures, str | PathLike | IOBase | Image.Image):
        return [pictures], True
    if not isinstance(pictures, Iterable) or (isinstance(pictures, np.ndarray | Tensor) and pictures.ndim != 4):
        return [pictures], True
    return list(pictures), False


def _name(picture: Any, position: int) -> str:
    if isinstance(picture, Image.Image):
        picture = getattr(picture, "filename", "")
    return str(picture) if isinstance(picture, str | PathLike) and str(picture) else f"picture {position + 1}"


def _opened(picture: Picture, name: str | None) -> Image.Image:
    """Any picture as an upright PIL image."""
    return open_picture(picture if isinstance(picture, str | PathLike | IOBase) else _image(picture, name), name)


def _image(picture: Any, name: str | None) -> Image.Image:
    """A PIL image of an image, an array or pixels."""
    if isinstance(picture, Image.Image):
        return picture
    name = name or "the picture"
    if isinstance(picture, Tensor):
        if not picture.is_floating_point() or picture.ndim != 3 or picture.shape[0] not in (1, 3):
            raise UserError(f"{name}: a tensor has to be floating-point pixels of the shape [1 or 3, H, W].")
        if not (picture.abs() <= 1.001).all():
            raise UserError(f"{name}: the pixels of a tensor have to be in [-1, 1].")
        picture = from_pixels(picture[None])[0]
    if not isinstance(picture, np.ndarray):
        raise UserError(f"{name}: a {type(picture).__name__} is no picture; give a path, PIL image, array or tensor.")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3) or 0 in picture.shape:
        raise UserError(
            f"{name}: an array has to be uint8 of the shape (H, W, 1 or 3); it is {picture.dtype} of {picture.shape}."
        )
    return to_picture(picture)
