"""Render the page from its templates: one HTML file that holds all that it shows and loads nothing."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shm_data.check import Finding, Verdict
from shm_data.dataset.manifest import Manifest
from shm_data.dataset.rebuild_command import command
from shm_data.errors import counted, one_line
from shm_data.report.cards import VIEWS, Card
from shm_data.report.facts import Facts
from shm_data.report.figures import charts_of
from shm_data.report.flagged import Group
from shm_data.report.giveaway import Giveaway
from shm_data.report.measures import Measures

_FOLDER = Path(__file__).with_name("templates")

# Distinguishes a page from other files.
MARK = b'<meta name="generator" content="shm-data report">'

# No more reasons why files were skipped are listed.
_MOST = 50


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows as pictures: chosen samples, groups of findings, and the cards of both by name."""

    samples: Sequence[str]
    groups: Sequence[Group]
    cards: Mapping[str, Card]

    @property
    def sample_cards(self) -> list[tuple[None, list[Card]]]:
        """Return the cards of the chosen samples, without a finding."""
        return [(None, [self.cards[name]]) for name in self.samples]

    def cards_of(self, group: Group) -> list[tuple[Finding, list[Card]]]:
        """Return the findings of a group that have pictures, each with its cards."""
        return [(finding, [self.cards[name] for name in names]) for finding, names in group.pictured]


def to_html(facts: Facts, verdict: Verdict, measured: Measures, giveaway: Giveaway, shown: Shown) -> str:
    """Return the page as HTML. Its security policy forbids it to load anything."""
    style, script = ((_FOLDER / name).read_text("utf-8") for name in ("page.css", "page.js"))
    manifest = facts.manifest
    return (
        _environment()
        .get_template("page.html")
        .render(
            facts=facts,
            tally=facts.tally,
            manifest=manifest,
            grouped=facts.tally is not None and manifest is not None and bool(manifest.options.group),
            verdict=verdict,
            measured=measured,
            giveaway=giveaway,
            charts=charts_of(facts, measured),
            shown=shown,
            views=VIEWS,
            most=_MOST,
            style=style,
            script=script,
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
            **({} if manifest is None else _origin(facts.name, manifest)),
        )
    )


def _environment() -> Environment:
    """Return Jinja's environment: all text is escaped, control characters are visible, and no name may be missing."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if hasattr(value, "__html__") else one_line(str(value)),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": in_bytes,
        "counted": counted,
        "data_uri": _data_uri,
        "number": "{:,}".format,
    }
    return environment


def _data_uri(picture: bytes) -> str:
    """Return a PNG or WebP picture as an address that holds it."""
    kind = "png" if picture.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"


def _origin(name: str, manifest: Manifest) -> dict[str, Any]:
    """Return the command that makes the set again, with the sources in capitals, and the options as lists of text."""
    typed = command(manifest, name, {label: label.upper() for label in manifest.roots})
    return {"command": typed, "options": {key: list(_values(each)) for key, each in manifest.options}}


def _values(value: object) -> Iterator[str]:
    """Yield the value of an option as lines of text; of a folder only its name, as a page is shown to strangers."""
    if isinstance(value, dict):
        yield from (f"{key}: {each}" for key, each in value.items())
    elif isinstance(value, tuple):
        yield from (text for each in value for text in _values(each))
    elif isinstance(value, bool):
        yield "yes" if value else "no"
    elif value is not None:
        yield value.name if isinstance(value, Path) else str(value)


def in_bytes(count: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    amount, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.0f} {units[0]}" if amount >= 100 or units[0] == "bytes" else f"{amount:.1f} {units[0]}"
