"""Batches of training pictures where a network needs them: on the device, normalised and flipped there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from fader.datasets.prepared import PreparedDataset
from fader.images import to_pixels
from fader.training.sampling import READ_AHEAD, Sampler

Sent = tuple[Tensor, Tensor, Tensor]
"""On the device: arrays, uint8 [B, S, S, C]; whether to flip each, bool [B]; labels, int64 [B, n]."""


class Batches:
    """The batches of a run, by the number of the update.

    A CUDA GPU never waits for one: while it computes, a thread reads the next batch into pinned memory and sends it on
    a stream of its own. Elsewhere a batch is read when it is asked for.
    """

    def __init__(
        self,
        data: PreparedDataset,
        columns: Sequence[int],
        sampler: Sampler,
        device: torch.device,
        flip: bool = True,
        share: Callable[[np.ndarray], np.ndarray] = lambda items: items,
    ) -> None:
        """`columns` of the labels; `share`: what of a batch's pictures this process takes, by default all."""
        self.data, self.columns, self.sampler = data, list(columns), sampler
        self.device, self.flip, self.share = device, flip, share
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._thread = ThreadPoolExecutor(1, "batches")  # Started where it is used.
        self._next: tuple[int, Future[Sent]] | None = None

    def take(self, step: int) -> tuple[Tensor, Tensor]:
        """Pixels [B, C, S, S], flipped where a picture's coin says so, and labels, int64 [B, n], of an update."""
        arrays, flips, labels = self._send(step) if self._stream is None else self._sent_before(step, self._stream)
        pixels = to_pixels(arrays)
        if self.flip:
            pixels = torch.where(flips[:, None, None, None], pixels.flip(3), pixels)
        return pixels, labels

    def pause(self) -> None:
        """Wait for what is being read: pictures are for one thread at a time."""
        if self._next is not None:
            self._next[1].exception()  # Raised where the batch is taken.

    def _sent_before(self, step: int, stream: torch.cuda.Stream) -> Sent:
        if self._next is None or self._next[0] != step:
            self.pause()
            self._next = step, self._thread.submit(self._send, step)
        sent = self._next[1].result()
        now = torch.cuda.current_stream(self.device)
        now.wait_stream(stream)
        for tensor in sent:
            tensor.record_stream(now)  # Its memory is not given to the next batch before this stream is done with it.
        self._next = step + 1, self._thread.submit(self._send, step + 1)
        return sent

    def _send(self, step: int) -> Sent:
        chosen, flips = (self.share(items) for items in self.sampler.batch(step))
        self.data.images.read_ahead(self.share(self.sampler.batch(step + READ_AHEAD)[0]))
        read = self.data.images[chosen], flips, self.data.labels[chosen][:, self.columns]
        arrays, coins, labels = (torch.from_numpy(array) for array in read)
        if self._stream is None:
            return arrays.to(self.device), coins.to(self.device), labels.to(self.device)
        with torch.cuda.stream(self._stream):
            return self._pinned(arrays), self._pinned(coins), self._pinned(labels)

    def _pinned(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(self.device, non_blocking=True)
