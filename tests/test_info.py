"""`fader info` on every kind of folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fader.datasets.prepared import open_dataset
from fader.errors import UserError
from fader.info import describe


def test_dataset(portraits: Path) -> None:
    text = describe(portraits)
    data = open_dataset(portraits)
    train = data.labels[data.indices("train")]
    assert text.splitlines()[0] == f"Dataset {portraits}"
    assert "80 of 64 x 64 pixels, colour" in text
    assert f"train {len(train)}, " in text
    smiling = next(line for line in text.splitlines() if line.split()[0] == "Smiling")
    assert f"train {train[:, data.schema.index('Smiling')].mean():.1%}" in smiling
    assert "checksums" not in text


def test_verifying_a_dataset(portraits: Path, tmp_path: Path) -> None:
    assert describe(portraits, verify=True).splitlines()[-1].split() == ["checksums", "all", "right"]
    copy = tmp_path / "copy"
    shutil.copytree(portraits, copy)
    images = np.lib.format.open_memmap(copy / "images.npy", mode="r+")
    images[7, 3, 3, 0] ^= 1
    images.flush()
    assert describe(copy)
    with pytest.raises(UserError, match=r"images.npy.*changed"):
        describe(copy, verify=True)


@pytest.mark.parametrize("verify", [False, True])
def test_other_folders_are_refused(verify: bool, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: there is no such folder"):
        describe(tmp_path / "nowhere", verify)
    with pytest.raises(UserError, match=r"no dataset, run, model|only a dataset has checksums"):
        describe(tmp_path, verify)


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": "fader-run", "version": 1}))
    with pytest.raises(UserError, match=r"run\.json: the file is damaged"):
        describe(tmp_path)
