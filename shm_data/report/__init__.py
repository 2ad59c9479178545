"""A page about a data set: samples, statistics and findings in one HTML file that needs no network."""

from itertools import chain
from pathlib import Path

from shm_data.check.dataset import check_index
from shm_data.check.index import read_index
from shm_data.dataset.layout import Layout
from shm_data.files import require_own, write_own
from shm_data.parallel import Progress, quiet
from shm_data.pixels.arrays import Array
from shm_data.report.cards import Gallery
from shm_data.report.facts import choose, facts_of, names_to_show
from shm_data.report.flagged import groups_of
from shm_data.report.giveaway import GiveawayStatistics
from shm_data.report.measures import Statistics
from shm_data.report.page import MARK, Shown, to_html

# The number of samples that are measured.
_MEASURED = 300


def write_report(root: Path, out: Path | None = None, jobs: int = -1, progress: Progress = quiet) -> Path:
    """Write a page about the data set in a folder as HTML, and return its path: `out`, or report.html in the folder.

    The set is checked as by `check_dataset`. The seed of the set chooses the samples that the page shows and
    measures, so the same set gives the same page, byte for byte. The size of the page does not grow with the set;
    memory grows with the names of the samples. Raises ShmDataError where there is no data set, where `out` is a file
    that is no such page, and where the page cannot be written.
    """
    layout, out = Layout(root), out or root / "report.html"
    index = read_index(layout)
    require_own("--out", out, MARK)
    seed = 0 if index.manifest is None else index.manifest.options.seed
    samples = names_to_show(index.splits, seed)
    measured_names = choose(index.splits, seed, _MEASURED)
    gallery, statistics = Gallery(samples), Statistics(measured_names)
    # What training sees: val is never augmented.
    cues = GiveawayStatistics([name for name in measured_names if index.splits[name] == "train"])

    def visit(name: str, image: Array | None, alpha: Array | None, trimap: Array | None) -> None:
        gallery.visit(name, image, alpha, trimap)
        statistics.visit(name, alpha, trimap)
        cues.visit(name, image, alpha)

    verdict = check_index(layout, index, jobs=jobs, progress=progress, visit=visit)
    groups = groups_of(verdict, layout, index.splits)
    names = dict.fromkeys(chain(samples, *(group.names() for group in groups)))
    facts = facts_of(layout, index, names.keys() | set(measured_names), progress)
    shown = Shown(samples, groups, gallery.cards(layout, facts, names, jobs, progress))
    measured = statistics.measures()
    giveaway = cues.giveaway({} if facts.tally is None else facts.tally.kept)
    write_own(out, to_html(facts, verdict, measured, giveaway, shown).encode("utf-8", "backslashreplace"))
    return out
