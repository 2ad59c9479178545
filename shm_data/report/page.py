"""The page itself: its sections, put into one file with its style and its script."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template

from shm_data.check import Finding, Verdict
from shm_data.dataset.layout import SPLITS
from shm_data.dataset.manifest import Manifest
from shm_data.dataset.rebuild_command import command
from shm_data.errors import counted
from shm_data.report.cards import Card
from shm_data.report.facts import Facts
from shm_data.report.figures import statistics
from shm_data.report.flagged import Group
from shm_data.report.gallery import caption, chip, grid, switch
from shm_data.report.markup import in_bytes, number, section, table, text
from shm_data.report.measures import Measures

# So many names of each kind that was left out are told.
_NAMED = 50


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown as pictures: the samples, what the check found, and the cards of both."""

    samples: Sequence[str]
    groups: Sequence[Group]
    cards: Mapping[str, Card]


def to_html(facts: Facts, verdict: Verdict, measured: Measures, shown: Shown) -> str:
    """The page as HTML. It holds all that it shows, and is allowed to ask for nothing."""
    home = files("shm_data.report")
    style, script = (home.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    parts = [
        _samples(facts, shown),
        _splits(facts, verdict),
        statistics(facts, measured),
        _check(verdict, shown),
        _left_out(facts),
        _origin(facts),
    ]
    return Template(home.joinpath("page.html").read_text("utf-8")).substitute(
        name=text(facts.name),
        hash=b64encode(sha256(script.encode()).digest()).decode(),
        style=style,
        script=script,
        verdict=_seal(verdict),
        summary=_summary(facts),
        tiles=_tiles(facts, verdict),
        main="".join(parts),
    )


def _seal(verdict: Verdict) -> str:
    """What the check says, in a word."""
    errors, warnings = verdict.errors, verdict.warnings
    words = [counted(errors, "error")] * bool(errors) + [counted(warnings, "warning")] * bool(warnings)
    kind = "bad" if errors else "fair" if warnings else "good"
    return f'<a class="seal {kind}" href="#check">{", ".join(words) or "Nothing wrong found"}</a>'


def _summary(facts: Facts) -> str:
    made = "" if facts.manifest is None else f", made by shm-data {text(facts.manifest.versions.get('shm_data', ''))}"
    unfinished = "" if facts.manifest is None or facts.manifest.complete else " It is not finished."
    return f"{number(len(facts.splits))} samples for human matting{made}.{unfinished}"


def _tiles(facts: Facts, verdict: Verdict) -> str:
    """The figures that matter most."""
    tally, disk = facts.tally, facts.disk
    total = number(len(facts.splits))
    sides = " &middot; ".join(f"{number(count)} {split or 'in no list'}" for split, count in facts.counts.items())
    if tally is None:
        people, of_people = verdict.counts["foregrounds"], "told apart by their alphas"
        places, of_places = "?", "not known"
    else:
        people = len(set[str]().union(*tally.foregrounds.values()))
        of_people = f"{number(tally.originals)} untouched photos"
        uses = tally.uses()
        places, of_places = number(len(uses)), f"in {number(uses.total())} composites"
    spared = f"{in_bytes(disk.spared)} more without links" if disk.spared else f"{in_bytes(disk.records)} of records"
    tiles = [
        ("Samples", total, sides),
        ("Foregrounds", number(people), of_people),
        ("Backgrounds", places, of_places),
        ("On disk", in_bytes(disk.total), spared),
    ]
    return "".join(f"<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>" for name, value, more in tiles)


def _samples(facts: Facts, shown: Shown) -> str:
    names, cards = shown.samples, shown.cards
    if not names:
        return section("samples", "Samples", "There are none.", "")
    total = number(len(facts.splits))
    some = f"{number(len(names))} of {total}, drawn by the seed of the set, so the same each time."
    lead = (some if len(names) < len(facts.splits) else f"All {total}.") + (
        " Click one to enlarge it. Laid over the image, red is what alpha leaves out; "
        "amber is what the trimap calls unknown, and dark what it calls background."
    )
    pictures = grid(([(cards[name], caption(cards[name]))] for name in names), "image")
    return section("samples", "Samples", lead, switch("image") + pictures)


def _splits(facts: Facts, verdict: Verdict) -> str:
    heads = ["Split", "Samples", "Share", "Foregrounds", "Backgrounds"]
    grouped = facts.manifest is not None and facts.manifest.options.group
    rows = [list(_side(facts, split)) for split in facts.counts]
    if grouped and facts.tally is not None:
        heads.insert(4, "Groups")
        for split, row in zip(facts.counts, rows, strict=True):
            row.insert(4, number(len(facts.tally.groups[split])))
    lead = "A network must not be judged by people or places that it was trained on."
    return section("splits", "Splits", lead, _verdict_on_leaks(facts, verdict) + table(heads, rows, "figures"))


def _side(facts: Facts, split: str) -> Iterator[str]:
    yield chip(split) or "in no list"
    yield number(facts.counts[split])
    yield f"{facts.counts[split] / max(1, len(facts.splits)):.1%}"
    for sets in (None, None) if facts.tally is None else (facts.tally.foregrounds, facts.tally.backgrounds):
        yield "not known" if sets is None else number(len(sets[split]))


def _verdict_on_leaks(facts: Facts, verdict: Verdict) -> str:
    leaks = [finding for finding in verdict.findings if finding.kind in ("leak", "near_duplicate")]
    if leaks:
        told = "".join(f"<li>{_told(finding)}</li>" for finding in leaks[:5])
        more = f'<p><a href="#check">All {number(len(leaks))}</a></p>' if len(leaks) > 5 else ""
        return f'<div class="notice bad"><h3>Train and val share something</h3><ul>{told}</ul>{more}</div>'
    if not all(facts.counts[split] for split in SPLITS):
        return '<div class="notice fair"><h3>There are no two splits to compare</h3></div>'
    asked = ["foreground", "near copy of one"]
    asked += ["background"] if facts.tally is not None else []
    asked += ["group"] if facts.manifest is not None and facts.manifest.options.group else []
    missed = [each.phrase for each in verdict.unchecked if each.kind == "leak"]
    tail = "".join(f"<li>Not checked: {text(phrase)}.</li>" for phrase in missed)
    words = "Train and val share no " + ", no ".join(asked)
    return f'<div class="notice good"><h3>{words}</h3>{f"<ul>{tail}</ul>" * bool(tail)}</div>'


def _told(finding: Finding) -> str:
    return f"<code>{text(finding.what)}</code> has {text(finding.found)}; expected {text(finding.expected)}"


def _check(verdict: Verdict, shown: Shown) -> str:
    lead = "What <code>shm-data check</code> says of every file."
    groups = "".join(_group(group, shown.cards) for group in shown.groups)
    lists = [("Checked", verdict.checked), ("Not checked", [each.phrase for each in verdict.unchecked])]
    told = "".join(f"<div><h3>{name}</h3>{_some(what)}</div>" for name, what in lists)
    body = groups or '<div class="notice good"><h3>Nothing wrong found</h3></div>'
    return section("check", "Check", lead, f'{body}<div class="pair">{told}</div>')


def _group(group: Group, cards: Mapping[str, Card]) -> str:
    """The findings of one kind: pictures of some, and the words of some more."""
    shown = [
        [(cards[name], caption(cards[name]) + _words(finding, name)) for name in names]
        for finding, names in group.pictured
    ]
    pictures = grid(shown, group.show()) if shown else ""
    told = "".join(f"<li>{_told(finding)}</li>" for finding in group.told)
    more = f"<li>and {number(group.total - len(group.told))} more</li>" if group.total > len(group.told) else ""
    word = "error" if group.grave else "warning"
    kind = "bad" if group.grave else "fair"
    return (
        f'<article class="finding {kind}"><h3><span class="mark">{word}</span> {text(group.meaning)}'
        f" <small>{number(group.total)}</small></h3>{pictures}"
        f"<details{' open' * (not shown)}><summary>In words</summary><ul>{told}{more}</ul></details></article>"
    )


def _words(finding: Finding, name: str) -> str:
    """What was found in a sample, or in which of its files; of the other one of a pair, that it is."""
    folder, other = finding.folder, name == finding.other
    return f'<p class="words">{"to compare" if other else text(f"{folder}: " * bool(folder) + finding.found)}</p>'


def _left_out(facts: Facts) -> str:
    lead = "What was passed over when the set was made, and what to know of it."
    if facts.manifest is None:
        body = "<p>Not known: the set has no dataset.json that could be read.</p>"
        return section("left-out", "Left out", lead, body)
    skipped = list(facts.manifest.skipped.items())
    body = _some(facts.manifest.notes) if facts.manifest.notes else ""
    rows = [[text(why), number(len(what)), _names(what)] for why, what in skipped[:_NAMED]]
    body += table(["Why", "How many", "Which"], rows, "names") if rows else "<p>Nothing was left out.</p>"
    if len(skipped) > _NAMED:
        body += f"<p>and for {number(len(skipped) - _NAMED)} more reasons, see dataset.json</p>"
    return section("left-out", "Left out", lead, body)


def _names(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"<code>{text(names[0])}</code>"
    return f"<details><summary><code>{text(names[0])}</code> &hellip;</summary>{_some(names)}</details>"


def _some(phrases: Sequence[str]) -> str:
    """A list of phrases, as many as people read."""
    listed = "".join(f"<li>{text(phrase)}</li>" for phrase in phrases[:_NAMED])
    more = f"<li>and {number(len(phrases) - _NAMED)} more, see dataset.json</li>" if len(phrases) > _NAMED else ""
    return f"<ul>{listed}{more}</ul>"


def _origin(facts: Facts) -> str:
    """How the set was made, and how it is made again."""
    manifest = facts.manifest
    if manifest is None:
        body = "<p>Not known: the set has no dataset.json that could be read, so it cannot be made again from it.</p>"
        return section("origin", "Made from", "Options, sources and versions.", body)
    typed = f'<pre class="command"><code>{escape(command(manifest, facts.name, manifest.roots))}</code></pre>'
    options = [[f"<code>{text(name)}</code>", _value(value)] for name, value in manifest.options.model_dump().items()]
    versions = [[text(name), text(version)] for name, version in manifest.versions.items()]
    body = typed + _sources(manifest) + '<div class="pair">'
    body += f"<div><h3>Versions</h3>{table(['Package', 'Version'], versions)}</div>"
    body += f"<div><h3>Options</h3><details><summary>All {len(options)}</summary>"
    body += f"{table(['Option', 'Value'], options)}</details></div></div>"
    lead = (
        "With the same sources and versions this command makes the same files, in a folder of your choice. "
        "A set that photos joined later may come out in another order."
    )
    return section("origin", "Made from", lead, body)


def _sources(manifest: Manifest) -> str:
    """Where the sources lay, how many files of each are used, and what is known of their licences."""
    used = manifest.used
    rows = [
        [f"<code>{text(label)}</code>", f"<code>{text(path)}</code>", number(used[label]), _terms(label, manifest)]
        for label, path in manifest.roots.items()
    ]
    return table(["Source", "Folder", "Files used", "Licence"], rows, "sources")


def _terms(label: str, manifest: Manifest) -> str:
    told = manifest.options.license.get(label)
    counts = manifest.licences.get(label, {})
    found = "<br>".join(f"{text(name) or 'not told'} ({number(count)})" for name, count in counts.items())
    return text(told) if told else found or '<span class="faint">not told</span>'


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return _value(tuple(f"{name}: {each}" for name, each in value.items()))
    if value is None or value == ():
        return '<span class="faint">none</span>'
    return "<br>".join(text(each) for each in value) if isinstance(value, tuple) else text(value)
