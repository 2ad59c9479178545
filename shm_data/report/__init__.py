"""A page about a data set: samples, statistics and findings in one HTML file that needs no network."""

from itertools import chain
from pathlib import Path

from shm_data.check.dataset import check_index
from shm_data.check.index import read_index
from shm_data.dataset.layout import Layout
from shm_data.errors import ShmDataError
from shm_data.files import visited_folder, write_bytes
from shm_data.parallel import Progress, quiet
from shm_data.report.cards import cards_of
from shm_data.report.facts import choose, facts_of, names_to_show
from shm_data.report.flagged import groups_of
from shm_data.report.measures import measure
from shm_data.report.page import Shown, to_html

# The number of samples that are measured.
_MEASURED = 300


def write_report(root: Path, out: Path | None = None, jobs: int = -1, progress: Progress = quiet) -> Path:
    """Write a page about the data set in a folder as HTML, and return its path: `out`, or report.html in the folder.

    The set is checked as by `check_dataset`. The seed of the set chooses the samples that the page shows and
    measures, so the same set gives the same page, byte for byte. The size of the page does not grow with the set;
    memory grows with the names of the samples. Raises ShmDataError where there is no data set, or the page cannot be
    written.
    """
    if out is not None and not out.parent.is_dir():
        raise ShmDataError(f"--out {out}", found=f"no folder {out.parent}", expected="an existing folder")
    layout, out = Layout(root), out or root / "report.html"
    index = read_index(layout)
    verdict = check_index(layout, index, jobs=jobs, progress=progress)
    seed = 0 if index.manifest is None else index.manifest.options.seed
    samples, groups = names_to_show(index.splits, seed), groups_of(verdict, layout, index.splits)
    names = dict.fromkeys(chain(samples, *(group.names() for group in groups)))
    facts = facts_of(layout, index, names.keys(), progress)
    shown = Shown(samples, groups, cards_of(layout, facts, names, jobs, progress))
    measured = measure(layout, choose(index.splits, seed, _MEASURED), jobs, progress)
    page = to_html(facts, verdict, measured, shown).encode("utf-8", "backslashreplace")
    with visited_folder(out.parent):
        write_bytes(out, page)
    return out
