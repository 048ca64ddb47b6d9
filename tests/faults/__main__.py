"""The long version of the kills: `make faults`, by hand. Writes what it found to runs/faults.json."""

import argparse
import importlib.metadata
import json
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fader.files import write_json
from tests.faults import campaigns
from tests.faults.commands import Commands, commands

RESULT = Path("runs") / "faults.json"
Campaign = Callable[[Commands, Path, int], dict[str, int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="Of train, icgan, prepare, swap and study, by default all.")
    given = parser.parse_args()
    all_of_them: dict[str, tuple[int, Callable[..., dict[str, int]]]] = {
        "train": (60, partial(campaigns.train, steps=500)),
        "icgan": (12, partial(campaigns.icgan, epochs=30)),
        "prepare": (20, campaigns.prepare),
        "swap": (10, partial(campaigns.swap, count=160)),
        "study": (10, campaigns.study),
    }
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in given.only or all_of_them:
        kills, campaign = all_of_them[name]
        with tempfile.TemporaryDirectory() as folder, commands(Path(folder) / "said") as started:
            began = time.monotonic()
            found = campaign(started, Path(folder), kills, seed=given.seed)
        result[name] = {
            "kills": sum(found.values()),
            "in": found,
            "seed": given.seed,
            "seconds": round(time.monotonic() - began),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "versions": {"python": platform.python_version(), "torch": importlib.metadata.version("torch")},
            "system": platform.platform(),
        }
        write_json(RESULT, result)
        print(f"{name}: {sum(found.values())} kills survived ({', '.join(f'{k} {n}' for k, n in found.items())}).")


if __name__ == "__main__":
    main()
