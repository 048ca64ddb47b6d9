"""The true answers to swaps, drawn by other processes."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from fader.datasets.portraits import renderer
from fader.datasets.prepared import open_dataset
from fader.evaluation.counterfactuals import counterfactual, counterfactuals, swaps


def test_processes_draw_the_swapped_portraits(portraits: Path) -> None:
    data = open_dataset(portraits)
    schema = data.schema.select(["Hat", "Smiling"])
    indices = data.indices("test")[:3]
    drawn = list(counterfactuals(data, [indices[:2], indices[2:]], schema, workers=2))
    assert [batch.shape for batch in drawn] == [(2, 2, 64, 64, 3), (1, 2, 64, 64, 3)]
    for i, index in enumerate(indices):
        labels = dict(zip(data.schema.names, data.labels[index].tolist(), strict=True))
        for j, name in enumerate(schema.names):
            expected = renderer.counterfactual(int(data.names[index]), {name: 1 - labels[name]})
            assert np.array_equal(np.concatenate(drawn)[i, j], expected)
            assert not np.array_equal(expected, data.images[index])
    assert np.array_equal(counterfactual(data, schema, indices, swaps(schema)[1]), np.concatenate(drawn)[:, 1])


def test_a_dataset_travels_as_its_place(portraits: Path) -> None:
    data = open_dataset(portraits)
    content = pickle.dumps(data)
    assert len(content) < 1000
    assert np.array_equal(pickle.loads(content).images[:], data.images[:])
