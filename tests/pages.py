"""Read the pages of the documentation: blocks of code, code in prose, and links."""

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)$")
MARK = re.compile(r"^<!-- ([a-z ]+): .+ -->$")
GIVEN = re.compile(r"^<!-- given: ([\w, ]+) -->$", re.MULTILINE)
LOOP = re.compile(r"^for .* do\n(?:  .*\n)+done$", re.MULTILINE)
# A number as it comes out of re.escape, with the blanks of a column before it.
NUMBER = re.compile(r"(?:\\ )*(?:\d+(?:\\\.\d+)?|nan)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the number of its first line, its language, its text, and the comment just before it."""

    line: int
    language: str
    text: str
    mark: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command line and, in a console, what the page shows of its output."""

    line: str
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """The parts of a page. `prose` has a line for each line of the page; those of blocks are empty."""

    path: Path
    blocks: tuple[Block, ...]
    prose: tuple[str, ...]

    @property
    def given(self) -> tuple[str, ...]:
        """Return the names of the folders that the page presumes, besides the sources."""
        found = GIVEN.search(self.path.read_text(encoding="utf-8"))
        return tuple(found[1].split(", ")) if found else ()

    @property
    def spans(self) -> list[str]:
        """Return the pieces of code in prose."""
        return re.findall(r"`([^`]+)`", "\n".join(self.prose))

    @property
    def links(self) -> list[str]:
        """Return the targets of links and pictures, without other sites."""
        targets = re.findall(r"\]\(([^)\s]+)\)", "\n".join(self.prose))
        return [target for target in targets if "://" not in target]

    @property
    def anchors(self) -> set[str]:
        """Return the headings as links name them."""
        headings = [line.lstrip("#").strip() for line in self.prose if line.startswith("#")]
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def read(path: Path) -> Page:
    """Read a page. Raises ValueError where a block does not end."""
    blocks, prose, inside = [], [], None
    mark = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if inside is not None:
            if line == "```":
                blocks.append(inside)
                inside = None
            else:
                inside = Block(inside.line, inside.language, f"{inside.text}{line}\n", inside.mark)
        elif fence := FENCE.match(line):
            inside = Block(number + 1, fence[1], "", mark)
        found = MARK.match(line)
        mark = found[1] if found else ""
        prose.append("" if inside is not None or line == "```" else line)
    if inside is not None:
        raise ValueError(f"{path}: the block at line {inside.line} does not end")
    return Page(path, tuple(blocks), tuple(prose))


def commands(block: Block) -> list[Command]:
    """Return the commands of a block: all lines of a script, those after `$ ` in a console with their output."""
    text = LOOP.sub(_on_one_line, block.text.replace("\\\n", " "))
    if block.language == "sh":
        return [Command(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    if parts[0]:
        raise ValueError(f"line {block.line}: a console begins with `$ ` and a command")
    return [Command(line, shown) for line, _, shown in (part.partition("\n") for part in parts[1:])]


def _on_one_line(loop: re.Match[str]) -> str:
    head, *body = loop[0].split("\n")
    return f"{head} {'; '.join(line.strip() for line in body)}"


def pattern(shown: str, *, numbers_vary: bool = False) -> re.Pattern[str]:
    """Return the pattern of an output: `...` stands for any text in a line, or for any lines if it is alone."""
    lines = [r"(?:.*\n)*" if line == "..." else _of_line(line, numbers_vary) for line in shown.splitlines()]
    return re.compile("".join(lines))


def _of_line(line: str, numbers_vary: bool) -> str:
    parts = [re.escape(part) for part in line.split("...")]
    if numbers_vary:
        parts = [NUMBER.sub(r"\\s*(?:\\d+(?:\\.\\d+)?|nan)", part) for part in parts]
    return ".*".join(parts) + r"\n"
