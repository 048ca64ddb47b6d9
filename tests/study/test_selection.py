"""The candidates of a run before raters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fader.attributes import Schema
from fader.config import Config, NetworkConfig
from fader.datasets.prepared import open_dataset
from fader.model import Model
from fader.networks.weights import save_weights
from fader.study.answers import open_answers
from fader.study.folder import open_key, open_study
from fader.study.report import report
from fader.study.selection import select
from fader.study.serve import application
from fader.study.turk import export
from fader.training.records import Records
from fader.training.run import create_or_continue
from fader.web.guard import Site
from tests.models import tiny_model
from tests.refusals import refusal
from tests.study.raters import rate

NAMES = ("Smiling", "Beard")


def evaluation(epoch: int, mse: float, accuracy: float) -> dict[str, object]:
    return {"epoch": epoch, "mse": mse, "mean_accuracy": accuracy, "accuracy": dict.fromkeys(NAMES, accuracy)}


@pytest.fixture
def run(portraits: Path, tmp_path: Path) -> Path:
    """A run of three epochs, of which the second is no candidate."""
    network = NetworkConfig(size=64, layers=4, width=8, max_width=16)
    made = create_or_continue(
        tmp_path / "run", Config(network=network), Schema.binary(NAMES), open_dataset(portraits), None
    )
    made.candidate(1).parent.mkdir()
    with Records(made.folder, 0) as records:
        for epoch, mse, accuracy in ((1, 0.1, 0.5), (2, 0.3, 0.4), (3, 0.2, 0.9)):
            records.append("evaluation", epoch, evaluation(epoch, mse, accuracy))
            model = tiny_model(made.schema, seed=epoch, size=64, layers=4)
            save_weights(model.network, made.candidate(epoch))
    return made.folder


def test_raters_choose_between_the_candidates(run: Path, portraits: Path, tmp_path: Path) -> None:
    says = select(run, tmp_path / "s", count=3, raters=2)
    assert "2 candidates (epoch 1, epoch 3)" in says
    study = open_study(tmp_path / "s")
    key, data = open_key(study), open_dataset(portraits)
    assert [len(task.items) for task in study.tasks] == [3, 3]
    orders = set()
    for task in study.tasks:
        attribute = key["tasks"][task.id]["attribute"]
        assert attribute in task.question
        for item in task.items:
            about = key["items"][item.id]
            orders.add(tuple(about["rows"]))
            picture = data.images[about["index"]]
            with Image.open(study.picture(item.picture)) as image:
                assert (np.asarray(image) == picture).all()
            values = dict(zip(data.schema.names, data.labels[about["index"]].tolist(), strict=True))
            for name, row in zip(item.choices, about["rows"], strict=True):
                model: Model = tiny_model(Schema.binary(NAMES), seed=int(row[-1]), size=64, layers=4)
                face = model.encode(picture, {one: values[one] for one in NAMES})
                with Image.open(study.picture(name)) as image:
                    swapped = np.asarray(face.edit({attribute: 1 - values[attribute]})).astype(int)
                    np.testing.assert_allclose(np.asarray(image).astype(int), swapped, atol=1)
    assert len(orders) == 2  # Not always in the same order.
    assert "epoch" not in (study.folder / "study.json").read_text()

    with open_answers(study) as answers:
        site = Site(("http://127.0.0.1:8765",), answers.secret())
        for rater in range(2):
            client = TestClient(application(study, answers, site), base_url=site.link)

            def choose(task: str, item: str, count: int, rater: int = rater) -> int:
                # Epoch 3, but for one rater who likes epoch 1 better in one attribute.
                likes = "epoch 1" if rater == 1 and key["tasks"][task]["attribute"] == "Beard" else "epoch 3"
                return int(key["items"][item]["rows"].index(likes))

            assert len(rate(client, choose)) == 6
    text = report(study.folder)
    content = json.loads((study.folder / "report" / "report.json").read_text())
    shares = {
        column["title"]: {row: one["value"] for row, one in column["shares"].items()} for column in content["columns"]
    }
    assert shares == {
        "all": {"epoch 1": 0.25, "epoch 3": 0.75},
        "Smiling": {"epoch 1": 0, "epoch 3": 1},
        "Beard": {"epoch 1": 0.5, "epoch 3": 0.5},
    }
    assert "75.0%" in text
    assert "--choose 3" in (study.folder / "report" / "report.md").read_text()
    assert "serve it" in refusal(lambda: export(study.folder, tmp_path / "turk", "https://example.org"))


def test_damaged_records_are_refused(run: Path, tmp_path: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([lines[0].replace('"mse"', '"mess"'), *lines[1:]]) + "\n")
    assert "metrics.jsonl: a record of an evaluation is damaged" in refusal(lambda: select(run, tmp_path / "s"))
    (run / "metrics.jsonl").write_text("")
    assert "no epoch is finished" in refusal(lambda: select(run, tmp_path / "s"))
    assert not (tmp_path / "s").exists()


def test_one_candidate_is_no_choice(run: Path, tmp_path: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text(lines[0] + "\n")
    assert "1 candidate" in refusal(lambda: select(run, tmp_path / "s"))
    assert not (tmp_path / "s").exists()
