"""Batches, coins and balance: properties that resuming and sharding rest on."""

import numpy as np
import pytest

from fader.attributes import Attribute, Schema
from fader.training.sampling import READ_AHEAD, Sampler, balancing_weights, flip_coins, seed_of


def test_a_pass_shows_every_picture_once_and_the_next_in_another_order() -> None:
    sampler = Sampler(np.arange(100, 130), batch_size=7, seed=3)
    drawn = np.concatenate([sampler.batch(step)[0] for step in range(9)])
    assert sorted(drawn[:30]) == sorted(drawn[30:60]) == list(range(100, 130))
    assert list(drawn[:30]) != list(drawn[30:60])


def test_batches_are_a_function_of_seed_and_step() -> None:
    indices = np.arange(50)
    first, second = Sampler(indices, 8, seed=1), Sampler(indices, 8, seed=1)
    later = [first.batch(step) for step in range(20)][13]
    np.testing.assert_array_equal(second.batch(13)[0], later[0])
    np.testing.assert_array_equal(second.batch(13)[1], later[1])
    assert list(Sampler(indices, 8, seed=2).batch(13)[0]) != list(later[0])


def test_reading_ahead_across_the_end_of_a_pass_changes_no_batch() -> None:
    plain, ahead = Sampler(np.arange(30), 8, seed=1), Sampler(np.arange(30), 8, seed=1)
    for step in range(20):
        ahead.batch(step + READ_AHEAD)
        np.testing.assert_array_equal(ahead.batch(step)[0], plain.batch(step)[0])


def test_coins_belong_to_seed_pass_and_picture_in_whatever_order_they_are_tossed() -> None:
    passes, pictures = np.repeat(np.arange(100), 100), np.tile(np.arange(100), 100)
    coins = flip_coins(7, passes, pictures)
    shuffled = np.random.default_rng(0).permutation(len(coins))
    np.testing.assert_array_equal(flip_coins(7, passes[shuffled], pictures[shuffled]), coins[shuffled])
    # Fair: 10,000 tosses have a standard deviation of 50. Independent of the pass and the picture: every picture's
    # and every pass's 100 coins have one of 5, and 4.5 of them leave room for 200 such sums.
    assert abs(coins.sum() - 5000) < 225
    table = coins.reshape(100, 100)
    assert abs(table.sum(axis=0) - 50).max() < 23
    assert abs(table.sum(axis=1) - 50).max() < 23
    assert 0.4 < (flip_coins(8, passes, pictures) == coins).mean() < 0.6
    assert 0.4 < (table[1:] == table[:-1]).mean() < 0.6


def test_seeds_of_updates_differ_in_what_a_cpu_takes_of_them() -> None:
    seeds = {seed_of(seed, step, process) % 2**32 for seed in range(10) for step in range(50) for process in range(4)}
    assert len(seeds) == 2000
    assert seed_of(2**40, 2**40, 3) == seed_of(2**40, 2**40, 3) != seed_of(0, 2**40, 3)


def test_balancing_makes_every_value_as_frequent_as_its_others() -> None:
    generator = np.random.default_rng(0)
    schema = Schema((Attribute("Glasses"), Attribute("Smiling"), Attribute("Hair", ("black", "brown", "blond"))))
    labels = np.stack(
        [
            generator.random(4000) < 0.05,
            generator.random(4000) < 0.45,
            generator.choice(3, size=4000, p=[0.4, 0.3, 0.3]),
        ],
        axis=1,
    ).astype(np.int64)
    weights = balancing_weights(labels, schema)
    assert weights.mean() == pytest.approx(1.0)
    for k, attribute in enumerate(schema):
        shares = np.bincount(labels[:, k], weights=weights) / weights.sum()
        np.testing.assert_allclose(shares, 1 / len(attribute.values), atol=0.04)


def test_balancing_does_not_repeat_a_handful_without_end() -> None:
    labels = np.zeros((10_000, 1), dtype=np.int64)
    labels[:3] = 1
    weights = balancing_weights(labels, Schema.binary(["Rare"]))
    assert weights.max() == pytest.approx(50 * weights.min())


def test_weights_decide_how_often_a_picture_is_drawn() -> None:
    weights = np.array([1.0, 3.0] * 500)
    sampler = Sampler(np.arange(1000), 100, seed=0, weights=weights)
    drawn = np.concatenate([sampler.batch(step)[0] for step in range(100)])
    assert (drawn % 2 == 1).mean() == pytest.approx(0.75, abs=0.02)
