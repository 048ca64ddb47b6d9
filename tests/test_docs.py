"""The documents say what the code does: presets, files, dependencies, links."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fader.config import PRESETS, TrainingConfig

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    found = [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]
    return [one for one in found if one.name != project["name"]]


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def test_presets_page_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    assert page == runpy.run_path(str(ROOT / "scripts" / "presets_table.py"))["page"]()
    row = next(line for line in page.splitlines() if line.startswith("| `steps`"))
    assert row.split("|")[2:5] == [f" {preset.training.steps:,} " for preset in PRESETS.values()]
    assert all(f"| `{name}` |" in page for name in TrainingConfig.__dataclass_fields__)


def test_scale_page_has_the_tables_of_its_script() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    tables = runpy.run_path(str(ROOT / "scripts" / "scaling_arithmetic.py"))["tables"]()
    assert all(table in page for table in tables.split("\n\n"))


def test_overview_names_every_module_once_and_no_other() -> None:
    source = ROOT / "src" / "fader"
    modules = {str(path.relative_to(source)) for path in source.rglob("*.py") if not path.name.startswith("__")}
    named: list[str] = []
    for row in re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "overview.md").read_text(), re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", row)
        folder = first.rpartition("/")[0]
        named += [
            first,
            *(f"{folder}/{other}" if folder and "/" not in other.rstrip("/") else other for other in others),
        ]
    folders = [name for name in named if name.endswith("/")]
    assert [name for name in folders if not (source / name).is_dir()] == []
    inside = {module for module in modules if any(module.startswith(folder) for folder in folders)}
    files = [name for name in named if not name.endswith("/")]
    assert sorted(files) == sorted(modules - inside)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in anchors, target


def test_dependencies_are_justified_and_pinned_within_their_ranges() -> None:
    text, pinned = (ROOT / "docs" / "dependencies.md").read_text(), pins()
    for requirement in requirements():
        assert requirement.name in text, f"{requirement.name} is not in docs/dependencies.md"
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} does not allow the tested {version}"


def test_pins_are_plain_versions() -> None:
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in pins().values())
