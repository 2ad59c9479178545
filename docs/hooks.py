"""What `make docs` adds to the pages of this folder: the reference, and files that they link to elsewhere."""

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]

# Linked from pages as ../PATH; the site has them below its root.
LINKED = (
    "benchmarks/RESULTS.md",
    "notebooks/play.ipynb",
    *(f"benchmarks/{name}.py" for name in ("floor", "plain", "ways")),
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference of all public names, from their docstrings, and the linked files."""
    files.append(File.generated(config, "reference.md", content=_reference()))
    for path in LINKED:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Point links at the linked files to where the site has them."""
    for path in LINKED:
        markdown = markdown.replace(f"](../{path}", f"]({path}")
    return markdown


def _reference() -> str:
    lines = [
        "# Reference",
        "",
        "Every name that `shm_data` and `shm_model` offer. Examples are in [From Python](api.md).",
    ]
    for package in ("shm_data", "shm_model"):
        lines += ["", f"## {package}"]
        for name in sorted(_public(package), key=str.casefold):
            lines += ["", f"::: {name}"]
    return "\n".join(lines)


def _public(package: str) -> list[str]:
    """Return the full names of what a package imports for type checkers, which are its public names."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return [f"{node.module}.{alias.name}" for node in imports for alias in node.names]
