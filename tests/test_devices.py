"""Devices that are there, and those that are not."""

import pytest
import torch

from fader.devices import find_device
from fader.errors import UserError


def test_automatic_choice_works() -> None:
    assert torch.zeros(1, device=find_device()).sum() == 0
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "nonsense", ""])
def test_missing_devices_are_a_sentence(name: str) -> None:
    with pytest.raises(UserError, match="--device cpu"):
        find_device(name)
