"""Which pictures make up a training batch: a pure function of seed and step, so that a resumed run sees the same."""

from __future__ import annotations

import numpy as np

from fader.attributes import Schema

# How many batches ahead pictures are asked for, so that they are there when a batch is made of them.
READ_AHEAD = 4
LARGEST_RATIO = 50.0  # When balancing, no picture is drawn more than this many times as often as another.


class Sampler:
    """Shuffled passes over the training pictures, with a flip coin for every picture of every pass."""

    def __init__(self, indices: np.ndarray, batch_size: int, seed: int, weights: np.ndarray | None = None) -> None:
        """`indices` int64 [N] of the pictures; `weights` [N] to draw with replacement in proportion to them."""
        self.indices = indices
        self.batch_size = batch_size
        self.seed = seed
        self.probabilities = None if weights is None else weights / weights.sum()
        self._orders: dict[int, np.ndarray] = {}

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Picture indices, int64 [B], and whether to flip each, bool [B], for the update number `step` (from 0)."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        passes, places = np.divmod(positions, len(self.indices))
        pictures = np.concatenate([self._order_of(p)[places[passes == p]] for p in np.unique(passes)])
        return pictures, flip_coins(self.seed, passes, pictures)

    def _order_of(self, number: int) -> np.ndarray:
        if number not in self._orders:
            generator = np.random.default_rng([self.seed, number])
            if self.probabilities is None:
                order = generator.permutation(self.indices)
            else:
                order = generator.choice(self.indices, size=len(self.indices), p=self.probabilities)
            if len(self._orders) == 2:  # A batch, and those read ahead, are of this pass and the next.
                del self._orders[min(self._orders)]
            self._orders[int(number)] = order
        return self._orders[number]


def seed_of(seed: int, step: int, process: int) -> int:
    """A seed for torch's own random numbers in an update of one process, of 64 bits that all depend on all three.

    A CPU's generator takes the lower 32 bits alone.
    """
    return int(np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)[0])


def flip_coins(seed: int, passes: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """A fair coin for every (seed, pass, picture), bool, whoever asks and in whatever order: a hash (splitmix64)."""
    with np.errstate(over="ignore"):
        value = np.full(len(pictures), seed % 2**64, dtype=np.uint64)
        for part in (passes, pictures):
            value = _mix(value + part.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    return (value >> np.uint64(63)).astype(bool)


def _mix(value: np.ndarray) -> np.ndarray:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def balancing_weights(labels: np.ndarray, schema: Schema, rounds: int = 50) -> np.ndarray:
    """Weights [N] under which every value of an attribute is drawn as often as its others, for labels [N, n].

    Attributes are balanced one after the other until all are at once (iterative proportional fitting); a weight stays
    at most LARGEST_RATIO times the least, so that a handful of pictures is not repeated without end.
    """
    weights = np.ones(len(labels))
    for _ in range(rounds):
        for k, attribute in enumerate(schema):
            counts = np.bincount(labels[:, k], weights=weights, minlength=len(attribute.values))
            shares = counts / counts.sum()
            present = shares > 0
            factors = np.where(present, 1 / (present.sum() * np.where(present, shares, 1)), 0.0)
            weights = weights * factors[labels[:, k]]
        weights = np.minimum(weights, LARGEST_RATIO * weights.min())
    return weights / weights.mean()
