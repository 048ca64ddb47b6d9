"""The file of Inception's weights: read without unpickling, or refused by name."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fader.errors import UserError
from fader.interop.inception import read_inception
from fader.networks.inception import Inception
from tests.networks.inception_weights import made_up_weights


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """As published: a layer more than is read."""
    found = made_up_weights(Inception())
    return OrderedDict(found, **{"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)})


@pytest.mark.parametrize("zipped", [True, False])
def test_the_weights_are_those_of_the_file(weights: dict[str, Tensor], zipped: bool, tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "weights.pth", _use_new_zipfile_serialization=zipped)
    network = read_inception(tmp_path / "weights.pth")
    assert not network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_what_is_no_such_file_is_refused(weights: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"

    def refused() -> str:
        with pytest.raises(UserError) as caught:
            read_inception(path)
        assert str(caught.value).startswith(f"{path}: ")
        return str(caught.value)

    assert "there is no such file" in refused()
    path.write_bytes(b"no weights")
    assert "it is no whole file of PyTorch's" in refused()
    torch.save([1, 2], path)
    assert "it is no list of weights" in refused()
    torch.save(OrderedDict(list(weights.items())[:5]), path)
    assert "it has no weights Conv2d_2a_3x3" in refused()
    first = next(iter(weights))
    torch.save({**weights, first: weights[first][:1]}, path)
    assert "has the shape (1, 3, 3, 3) and not (32, 3, 3, 3)" in refused()


def test_nothing_in_it_is_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return open, (str(tmp_path / "harm"),)

    torch.save({"Conv2d_1a_3x3.conv.weight": Harm()}, tmp_path / "weights.pth", pickle_module=pickle)
    with pytest.raises(UserError, match="nothing of it was run"):
        read_inception(tmp_path / "weights.pth")
    assert not (tmp_path / "harm").exists()
