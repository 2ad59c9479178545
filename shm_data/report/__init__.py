"""A page about a data set, for people: one file of pictures, numbers and findings that opens without a network."""

from itertools import chain
from pathlib import Path

from shm_data.check.dataset import check_index
from shm_data.check.index import read_index
from shm_data.dataset.layout import Layout
from shm_data.errors import ShmDataError
from shm_data.files import write_bytes
from shm_data.parallel import Progress, quiet
from shm_data.report.cards import cards_of
from shm_data.report.facts import drawn, facts_of, sampled
from shm_data.report.flagged import groups_of
from shm_data.report.measures import measure
from shm_data.report.page import Shown, to_html

# So many samples are drawn for the numbers that need pixels.
_MEASURED = 300


def write_report(root: Path, out: Path | None = None, jobs: int = -1, progress: Progress = quiet) -> Path:
    """Writes a page about the data set in a folder, as HTML, and gives its path: `out`, or report.html in the folder.

    The set is checked as `check_dataset` does. Which samples the page shows and measures is drawn by the seed of the
    set, so the same set has the same page, byte for byte. Its size does not grow with the set; memory does by the
    names of the samples. Raises ShmDataError where there is no data set, or the page cannot be written.
    """
    if out is not None and not out.parent.is_dir():
        raise ShmDataError(f"--out {out}", found=f"no folder {out.parent}", expected="a folder that is there")
    layout, out = Layout(root), out or root / "report.html"
    index = read_index(layout)
    verdict = check_index(layout, index, jobs=jobs, progress=progress)
    seed = 0 if index.manifest is None else index.manifest.options.seed
    samples, groups = sampled(index.splits, seed), groups_of(verdict, layout, index.splits)
    names = dict.fromkeys(chain(samples, *(group.names() for group in groups)))
    facts = facts_of(layout, index, names.keys(), progress)
    shown = Shown(samples, groups, cards_of(layout, facts, names, jobs, progress))
    measured = measure(layout, drawn(index.splits, seed, _MEASURED), jobs, progress)
    write_bytes(out, to_html(facts, verdict, measured, shown).encode("utf-8", "backslashreplace"))
    return out
