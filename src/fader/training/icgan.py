"""The run of an IcGAN, the paper's baseline: stage after stage, each of which leaves a network behind.

1. A conditional GAN learns to generate pictures of z and the attributes y.
2. The generator's BatchNorm statistics are taken anew. It is then fixed.
3. It draws pictures of known z, as many as there are training pictures. They are drawn when they are needed.
4. E_z learns from those to tell z, E_y from training pictures to tell y.

What is checked of the result: an independent classifier of real pictures sees y in G(z, y), and E_y is right.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fader import figures
from fader.config import IcganConfig
from fader.datasets.prepared import Location, PreparedDataset, open_dataset
from fader.devices import find_device
from fader.errors import Interrupted, UserError
from fader.files import locked, replacing
from fader.images import Framing, save_picture
from fader.interruption import Interruption, interruptions
from fader.model import Model, attribute_reader, save_model
from fader.networks.blocks import Network
from fader.networks.icgan import IcGAN
from fader.networks.weights import load_weights, save_weights
from fader.parallel import rank_and_count
from fader.progress import progress, say
from fader.training import selection
from fader.training.checkpoints import CHECKPOINT_SECONDS, newest_checkpoint, save_checkpoint
from fader.training.classifier import Classifier
from fader.training.computing import enough_memory
from fader.training.icgan_stages import (
    EncoderStage,
    GanStage,
    GeneratedPictures,
    LabelledPictures,
    Stage,
    agreement,
    learning_share,
    reading_accuracy,
)
from fader.training.records import RECORD_EVERY, Records, Window, read_records
from fader.training.run import IcganRun, create_or_continue

CHECKED = 2048  # Generated pictures that the finished generator is checked on.
SAMPLES = 8  # Validation pictures in the final figure.


def train_icgan(
    dataset: Location,
    output: Path,
    config: IcganConfig,
    attributes: Sequence[str] | None = None,
    classifier: Path | None = None,
    device: str = "auto",
) -> IcganRun:
    """Train an IcGAN on a prepared dataset of 64 pixels, or go on with a run that was interrupted.

    Args:
        dataset: A prepared dataset.
        output: The run folder. If it holds a run with the same settings, that run goes on.
        config: Networks and training.
        attributes: What to learn; by default all that the dataset has.
        classifier: A classifier folder to check the generator with; by default one is trained and kept in the run
            folder.
        device: "auto", "cpu", "cuda", "mps", ...

    Raises UserError on unusable input, on other settings than those of the run in the folder, if another process trains
    in it, on losses that are no longer finite, and when the memory or the disk is full; Interrupted, once everything
    is saved, on SIGINT and SIGTERM.
    """
    if rank_and_count()[1] > 1:
        raise UserError("An IcGAN is trained by one process; start fader train --system icgan without torchrun.")
    data = open_dataset(dataset)
    schema = data.schema.select(attributes) if attributes else data.schema
    if (data.size, data.channels) != (config.network.size, config.network.channels):
        raise UserError(
            f"{dataset} has pictures of side {data.size} and {data.channels} channel(s), the IcGAN is for side"
            f" {config.network.size} and {config.network.channels}; prepare it with --size {config.network.size}"
            f" --channels {config.network.channels}."
        )
    pictures, batch_size = len(data.indices("train")), config.training.batch_size
    learnt_from = learning_share(config, pictures)
    if learnt_from < batch_size:
        raise UserError(
            f"{dataset} has {pictures} training pictures, of which the encoders learn from"
            f" {1 - config.training.held_out:.0%}; a batch takes {batch_size}."
        )
    if learnt_from == pictures:
        raise UserError(
            f"{dataset} has {pictures} training pictures, of which a share of {config.training.held_out:g} to hold out"
            " is none; give a larger --held-out."
        )
    chosen_device = find_device(device)
    with locked(output), enough_memory(output):
        run = create_or_continue(output, config, schema, data)
        judge = selection.selection_classifier(run, data, classifier, chosen_device)
        with interruptions() as interruption:
            Trainer(run, data, judge, chosen_device, interruption).fit()
    return run


class Trainer:
    """A run in progress. The stages are numbered through: a step of the run is so many updates, in whichever stage."""

    def __init__(
        self,
        run: IcganRun,
        data: PreparedDataset,
        classifier: Classifier,
        device: torch.device,
        interruption: Interruption,
    ) -> None:
        self.run, self.data, self.device, self.interruption = run, data, device, interruption
        self.schema, self.config = run.schema, run.config
        self.classifier = classifier.network.to(device)
        self.before = 0  # Updates of the stages that are finished.
        self.seconds = max((r["seconds"] for r in read_records(run.metrics) if "seconds" in r), default=0.0)

    def fit(self) -> None:
        """Go through all stages, then put the model together."""
        if read_records(self.run.metrics, "evaluation"):
            say(f"All is done; the model is in {self.run.model}.")
            return
        run, data, schema, device = self.run, self.data, self.schema, self.device
        icgan = IcGAN(self.config.network, schema)
        icgan.decoder = self._left_by(GanStage(run, data, self.classifier, device))
        generated = GeneratedPictures(icgan.decoder, data, schema, self.config)
        icgan.encoder.noise = self._left_by(EncoderStage("noise-encoder", generated, self.config, device))
        pictures = LabelledPictures(data, schema, self.config, device)
        icgan.encoder.attributes = self._left_by(EncoderStage("attribute-encoder", pictures, self.config, device))
        self._finish(icgan.eval())

    def _left_by(self, stage: Stage[Network]) -> Network:
        """The network that a stage leaves behind, in eval mode: from its file, or trained now."""
        path = self.run.part(stage.name)
        if not path.exists():
            network = self._train(stage)
            with replacing(path) as temporary:
                save_weights(network, temporary)
        shutil.rmtree(self._checkpoints(stage), ignore_errors=True)
        self.before += stage.epoch_ends[-1]
        return load_weights(stage.build, path, self.device).requires_grad_(False)

    def _train(self, stage: Stage[Network]) -> Network:
        steps = stage.epoch_ends[-1]
        done, window = self._resume(stage)
        what = stage.name.replace("-", " ")
        if done:
            say(f"{what}: going on after step {done:,} of {steps:,}.")
        started = time.monotonic()
        with Records(self.run.folder, self.before + done) as records, progress(what, steps, done) as bar:

            def save() -> None:
                nonlocal started
                now = time.monotonic()
                self.seconds, started = self.seconds + now - started, now
                records.sync()
                state = {**stage.state(), "window": window.state(), "seconds": self.seconds}
                state["settings"] = self.run.settings
                save_checkpoint(self._checkpoints(stage), done, state)

            def pause() -> None:
                """To be called where the last checkpoint is all that is needed to go on."""
                if self.interruption.signal:
                    raise Interrupted(
                        f"Stopped in the stage {what} of {steps:,} steps; the same command goes on from there.",
                        self.interruption.signal,
                    )

            while done < steps:
                window.add(stage.step(done))
                done += 1
                bar.advance()
                ends = done in stage.epoch_ends
                if ends or done % RECORD_EVERY == 0:
                    self._refuse_divergence(window, what)
                    means = window.close()
                    records.append("train", self.before + done, {"stage": stage.name, **means})
                    bar.advance(0, ", ".join(f"{name} {mean:.3f}" for name, mean in means.items()))
                if ends:
                    epoch = stage.epoch_ends.index(done) + 1
                    found = stage.end_epoch(epoch, pause)
                    if not all(math.isfinite(number) for _, number in _flat(found)):
                        raise self._diverged(dict(_flat(found)), what)
                    seconds = round(self.seconds + time.monotonic() - started, 1)
                    about = {"stage": stage.name, "epoch": epoch, **found, "seconds": seconds}
                    records.append("epoch", self.before + done, about)
                    say(f"{what}, epoch {epoch}: " + ", ".join(f"{n} {v:.4f}" for n, v in _flat(found)))
                # Also before an epoch's last update, which is all that an interruption while its end is looked into
                # leaves to be done again.
                due = ends or done + 1 in stage.epoch_ends or time.monotonic() - started > CHECKPOINT_SECONDS
                if due or self.interruption.signal:
                    self._refuse_divergence(window, what)
                    save()
                    pause()
            return stage.result(pause)

    def _resume(self, stage: Stage[Network]) -> tuple[int, Window]:
        """After how many of its updates a stage goes on, and what was noted since the last record."""
        state = newest_checkpoint(self._checkpoints(stage), self.run.settings)
        if state is None:
            return 0, Window()
        stage.restore(state)
        self.seconds = state["seconds"]
        return state["step"], Window({name: numbers.to(self.device) for name, numbers in state["window"].items()})

    def _checkpoints(self, stage: Stage[Network]) -> Path:
        return self.run.checkpoints / stage.name

    def _refuse_divergence(self, window: Window, what: str) -> None:
        found = window.first_not_finite()
        if found is not None:
            raise self._diverged(found[1], what)

    def _diverged(self, numbers: dict[str, float], what: str) -> UserError:
        listed = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        return UserError(
            f"{self.run.folder}: the stage {what} diverged ({listed}); the last good checkpoint is in"
            f" {self.run.checkpoints}; start another run with another --seed or lower learning rates."
        )

    def _finish(self, icgan: IcGAN) -> None:
        """Check the system, write the model, and last of all the record that says that all is done."""
        run, data, schema = self.run, self.data, self.schema

        def between_batches(pictures: int) -> None:
            bar.advance(pictures)
            if self.interruption.signal:
                raise Interrupted(
                    "Stopped while the IcGAN was evaluated; the same command does it again.", self.interruption.signal
                )

        with progress("evaluate", 2 * len(data.indices("valid"))) as bar:
            found = selection.assess(icgan, self.classifier, data, schema, self.device, between_batches)
            reader = attribute_reader(icgan)
            assert reader is not None
            right = reading_accuracy(reader, data, schema, self.device, between_batches)
        errors = found.pop("errors")
        labels = data.labels[data.indices("train")][:, data.columns(schema)]
        seen = agreement(icgan.decoder, self.classifier, labels, self.config, schema, CHECKED)
        evaluation = {
            "epoch": self.config.training.epochs,
            "step": self.before,
            **found,
            "agreement": seen,
            "attributes_read": right,
            "seconds": round(self.seconds, 1),
        }
        model = Model(
            network=icgan,
            schema=schema,
            config=self.config,
            framing=Framing.from_json(data.info["framing"]),
            classifier=reader,
            dataset={name: run.dataset[name] for name in ("name", "fingerprint")},
            selection={"chosen by": "each encoder's lowest error on held-out pictures", **evaluation},
            errors=errors,
        )
        save_model(model, run.model, overwrite=True)
        chosen = data.indices("valid")[:SAMPLES]
        rows, columns = selection.swap_rows(
            icgan, self.config, schema, data.images[chosen], data.labels[chosen][:, data.columns(schema)]
        )
        save_picture(figures.grid(rows, columns), run.folder / "samples" / "edits.png")
        with Records(run.folder, self.before) as records:
            del evaluation["step"]
            records.append("evaluation", self.before, evaluation)
        say(f"A classifier of real pictures sees y in {_shares(seen)} of G(z, y) (to be 90% at least).")
        say(f"E_y is right on {_shares(right)} of the validation pictures (to be 95% at least).")
        say(f"The model is in {run.model}.")


def _flat(found: dict[str, Any]) -> list[tuple[str, float]]:
    """Numbers by name, those of attributes too."""
    return [
        pair
        for name, value in found.items()
        for pair in (value.items() if isinstance(value, dict) else [(name, float(value))])
    ]


def _shares(shares: dict[str, float]) -> str:
    mean = sum(shares.values()) / len(shares)
    return f"{mean:.1%} ({', '.join(f'{name} {share:.1%}' for name, share in shares.items())})"
