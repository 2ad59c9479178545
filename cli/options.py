"""The options of `shm-data`'s commands, for those that share them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

# Whether a folder exists is the library's to say.
FOLDER = click.Path(path_type=Path)


def jobs(function: Command) -> Command:
    """How many threads."""
    help_ = "Threads; -1 is one a core."
    kind = click.IntRange(min=-1)
    return click.option("--jobs", "-j", type=kind, default=-1, callback=_not_none, help=help_)(function)


def _not_none(context: click.Context, option: click.Parameter, jobs: int) -> int:
    del context, option
    if jobs == 0:
        raise click.BadParameter("found 0, expected -1 or a number of threads", param_hint="--jobs")
    return jobs


_LAYOUTS = "auto cutouts composition1k distinctions646 aim500 p3m ppm100 aisegment alphamatting".split()


_AUGMENTS = "blur shadow gamma colour noise jpeg over place".split()


def layout(function: Command) -> Command:
    """Which published set a folder holds."""
    return click.option(
        "--layout",
        type=click.Choice(_LAYOUTS),
        default="auto",
        show_default=True,
        help="How the folder of photos is read: as this published set, whose split is kept, or as cut-outs; auto "
        "takes a tree that is certainly one of them for it; see docs/layouts.md.",
    )(function)


def trimap_options(function: Command) -> Command:
    """How trimaps are derived."""
    options = [
        click.option(
            "--trimap",
            type=click.Choice(["euclid", "ellipse", "random"]),
            default="euclid",
            show_default=True,
            help="Kernel of erosion and dilation: an exact disc, OpenCV's ellipse, or discs of random sizes.",
        ),
        click.option(
            "--trimap-size",
            default="auto",
            show_default=True,
            metavar="PX",
            help="Kernel width, odd (for random: the largest); auto is 2 % of the long edge.",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other random choices."),
    ]
    return _all(options, function)


def plan_options(numbg: int) -> Callable[[Command], Command]:
    """What a data set holds; `numbg` is the default of that option."""
    options = [
        click.option("--inimg", type=FOLDER, help="Folder of photos, or of RGBA cut-outs if --inalp is not given."),
        click.option("--inalp", type=FOLDER, help="Folder of their alphas, paired by name."),
        click.option("--intri", type=FOLDER, help="Folder of their trimaps; where there is one, it is taken."),
        click.option("--prefix", help="Word before or after the names of the alphas.  [default: alpha, matte, mask]"),
        layout,
        click.option("--resize-alpha", is_flag=True, help="Bring alphas of the same shape to their photo's size."),
        click.option("--vocroot", type=FOLDER, multiple=True, help="Backgrounds: a Pascal VOC 2007 or 2012 tree."),
        click.option("--vocset", metavar="NAME", help="Only the photos of ImageSets/Main/NAME.txt, e.g. trainval."),
        click.option("--cocoroot", type=FOLDER, multiple=True, help="Backgrounds: COCO images and annotations."),
        click.option("--bgdir", type=FOLDER, multiple=True, help="Backgrounds: any folder of photos without people."),
        click.option("--people", is_flag=True, help="Use backgrounds that show people, too."),
        click.option("--numbg", type=int, default=numbg, show_default=True, help="Backgrounds for each foreground."),
        click.option(
            "--originals/--no-originals", default=True, show_default=True, help="Keep the photos as samples."
        ),
        click.option(
            "--foreground",
            type=click.Choice(["estimate", "photo"]),
            default="estimate",
            show_default=True,
            help="Colours of soft edges: freed of the old background, or as in the photo (halos).",
        ),
        click.option("--maxsize", type=int, metavar="PX", help="Scale samples down to this long edge."),
        click.option(
            "--format",
            type=click.Choice(["png", "jpg", "webp"]),
            default="png",
            show_default=True,
            help="Of the images; alphas and trimaps are PNG always.",
        ),
        click.option("--quality", type=int, help="Of jpg and webp, 1 to 100.  [default: 95]"),
        click.option(
            "--augment",
            type=click.Choice(_AUGMENTS),
            multiple=True,
            help="For train, in half of the samples each, as often as given: what lets a composite look more like a "
            "photo; see docs/augmentations.md.",
        ),
        click.option("--trainsplit", type=float, default=0.8, show_default=True, help="Share that goes to train."),
        click.option("--group", metavar="REGEX", help="What photos of one person share in their names."),
        click.option(
            "--license",
            metavar="NAME=TEXT",
            multiple=True,
            help="For README.md: the licence of a source, as in inimg='CC BY 4.0'; of backgrounds voc, coco, bgdir.",
        ),
        trimap_options,
        jobs,
    ]
    return lambda function: _all(options, function)


def build_options(function: Command) -> Command:
    """Where a data set is made, and how."""
    options = [
        click.option("--savedir", type=FOLDER, required=True, help="Where the data set is made or completed."),
        click.option("--dry-run", is_flag=True, help="Tell what would be made, and write nothing."),
        click.option("--verify", is_flag=True, help="Going on: read the sources again to see that none has changed."),
        click.option(
            "--link",
            type=click.Choice(["auto", "hard", "copy"]),
            default="auto",
            show_default=True,
            help="Samples with the same alpha share one file: where possible, always, never.",
        ),
        click.option("--part", metavar="K/N", help="Make the K-th of N parts; see docs/scale.md."),
        click.option(
            "--cluster",
            metavar="ADDRESS",
            help="Let the workers of a Dask scheduler, as tcp://10.0.0.1:8786, make the samples; see docs/scale.md. "
            "--jobs then only serves to look through the sources.",
        ),
    ]
    return _all(options, function)


def _all(decorators: list[Callable[[Any], Any]], function: Command) -> Command:
    for decorator in reversed(decorators):
        function = decorator(function)
    return function
