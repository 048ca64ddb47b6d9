"""Measurements and report of models whose every number can be worked out by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from fader.attributes import Attribute, Schema
from fader.evaluation import measure as module
from fader.evaluation.counterfactuals import swapped, swaps
from fader.evaluation.measure import Background, Measurements, look_at_training, measure
from fader.evaluation.report import build_report, per_image_csv, summary, to_markdown
from fader.evaluation.results import figures_of, first_of_each_value, meta_of
from tests.evaluation.world import BYTES, SCHEMA, Eye, Model, Unmoved, World, judge, world

CPU = torch.device("cpu")
META = {
    "split": "test",
    "model": {"path": "runs/a_b"},
    "dataset": {"path": "data"},
    "judge": {"architecture": "residual", "seed": 1},
}


def measured(model: Model, data: World) -> tuple[Measurements, Background]:
    background = look_at_training(model, data, CPU)
    return measure(model, judge(), data, "test", background, CPU, own=Eye(), workers=1), background


def report_of(model: Model, data: World) -> dict[str, Any]:
    measurements, background = measured(model, data)
    figures = figures_of(measurements, background, SCHEMA) | {"strength": {}, "naturalness": None}
    return build_report(figures, META | meta_of(measurements, background, SCHEMA)) | {"diagnosis": {}}


def unit(byte: int) -> float:
    return byte / 127.5 - 1


def test_swaps_are_every_attribute_to_every_other_value() -> None:
    labels = np.array([[0, 0], [1, 2]])
    assert swaps(SCHEMA) == [(0, 1), (1, 1), (1, 2)]
    assert [swapped(labels, swap, SCHEMA).tolist() for swap in swaps(SCHEMA)] == [
        [[1, 0], [0, 2]],
        [[0, 1], [1, 0]],
        [[0, 2], [1, 1]],
    ]


def test_the_true_answers_have_all_gain_and_no_collateral() -> None:
    report = report_of(Model(), world())
    for swap in report["swap"].values():
        assert (swap["accuracy"], swap["collateral"]) == (1.0, 0.0)
        assert swap["gain"] == pytest.approx(1.0, abs=1e-9)
        assert set(swap["to"].values()) == {1.0}
    square = report["swap"]["Square"]
    assert (square["to_present"], square["to_absent"]) == (1.0, 1.0)
    assert square["gain_to_present"] == square["gain_to_absent"] == pytest.approx(1.0, abs=1e-9)
    assert [report["swap"]["Shade"][key] for key in ("to_present", "to_absent", "gain_to_absent")] == [None] * 3
    assert report["mean_swap_accuracy"] == 1.0
    assert report["reconstruction"] == {
        **dict.fromkeys(["mse", "mse_0_1", "rmse", "rmse_0_1", "unexplained"], 0.0),
        **dict.fromkeys(["psnr", "png_psnr"]),
        **dict.fromkeys(["ssim", "png_ssim"], pytest.approx(1.0, abs=1e-3)),
    }
    assert [swap["preservation"] for swap in report["swap"].values()] == [1.0, 1.0]
    assert report["meta"]["counterfactuals"] == report["meta"]["pictures"] == 80


def test_leaving_the_picture_has_no_gain_and_no_swap_is_seen() -> None:
    report = report_of(Unmoved(), world())
    for swap in report["swap"].values():
        assert (swap["accuracy"], swap["gain"], swap["collateral"]) == (0.0, 0.0, 0.0)
    assert report["classifier"]["Square"] == {"accuracy": 1.0, "balanced_accuracy": 1.0, "own_accuracy": 1.0}


def test_errors_by_hand() -> None:
    """Every painted block is off by 0.1, and everything is off by 0.05 more."""
    error, noise = 0.1, 0.05
    data = world()
    report = report_of(Model(error, noise), data)
    mse = noise**2
    assert report["reconstruction"]["mse"] == pytest.approx(mse, rel=1e-4)
    assert report["reconstruction"]["mse_0_1"] == pytest.approx(mse / 4, rel=1e-4)
    assert report["reconstruction"]["rmse"] == pytest.approx(noise, rel=1e-4)
    assert report["reconstruction"]["rmse_0_1"] == pytest.approx(noise / 2, rel=1e-4)
    assert report["reconstruction"]["psnr"] == pytest.approx(10 * math.log10(4 / mse), rel=1e-4)
    # Rounded to 8 bits, 0.05 is 6 of 255 steps (6.375 rounded), but where the ground is too light for that.
    light = (data.images[data.indices("test")] > 249).any(axis=(1, 2, 3))
    assert 0 < light.sum() < 10
    png = np.where(light, np.nan, 10 * math.log10(255**2 / 6**2))
    measurements, _ = measured(Model(error, noise), data)
    assert measurements.png_psnr[~light] == pytest.approx(png[~light], rel=1e-4)
    # The swap is off by 0.15 where it has to change, the reconstruction by the step between the values and 0.05.
    step = unit(BYTES[0][1]) - unit(BYTES[0][0])
    square = report["swap"]["Square"]
    assert square["gain_to_present"] == pytest.approx(1 - (error + noise) ** 2 / (-step + noise) ** 2, rel=1e-4)
    assert square["gain_to_absent"] == pytest.approx(1 - (error + noise) ** 2 / (step + noise) ** 2, rel=1e-4)
    # Swap and reconstruction share the noise, so outside of the block they are equal.
    assert square["collateral"] == pytest.approx(0.0, abs=1e-9)
    train, test = (data.images[data.indices(split)].astype(np.float64) / 127.5 - 1 for split in ("train", "test"))
    variance = ((test - train.mean(axis=0)) ** 2).mean()
    assert report["reconstruction"]["unexplained"] == pytest.approx(mse / variance, rel=1e-4)


def test_collateral_by_hand() -> None:
    """A model that moves the last row by 0.5 whenever the square is swapped: 16 of the 244 pixels outside of it."""

    class Spilling(Model):
        def decode_pixels(self, latent: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            pixels = super().decode_pixels(latent, values)
            was = latent[:, 0, 0, 0] > 0
            pixels[(values[:, 0] > 0) != was, :, -1] += 0.5
            return pixels

    report = report_of(Spilling(), world())
    for key in ("collateral", "collateral_to_present", "collateral_to_absent"):
        assert report["swap"]["Square"][key] == pytest.approx(0.25 * 16 / (256 - 12), rel=1e-4)
    assert report["swap"]["Shade"]["collateral"] == 0.0
    assert report["swap"]["Square"]["gain"] == pytest.approx(1.0)


def test_table_1_and_preservation_by_hand() -> None:
    """A model that always paints the shade dark: it never keeps another, and the square is as it was asked for."""

    class Darkening(Model):
        def decode_pixels(self, latent: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            return super().decode_pixels(latent, torch.stack([values[:, 0], torch.zeros(len(values))], dim=1))

    data = world()
    labels = data.labels[data.indices("test")]
    report = report_of(Darkening(), data)
    dark = (labels[:, 1] == 0).mean()
    assert report["swap"]["Square"]["preservation"] == pytest.approx(dark)
    assert report["swap"]["Shade"]["preservation"] == 1.0
    shade = report["table1"]["Shade"]
    assert (shade["real"]["whole"], shade["real"]["first"]) == (1.0, 1.0)
    assert shade["reconstruction"]["whole"] == pytest.approx(dark)
    assert shade["reconstruction"]["first"] == pytest.approx(1 / 3)  # As many of each value.
    assert shade["swap"]["whole"] == pytest.approx((1 - dark) / 2)  # Dark is asked for in one swap of two, if at all.
    assert report["meta"]["table1_pictures"]["Shade"] == 3 * np.bincount(labels[:, 1]).min()
    assert report["table1"]["Square"]["swap"] == {"first": 1.0, "whole": 1.0}


def test_the_first_pictures_of_each_value() -> None:
    labels = np.array([1, 1, 0, 1, 0, 1])
    assert first_of_each_value(labels, 2).tolist() == [True, True, True, False, True, False]
    many = np.random.default_rng(0).integers(2, size=3000)
    first = first_of_each_value(many, 2)
    for value in (0, 1):
        assert np.flatnonzero(first & (many == value)).tolist() == np.flatnonzero(many == value)[:250].tolist()
    assert not first_of_each_value(np.zeros(5, np.int64), 2).any()


def test_probe_reads_a_telling_latent_and_not_an_empty_one() -> None:
    data = world(900)
    telling, empty = report_of(Model(), data)["latent"], report_of(Unmoved(), data)["latent"]
    assert telling["Square"]["probe_balanced"] == telling["Square"]["accuracy"] == 1.0
    for probe in ("probe_balanced", "network_probe_balanced"):
        assert telling["Square"][probe] == 1.0
        assert telling["Shade"][probe] > 0.95
        assert telling["Square"][probe.replace("balanced", "auc")] == 1.0
        assert empty["Square"][probe.replace("balanced", "auc")] == pytest.approx(0.5, abs=0.1)
        assert empty["Square"][probe] == pytest.approx(1 / 2, abs=0.1)
        assert empty["Shade"][probe] == pytest.approx(1 / 3, abs=0.1)
    counts = np.bincount(data.labels[data.indices("test"), 0])
    assert empty["Square"]["majority"] == counts.max() / counts.sum()


def test_without_counterfactuals_and_without_a_value_keys_stay_and_are_null() -> None:
    labels = np.stack([np.zeros(60, np.int64), np.arange(60) // 3 % 2], axis=1)  # Never a square, never light.
    whole = report_of(Model(), world())
    report = report_of(Model(), world(labels=labels, knows=False))
    assert json.loads(json.dumps(report, allow_nan=False)) == report

    def keys(data: Any) -> Any:
        return {name: keys(value) for name, value in data.items()} if isinstance(data, dict) else None

    assert keys(report) == keys(whole)
    square = report["swap"]["Square"]
    assert square["to_absent"] is None  # Nobody has a square to lose.
    assert square["to_present"] == square["accuracy"] == 1.0
    assert [square[key] for key in ("gain", "gain_to_absent", "gain_to_present", "collateral")] == [None] * 4
    assert report["latent"]["Square"] == {
        "accuracy": 1.0,
        "majority": 1.0,
        **dict.fromkeys(["probe_balanced", "probe_auc", "network_probe_balanced", "network_probe_auc"]),
    }
    assert report["classifier"]["Shade"]["balanced_accuracy"] is None
    assert report["meta"]["counterfactuals"] == 0
    assert report["meta"]["training_shares"]["Square"] == {"absent": 1.0, "present": 0.0}
    assert "None" not in summary(report) + to_markdown(report)


def test_batches_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    data = world()
    whole = report_of(Model(0.1, 0.05), data)
    monkeypatch.setattr(module, "BATCH_PIXELS", 7 * 16 * 16)
    split = report_of(Model(0.1, 0.05), data)

    def numbers(data: Any) -> list[float]:
        return [n for value in data.values() for n in numbers(value)] if isinstance(data, dict) else [data or 0.0]

    for part in ("reconstruction", "swap", "classifier", "latent"):
        assert numbers(split[part]) == pytest.approx(numbers(whole[part]), rel=1e-5, abs=1e-9)


def test_probe_learns_from_as_many_pictures_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBE_NUMBERS", 256 * 30)
    monkeypatch.setattr(module, "BATCH_PIXELS", 7 * 16 * 16)
    background = look_at_training(Model(), world(), CPU)
    assert (background.pictures, background.probe_pictures) == (80, 27)  # Every third of 80.


def test_a_judge_may_know_more_and_in_another_order() -> None:
    class Reversed(Eye):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            square, shade = super().forward(pixels).split([2, 3], dim=1)
            return torch.cat([torch.zeros(len(pixels), 2), shade, square], dim=1)

    schema = Schema((Attribute("Other"), *SCHEMA.attributes[::-1]))
    reversed_judge = judge(schema)
    reversed_judge = type(reversed_judge)(Reversed(), schema, 16, 1, reversed_judge.config, reversed_judge.info)
    data = world()
    background = look_at_training(Model(), data, CPU)
    one = measure(Model(), reversed_judge, data, "test", background, CPU, workers=1)
    assert (one.judged == one.labels).all()
    assert all((swap.seen == swap.target).all() for swap in one.swaps)


def test_per_image_csv_has_a_row_for_each_picture() -> None:
    data = world()
    header, *rows = per_image_csv({"": measured(Model(0.1), data)[0]}, {"": SCHEMA}, data).splitlines()
    assert len(rows) == 80
    names, first = header.split(","), dict(zip(header.split(","), rows[0].split(","), strict=True))
    assert len(set(names)) == len(names)
    index = data.indices("test")[0]
    assert first["name"] == data.names[index]
    assert first["Square label"] == SCHEMA.attributes[0].values[data.labels[index, 0]]
    assert first["Square swap to"] != first["Square label"]
    step = unit(BYTES[0][1]) - unit(BYTES[0][0])
    assert float(first["Square swap gain"]) == pytest.approx(1 - (0.1 / step) ** 2, rel=1e-4)
    assert first["psnr"] == ""  # Infinite: the reconstruction is the picture.
    assert {first["Shade swap +1 to"], first["Shade swap +2 to"], first["Shade label"]} == {"dark", "grey", "light"}
