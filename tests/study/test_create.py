"""What a study shows, and that it does not show what it is."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fader.attributes import Schema
from fader.datasets.prepared import open_dataset
from fader.images import to_array, to_picture
from fader.model import Model, save_model
from fader.study.answers import open_answers
from fader.study.create import create
from fader.study.folder import Study, open_key, open_study
from fader.study.protocol import NATURALNESS
from tests.models import tiny_model
from tests.refusals import refusal
from tests.study.conftest import ATTRIBUTES

Models = dict[str, tuple[Path, Model]]
ROWS = ["Real", "One AE", "One Swap", "Other AE", "Other Swap"]


def shown(study: Study, name: str) -> np.ndarray:
    with Image.open(study.picture(name)) as image:
        assert image.format == "PNG"
        assert image.info == {}
        return np.asarray(image)


def test_tasks_and_rows(study: Study) -> None:
    key = open_key(study)
    assert key["rows"] == ROWS
    assert len(study.tasks) == 2 + 2 * 5
    for task in study.tasks:
        about = key["tasks"][task.id]
        rows = Counter(key["items"][item.id]["row"] for item in task.items)
        if about["measure"] == "naturalness":
            assert task.question == NATURALNESS
            assert rows == dict.fromkeys(ROWS, 8)
            assert Counter(example.option for example in task.examples) == {0: 4, 1: 4}
        else:
            assert rows == {about["row"]: 8}
            assert not task.examples
            order = [key["items"][item.id]["index"] for item in task.items]
            assert order == sorted(order)
    accuracy = [about for about in key["tasks"].values() if about["measure"] == "accuracy"]
    assert sorted((one["attribute"], one["row"]) for one in accuracy) == sorted(
        (a, r) for a in ATTRIBUTES for r in ROWS
    )


def test_pictures_are_what_the_key_says(study: Study, portraits: Path, models: Models) -> None:
    data, key = open_dataset(portraits), open_key(study)
    assert study.size == 32
    checked = Counter[str]()
    for task in study.tasks:
        attribute = key["tasks"][task.id]["attribute"]
        for item in task.items:
            about = key["items"][item.id]
            picture, label = data.images[about["index"]], data.labels[about["index"], data.schema.index(attribute)]
            system, _, kind = about["row"].rpartition(" ")
            expected = to_array(to_picture(picture), 32)
            if system:
                # As anyone would edit it, with its true labels.
                _, model = models[system]
                labels = data.labels[about["index"]][data.columns(model.schema)]
                face = model.encode(picture, dict(zip(model.schema.names, labels.tolist(), strict=True)))
                made = face.edit({attribute: 1 - label}) if kind == "Swap" else face.reconstruction()
                expected = np.asarray(made)
            np.testing.assert_allclose(shown(study, item.picture).astype(int), expected.astype(int), atol=1)
            if key["tasks"][task.id]["measure"] == "accuracy":
                value = 1 - label if kind == "Swap" else label
                assert task.options[about["claimed"]] == ("Yes, present" if value else "No, absent")
            checked[about["row"]] += 1
    assert checked == dict.fromkeys(ROWS, 8 * 4)


def test_nothing_that_raters_get_says_which_row_a_picture_is_of(study: Study, portraits: Path) -> None:
    text = (study.folder / "study.json").read_text()
    assert not any(word in text for word in ("One", "Other", "Swap", "AE", str(portraits)))
    files = [*(study.folder / "pictures").iterdir()]
    named = [item.picture for task in study.tasks for item in task.items]
    named += [example.picture for task in study.tasks for example in task.examples]
    assert sorted(named) == sorted(path.stem for path in files)
    assert {path.stat().st_mtime for path in files} == {0}
    assert (study.folder / "key.json").stat().st_mode & 0o077 == 0
    # Nor does the order: the rows of the first half are not those of the second.
    key, first = open_key(study), study.tasks[0]
    half = [key["items"][item.id]["row"] for item in first.items[:20]]
    assert set(half) == set(ROWS)
    assert half != sorted(half)


def test_examples_are_of_no_picture_that_is_asked_about(study: Study, portraits: Path) -> None:
    key, data = open_key(study), open_dataset(portraits)
    last = data.indices("train")[-8:]
    assert not {about["index"] for about in key["items"].values()} & set(last.tolist())
    real = [shown(study, one.picture) for one in study.tasks[0].examples if one.option == 0]
    expected = [to_array(to_picture(data.images[i]), 32) for i in last]
    assert all(any((one == other).all() for other in expected) for one in real)


def test_a_seed_gives_the_same_study_and_another_seed_another(
    made: Path, portraits: Path, models: Models, tmp_path: Path
) -> None:
    paths = [path for path, _ in models.values()]
    for seed in (3, 4):
        create(paths, portraits, tmp_path / str(seed), ATTRIBUTES, (), "train", 8, 4, seed=seed, device="cpu")
    assert (tmp_path / "3" / "study.json").read_bytes() == (made / "study.json").read_bytes()
    assert (tmp_path / "4" / "study.json").read_bytes() != (made / "study.json").read_bytes()


def test_one_model_and_few_pictures(portraits: Path, models: Models, tmp_path: Path) -> None:
    (tmp_path / "consent.txt").write_text("First,\nstill first.\n\nSecond.\n")
    paths = [models["One"][0]]
    says = create(paths, portraits, tmp_path / "s", split="train", consent=tmp_path / "consent.txt", device="cpu")
    study = open_study(tmp_path / "s")
    assert len(study.tasks) == 3 + 3 * 3  # The first three attributes, three rows.
    assert study.consent == ("First, still first.", "Second.")
    assert "the split has no more" in says


def test_models_of_one_name_are_one_system(portraits: Path, tmp_path: Path) -> None:
    """As Table 1 has Fader Networks of one attribute each beside an IcGAN of many."""
    paths, own = [], {}
    for seed, names in enumerate((["Smiling"], ["Beard"], ["Beard", "Hat", "Smiling"])):
        model = tiny_model(Schema.binary(names), seed=seed)
        save_model(model, tmp_path / str(seed))
        paths.append(tmp_path / str(seed))
        own[names[0] if seed < 2 else "all"] = model
    titles = ["FadNet", "FadNet", "IcGAN"]
    create(paths, portraits, tmp_path / "s", names=titles, split="train", a_row=8, device="cpu")
    study, data = open_study(tmp_path / "s"), open_dataset(portraits)
    key = open_key(study)
    assert key["rows"] == ["Real", "FadNet AE", "FadNet Swap", "IcGAN AE", "IcGAN Swap"]
    assert key["attributes"] == ["Smiling", "Beard"]
    assert key["systems"] == {"FadNet": [str(path) for path in paths[:2]], "IcGAN": [str(paths[2])]}
    checked = 0
    for task in study.tasks:
        about = key["tasks"][task.id]
        if about.get("row") == "FadNet Swap":
            model = own[about["attribute"]]
            for item in task.items:
                index = key["items"][item.id]["index"]
                label = int(data.labels[index, data.schema.index(about["attribute"])])
                made = model.encode(data.images[index], {about["attribute"]: label}).edit(
                    {about["attribute"]: 1 - label}
                )
                np.testing.assert_allclose(shown(study, item.picture).astype(int), np.asarray(made).astype(int), atol=1)
                checked += 1
    assert checked == 16

    out = tmp_path / "out"
    says = refusal(lambda: create(paths, portraits, out, ["Hat"], titles, "train"))
    assert "Hat" in says
    says = refusal(lambda: create([paths[1], paths[2]], portraits, out, names=["A", "A"], split="train"))
    assert "--names" in says
    assert not out.exists()


@pytest.mark.parametrize("zoom", ["-1", "1e9", "0", "17", '"1"', "true"])
def test_a_zoom_that_its_owner_wrote_wrongly(study: Study, zoom: str) -> None:
    path = study.folder / "study.json"
    path.write_text(re.sub(r'"zoom": [\d.]+', f'"zoom": {zoom}', path.read_text()))
    assert "no zoom above 0" in refusal(lambda: open_study(study.folder))


def test_refusals(portraits: Path, models: Models, study: Study, tmp_path: Path) -> None:
    one, other = (path for path, _ in models.values())
    out = tmp_path / "out"
    assert "Eyeglasses" in refusal(lambda: create([one], portraits, out, device="cpu"))  # 6 pictures to test.
    assert "--names" in refusal(lambda: create([one, one], portraits, out, split="train"))
    assert "one for each" in refusal(lambda: create([one, other], portraits, out, names=["A"]))
    assert "no attribute" in refusal(lambda: create([one], portraits, out, ["Wings"], split="train"))
    assert "no model" in refusal(lambda: create([], portraits, out))
    assert "zoom" in refusal(lambda: create([one], portraits, out, zoom=0))
    (tmp_path / "empty").write_text(" \n")
    assert "paragraph" in refusal(lambda: create([one], portraits, out, consent=tmp_path / "empty"))
    assert not out.exists()
    assert "--overwrite" in refusal(lambda: create([one], portraits, study.folder, split="train"))
    with open_answers(study):
        pass
    says = refusal(lambda: create([one], portraits, study.folder, split="train", overwrite=True))
    assert "may have answered" in says


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.pop("tasks"),
        lambda data: data.update(raters=0),
        lambda data: data["tasks"][0]["items"][0].update(picture="../../secret"),
        lambda data: data["tasks"][0]["items"][0].update(id=data["tasks"][0]["items"][1]["id"]),
        lambda data: data["tasks"][0].update(options=["only"]),
        lambda data: data["tasks"][0].update(items=[]),
        lambda data: data["tasks"][0]["examples"][0].update(option=2),
        lambda data: data.update(version=2),
        lambda data: data.update(format="fader-run"),
    ],
)
def test_a_damaged_study_is_refused(study: Study, damage: object) -> None:
    path = study.folder / "study.json"
    data = json.loads(path.read_text())
    damage(data)  # type: ignore[operator]
    path.write_text(json.dumps(data))
    assert "study.json" in refusal(lambda: open_study(study.folder))


def test_the_key_of_another_study_is_refused(study: Study) -> None:
    path = study.folder / "key.json"
    data = json.loads(path.read_text())
    del data["items"][study.tasks[0].items[0].id]
    path.write_text(json.dumps(data))
    assert "not the key of this study" in refusal(lambda: open_key(study))
