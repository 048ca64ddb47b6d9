"""The judge is trained once and kept, and what must not judge is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fader.attributes import Attribute, Schema
from fader.config import JUDGE, ClassifierConfig
from fader.errors import UserError
from fader.evaluation import judge as module
from fader.evaluation.judge import find_judge, judge_beside
from fader.networks.classifier import make_classifier
from fader.training.classifier import Classifier, load_classifier, save_classifier, train_classifier
from tests.evaluation.world import SCHEMA, world

CPU = torch.device("cpu")
SHORT = replace(JUDGE, width=4, max_width=8, epochs=0.5, batch_size=8)
OTHER = world(60)  # Other pictures than those of `world()`.


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JUDGE", SHORT)


def find(folder: Path, named: bool = False, schema: Schema = SCHEMA, overwrite: bool = False) -> Classifier:
    return find_judge(folder, named, world(), schema, ClassifierConfig(), CPU, overwrite)


def save(folder: Path, config: ClassifierConfig = SHORT, schema: Schema = SCHEMA, other: bool = False) -> None:
    save_classifier(train_classifier(OTHER if other else world(), schema, config, CPU), folder)


def test_it_is_trained_kept_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = find(tmp_path / "judge")
    assert first.config == SHORT
    monkeypatch.delattr(module, "train_classifier")
    again = find(tmp_path / "judge")
    state = first.network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.network.state_dict().items())


def test_a_model_that_was_selected_by_a_residual_classifier_is_judged_by_a_strided_one(tmp_path: Path) -> None:
    config = find_judge(tmp_path / "judge", False, world(30), SCHEMA, JUDGE, CPU).config
    assert config.architecture == "strided"
    assert config.seed != ClassifierConfig().seed


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("config", "schema", "message"),
    [
        (replace(SHORT, architecture="strided"), SCHEMA, "strided architecture"),
        (SHORT, SCHEMA.select(["Shade"]), "does not know 'Square'"),
    ],
)
def test_what_cannot_judge_is_refused(
    tmp_path: Path, config: ClassifierConfig, schema: Schema, message: str, named: bool
) -> None:
    save(tmp_path / "judge", config, schema)
    with pytest.raises(UserError, match=message) as caught:
        find(tmp_path / "judge", named)
    assert "--judge" in str(caught.value)
    assert load_classifier(tmp_path / "judge").config == config
    if named:
        with pytest.raises(UserError, match=message):
            find(tmp_path / "judge", named, overwrite=True)
    else:
        assert find(tmp_path / "judge", overwrite=True).config == SHORT
        assert load_classifier(tmp_path / "judge").schema == SCHEMA


def test_a_judge_of_other_pictures_only_where_it_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "judge", other=True)
    with pytest.raises(UserError, match="trained on other pictures; add --overwrite"):
        find(tmp_path / "judge")
    assert find(tmp_path / "judge", named=True).info["dataset"] == OTHER.fingerprint
    assert "other pictures" in capsys.readouterr().err
    assert find(tmp_path / "judge", overwrite=True).info["dataset"] == world().fingerprint


@pytest.mark.parametrize("file", ["config.json", "classifier.safetensors"])
def test_a_damaged_judge_that_nobody_named_is_replaced(tmp_path: Path, file: str) -> None:
    save(tmp_path / "judge")
    (tmp_path / "judge" / file).write_bytes((tmp_path / "judge" / file).read_bytes()[:50])
    with pytest.raises(UserError, match="add --overwrite"):
        find(tmp_path / "judge")
    with pytest.raises(UserError, match=file):
        find(tmp_path / "judge", named=True, overwrite=True)
    assert find(tmp_path / "judge", overwrite=True).config == SHORT
    assert load_classifier(tmp_path / "judge").config == SHORT


def test_something_else_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "letter.txt").write_text("mine")
    monkeypatch.delattr(module, "train_classifier")  # Refused before anything is trained.
    with pytest.raises(UserError, match="something else"):
        find(tmp_path / "judge", overwrite=True)


def test_it_lies_beside_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge_beside(Path("out/report")) == Path("out/report-judge")
    (tmp_path / "here" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "sub")
    assert judge_beside(Path()) == tmp_path / "here" / "sub-judge"
    assert judge_beside(Path("..")) == tmp_path / "here-judge"


def test_a_judge_may_know_more_but_not_other_values(tmp_path: Path) -> None:
    save(tmp_path / "judge")
    assert find(tmp_path / "judge", schema=SCHEMA.select(["Shade"])).schema == SCHEMA
    with pytest.raises(UserError, match="'Square' with the values no, yes"):
        find(tmp_path / "judge", schema=Schema((Attribute("Square", ("no", "yes")),)))


def test_a_named_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    find(tmp_path / "mine" / "judge", named=True)
    assert load_classifier(tmp_path / "mine" / "judge").config == SHORT


def test_a_judge_of_other_sizes_is_refused(tmp_path: Path) -> None:
    info = {"accuracy": dict.fromkeys(SCHEMA.names, 1.0), "dataset": world().fingerprint}
    large = Classifier(make_classifier(SHORT, 32, 1, SCHEMA), SCHEMA, 32, 1, SHORT, info)
    save_classifier(large, tmp_path / "judge")
    with pytest.raises(UserError, match="takes pictures of 32 pixels"):
        find(tmp_path / "judge", named=True)
