"""The options that commands of `shm-data` share. Those of a data set are made from `shm_data.options.table`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from shm_data.options.table import PUBLISHED_OPTIONS, SET_OPTIONS, TABLE, TRIMAP_OPTIONS, Option

Command = TypeVar("Command", bound=Callable[..., Any])

# The library checks whether a path exists: its messages have the path, and what was expected there.
PATH = click.Path(path_type=Path)


def from_table(*names: str, **defaults: Any) -> Callable[[Command], Command]:
    """Return a decorator that adds these options of the table; `defaults` are those of this command alone."""
    return _all([_from(TABLE[name], defaults.get(name, TABLE[name].default)) for name in names])


def _from(option: Option, default: Any) -> Callable[[Any], Any]:
    if option.kind is bool:
        declared = f"{option.flag}/{option.flag.replace('--', '--no-', 1)}" if default else option.flag
        return click.option(declared, is_flag=True, default=default, show_default=bool(default), help=option.help)
    shown = (", ".join(default) if option.repeated else default) if default is not None else option.unset
    notes = "; ".join([*[option.limits] * bool(option.limits), *[f"default: {shown}"] * (shown != "")])
    return click.option(
        option.flag,
        type=_type(option),
        default=default,
        multiple=option.repeated,
        metavar=option.metavar,
        help=option.help + f"  [{notes}]" * bool(notes),
    )


def _type(option: Option) -> Any:
    if option.choices:
        return click.Choice(option.choices)
    if option.kind is Path:
        return PATH
    return str if option.word else option.kind


def jobs(function: Command) -> Command:
    """Add --jobs, the number of threads."""
    kind = click.IntRange(min=-1)
    help_ = "Number of threads; -1 is one for each core."
    return click.option("--jobs", "-j", type=kind, default=-1, show_default=True, callback=_not_zero, help=help_)(
        function
    )


def _not_zero(context: click.Context, option: click.Parameter, jobs: int) -> int:
    del context, option
    if jobs == 0:
        raise click.BadParameter("found 0, expected -1 or a number of threads", param_hint="--jobs")
    return jobs


def trimap_options(function: Command) -> Command:
    """Add the options that say how trimaps are derived."""
    return from_table(*TRIMAP_OPTIONS)(function)


def plan_options(numbg: int, *, published: bool = False) -> Callable[[Command], Command]:
    """Return a decorator that adds what a data set holds; `numbg` is the default of that option."""
    names = (*PUBLISHED_OPTIONS * published, *SET_OPTIONS)
    return _all([from_table(*names, numbg=numbg), jobs])


def build_options(function: Command) -> Command:
    """Add where a data set is made, and how."""
    options = [
        click.option(
            "--savedir", type=PATH, required=True, help="Folder of the data set; an unfinished one is resumed."
        ),
        click.option("--dry-run", is_flag=True, help="Print what would be made; write nothing."),
        click.option(
            "--verify",
            is_flag=True,
            help="When resuming, read all sources and samples again; broken samples are made again.",
        ),
        click.option(
            "--link",
            type=click.Choice(["auto", "hard", "copy"]),
            default="auto",
            show_default=True,
            help="Store the alpha that samples share once, by hard links: where possible, always, or never.",
        ),
        click.option("--part", metavar="K/N", help="Make part K of N, for job arrays; see docs/scale.md."),
        click.option(
            "--cluster",
            metavar="ADDRESS",
            help="Make the samples on the workers of a Dask scheduler, for example tcp://10.0.0.1:8786; --jobs then "
            "only counts for reading the sources. See docs/scale.md.",
        ),
    ]
    return _all(options)(function)


def _all(decorators: Sequence[Callable[[Any], Any]]) -> Callable[[Command], Command]:
    def decorate(function: Command) -> Command:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate
