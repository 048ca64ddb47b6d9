"""The stages of an IcGAN's training: what each learns, update by update.

Every random number is a function of the seed and of what it is for, so that a resumed run is the same run.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor, nn

from fader import figures, objectives
from fader.attributes import Schema
from fader.config import IcganConfig
from fader.datasets.prepared import PreparedDataset
from fader.errors import UserError
from fader.images import from_pixels, save_picture, to_pixels
from fader.networks.blocks import Network
from fader.networks.icgan import Discriminator, Generator, make_attribute_encoder, make_noise_encoder
from fader.objectives import Numbers
from fader.progress import progress
from fader.training.player import Player
from fader.training.run import IcganRun
from fader.training.sampling import READ_AHEAD, Sampler

BETA2 = 0.999  # Of Adam.
BATCH = 128  # Pictures at once where nothing is learnt.
SEEN = 512  # Generated pictures that are looked at after an epoch.
SAMPLES = 8  # Of these, how many are drawn.
# What random numbers are for.
STEP, REFRESH, PICTURE, ORDER, SPLIT, LOOK = range(1, 7)


def randomness(config: IcganConfig, purpose: int, number: int = 0) -> np.random.Generator:
    """The random numbers for one purpose, and of it for the update, batch or picture of this number."""
    return np.random.default_rng([config.training.seed, purpose, number])


def noise(random: np.random.Generator, config: IcganConfig, count: int) -> Tensor:
    """So many z, N(0, 1): [count, noise]."""
    return torch.from_numpy(random.standard_normal((count, config.network.noise), dtype=np.float32))


def epoch_ends(pictures: int, epochs: int, batch_size: int) -> list[int]:
    """After which updates each epoch of so many pictures ends."""
    return [math.ceil(epoch * pictures / batch_size) for epoch in range(1, epochs + 1)]


class Stage(ABC, Generic[Network]):
    """A stage of the training, which leaves one network behind."""

    name: str
    epoch_ends: list[int]
    """After which of its updates each epoch ends; the last ends the stage."""

    @abstractmethod
    def build(self) -> Network:
        """A network such as it leaves behind, with random weights."""

    @abstractmethod
    def step(self, number: int) -> Numbers:
        """The update of this number, from 0. Returns named scalars, left on the device."""

    @abstractmethod
    def end_epoch(self, epoch: int, pause: Callable[[], None]) -> dict[str, Any]:
        """What is found at the end of an epoch (from 1). `pause` is called now and then, and may raise."""

    @abstractmethod
    def result(self, pause: Callable[[], None]) -> Network:
        """What it leaves behind, after the last update."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that the updates so far have changed: tensors, numbers, strings, lists and dicts of them."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Put `state` back."""


class LabelRows:
    """The labels of the training pictures, [N, n]: rows are drawn from them, never attributes one by one."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels
        _, kinds, self.counts = np.unique(labels, axis=0, return_inverse=True, return_counts=True)
        self.kinds = kinds.reshape(-1)
        self.by_kind = np.argsort(self.kinds, kind="stable")
        self.starts = np.cumsum(self.counts) - self.counts

    def drawn(self, count: int, random: np.random.Generator) -> np.ndarray:
        """So many rows, with replacement."""
        return self.labels[random.integers(len(self.labels), size=count)]

    def others(self, positions: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """For each position [B] the labels of another picture that differ from its own, all such equally likely.

        That is what redrawing until they differ comes to: a place among the pictures sorted by labels, without those
        of the same labels.
        """
        kinds = self.kinds[positions]
        places = random.integers(len(self.labels) - self.counts[kinds])
        places += np.where(places >= self.starts[kinds], self.counts[kinds], 0)
        return self.labels[self.by_kind[places]]


def gan_step(
    generator: Player[Generator],
    discriminator: Player[Discriminator],
    pixels: Tensor,
    right: Tensor,
    wrong: Tensor,
    z: Tensor,
    drawn: Tensor,
) -> Numbers:
    """One update of D, then one of G, on pixels [B, C, 64, 64] and z [B, noise]; codes are [B, code_size].

    `right` is the pictures' own code, `wrong` that of others, `drawn` what the pictures G(z, drawn) are generated with.
    """
    g, d = generator.network, discriminator.network
    fake = g((z,), drawn)
    # What D sees of the pictures alone serves both codes. What follows has BatchNorm, which wants each by itself.
    seen = d.look(pixels)
    of_fake = d(fake.detach(), drawn)
    loss, numbers = objectives.conditional_discrimination(d.judge(seen, right), d.judge(seen, wrong), of_fake)
    with discriminator.update():
        torch.autograd.backward(loss)
    # The same pictures again, for the discriminator as it now is. It is held fixed.
    d.requires_grad_(False)
    loss, more = objectives.generation(d(fake, drawn))
    with generator.update():
        torch.autograd.backward(loss)
    d.requires_grad_(True)
    return numbers | more


class GanStage(Stage[Generator]):
    """Stages 1 and 2: the conditional GAN, of which the generator is kept, with its BatchNorm statistics taken anew."""

    name = "generator"

    def __init__(self, run: IcganRun, data: PreparedDataset, classifier: nn.Module, device: torch.device) -> None:
        self.run, self.config, self.schema, self.device = run, run.config, run.schema, device
        training = run.config.training
        self.classifier = classifier
        self.indices = data.indices("train")
        self.rows = LabelRows(data.labels[self.indices][:, data.columns(run.schema)])
        if len(self.rows.counts) == 1:
            raise UserError(f"{data.path}: all training pictures have the same labels; an IcGAN learns from others.")
        self.pictures = LabelledPictures(data, run.schema, run.config, device)
        self.sampler = Sampler(np.arange(len(self.indices)), training.batch_size, training.seed)
        self.epoch_ends = epoch_ends(len(self.indices), training.epochs, training.batch_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed)
            networks = self.build(), Discriminator(run.config.network, run.schema)
        betas = (training.beta1, BETA2)
        self.generator = Player(networks[0], device, training.learning_rate, betas)
        self.discriminator = Player(networks[1], device, training.learning_rate, betas)

    def build(self) -> Generator:
        return Generator(self.config.network, self.schema)

    def step(self, number: int) -> Numbers:
        positions, flips = self.sampler.batch(number)
        self.pictures.read_ahead(self.sampler.batch(number + READ_AHEAD)[0])
        random = randomness(self.config, STEP, number)
        wrong = self.rows.others(positions, random)
        drawn = self.rows.drawn(len(positions), random)
        return gan_step(
            self.generator,
            self.discriminator,
            self.pictures.pixels(positions, flips),
            self._code(self.rows.labels[positions]),
            self._code(wrong),
            noise(random, self.config, len(positions)).to(self.device),
            self._code(drawn),
        )

    def _code(self, labels: np.ndarray) -> Tensor:
        return self.schema.code(torch.from_numpy(labels)).to(self.device)

    def end_epoch(self, epoch: int, pause: Callable[[], None]) -> dict[str, Any]:
        generator = self.generator.network.eval()
        seen = agreement(generator, self.classifier, self.rows.labels, self.config, self.schema, SEEN)
        self._draw(generator, epoch)
        generator.train()
        return {"agreement": seen}

    @torch.no_grad()
    def _draw(self, generator: Generator, epoch: int) -> None:
        """A row for each of a few z and y: the picture, then the same z with each attribute swapped."""
        z, labels = _looked_at(self.rows.labels, self.config, SAMPLES)
        y = torch.from_numpy(labels)
        columns = [y, *(self.schema.flipped(y, name) for name in self.schema.names)]
        drawn = [from_pixels(generator((z.to(self.device),), self._code(c.numpy()))) for c in columns]
        path = self.run.sample(epoch)
        path.parent.mkdir(exist_ok=True)
        rows = [[column[i] for column in drawn] for i in range(len(z))]
        save_picture(figures.grid(rows, ["generated", *self.schema.names]), path)

    @torch.no_grad()
    def result(self, pause: Callable[[], None]) -> Generator:
        training = self.config.training
        generator = self.generator.network.train()
        with progress("BatchNorm refresh", training.refresh_passes) as bar:
            for number in range(training.refresh_passes):
                random = randomness(self.config, REFRESH, number)
                drawn = self.rows.drawn(training.refresh_batch, random)
                generator((noise(random, self.config, len(drawn)).to(self.device),), self._code(drawn))
                bar.advance()
                pause()
        return generator.eval()

    def state(self) -> dict[str, Any]:
        return {"generator": self.generator.state(), "discriminator": self.discriminator.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.generator.restore(state["generator"])
        self.discriminator.restore(state["discriminator"])


class LabelledPictures:
    """The training pictures and their y: what E_y learns from. Pictures are numbered by their place in the split."""

    def __init__(self, data: PreparedDataset, schema: Schema, config: IcganConfig, device: torch.device) -> None:
        self.images, self.indices, self.schema = data.images, data.indices("train"), schema
        self.labels = data.labels[self.indices][:, data.columns(schema)]
        self.config, self.device = config, device

    def __len__(self) -> int:
        return len(self.indices)

    def make_encoder(self) -> nn.Sequential:
        return make_attribute_encoder(self.config.network, self.schema)

    def read_ahead(self, numbers: np.ndarray) -> None:
        self.images.read_ahead(self.indices[numbers])

    def pixels(self, numbers: np.ndarray, flips: np.ndarray | None = None) -> Tensor:
        """Pixels [B, C, 64, 64], flipped where a picture's coin says so."""
        pixels = to_pixels(self.images[self.indices[numbers]], self.device)
        if flips is None or not self.config.training.flip:
            return pixels
        return torch.where(torch.from_numpy(flips).to(self.device)[:, None, None, None], pixels.flip(3), pixels)

    def pairs(self, numbers: np.ndarray, flips: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Pixels [B, C, 64, 64] and y [B, signs_size]; flipped in training alone."""
        signs = self.schema.signs(self.schema.code(torch.from_numpy(self.labels[numbers])))
        return self.pixels(numbers, flips), signs.to(self.device)


class GeneratedPictures:
    """Stage 3: pictures G(z, y) and their z, what E_z learns from. Picture i is drawn anew whenever it is asked for.

    There are as many as training pictures, and their y are a permutation of the training labels.
    """

    def __init__(self, generator: Generator, data: PreparedDataset, schema: Schema, config: IcganConfig) -> None:
        self.generator, self.schema, self.config = generator, schema, config
        labels = data.labels[data.indices("train")][:, data.columns(schema)]
        self.labels = randomness(config, ORDER).permutation(labels)
        self.device = next(generator.parameters()).device

    def __len__(self) -> int:
        return len(self.labels)

    def make_encoder(self) -> nn.Sequential:
        return make_noise_encoder(self.config.network)

    def read_ahead(self, numbers: np.ndarray) -> None:
        """There is nothing to read."""

    @torch.no_grad()
    def pairs(self, numbers: np.ndarray, flips: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Pixels [B, C, 64, 64] and z [B, noise]; they are never flipped."""
        z = torch.cat([noise(randomness(self.config, PICTURE, int(i)), self.config, 1) for i in numbers])
        code = self.schema.code(torch.from_numpy(self.labels[numbers]))
        z = z.to(self.device)
        return self.generator((z,), code.to(self.device)), z


class EncoderStage(Stage[nn.Sequential]):
    """Stage 4: an encoder learns by squared error; the epoch with the lowest on held-out pictures is kept."""

    def __init__(
        self, name: str, pictures: GeneratedPictures | LabelledPictures, config: IcganConfig, device: torch.device
    ) -> None:
        self.name, self.pictures = name, pictures
        training = config.training
        numbers = randomness(config, SPLIT).permutation(len(pictures))
        count = learning_share(config, len(pictures))
        self.sampler = Sampler(np.sort(numbers[:count]), training.batch_size, training.seed)
        self.held_out = np.sort(numbers[count:])
        self.epoch_ends = epoch_ends(count, training.encoder_epochs, training.batch_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed)
            network = self.build()
        betas = (training.encoder_beta1, BETA2)
        self.encoder = Player(network, device, training.encoder_learning_rate, betas)
        self.best: dict[str, Any] = {"epoch": 0, "error": math.inf, "weights": {}}

    def build(self) -> nn.Sequential:
        return self.pictures.make_encoder()

    def step(self, number: int) -> Numbers:
        numbers, flips = self.sampler.batch(number)
        self.pictures.read_ahead(self.sampler.batch(number + READ_AHEAD)[0])
        pixels, target = self.pictures.pairs(numbers, flips)
        loss, found = objectives.regression(self.encoder.network(pixels), target)
        with self.encoder.update():
            torch.autograd.backward(loss)
        return found

    def end_epoch(self, epoch: int, pause: Callable[[], None]) -> dict[str, Any]:
        error = self._held_out_error(pause)
        if error < self.best["error"]:
            weights = {name: tensor.clone() for name, tensor in self.encoder.network.state_dict().items()}
            self.best = {"epoch": epoch, "error": error, "weights": weights}
        return {"held_out": error}

    @torch.no_grad()
    def _held_out_error(self, pause: Callable[[], None]) -> float:
        network = self.encoder.network.eval()
        total = 0.0
        for batch in _batches(self.held_out):
            pixels, target = self.pictures.pairs(batch)
            errors = (network(pixels) - target).square().mean(dim=1)
            total += float(errors.cpu().double().sum())  # Apple's GPUs have no float64.
            pause()
        network.train()
        return total / len(self.held_out)

    def result(self, pause: Callable[[], None]) -> nn.Sequential:
        self.encoder.network.load_state_dict(self.best["weights"])
        return self.encoder.network.eval()

    def state(self) -> dict[str, Any]:
        return {"encoder": self.encoder.state(), "best": self.best}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.encoder.restore(state["encoder"])
        self.best = state["best"]


def learning_share(config: IcganConfig, pictures: int) -> int:
    """How many of so many pictures an encoder learns from; the others are held out."""
    return round((1 - config.training.held_out) * pictures)


@torch.no_grad()
def agreement(
    generator: Generator, classifier: nn.Module, labels: np.ndarray, config: IcganConfig, schema: Schema, count: int
) -> dict[str, float]:
    """By attribute, how often an independent classifier sees y in G(z, y), for `count` rows y of `labels` [N, n]."""
    z, drawn = _looked_at(labels, config, count)
    device = next(generator.parameters()).device
    right = np.zeros(len(schema))
    for batch in _batches(np.arange(count)):
        y = torch.from_numpy(drawn[batch])
        seen, _ = schema.predictions(classifier(generator((z[batch].to(device),), schema.code(y).to(device))))
        right += (seen.cpu() == y).sum(dim=0).numpy()
    return dict(zip(schema.names, (right / count).tolist(), strict=True))


@torch.no_grad()
def reading_accuracy(
    reader: nn.Module,
    data: PreparedDataset,
    schema: Schema,
    device: torch.device,
    between_batches: Callable[[int], None],
) -> dict[str, float]:
    """By attribute, how often E_y is right on the validation pictures, which none of the stages has seen."""
    indices = data.indices("valid")
    right = np.zeros(len(schema))
    for batch in _batches(indices):
        seen, _ = schema.predictions(reader(to_pixels(data.images[batch], device)))
        right += (seen.cpu().numpy() == data.labels[batch][:, data.columns(schema)]).sum(axis=0)
        between_batches(len(batch))
    return dict(zip(schema.names, (right / len(indices)).tolist(), strict=True))


def _looked_at(labels: np.ndarray, config: IcganConfig, count: int) -> tuple[Tensor, np.ndarray]:
    """z [count, noise] and rows of labels [count, n], the same whenever they are asked for."""
    random = randomness(config, LOOK)
    z = noise(random, config, count)
    return z, labels[random.integers(len(labels), size=count)]


def _batches(numbers: np.ndarray) -> Iterator[np.ndarray]:
    return (numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH))
