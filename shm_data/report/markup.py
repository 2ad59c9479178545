"""Words and numbers as HTML: everything that comes from outside passes through here."""

from base64 import b64encode
from collections.abc import Iterable
from html import escape

from shm_data.errors import one_line


def text(value: object) -> str:
    """A value as text of a page or of an attribute: no sign in it is markup, and none is invisible."""
    return escape(one_line(str(value)))


def number(value: int) -> str:
    """A count with its thousands set off."""
    return f"{value:,}"


def size(width: int, height: int) -> str:
    """A size in px."""
    return f"{width} &times; {height}"


def in_bytes(count: int) -> str:
    """So many bytes, in the unit that suits them."""
    amount, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.0f} {units[0]}" if amount >= 100 or units[0] == "bytes" else f"{amount:.1f} {units[0]}"


def data_uri(picture: bytes) -> str:
    """A WebP picture as an address that holds it."""
    return f"data:image/webp;base64,{b64encode(picture).decode()}"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "") -> str:
    """A table of cells that are HTML already; the first of a row is its head."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = "".join(_row(list(cells)) for cells in rows)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _row(cells: list[str]) -> str:
    return f'<tr><th scope="row">{cells[0]}</th>{"".join(f"<td>{cell}</td>" for cell in cells[1:])}</tr>'


def section(name: str, title: str, lead: str, body: str) -> str:
    """A part of the page that a link can lead to."""
    return (
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>'
        f'<p class="lead">{lead}</p>{body}</section>'
    )
