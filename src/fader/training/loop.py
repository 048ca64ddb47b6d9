"""The training run: batches and steps, and at every epoch a checkpoint, an evaluation and a sample grid."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fader import figures
from fader.attributes import Schema
from fader.config import Config, TrainingConfig
from fader.datasets.prepared import Location, PreparedDataset, open_dataset
from fader.errors import CommonError, Interrupted, UserError
from fader.files import locked, replacing
from fader.images import save_picture, to_pixels
from fader.interruption import Interruption, interruptions
from fader.locations import ModelLocation
from fader.model import load
from fader.networks.autoencoder import AutoEncoder
from fader.networks.weights import save_weights
from fader.progress import Task, progress, say
from fader.training import computing, processes, selection
from fader.training.batches import Batches
from fader.training.checkpoints import (
    CHECKPOINT_SECONDS,
    newest_checkpoint,
    oldest_step,
    players_state,
    restore_players,
    save_checkpoint,
)
from fader.training.classifier import Classifier
from fader.training.records import RECORD_EVERY, Records, Window, read_records
from fader.training.run import Run, create_or_continue
from fader.training.sampling import Sampler, balancing_weights, seed_of
from fader.training.schedules import adversarial_weight, evaluation_steps, learning_rate, update_average
from fader.training.step import Players, training_step
from fader.training.transfer import transfer

ERASURE_PICTURES = 20_000  # Training pictures that an erasure is fitted to, at most.
SAMPLES = 8  # Validation pictures in a sample grid, the same ones every time.


def train(
    dataset: Location,
    output: Path,
    config: Config,
    attributes: Sequence[str] | None = None,
    classifier: Path | None = None,
    init: ModelLocation | None = None,
    device: str = "auto",
) -> Run:
    """Train a Fader Network on a prepared dataset, or go on with a run that was interrupted.

    Processes that torchrun started together train together, each on its share of every batch (docs/scale.md).

    Args:
        dataset: A prepared dataset; its size and channels have to be the configuration's.
        output: The run folder. If it holds a run with the same settings, that run goes on.
        config: Networks and training.
        attributes: What to learn to slide; by default all that the dataset has.
        classifier: A classifier folder for selection; by default one is trained and kept in the run folder.
        init: A run or a model to start from (its folder, "portraits" or "hf:user/model"); its attributes may differ.
        device: "auto", "cpu", "cuda", "mps", ...

    Raises UserError on unusable input, on other settings than those of the run in the folder, if another process trains
    in it, on losses that are no longer finite, and when the memory or the disk is full; Interrupted, once everything
    is saved, on SIGINT and SIGTERM; ProcessLostError if another of the processes ends.
    """
    data = open_dataset(dataset)
    schema = data.schema.select(attributes) if attributes else data.schema
    if (data.size, data.channels) != (config.network.size, config.network.channels):
        raise UserError(
            f"{dataset} has pictures of side {data.size} and {data.channels} channel(s), the network is for side"
            f" {config.network.size} and {config.network.channels}; leave out --size and --channels, or prepare anew."
        )
    with processes.joined(device) as own_device, computing.enough_memory(output), ExitStack() as held:
        processes.refuse_uneven(config.training.batch_size, config.training.accumulate)
        computing.check(own_device, config.training)
        # Only process 0 touches the run folder, so that no other has to see it.
        processes.first(lambda: held.enter_context(locked(output)))
        run = processes.first(lambda: create_or_continue(output, config, schema, data, init))
        if run.dataset["fingerprint"] != data.fingerprint:
            raise UserError(f"{dataset}: process 0 has another dataset there; give every machine the same one.")
        judge = processes.first(lambda: selection.selection_classifier(run, data, classifier, own_device))
        with interruptions() as interruption, computing.tuned(own_device, config.training):
            Trainer(run, data, judge, own_device, interruption).fit()
    return run


class Trainer:
    """A run in progress: the players, how far they are, and what is kept of the way.

    With several processes all have the same players and take the same decisions; the first one alone keeps anything.
    """

    def __init__(
        self,
        run: Run,
        data: PreparedDataset,
        classifier: Classifier,
        device: torch.device,
        interruption: Interruption,
    ) -> None:
        self.run, self.data, self.classifier, self.device = run, data, classifier, device
        self.schema, self.config = run.schema, run.config.training
        self.interruption = interruption
        self.columns = data.columns(self.schema)
        sampler, self.chance = _sampler(data, self.schema, self.config)
        # A batch is the same whatever the number of processes; each takes its share of it.
        share = partial(processes.share, micro_batches=self.config.accumulate)
        self.batches = Batches(data, self.columns, sampler, device, self.config.flip, share)
        self.evaluation_steps = evaluation_steps(self.config, len(sampler.indices))
        torch.manual_seed(self.config.seed)
        classifier.network.to(device)
        self.players = Players.create(run.config, self.schema, device, classifier.network)
        state = processes.first(lambda: newest_checkpoint(run.checkpoints, run.settings))
        if state is None and run.init is not None:
            _start_from(run, self.players.autoencoder.network)
        self.average = copy.deepcopy(self.players.autoencoder.network) if self.config.ema else None
        self.done = 0  # Updates so far.
        self.seconds = 0.0  # Spent on them.
        self.window = Window()
        self.records: Records | None = None  # Of process 0 alone.
        if state is not None:
            self._restore(state)

    @property
    def result(self) -> AutoEncoder:
        """The network that is evaluated and kept: the moving average where there is one."""
        return self.average if self.average is not None else self.players.autoencoder.network

    def fit(self) -> None:
        """Train up to the last step, then say where the model is."""
        config = self.config
        if self.done == config.steps and self._evaluated():
            self._select()  # Which the process may have been killed in.
            say(f"All {self.done:,} steps are done; the model is in {self.run.model}.")
            return
        say(
            f"lambda_E rises to {config.adversarial_weight:g} over the first {config.ramp_steps:,} of {config.steps:,}"
            " steps." + (f" Going on after step {self.done:,}." if self.done else "")
        )
        with Records(self.run.folder, self.done) if processes.rank() == 0 else nullcontext() as self.records:
            self._evaluate_if_due()
            with progress("train", config.steps, self.done) as bar:
                self._train_on(bar)
        say(f"The model is in {self.run.model}.")

    def _train_on(self, bar: Task) -> None:
        config = self.config
        started = time.monotonic()
        while self.done < config.steps:
            self.step()
            bar.advance()
            due = self.done in self.evaluation_steps
            if due or self.done % RECORD_EVERY == 0:
                self._record(bar)
            now = time.monotonic()
            if any(processes.largest(due or now - started > CHECKPOINT_SECONDS, self.interruption.signal)):
                self.seconds += now - started
                self._save()
                self._evaluate_if_due()
                started = time.monotonic()

    def step(self) -> None:
        """The next update."""
        # Dropout and random categories are a function of seed, step and process, so that a resumed run is the same run
        # and that no two shares of a batch have the same.
        seed = seed_of(self.config.seed, self.done, processes.rank())
        # torch.manual_seed seeds every kind of device that there may be, which takes a while.
        (torch.default_generator if self.device.type == "cpu" else torch).manual_seed(seed)
        pixels, labels = self.batches.take(self.done)
        self.players.set_learning_rate(learning_rate(self.config, self.done))
        weight = adversarial_weight(self.config, self.done)
        self.window.add(training_step(self.players, pixels, labels, weight, self.schema, self.config))
        self.done += 1
        if self.average is not None:
            update_average(self.average, self.players.autoencoder.network, self.config.ema, self.done)

    def _record(self, bar: Task) -> None:
        self._stop_if_diverged()
        numbers = self.window.close()
        numbers["adversarial_weight"] = adversarial_weight(self.config, self.done - 1)
        numbers["learning_rate"] = learning_rate(self.config, self.done - 1)
        if self.records is not None:
            self.records.append("train", self.done, numbers)
        accuracy = f"discriminator {numbers['discriminator_accuracy']:.0%} (chance {self.chance:.0%})"
        speed = bar.speed
        rate = f", {speed * self.config.batch_size:.0f} images/s" if speed else ""
        bar.advance(0, f"reconstruction {numbers['reconstruction']:.4f}, {accuracy}{rate}")

    def _save(self) -> None:
        """Write a checkpoint, and stop if a signal asked for it."""
        self._stop_if_diverged()
        if self.records is not None:
            self.records.sync()
            state = players_state(self.players) | {"window": self.window.state(), "seconds": self.seconds}
            state["settings"] = self.run.settings
            if self.average is not None:
                state["average"] = self.average.state_dict()
            save_checkpoint(self.run.checkpoints, self.done, state)
        self._stop_if_interrupted()

    def _stop_if_diverged(self) -> None:
        self.window.average_over_processes()
        found = self.window.first_not_finite()
        if found is None:
            return
        position, numbers = found
        step = self.done - len(self.window) + position + 1
        losses = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        raise CommonError(
            f"{self.run.folder}: training diverged at step {step:,} ({losses}); the last good checkpoint is in"
            f" {self.run.checkpoints}; start another run with a lower --learning-rate or with --clip 5."
        )

    def _stop_if_interrupted(self) -> None:
        [signal] = processes.largest(self.interruption.signal)
        if signal:
            raise Interrupted(
                f"Stopped after step {self.done:,} of {self.config.steps:,}; the same command goes on from there.",
                signal,
            )

    def _restore(self, state: dict[str, Any]) -> None:
        restore_players(self.players, state)
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.done, self.seconds = state["step"], state["seconds"]
        self.window = Window({name: numbers.to(self.device) for name, numbers in state["window"].items()})

    def _evaluate_if_due(self) -> None:
        """At the end of an epoch: evaluate, draw the sample grid, keep what is on the front, and write the best."""
        if self.done not in self.evaluation_steps:
            return
        if self._evaluated():
            self._select()
            return
        epoch = self.evaluation_steps.index(self.done) + 1
        self.batches.pause()
        with computing.uncompiled(self.config), self.erasing():
            found = self._assess()
            if self.records is None:
                return
            self._draw_samples(epoch)
            self.run.candidate(epoch).parent.mkdir(exist_ok=True)
            with replacing(self.run.candidate(epoch)) as temporary:
                save_weights(self.result, temporary)
        evaluation = {"epoch": epoch, **found, "seconds": round(self.seconds, 1)}
        self.records.append("evaluation", self.done, evaluation)
        self._select()
        accuracies = ", ".join(f"{name} {value:.1%}" for name, value in found["accuracy"].items())
        say(f"epoch {epoch}, step {self.done:,}: MSE {found['mse']:.4f}, swap accuracy {accuracies}")

    def _evaluated(self) -> bool:
        evaluations = processes.first(lambda: read_records(self.run.metrics, "evaluation"))
        return any(record["step"] == self.done for record in evaluations)

    def _select(self) -> None:
        """Keep the weights of the candidates alone, and see to it that the run's model is the best of them, unless a
        person chose it."""
        if processes.rank() > 0:
            return
        evaluations = read_records(self.run.metrics, "evaluation")
        selection.keep_front(self.run, evaluations, oldest_step(self.run.checkpoints))
        best = selection.best(evaluations)
        if selection.is_chosen(self.run, evaluations):
            say("The model stays the one that you chose; 'fader select' has the others.")
        elif not selection.is_selected(self.run, best):
            selection.write_model(self.run, self.data, best, by="lowest MSE within 2 points of the best swap accuracy")

    @contextmanager
    def erasing(self) -> Iterator[None]:
        """Erase, if that is asked for, what can be read linearly in what the encoder now makes of training pictures."""
        encoder, erasure = self.result.encoder, self.result.encoder.erasure
        if erasure is None:
            yield
            return
        pictures = self.data.indices("train", ERASURE_PICTURES)

        def pairs() -> Iterator[tuple[Tensor, Tensor]]:
            with progress("erase", len(pictures)) as bar:
                for start in range(0, len(pictures), selection.BATCH):
                    chosen = pictures[start : start + selection.BATCH]
                    labels = torch.from_numpy(self.data.labels[chosen][:, self.columns])
                    yield encoder(to_pixels(self.data.images[chosen], self.device))[0], self.schema.code(labels)
                    bar.advance(len(chosen))
                    self._stop_if_interrupted()

        with torch.inference_mode():
            encoder.eval()
            erasure.fit(pairs())
        yield
        erasure.reset()  # Training goes on without it, and checkpoints do not depend on when the last evaluation was.

    def _assess(self) -> dict[str, Any]:
        with progress("evaluate", len(self.data.indices("valid"))) as bar:

            def between_batches(pictures: int) -> None:
                bar.advance(pictures)
                self._stop_if_interrupted()

            return selection.assess(
                self.result, self.classifier.network, self.data, self.schema, self.device, between_batches
            )

    def _draw_samples(self, epoch: int) -> None:
        chosen = self.data.indices("valid")[:SAMPLES]
        images, labels = self.data.images[chosen], self.data.labels[chosen][:, self.columns]
        rows, columns = selection.swap_rows(self.result, self.run.config, self.schema, images, labels)
        path = self.run.sample(epoch)
        path.parent.mkdir(exist_ok=True)
        save_picture(figures.grid(rows, columns), path)


def _sampler(data: PreparedDataset, schema: Schema, config: TrainingConfig) -> tuple[Sampler, float]:
    """The sampler of training pictures, and how often the discriminator would be right by always naming the likeliest
    value of each attribute among what it samples."""
    indices = data.indices("train")
    if len(indices) < config.batch_size:
        raise UserError(f"{data.path} has {len(indices)} training pictures; a batch takes {config.batch_size}.")
    labels = data.labels[indices][:, data.columns(schema)]
    weights = balancing_weights(labels, schema) if config.balance else None
    shares = [np.bincount(labels[:, k], weights=weights).max() / len(labels) for k in range(len(schema))]
    return Sampler(indices, config.batch_size, config.seed, weights), float(np.mean(shares))


def _start_from(run: Run, network: AutoEncoder) -> None:
    source = processes.first(lambda: load(str(run.init), device="cpu"))
    if not isinstance(source.network, AutoEncoder) or source.config.network != run.config.network:
        raise UserError(f"{run.init}: its network has other settings than this run's; give it the same to start from.")
    transfer(source.network, source.schema, network, run.schema)
