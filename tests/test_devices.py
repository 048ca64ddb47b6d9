"""Devices that are there, and those that are not."""

import pytest
import torch

from fader.devices import find_device
from fader.errors import UserError


def test_automatic_choice_works() -> None:
    assert torch.zeros(1, device=find_device()).sum() == 0
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("rank", "expected"), [(None, 0), ("0", 0), ("1", 1), ("3", 1)])
def test_processes_of_one_machine_have_a_gpu_each(
    rank: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert find_device() == torch.device("cuda", expected)
    probed = []  # There is no such GPU here. A process that touched another's would take memory there.
    monkeypatch.setattr("torch.zeros", lambda *shape, device: probed.append(device))
    assert find_device("cuda") == torch.device("cuda", expected)
    assert probed == [torch.device("cuda", expected)]
    assert find_device("cuda:0") == torch.device("cuda", 0)


@pytest.mark.parametrize("name", ["cuda:99", "nonsense", ""])
def test_missing_devices_are_a_sentence(name: str) -> None:
    with pytest.raises(UserError, match="--device cpu"):
        find_device(name)


def test_a_machine_without_a_gpu_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(*shape: int, device: torch.device) -> None:
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.zeros", zeros)
    with pytest.raises(UserError, match="'cuda' is not available"):
        find_device("cuda")
