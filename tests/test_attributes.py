"""Attributes, codes, flips and adversarial targets, against values worked out by hand."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from fader.attributes import Attribute, Schema
from fader.errors import UserError
from tests.refusals import refusal

COLORS = Attribute("Color", ("red", "green", "blue"))
MIXED = Schema((Attribute("Smiling"), COLORS, Attribute("Hat")))


def test_code_of_a_binary_attribute_is_absent_then_present() -> None:
    schema = Schema.binary(["Smiling"])
    values = torch.tensor([[0.0], [1.0], [0.25], [-1.0], [2.0]])
    expected = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.75, 0.25], [2.0, -1.0], [-1.0, 2.0]])
    torch.testing.assert_close(schema.code(values), expected)


def test_code_of_labels_is_one_hot_in_the_order_of_the_schema() -> None:
    code = MIXED.code(torch.tensor([[1, 2, 0], [0, 0, 1]]))
    assert code.tolist() == [[0, 1, 0, 0, 1, 1, 0], [1, 0, 1, 0, 0, 0, 1]]
    assert MIXED.code_size == 7
    assert MIXED.slices == (slice(0, 2), slice(2, 5), slice(5, 7))


def test_code_keeps_the_precision_of_the_values() -> None:
    assert MIXED.code(torch.zeros(1, 3, dtype=torch.float64)).dtype == torch.float64


def test_flips_touch_one_attribute_only() -> None:
    labels = torch.tensor([[0, 2, 1], [1, 0, 0]])
    assert MIXED.flipped(labels, "Smiling").tolist() == [[1, 2, 1], [0, 0, 0]]
    assert MIXED.flipped(labels, "Color").tolist() == [[0, 0, 1], [1, 1, 0]]
    assert labels.tolist() == [[0, 2, 1], [1, 0, 0]]


def test_adversarial_target_is_the_complement_or_a_random_other_category() -> None:
    labels = torch.tensor([[0, 1, 1]]).repeat(3000, 1)
    targets = MIXED.adversarial_target(labels, torch.Generator().manual_seed(0))
    assert (targets[:, 0] == 1).all()
    assert (targets[:, 2] == 0).all()
    counts = torch.bincount(targets[:, 1], minlength=3)
    assert counts[1] == 0
    # Each other category with probability 1/2: five standard deviations of 3,000 tosses are 137.
    assert abs(int(counts[0]) - 1500) < 137


def test_predictions_and_log_probabilities_are_softmax_by_attribute() -> None:
    logits = torch.tensor([[0.0, 0.0, 1.0, 2.0, 3.0, 5.0, -5.0]])
    labels, confidence = MIXED.predictions(logits)
    assert labels[0, 1:].tolist() == [2, 0]
    e = torch.tensor([1.0, 2.0, 3.0]).exp()
    torch.testing.assert_close(confidence[0], torch.tensor([0.5, float(e[2] / e.sum()), 1 / (1 + 2.718281828**-10)]))
    probabilities = MIXED.log_probabilities(logits).exp()
    assert [round(float(probabilities[0, part].sum()), 5) for part in MIXED.slices] == [1.0, 1.0, 1.0]


def test_values_may_be_named_or_numbers() -> None:
    assert COLORS.value("blue") == 2.0
    assert Attribute("Hat").value("present") == 1.0
    assert Attribute("Hat").value("1.5") == 1.5
    assert Attribute("Hat").value(True) == 1.0


@pytest.mark.parametrize("given", ["purple", 0.5, 3, -1, float("nan")])
def test_a_switch_takes_its_own_values_only(given: float | str) -> None:
    with pytest.raises(UserError, match="Color"):
        COLORS.value(given)


@pytest.mark.parametrize("given", [float("inf"), float("nan"), "nan", 1e39, "1e39", -1.01e6, "1e400", 1 << 2000])
def test_a_fader_takes_values_that_networks_can_compute_with_only(given: float | str) -> None:
    with pytest.raises(UserError, match=r"Hat cannot be set to .* finite number, from -1,000,000 to 1,000,000"):
        Attribute("Hat").value(given)
    assert torch.isfinite(Schema.binary(["Hat"]).code(torch.tensor([Attribute("Hat").value(-1e6)]))).all()


@pytest.mark.parametrize("given", [None, [1], 1j])
def test_what_is_no_number_is_no_value(given: Any) -> None:
    for attribute in (Attribute("Hat"), COLORS):
        with pytest.raises(UserError, match=f"{attribute.name} cannot be set to a {type(given).__name__}"):
            attribute.value(given)


def test_schema_survives_json() -> None:
    assert Schema.from_json(MIXED.to_json()) == MIXED


@pytest.mark.parametrize(
    "data",
    [None, 3, [{"name": "A"}], [{"name": "A", "values": ["x"]}], [{"name": 1, "values": ["x", "y"]}], [], ["A"]],
)
def test_a_damaged_schema_is_refused(data: object) -> None:
    with pytest.raises(UserError):
        Schema.from_json(data)


def test_selecting_and_naming_what_is_missing() -> None:
    assert MIXED.select(["Hat", "Color"]).names == ("Hat", "Color")
    with pytest.raises(UserError, match=r"'Beard'.*Smiling, Color, Hat"):
        MIXED.select(["Beard"])
    with pytest.raises(UserError, match=r"named twice: Hat\.$"):
        MIXED.select(["Smiling", "Hat", "Hat"])


def test_importing_attributes_and_configuration_does_not_import_torch() -> None:
    code = "import sys, fader.attributes, fader.config, fader.images, fader.files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_code_that_no_network_could_use_is_refused() -> None:
    assert Schema.binary([f"a{k}" for k in range(500)]).code_size == 1000
    assert "501 attributes with 1,002 values" in refusal(lambda: Schema.binary([f"a{k}" for k in range(501)]))
