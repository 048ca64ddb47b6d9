"""An IcGAN's training: its losses against a literal formula, its draws, and whole runs on a handful of portraits."""

import copy
import json
import math
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.apple import OnAppleGpu
from tests.refusals import refusal
from torch import Tensor, nn

import fader
from fader import cli
from fader.config import ClassifierConfig, Config, IcganConfig, IcganNetworkConfig, configure, configure_icgan
from fader.datasets.portraits import renderer, specification
from fader.datasets.portraits.source import prepare_portraits
from fader.datasets.prepared import open_dataset
from fader.devices import find_device
from fader.errors import Interrupted
from fader.images import to_pixels
from fader.model import save_model
from fader.networks.icgan import Discriminator, Generator
from fader.networks.weights import load_weights
from fader.training import icgan, icgan_stages
from fader.training.checkpoints import checkpoints
from fader.training.classifier import save_classifier, train_classifier
from fader.training.icgan import train_icgan
from fader.training.icgan_stages import (
    EncoderStage,
    GanStage,
    GeneratedPictures,
    LabelledPictures,
    LabelRows,
    gan_step,
)
from fader.training.loop import train
from fader.training.player import Player
from fader.training.records import read_records
from fader.training.run import RunOf, open_run

NAMES = ["Eyeglasses", "Hat"]
SCHEMA = specification.SCHEMA.select(NAMES)
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def fewer_pictures_to_look_at() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(icgan, "CHECKED", 100)
        patch.setattr(icgan_stages, "SEEN", 50)
        yield


