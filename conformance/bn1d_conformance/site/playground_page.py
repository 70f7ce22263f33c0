"""The files of the page "Try it": the page, its recorded runs, and what runs in the browser."""

from __future__ import annotations

import io
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from bn1d_conformance.playground import Playground
from bn1d_conformance.playground.examples import EXAMPLES
from bn1d_conformance.playground.tables import HEAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bn1d_conformance.playground.tables import Table

PAGE = "playground.md"
STEPS = ("new", "train", "backward", "eval")  # of a recorded run
RUNS = "<!-- recorded runs -->"  # in the page, where they go
WITHOUT, WITH = 'data-pyodide=""', 'data-pyodide="pyodide/"'  # in the page
#: What the browser fetches of the npm package, once the reader asks for it.
PYODIDE = (
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "pyodide-lock.json",
    "python_stdlib.zip",
)
PACKAGES = ("bn1d_reference", "bn1d_conformance")
#: The modules of the second that the browser runs; the first is there whole.
MODULES = ("__init__", "playground/*", "textbook")


def pages(pyodide: Path) -> dict[str, str]:
    """Return the page by its path; without a folder `pyodide` it has recorded runs alone."""
    page = (resources.files(__package__) / PAGE).read_text("utf-8")
    if pyodide.is_dir():
        page = page.replace(WITHOUT, WITH)
    return {PAGE: page.replace(RUNS, recorded())}


def files(pyodide: Path) -> dict[str, bytes]:
    """Return what the page loads when the reader asks for it, by path."""
    names = PYODIDE if pyodide.is_dir() else ()
    python = {f"playground/pyodide/{name}": (pyodide / name).read_bytes() for name in names}
    return {"playground/bn1d.zip": packed(), **python}


# What runs in the browser


def packed() -> bytes:
    """Return the oracle and the playground as a zip file, the same one from the same sources."""
    out = io.BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        for name, content in _sources():
            archive.writestr(ZipInfo(name), content, ZIP_DEFLATED)  # of 1980: no clock in it
    return out.getvalue()


def _sources() -> Iterator[tuple[str, bytes]]:
    reference, conformance = (Path(str(resources.files(name))) for name in PACKAGES)
    files = sorted(p for p in reference.rglob("*") if p.suffix in {".py", ".toml"})
    browsed = (file for name in MODULES for file in sorted(conformance.glob(f"{name}.py")))
    for file in (*files, *browsed):
        folder = conformance if file.is_relative_to(conformance) else reference
        yield file.relative_to(folder.parent).as_posix(), file.read_bytes()


# Recorded runs


def recorded() -> str:
    """Return the run of every example, as Markdown with tables of HTML."""
    return "\n\n".join(_run(example) for example in EXAMPLES)


def _run(example: dict[str, str]) -> str:
    playground = Playground()
    steps = [playground.step({**example, "step": step}) for step in STEPS]
    shown = [_step(i, **step) for i, step in enumerate(steps, 1)]
    return "\n\n".join([f"### {example['name']}", _asked(example), *shown])


def _asked(example: dict[str, str]) -> str:
    """The layer and the batch, in words."""
    names = {"features": "C", "affine": "affine", "momentum": "momentum", "eps": "eps"}
    names |= {"weight": "weight", "bias": "bias", "batch": "batch", "gradient": "gradient"}
    said = {title: example[field] for field, title in names.items() if example[field]}
    return ", ".join(f"{k} `{'; '.join(v.splitlines())}`" for k, v in said.items()) + "."


def _step(place: int, title: str, said: str, tables: tuple[Table, ...]) -> str:
    """A step as the page shows those of the form; the first forward pass is unfolded."""
    unfolded = " open" if place == 2 else ""
    head = f"<details{unfolded}><summary>{place}. {escape(title)}</summary><p>{escape(said)}</p>"
    return "\n".join([head, *map(_table, tables), "</details>"])


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in HEAD)
    lines = [
        f"<table><caption>{escape(table['caption'])}</caption>",
        f"<thead><tr>{head}</tr></thead>",
        f"<tbody>{''.join(map(_row, table['rows']))}</tbody></table>",
    ]
    return "\n".join(lines)


def _row(row: list[str]) -> str:
    name, *values = map(escape, row)
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{v}</td>" for v in values)}</tr>'
