"""Batches on their device: the pictures to the bit, and read and sent ahead on a GPU, which is pretended here."""

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fader.datasets.prepared import PreparedDataset, open_dataset
from fader.errors import UserError
from fader.images import to_pixels
from fader.training.batches import Batches
from fader.training.sampling import Sampler

CPU = torch.device("cpu")


@pytest.fixture
def data(portraits: Path) -> PreparedDataset:
    return open_dataset(portraits)


def batches(data: PreparedDataset, **arguments: Any) -> Batches:
    return Batches(data, [2, 0], Sampler(np.arange(70), 8, seed=1), CPU, **arguments)


def test_pixels_are_normalised_and_flipped_to_the_bit(data: PreparedDataset) -> None:
    """Against numpy's division in single precision, picture by picture."""
    chosen, flips = Sampler(np.arange(70), 8, seed=1).batch(5)
    assert 0 < flips.sum() < 8
    pixels, labels = batches(data).take(5)
    for picture, flip, found in zip(chosen, flips, pixels, strict=True):
        array = data.images[int(picture)][:, ::-1] if flip else data.images[int(picture)]
        expected = array.astype(np.float32) / np.float32(127.5) - np.float32(1)
        np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), expected)
    np.testing.assert_array_equal(labels.numpy(), data.labels[chosen][:, [2, 0]])
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    upright, _ = batches(data, flip=False).take(5)
    assert torch.equal(upright, to_pixels(data.images[chosen]))


def test_a_share_is_of_pictures_flips_and_labels_alike(data: PreparedDataset) -> None:
    pixels, labels = batches(data).take(3)
    half_pixels, half_labels = batches(data, share=lambda items: items[4:]).take(3)
    assert torch.equal(half_pixels, pixels[4:])
    assert torch.equal(half_labels, labels[4:])


class Stream:
    """What stands for a CUDA stream."""

    def wait_stream(self, other: Any) -> None:
        pass


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams and pinned memory that do nothing."""
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)


def ahead(data: PreparedDataset) -> Batches:
    found = batches(data)
    found._stream = Stream()  # type: ignore[assignment]
    return found


@pytest.mark.usefixtures("pretended")
def test_what_is_sent_ahead_is_what_is_read_when_asked_for(data: PreparedDataset) -> None:
    plain, sent = batches(data), ahead(data)
    for step in (0, 1, 2, 3, 11, 12, 5):  # In turn, and from another step on.
        for found, expected in zip(sent.take(step), plain.take(step), strict=True):
            assert torch.equal(found, expected)


@pytest.mark.usefixtures("pretended")
def test_the_next_batch_is_read_by_a_thread_before_it_is_asked_for(data: PreparedDataset) -> None:
    sent = ahead(data)
    read: list[tuple[int, int]] = []
    send = sent._send

    def noted(step: int) -> Any:
        read.append((step, threading.get_ident()))
        return send(step)

    sent._send = noted  # type: ignore[method-assign]
    sent.take(0)
    sent.pause()
    assert [step for step, _ in read] == [0, 1]
    sent.take(1)
    sent.pause()
    assert [step for step, _ in read] == [0, 1, 2]
    assert threading.get_ident() not in {thread for _, thread in read}


@pytest.mark.usefixtures("pretended")
def test_what_goes_wrong_ahead_is_raised_where_the_batch_is_taken(data: PreparedDataset) -> None:
    sent = ahead(data)
    send = sent._send

    def failing(step: int) -> Any:
        if step == 1:
            raise UserError("gone")
        return send(step)

    sent._send = failing  # type: ignore[method-assign]
    sent.take(0)
    sent.pause()
    with pytest.raises(UserError, match="gone"):
        sent.take(1)