@pytest.fixture(scope="module")
def classifier(portraits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("icgan") / "classifier"
    config = ClassifierConfig(width=4, max_width=8, hidden=8, epochs=1)
    save_classifier(train_classifier(open_dataset(portraits), SCHEMA, config, find_device("cpu")), folder)
    return folder


def config(**fields: Any) -> IcganConfig:
    tiny = {"width": 4, "noise": 8, "epochs": 2, "encoder_epochs": 2, "batch_size": 16, "refresh_passes": 3}
    return configure_icgan("small", **{**tiny, "refresh_batch": 8, **fields})


def run_training(dataset: Path, output: Path, classifier: Path, **fields: Any) -> Path:
    train_icgan(dataset, output, config(**fields), NAMES, classifier, "cpu")
    return output


@pytest.fixture(scope="module")
def finished(portraits: Path, classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; not to be written to."""
    return run_training(portraits, tmp_path_factory.mktemp("icgan") / "run", classifier)


def stage(portraits: Path, folder: Path, **fields: Any) -> GanStage:
    run = RunOf(folder, config(**fields), SCHEMA, {}, None)
    return GanStage(run, open_dataset(portraits), nn.Identity(), CPU)


def test_a_step_is_the_formula() -> None:
    """Against sigmoids, probabilities and Adam spelled out, in double precision."""
    torch.manual_seed(0)
    settings = IcganNetworkConfig(width=4, noise=5)
    g, d = Generator(settings, SCHEMA).double(), Discriminator(settings, SCHEMA).double()
    g1, d1, d2 = copy.deepcopy(g), copy.deepcopy(d), copy.deepcopy(d)
    x, z = torch.rand(6, 3, 64, 64, dtype=torch.float64) * 2 - 1, torch.randn(6, 5, dtype=torch.float64)
    right, wrong, drawn = (SCHEMA.code(torch.randint(0, 2, (6, 2))).double() for _ in range(3))
    betas = (0.5, 0.999)
    numbers = gan_step(Player(g, CPU, 2e-4, betas), Player(d, CPU, 2e-4, betas), x, right, wrong, z, drawn)

    fake = g1((z,), drawn)
    on_real, on_wrong = d1(x, right).sigmoid(), d1(x, wrong).sigmoid()
    on_fake = d1(fake.detach(), drawn).sigmoid()
    loss_d = (-on_real.log() - 0.5 * (1 - on_wrong).log() - 0.5 * (1 - on_fake).log()).mean()
    first_step_of_adam(d1, loss_d)
    loss_g = -d1(fake, drawn).sigmoid().log().mean()
    first_step_of_adam(g1, loss_g)

    assert float(numbers["real"] + numbers["wrong"] / 2 + numbers["fake"] / 2) == pytest.approx(loss_d.item())
    assert float(numbers["generator"]) == pytest.approx(loss_g.item())
    for ours, literal in ((d, d1), (g, g1)):
        for (name, mine), theirs in zip(ours.named_parameters(), literal.parameters(), strict=True):
            # Where BatchNorm follows, a bias has no gradient but rounding errors, which Adam blows up.
            if not (name.endswith("bias") and theirs.grad is not None and theirs.grad.abs().max() < 1e-12):
                torch.testing.assert_close(mine, theirs, atol=1e-7, rtol=0, msg=name)
    assert any(not torch.equal(mine, before) for mine, before in zip(d.parameters(), d2.parameters(), strict=True))
    assert all(parameter.requires_grad for parameter in d.parameters())


def first_step_of_adam(network: nn.Module, loss: Tensor) -> None:
    parameters = list(network.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
        mean, square = (1 - 0.5) * gradient, (1 - 0.999) * gradient**2
        with torch.no_grad():
            parameter.sub_(2e-4 * (mean / (1 - 0.5)) / ((square / (1 - 0.999)).sqrt() + 1e-8))


def test_encoders_learn_by_mean_squared_error_with_little_momentum(portraits: Path) -> None:
    settings = config()
    pictures = LabelledPictures(open_dataset(portraits), SCHEMA, settings, CPU)
    learner = EncoderStage("attribute-encoder", pictures, settings, CPU)
    [group] = learner.encoder.optimizer.param_groups
    assert (group["lr"], group["betas"]) == (1e-4, (0.1, 0.999))
    before = copy.deepcopy(learner.encoder.network)
    found = learner.step(0)
    numbers, flips = learner.sampler.batch(0)
    data = open_dataset(portraits)
    chosen = data.indices("train")[numbers]
    pixels = to_pixels(data.images[chosen])
    pixels = torch.stack([p.flip(2) if flip else p for p, flip in zip(pixels, flips, strict=True)])
    y = 2.0 * torch.from_numpy(data.labels[chosen][:, data.columns(SCHEMA)]) - 1
    assert float(found["squared_error"]) == pytest.approx(F.mse_loss(before(pixels), y).item(), rel=1e-5)


class Places:
    """Stands in for random numbers: a given place each time."""

    def __init__(self, place: int) -> None:
        self.place = place

    def integers(self, high: np.ndarray) -> np.ndarray:
        assert (self.place < high).all()
        return np.full(high.shape, self.place)


def test_wrong_labels_are_those_of_every_other_picture_that_differs() -> None:
    labels = np.array([[0, 1], [1, 1], [0, 1], [0, 0], [1, 1], [0, 1]])
    rows = LabelRows(labels)
    for position in range(len(labels)):
        others = sorted(row.tolist() for row in labels if (row != labels[position]).any())
        drawn = [
            rows.others(np.array([position]), Places(place))[0].tolist()  # type: ignore[arg-type]
            for place in range(len(others))
        ]
        assert sorted(drawn) == others  # Each other picture once: all are equally likely.


def test_drawn_labels_are_rows_of_the_training_labels() -> None:
    labels = np.array([[0, 1], [1, 0], [1, 0], [1, 0]])  # Never both, never none.
    drawn = LabelRows(labels).drawn(4000, np.random.default_rng(0))
    assert (drawn.sum(axis=1) == 1).all()
    assert drawn[:, 0].mean() == pytest.approx(0.75, abs=0.03)


def test_generated_pictures_are_a_function_of_their_number(portraits: Path) -> None:
    settings, data = config(noise=50), open_dataset(portraits)
    generator = Generator(settings.network, SCHEMA).eval()
    pictures = GeneratedPictures(generator, data, SCHEMA, settings)
    labels = data.labels[data.indices("train")][:, data.columns(SCHEMA)]
    assert len(pictures) == len(labels)
    assert sorted(pictures.labels.tolist()) == sorted(labels.tolist())
    assert pictures.labels.tolist() != labels.tolist()
    everything, z = pictures.pairs(np.arange(len(pictures)))
    some, z_of_some = pictures.pairs(np.array([7, 3]))
    torch.testing.assert_close(some, everything[[7, 3]])
    assert torch.equal(z_of_some, z[[7, 3]])
    code = SCHEMA.code(torch.from_numpy(pictures.labels))
    with torch.no_grad():
        torch.testing.assert_close(everything, generator((z,), code))
    assert len(z.unique(dim=0)) == len(z)
    assert float(z.mean()) == pytest.approx(0, abs=0.1)
    assert float(z.std()) == pytest.approx(1, abs=0.05)


def test_refresh_moves_nothing_but_the_statistics(portraits: Path, tmp_path: Path) -> None:
    gan = stage(portraits, tmp_path, refresh_passes=60, refresh_batch=64)
    before = copy.deepcopy(gan.generator.network)
    generator = gan.result(lambda: None)
    assert not generator.training
    for (name, old), new in zip(before.state_dict().items(), generator.state_dict().values(), strict=True):
        changed = any(part in name for part in ("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(old, new) != changed, name
    # The first layer's statistics are those that many drawn z and y have.
    random = np.random.default_rng(5)
    z = torch.from_numpy(random.standard_normal((2000, 8), dtype=np.float32))
    y = SCHEMA.signs(SCHEMA.code(torch.from_numpy(gan.rows.drawn(2000, random))))
    first, norm = generator.layers[0], generator.layers[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    with torch.no_grad():
        expected = first(torch.cat([z, y], dim=1)[:, :, None, None]).mean(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, expected, atol=0.01, rtol=0)


def test_the_best_epoch_on_held_out_pictures_is_kept(portraits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(encoder_epochs=3)
    pictures = LabelledPictures(open_dataset(portraits), SCHEMA, settings, CPU)
    encoder = EncoderStage("attribute-encoder", pictures, settings, CPU)
    everything = np.sort(np.concatenate([encoder.sampler.indices, encoder.held_out]))
    assert everything.tolist() == list(range(len(pictures)))
    assert len(encoder.held_out) == pytest.approx(0.34 * len(pictures), abs=1)
    errors = iter([0.5, 0.3, 0.4])
    monkeypatch.setattr(encoder, "_held_out_error", lambda pause: next(errors))
    snapshots = []
    done = 0
    for epoch, end in enumerate(encoder.epoch_ends, 1):
        for number in range(done, end):
            encoder.step(number)
        done = end
        assert encoder.end_epoch(epoch, lambda: None)["held_out"] in (0.5, 0.3, 0.4)
        snapshots.append(copy.deepcopy(encoder.encoder.network.state_dict()))
    kept = encoder.result(lambda: None).state_dict()
    assert all(torch.equal(kept[name], snapshots[1][name]) for name in kept)
    assert not all(torch.equal(kept[name], snapshots[2][name]) for name in kept)


def test_held_out_error_is_the_mean_over_all_held_out_pictures(
    portraits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(icgan_stages, "BATCH", 5)  # So that the last batch is smaller.
    pictures = LabelledPictures(open_dataset(portraits), SCHEMA, config(), CPU)
    encoder = EncoderStage("attribute-encoder", pictures, config(), CPU)
    found = encoder.end_epoch(1, lambda: None)["held_out"]
    assert encoder.encoder.network.training
    pixels, y = pictures.pairs(encoder.held_out)
    with torch.no_grad():
        expected = F.mse_loss(encoder.encoder.network.eval()(pixels), y)
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_held_out_error_needs_no_float64_on_the_device(portraits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As there is none on Apple's GPUs."""
    pictures = LabelledPictures(open_dataset(portraits), SCHEMA, config(), CPU)
    encoder = EncoderStage("attribute-encoder", pictures, config(), CPU)
    expected = encoder.end_epoch(1, lambda: None)
    pairs = pictures.pairs
    monkeypatch.setattr(pictures, "pairs", lambda batch: tuple(one.as_subclass(OnAppleGpu) for one in pairs(batch)))
    assert encoder.end_epoch(2, lambda: None) == expected


def test_a_run_leaves_everything_behind(finished: Path, portraits: Path, classifier: Path) -> None:
    pictures = len(open_dataset(portraits).indices("train"))
    records = read_records(finished / "metrics.jsonl")
    epochs = [(r["stage"], r["epoch"], r["step"]) for r in records if r["kind"] == "epoch"]
    gan = [-(-e * pictures // 16) for e in (1, 2)]
    part = [-(-e * round(0.66 * pictures) // 16) for e in (1, 2)]
    assert epochs == [
        *(("generator", e, gan[e - 1]) for e in (1, 2)),
        *(("noise-encoder", e, gan[1] + part[e - 1]) for e in (1, 2)),
        *(("attribute-encoder", e, gan[1] + part[1] + part[e - 1]) for e in (1, 2)),
    ]
    [evaluation] = [r for r in records if r["kind"] == "evaluation"]
    assert evaluation["step"] == gan[1] + 2 * part[1]
    assert all(set(evaluation[name]) == set(NAMES) for name in ("accuracy", "agreement", "attributes_read"))
    assert sorted(path.name for path in (finished / "samples").iterdir()) == [
        "edits.png",
        "epoch-0001.png",
        "epoch-0002.png",
    ]
    assert not list((finished / "checkpoints").iterdir())
    # The same command again has nothing to do and changes nothing.
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    run_training(portraits, finished, classifier)
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*")}


def test_what_is_reported_is_what_the_model_does(finished: Path, portraits: Path) -> None:
    data, model = open_dataset(portraits), fader.load(finished, "cpu")
    chosen = data.indices("valid")
    pixels, labels = to_pixels(data.images[chosen]), data.labels[chosen][:, data.columns(SCHEMA)]
    seen, _ = model.classify(pixels)
    right = (seen.numpy() == labels).mean(axis=0)
    [evaluation] = read_records(finished / "metrics.jsonl", "evaluation")
    assert evaluation["attributes_read"] == pytest.approx(dict(zip(NAMES, right.tolist(), strict=True)))
    latent = model.encode_pixels(pixels)
    decoded = model.decode_pixels(latent, model.own_values(latent, torch.from_numpy(labels)))
    assert evaluation["mse"] == pytest.approx(float(F.mse_loss(decoded, pixels)), rel=1e-4)


def test_a_run_interrupted_in_every_stage_ends_bit_identical(
    finished: Path, portraits: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal in an update of each stage, in the refresh and in a look at held-out pictures, one after the other."""
    broken, pending = tmp_path / "broken", {"step": [2, 9, 11], "result": [1], "_held_out_error": [2]}

    def with_a_signal(kind: type, method: str) -> None:
        original, calls = getattr(kind, method), 0

        def call(self: Any, *arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls in pending[method]:
                pending[method].remove(calls)
                signal.raise_signal(signal.SIGTERM)
            return original(self, *arguments)

        monkeypatch.setattr(kind, method, call)

    steps = GanStage.step, EncoderStage.step
    calls = 0

    def step(self: Any, number: int) -> Any:
        nonlocal calls
        calls += 1
        if calls in pending["step"]:
            pending["step"].remove(calls)
            signal.raise_signal(signal.SIGTERM)
        return steps[isinstance(self, EncoderStage)](self, number)

    monkeypatch.setattr(GanStage, "step", step)
    monkeypatch.setattr(EncoderStage, "step", step)
    with_a_signal(GanStage, "result")
    with_a_signal(EncoderStage, "_held_out_error")
    left = set()
    for _ in range(5):
        with pytest.raises(Interrupted, match="the same command goes on") as caught:
            run_training(portraits, broken, classifier)
        assert caught.value.signal == signal.SIGTERM
        assert not (broken / "model").exists()
        left |= {path.name for path in checkpoints(broken / "checkpoints" / "noise-encoder")}
    # What the look at held-out pictures, after the second epoch, was interrupted in: all but one update was saved.
    pictures = len(open_dataset(portraits).indices("train"))
    end = icgan_stages.epoch_ends(icgan_stages.learning_share(config(), pictures), 2, 16)[1]
    assert f"step-{end - 1:09d}.pt" in left
    run_training(portraits, broken, classifier)
    for path in sorted([*(finished / "networks").iterdir(), finished / "model" / "model.safetensors"]):
        assert path.read_bytes() == (broken / path.relative_to(finished)).read_bytes(), path.name
    ours, theirs = (
        [{k: v for k, v in r.items() if k != "seconds"} for r in read_records(run / "metrics.jsonl")]
        for run in (broken, finished)
    )
    assert ours == theirs


def test_a_run_that_diverges_says_so_and_keeps_the_last_good_checkpoint(
    finished: Path, portraits: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def step_with_an_infinity(generator: Any, discriminator: Any, pixels: Tensor, *rest: Any) -> Any:
        nonlocal calls
        calls += 1
        return gan_step(generator, discriminator, pixels / (calls != 7), *rest)

    monkeypatch.setattr(icgan_stages, "gan_step", step_with_an_infinity)
    message = refusal(lambda: run_training(portraits, tmp_path / "run", classifier))
    assert "the stage generator diverged (" in message
    left = checkpoints(tmp_path / "run" / "checkpoints" / "generator")
    assert left
    assert all(t.isfinite().all() for path in left for t in torch.load(path)["generator"]["network"].values())
    # Without the infinity it goes on from there, and ends as it would have.
    monkeypatch.undo()
    monkeypatch.setattr(icgan, "CHECKED", 100)
    monkeypatch.setattr(icgan_stages, "SEEN", 50)
    run = run_training(portraits, tmp_path / "run", classifier)
    assert (run / "model" / "model.safetensors").read_bytes() == (finished / "model" / "model.safetensors").read_bytes()


def test_edits_start_from_the_signs_that_the_model_reads(finished: Path) -> None:
    """x' = G(E_z(x), sign(E_y(x)) with the wanted attribute changed); a reconstruction has E_y(x) as it is."""
    model = fader.load(finished, "cpu")
    codes: list[Tensor] = []
    decoder = model.network.decoder
    decoder.register_forward_pre_hook(lambda module, inputs: codes.append(SCHEMA.signs(inputs[1])[0]))
    picture = renderer.portrait(5)
    face = model.encode(picture)
    with torch.no_grad():
        y = model.network.encoder(to_pixels(np.array(picture)[None]))[0][0]
    sign = torch.where(y > 0, 1.0, -1.0)
    face.reconstruction()
    face.edit(Hat=1)
    face.edit(Eyeglasses=0.25)
    face.sweep("Hat", -1, 2, 4)
    torch.testing.assert_close(codes[0], y, atol=1e-5, rtol=1e-5)
    expected = [[sign[0], 1], [-0.5, sign[1]], *([sign[0], h] for h in (-3, -1, 1, 3))]
    torch.testing.assert_close(torch.stack(codes[1:3]), torch.tensor(expected[:2]))
    assert face.values == {name: int(s > 0) for name, s in zip(NAMES, sign, strict=True)}
    # Figures show the same.
    torch.testing.assert_close(face.own_values[0], (1 + y) / 2)


def test_the_latent_that_is_probed_is_z(finished: Path) -> None:
    model = fader.load(finished, "cpu")
    latent = model.encode_pixels(torch.zeros(3, 3, 64, 64))
    assert model.latent_features(latent).shape == (3, 8)


def test_a_model_folder_keeps_the_system(finished: Path, tmp_path: Path) -> None:
    model = fader.load(finished, "cpu")
    save_model(model, tmp_path / "copy")
    again = fader.load(tmp_path / "copy", "cpu")
    assert again.config == config()
    assert again.fingerprint == model.fingerprint
    assert not (tmp_path / "copy" / "classifier.safetensors").exists()
    assert (tmp_path / "copy" / "README.md").read_text().startswith("# IcGAN: Eyeglasses, Hat\n")
    data = json.loads((tmp_path / "copy" / "config.json").read_text())
    (tmp_path / "copy" / "config.json").write_text(json.dumps({**data, "system": "attgan"}))
    assert "no system 'attgan'" in refusal(lambda: fader.load(tmp_path / "copy"))
    (tmp_path / "copy" / "config.json").write_text(json.dumps({**data, "system": "fader"}))
    refusal(lambda: fader.load(tmp_path / "copy"))


def test_runs_that_cannot_be_are_refused(finished: Path, portraits: Path, classifier: Path, tmp_path: Path) -> None:
    assert "width is 4 there, 8 here" in refusal(lambda: run_training(portraits, finished, classifier, width=8))
    message = refusal(lambda: train(portraits, finished, configure("small"), NAMES, classifier))
    assert "system is icgan there, fader here" in message
    message = refusal(lambda: run_training(portraits, tmp_path / "new", classifier, held_out=1e-4))
    assert "a share of 0.0001 to hold out is none; give a larger --held-out" in message
    assert "a batch takes 64" in refusal(lambda: run_training(portraits, tmp_path / "new", classifier, batch_size=64))
    prepare_portraits(tmp_path / "small", count=40, size=32, workers=1)
    message = refusal(lambda: run_training(tmp_path / "small", tmp_path / "new", classifier))
    assert "pictures of side 32" in message
    assert "--size 64" in message
    message = refusal(
        lambda: train(portraits, tmp_path / "new", configure("small"), NAMES, classifier, init=finished, device="cpu")
    )
    assert "its network has other settings" in message


def test_labels_that_never_differ_are_refused(portraits: Path, tmp_path: Path) -> None:
    data = open_dataset(portraits)
    data.labels[:] = 1
    run = RunOf(tmp_path, config(), SCHEMA, {}, None)
    assert "the same labels" in refusal(lambda: GanStage(run, data, nn.Identity(), CPU))


def test_every_verb_takes_the_model(
    portraits: Path, classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, dataset = str(tmp_path / "run"), ["--dataset", str(portraits)]
    options = "--width 4 --noise 8 --epochs 1 --encoder-epochs 1 --batch-size 16 --refresh-passes 2 --device cpu"
    chosen = ["--attributes", *NAMES, "--classifier", str(classifier)]
    assert cli.main(["train", str(portraits), "--system", "icgan", "-o", run, *options.split(), *chosen]) == 0
    assert "E_y is right on" in capsys.readouterr().err
    few = ["--count", "2", "--device", "cpu"]
    assert cli.main(["swap", run, *dataset, "-o", f"{tmp_path}/swap.png", *few]) == 0
    slide = ["slide", run, *dataset, "--attribute", "Hat", "-o", f"{tmp_path}/slide.png"]
    assert cli.main([*slide, *few]) == 0
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    shutil.copy(tmp_path / "swap.png", pictures / "a.png")
    assert cli.main(["swap", f"{run}/model", str(pictures), "-o", f"{tmp_path}/edited", "--device", "cpu"]) == 0
    assert sorted(p.name for p in (tmp_path / "edited").glob("*.png")) == ["a.Eyeglasses.png", "a.Hat.png"]
    for folder in (run, f"{run}/model"):
        capsys.readouterr()
        assert cli.main(["info", folder]) == 0
        assert "icgan" in capsys.readouterr().out
    assert cli.main(["evaluate", run, "--device", "cpu"]) == 0
    report = json.loads((tmp_path / "run" / "evaluation" / "report.json").read_text())
    assert set(report["swap"]) >= set(NAMES)
    assert report["diagnosis"] is None
    capsys.readouterr()
    assert cli.main(["select", run]) == 2
    assert "has no candidates" in capsys.readouterr().err


def test_a_faders_run_of_before_has_no_system(finished: Path, tmp_path: Path) -> None:
    """The file that versions before the IcGAN wrote is read as a Fader Network's."""
    data = json.loads((finished / "run.json").read_text())
    old = {**data, "config": Config().to_json()}
    del old["system"]
    (tmp_path / "run.json").write_text(json.dumps(old))
    assert open_run(tmp_path).config == Config()


def test_the_kept_generator_is_the_models(finished: Path) -> None:
    model = fader.load(finished, "cpu")
    generator = load_weights(
        lambda: Generator(config().network, SCHEMA), finished / "networks" / "generator.safetensors"
    )
    z, code = torch.randn(2, 8), SCHEMA.code(torch.tensor([[0, 1], [1, 1]]))
    with torch.no_grad():
        assert torch.equal(generator((z,), code), model.network.decoder((z,), code))


def test_an_encoder_whose_error_on_held_out_pictures_is_not_finite_is_not_taken(
    portraits: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(icgan_stages.EncoderStage, "_held_out_error", lambda self, pause: math.nan)
    message = refusal(lambda: run_training(portraits, tmp_path / "run", classifier))
    assert "diverged (held_out nan); the last good checkpoint is in" in message
    assert not (tmp_path / "run" / "model").exists()
