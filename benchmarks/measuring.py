"""What the benchmarks share: the machine, two sides that are timed in turn, and a model with random weights."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from fader.attributes import Schema
from fader.config import ClassifierConfig, configure
from fader.errors import UserError
from fader.model import Model, make_network
from fader.networks.classifier import make_classifier
from fader.parallel import processors

Seconds = float


def machine() -> str:
    """Processor, cores, memory and system, in a line."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    load = os.getloadavg()[0]
    return (
        f"{_processor()}, {processors()} cores, {memory / 2**30:.0f} GiB, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}; load {load:.1f} at the start"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


def seconds(call: Callable[[], object]) -> Seconds:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(pairs: int, first: Callable[[], Seconds], second: Callable[[], Seconds]) -> tuple[Seconds, Seconds, float]:
    """Time two sides in turn: the median seconds of each, and the median of the pairs' ratios second / first."""
    times = [(first(), second()) for _ in range(pairs)]
    ratio = statistics.median(b / a for a, b in times)
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times), ratio


def check_free(folder: Path, needed: int) -> None:
    """Raises UserError if the disk of `folder` has fewer free bytes than twice what is needed."""
    free = shutil.disk_usage(folder).free
    if free < 2 * needed:
        raise UserError(f"{folder}: {free / 1e9:.1f} GB are free, and {needed / 1e9:.1f} GB are written; make room.")


def random_model(preset: str, size: int) -> Model:
    """A preset with five attributes and a classifier, untrained."""
    torch.manual_seed(0)
    schema = Schema.binary([f"attribute {i}" for i in range(5)])
    config, of_classifier = configure(preset, size=size, channels=3), ClassifierConfig()
    classifier = make_classifier(of_classifier, size, 3, schema).eval()
    network = make_network(config, schema).eval()
    return Model(network, schema, config, classifier=classifier, classifier_config=of_classifier)
