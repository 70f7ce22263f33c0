"""The results in few lines, for pages about something else: the widely used ones, and GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bn1d_conformance.documents.unavailable import is_absent
from bn1d_conformance.site.markup import literal, table, toned, verdict_badge
from bn1d_conformance.site.matrix import SIGNS, boxed, by_requirement, cell_of, overall
from bn1d_conformance.site.results_page import absence, linked
from bn1d_reference import spec

if TYPE_CHECKING:
    from bn1d_conformance.site.published import Backends, Published, Result

FIRST, WIDELY_USED = "torch.nn.BatchNorm1d", "tier1"  # a subject, and a tag of others
ROOT = "../"  # from a page in a folder


def widely_used(published: Published, backends: Backends) -> str:
    """Return PyTorch's layer and the widely used ones of others by area, for the home page."""
    others = [name for name in published if WIDELY_USED in backends.get(name, {}).get("tags", ())]
    rows = "\n".join(_row(name, published[name]) for name in (FIRST, *others))
    heads = "".join(
        f'<th scope="col"><abbr title="{literal(a.title)}">{a.name}</abbr></th>'
        for a in spec.areas()
    )
    return boxed('class="matrix glance"', heads, rows)


def _row(name: str, result: Result) -> str:
    judged = by_requirement(result)
    cells = [cell_of(area, judged).tone for area in spec.areas()]
    shown = "".join(f"<td>{toned(tone, SIGNS[tone])}</td>" for tone in cells)
    first = f'<th scope="row"><a href="results/{name}/">{literal(name)}</a></th>'
    return f"<tr>{first}<td>{overall(result)}</td>{shown}</tr>"


def on_a_gpu(published: Published, backends: Backends) -> str:
    """Return every backend that needs a GPU, with its verdict, or that there is none."""
    rows = [
        [f"`nox -s {name}`", literal(row["about"]), _said(name, published)]
        for name, row in backends.items()
        if "gpu" in row["tags"]
    ]
    return table(["Session", "Judges", "Published"], rows)


def _said(name: str, published: Published) -> str:
    """The verdict, with the version and the GPU that it is of."""
    result = published.get(name)
    if result is None:
        return "no result: nobody has judged it on a GPU yet"
    if is_absent(result):
        return absence(result)
    subject, page = result["subject"], linked(name, None, f"{ROOT}results/")
    on = literal(subject.get("device") or "a GPU")
    return f"{page} {verdict_badge(result['verdict'])}: {literal(subject['version'])}, {on}"
