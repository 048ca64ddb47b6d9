"""The Inception network, against what torch-fidelity's computes with the same weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.networks.inception_weights import made_up_weights
from torch import Tensor

from fader.networks.inception import Inception, resized

# Of torch-fidelity 0.4.0's FeatureExtractorInceptionV3 with these weights, for `pictures`: the mean and the standard
# deviation of the features, and the first three.
THEIRS = {
    64: [0.402263, 1.20547, 0.00444023, 0.0196377, 0.782912],
    33: [0.113208, 0.270953, 0.0572134, 0.034506, 0.209475],
}


def pictures(side: int) -> np.ndarray:
    """uint8 [2, 3, side, side]: two pictures with large and small shapes."""
    picture, channel, row, column = np.indices((2, 3, side, side))
    return ((row * (3 + channel) + column * (5 - picture) + row * column // 7) % 256).astype(np.uint8)


@pytest.fixture(scope="module")
def network() -> Iterator[Inception]:
    network = Inception().eval()
    network.load_state_dict(made_up_weights(network))
    with torch.inference_mode():
        yield network


def as_pixels(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(pictures).float() / 127.5 - 1


def test_it_has_the_parameters_of_inception_without_its_classifying_layer() -> None:
    # 23,834,568 are those of torchvision's network without its second output, 2,048 x 1,000 + 1,000 of its last layer.
    assert sum(parameter.numel() for parameter in Inception().parameters()) == 23_834_568 - 2_049_000


@pytest.mark.parametrize("side", THEIRS)
def test_features_are_those_of_torch_fidelity(network: Inception, side: int) -> None:
    features = network(as_pixels(pictures(side)))
    assert features.shape == (2, 2048)
    found = [float(features.mean()), float(features.std()), *features[0, :3].tolist()]
    assert found == pytest.approx(THEIRS[side], rel=1e-3)


def test_grey_pictures_are_as_coloured_ones_without_colour(network: Inception) -> None:
    grey = as_pixels(pictures(32)[:, :1])
    assert torch.equal(network(grey), network(grey.expand(-1, 3, -1, -1)))


def test_pictures_are_resized_as_tensorflow_does() -> None:
    # By hand: from 2 pixels to 4 the new ones lie at 0, 0.5, 1 and 1.5, and beyond the last there is nothing.
    image = torch.tensor([[0.0, 10.0], [20.0, 30.0]])[None, None]
    expected = [[0, 5, 10, 10], [10, 15, 20, 20], [20, 25, 30, 30], [20, 25, 30, 30]]
    assert resized(image, 4)[0, 0].tolist() == expected
