"""Reports of one or several systems as tables in Markdown, each figure with its confidence interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fader import markdown

Reports = Mapping[str, dict[str, Any]]
"""By system, the content of its report.json."""


def headline(report: dict[str, Any]) -> str:
    """What was measured, and the most important of it."""
    reconstruction, meta = report["reconstruction"], report["meta"]
    return (
        f"{meta['pictures']:,} pictures of split {meta['split']}. Reconstruction:"
        f" MSE {number(reconstruction['mse'], '.4f')} in [-1, 1],"
        f" unexplained {number(reconstruction['unexplained'], '.1%')},"
        f" PSNR {number(reconstruction['psnr'], '.1f')} dB, SSIM {number(reconstruction['ssim'], '.3f')}."
        f" Swaps seen: {report['mean_swap_accuracy']:.1%} on average."
    )


def tables(reports: Reports) -> str:
    """All tables, those without a row left out."""
    parts = []
    for title, columns, rows in (
        ("Table 1 of the paper, by the judge, on its images", *_table1(reports, "first")),
        ("Table 1 on the whole split", *_table1(reports, "whole")),
        ("Naturalness, by machine", NATURALNESS, list(_naturalness(reports))),
        ("Reconstruction", ["system", *RECONSTRUCTION], _reconstruction(reports)),
        ("Swaps", ["system", "attribute", *SWAPS], _by_attribute(reports, "swap", SWAPS)),
        ("Ends of the faders", ["system", "attribute", *ENDS], _by_attribute(reports, "strength", ENDS)),
        ("What the latent tells", ["system", "attribute", *LATENT], _by_attribute(reports, "latent", LATENT)),
        ("STGAN's protocol", ["system", "attribute", *STGAN], list(_stgan(reports))),
    ):
        if rows:
            parts.append(f"## {title}\n\n{markdown.table(columns, rows)}")
    return "\n".join(parts)


def number(value: float | None, form: str, interval: Sequence[float] | None = None) -> str:
    """A figure as text, with its interval in brackets; "-" where it is undefined."""
    if value is None:
        return "-"
    return format(value, form) + (f" ({format(interval[0], form)} to {format(interval[1], form)})" if interval else "")


Columns = dict[str, tuple[str, str]]
"""By title, the key and the format of a figure."""

RECONSTRUCTION: Columns = {
    "MSE in [-1, 1]": ("mse", ".4f"),
    "MSE in [0, 1]": ("mse_0_1", ".4f"),
    "RMSE in [-1, 1]": ("rmse", ".4f"),
    "unexplained": ("unexplained", ".1%"),
    "PSNR": ("psnr", ".2f"),
    "SSIM": ("ssim", ".3f"),
    "PSNR of PNG": ("png_psnr", ".2f"),
    "SSIM of PNG": ("png_ssim", ".3f"),
}
SWAPS: Columns = {
    "swaps seen": ("accuracy", ".1%"),
    "to present": ("to_present", ".1%"),
    "to absent": ("to_absent", ".1%"),
    "preservation": ("preservation", ".1%"),
    "gain": ("gain", ".2f"),
    "gain to present": ("gain_to_present", ".2f"),
    "gain to absent": ("gain_to_absent", ".2f"),
    "collateral": ("collateral", ".4f"),
}
ENDS: Columns = {"95% absent from": ("end_absent", ".2f"), "95% present from": ("end_present", ".2f")}
LATENT: Columns = {
    "linear probe, balanced": ("probe_balanced", ".1%"),
    "AUC": ("probe_auc", ".3f"),
    "network probe, balanced": ("network_probe_balanced", ".1%"),
    "AUC of it": ("network_probe_auc", ".3f"),
}
STGAN: Columns = {"accuracy": ("accuracy", ".1%"), "preservation error": ("preservation_error", ".1%")}
NATURALNESS = ["system", "kind", "AUC against real", "KID", "FID"]
ROWS = {"reconstruction": "AE", "swap": "Swap"}


def _cells(columns: Columns, values: Mapping[str, Any], intervals: Mapping[str, Any]) -> list[str]:
    return [number(values[key], form, intervals[key]) for key, form in columns.values()]


def _reconstruction(reports: Reports) -> list[list[str]]:
    return [
        [name, *_cells(RECONSTRUCTION, report["reconstruction"], report["intervals"]["reconstruction"])]
        for name, report in reports.items()
    ]


def _by_attribute(reports: Reports, part: str, columns: Columns) -> list[list[str]]:
    return [
        [name, attribute, *_cells(columns, values, report["intervals"][part][attribute])]
        for name, report in reports.items()
        for attribute, values in report[part].items()
    ]


def _table1(reports: Reports, pictures: str) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: Real, then each system's AE and Swap; on the "first" 500 pictures or on the "whole" split."""
    attributes = list(dict.fromkeys(attribute for report in reports.values() for attribute in report["table1"]))

    def row(title: str, reports: Sequence[dict[str, Any]], key: str) -> list[str]:
        cells = []
        for attribute in attributes:
            report = next((one for one in reports if attribute in one["table1"]), None)
            found = [of["table1"][attribute][key][pictures] for of in (report, report["intervals"])] if report else None
            cells.append(number(found[0], ".1%", found[1]) if found else "-")
        return [title, *cells]

    rows = [row("Real", list(reports.values()), "real")]
    rows += [row(f"{name} {ROWS[key]}", [report], key) for name, report in reports.items() for key in ROWS]
    return ["", *attributes], rows


def _naturalness(reports: Reports) -> Iterator[list[str]]:
    columns: Columns = {"auc": ("auc", ".3f"), "kid": ("kid", ".4f"), "fid": ("fid", ".3f")}
    for name, report in reports.items():
        if report["naturalness"] is not None:
            found, intervals = report["naturalness"], report["intervals"]["naturalness"]
            yield [name, ROWS["reconstruction"], *_cells(columns, found["reconstruction"], intervals["reconstruction"])]
            for attribute, values in found["swap"].items():
                cells = _cells(columns, values, intervals["swap"][attribute])
                yield [name, f"{ROWS['swap']} {attribute}", *cells]


def _stgan(reports: Reports) -> Iterator[list[str]]:
    for name, report in reports.items():
        found, intervals = report["stgan"], report["intervals"]["stgan"]
        for attribute, values in found["attributes"].items():
            yield [name, attribute, *_cells(STGAN, values, intervals["attributes"][attribute])]
        if found["attributes"]:
            yield [name, "mean", *_cells(STGAN, found, intervals)]
