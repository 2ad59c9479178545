"""The scores of many images as a table for people, as CSV and as JSON."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from shm_data.errors import counted
from shm_data.files import make_folders, require_own_in, write_bytes
from shm_model.scoring.conventions import Convention
from shm_model.scoring.folders import ImageScores
from shm_model.scoring.protocols import Region

# How each file of ours begins, or what it has near its beginning.
_MARKS = {
    "scores.csv": b"name,region,",
    "scores.json": b'{\n "header": {',
    "scores.html": b'<meta name="generator" content="shm-model score">',
}


def require_own_scores(savedir: Path) -> None:
    """Raise ShmDataError where a folder has files named as the scores that `shm-model score` did not write."""
    require_own_in(savedir, _MARKS)


def format_scores(rows: Sequence[ImageScores], convention: Convention) -> list[str]:
    """Return the lines of a table of mean scores per region, over the images in which a score is defined."""
    names = _columns(rows, convention)
    width = max(10, *map(len, names.values()))
    lines = [f"{'region':>10}  " + "  ".join(f"{name:>{width}}" for name in names.values())]
    for region in rows[0].regions:
        values = mean_scores(rows, region, convention)
        lines.append(f"{region:>10}  " + "  ".join(f"{values[key]:{width}.5f}" for key in names))
    return [*lines, describe_rows(rows)]


def describe_rows(rows: Sequence[ImageScores]) -> str:
    """Return a line on what the means are of."""
    resized = sum(row.resized for row in rows)
    note = f"; {counted(resized, 'prediction')} resized to the truth" if resized else ""
    return f"mean of {counted(len(rows), 'image')}{note}"


def mean_scores(rows: Sequence[ImageScores], region: Region, convention: Convention) -> dict[str, float]:
    """Return the mean of each metric of a region over the images where it is defined, in a convention's scale."""
    scaled = [scaled_scores(row, region, convention) for row in rows]
    return {key: _mean(row[key] for row in scaled) for key in _columns(rows, convention)}


def scaled_scores(row: ImageScores, region: Region, convention: Convention) -> dict[str, float]:
    """Return the metrics of an image over a region in a convention's scale; dtSSD is that of the whole frame."""
    values = asdict(row.regions[region]) | {"dtssd": row.dtssd}
    return {key: values[key] * convention.factors[key] for key in convention.columns}


def write_scores(rows: Sequence[ImageScores], convention: Convention, header: dict[str, str], savedir: Path) -> None:
    """Write scores.csv, a line for each image and region, and scores.json, with the means. Raises WriteError.

    `header` says how was scored: it is part of the JSON.
    """
    make_folders(savedir)
    names = _columns(rows, convention)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["name", "region", *names.values(), "resized"])
    for row in rows:
        for region in row.regions:
            values = scaled_scores(row, region, convention)
            writer.writerow([row.pair.name, region, *(values[key] for key in names), int(row.resized)])
    for region in rows[0].regions:
        writer.writerow(["mean", region, *mean_scores(rows, region, convention).values(), ""])
    write_bytes(savedir / "scores.csv", buffer.getvalue().encode("utf-8", "surrogateescape"))
    report = {
        "header": header,
        "columns": names,
        "mean": {region: _to_json(mean_scores(rows, region, convention)) for region in rows[0].regions},
        "images": [_row_to_json(row, convention) for row in rows],
    }
    write_bytes(savedir / "scores.json", (json.dumps(report, indent=1) + "\n").encode())


def _columns(rows: Sequence[ImageScores], convention: Convention) -> dict[str, str]:
    """Return the columns of a convention; dtSSD only where frames were scored."""
    frames = any(row.pair.before for row in rows)
    return {key: name for key, name in convention.columns.items() if key != "dtssd" or frames}


def _row_to_json(row: ImageScores, convention: Convention) -> dict[str, object]:
    regions = {region: _to_json(scaled_scores(row, region, convention)) for region in row.regions}
    return {"name": row.pair.name, "resized": row.resized, "regions": regions}


def _to_json(values: dict[str, float]) -> dict[str, float | None]:
    """Return values for JSON, which has no nan."""
    return {key: None if math.isnan(value) else value for key, value in values.items()}


def _mean(values: Iterable[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
