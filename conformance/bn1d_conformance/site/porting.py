"""The porting guide: what differs between two subjects, and the code that converts.

It is drawn from what results files say of their subjects, and from what frameworks document;
nothing here runs one.
"""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from bn1d_conformance import dialect
from bn1d_conformance.site import conversions
from bn1d_conformance.site.markup import code, link, literal, prose, table, web
from bn1d_conformance.site.published import judged
from bn1d_conformance.subject import COUNTER, ROLES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bn1d_conformance.site.published import Published, Result

TENSORS = (*ROLES, COUNTER)
#: What to do where a convention differs.
ADVICE = {
    "momentum": "`convert_momentum`",
    "default_momentum": "say it, as `OPTIONS` does",
    "default_eps": "say it, as `OPTIONS` does",
    "running_var": "keep it to evaluate; `convert_var` to compare what is tracked",
    "running_average": "keep it to evaluate; what is tracked from then on differs",
    "cumulative": "there is no `momentum=None` to convert: choose a number",
    "single_value": "give every channel two values or more",
    "counter": "leave it out, or start it at 0",
    "names": "`convert_state`",
    "layout": "`swap_layout`",
}


@dataclass(frozen=True)
class Side:
    """A subject as a guide sees it.

    Attributes:
        name: for people.
        dialect: a value for every convention.
        names: what it calls each tensor that it has.
        source: the page that says so; "" for what a results file says.
    """

    name: str
    dialect: Mapping[str, str]
    names: Mapping[str, str]
    source: str = ""

    def correction(self, rank: int) -> int:
        """What its tracked variance takes from n, for inputs of 2 or 3 dimensions."""
        return dialect.correction(self.dialect, (0,) * rank)


PYTORCH = Side(
    "PyTorch",
    dialect.PYTORCH,
    {name: name for name in TENSORS},
    "https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html",
)


def documented() -> dict[str, Side]:
    """The sides that a documentation describes, by the name that the command line has for them."""
    file = resources.files("bn1d_conformance") / "dialects.toml"
    rows = tomllib.loads(file.read_text("utf-8"))
    return {"pytorch": PYTORCH} | {
        key: Side(row["name"], dialect.PYTORCH | row["dialect"], row["names"], row["source"])
        for key, row in rows.items()
    }


def side_of(result: Result) -> Side:
    """What a results file says of its subject's conventions."""
    subject = result["subject"]
    lacking = {"counter", "cumulative"} - set(subject["capabilities"])
    names = {name: own for name in TENSORS if (own := subject["names"].get(name))}
    seen = dialect.PYTORCH | dict.fromkeys(lacking, "none")
    return Side(subject["name"], seen | subject["dialect"], names)


def pages(published: Published) -> dict[str, str]:
    """Return the pages by path: the conventions, the index, one for each but PyTorch; and data.

    Of the published subjects, those that declare a dialect.  The data are what the form of the
    index shows: a file for each subject, of what differs from it to any other.
    """
    there = judged(published)
    sides = documented() | {
        name: side_of(result) for name, result in there.items() if result["subject"]["dialect"]
    }
    others = {key: side for key, side in sides.items() if side is not PYTORCH}
    return {
        "dialects.md": _conventions(),
        "porting/index.md": _index(others, _form(sides)),
        **{f"porting/{key}.md": _page(side) for key, side in others.items()},
        **{f"porting/{key}.json": _pairs(side, sides) for key, side in sides.items()},
    }


def _conventions() -> str:
    heads = ["Key", "About", "Values", "PyTorch's", "Can excuse"]
    return f"""# Dialects

A framework may differ from PyTorch by design, and say so: an adapter declares its conventions, and
`bn1d run --dialect running_var=biased` does so for a layer that the kit imports.

Every requirement is judged as PyTorch.
Where that fails, and a declared convention concerns what failed, it is judged again under it: the
verdict is `deviates` if it holds there, and `fail` if the layer is wrong by its own account too.
What deviates is counted, and makes nobody diverge; nothing outside this table can be excused.
A layer that follows its convention in one case and PyTorch's in another has two: where anything
deviates, the second kind fails.

{table(heads, map(_convention, dialect.CONVENTIONS))}

The last column is empty where nothing can fail by a convention: it is there for
[whoever ports a model](porting/index.md).
"""


def _convention(row: dialect.Convention) -> list[str]:
    words = [f"{code(v)}: {literal(about)}" for v, about in row.values.items()]
    excused = [link(ident, "spec/") for ident in row.requirements]
    excused += [f"every requirement on {code(row.quantity)}"] if row.quantity else []
    values = "<br>".join(words) or literal(row.offers)
    return [code(row.key), literal(row.about), values, code(row.pytorch), ", ".join(excused)]


def _form(sides: Mapping[str, Side]) -> str:
    """The form that `docs/js/porting.js` shows, and reads the data for."""
    known = documented()
    groups = {
        "By documentation": known,
        "As published": {key: side for key, side in sides.items() if key not in known},
    }
    options = "".join(
        f'<optgroup label="{label}">{_options(some)}</optgroup>' for label, some in groups.items()
    )
    return f"""<form id="porting-form" class="matrix-filter" hidden>
<label>From <select name="from">{options}</select></label>
<label>To <select name="to">{options}</select></label>
</form>
<div id="porting-answer" aria-live="polite"></div>
<script src="../js/porting.js" defer></script>"""


def _options(sides: Mapping[str, Side]) -> str:
    """By the name that the command line has, and for people where that says more."""
    return "".join(
        f'<option value="{literal(key)}">{literal(key)}'
        f"{'' if side.name.lower() == key else f', {literal(side.name)}'}</option>"
        for key, side in sides.items()
    )


def _pairs(old: Side, sides: Mapping[str, Side]) -> str:
    """What differs from one to each, and the code that converts, as JSON."""
    found = {
        key: {"names": [old.name, new.name], "rows": rows(old, new), "program": program(old, new)}
        for key, new in sides.items()
    }
    return json.dumps(found, separators=(",", ":")) + "\n"


def _index(sides: Mapping[str, Side], form: str) -> str:
    heads = ["", "Differs from PyTorch in", "Names"]
    body = [
        [
            f"[{literal(side.name)}]({key}.md)",
            ", ".join(code(f"{k}={v}") for k, v in dialect.differing(side.dialect).items()),
            ", ".join(code(side.names[n]) for n in TENSORS if n in side.names),
        ]
        for key, side in sides.items()
    ]
    return f"""# Porting

What differs [by convention](../dialects.md), and not by mistake: as the documentation of a
framework says, or as a published subject declares.

{form}

{table(heads, body)}

The page of each has the differences from PyTorch and back, with the code that converts.
`bn1d porting FROM TO` writes the same for any two, each one of
{", ".join(map(code, documented()))} or a results file.
"""


def _page(side: Side) -> str:
    said = web(side.source) if side.source else "the dialect that it declares to the kit"
    there, back = guide(PYTORCH, side), guide(side, PYTORCH)
    return f"""# PyTorch and {literal(side.name)}

What differs by convention, and the code that converts a layer either way, by {said}.

{there}

{back}
"""


def guide(old: Side, new: Side) -> str:
    """Return in Markdown how a layer of one subject becomes one of another."""
    head = ("What", literal(old.name), literal(new.name), "Do")
    body = [(code(what), code(a), code(b), prose(do)) for what, a, b, do in rows(old, new)]
    return f"""## From {literal(old.name)} to {literal(new.name)}

{table(head, body) if body else "No convention differs."}

```python
{program(old, new)}
```"""


def script(old: Side, new: Side) -> str:
    """Return the guide as Python: what differs in comments, and the code that converts."""
    lines = [f"From {old.name} to {new.name}"]
    lines += [f"{what}: {a} -> {b}; {do.replace('`', '')}" for what, a, b, do in rows(old, new)]
    comments = ("".join(c if c.isprintable() else " " for c in f"# {line}") for line in lines)
    return "\n".join(comments) + "\n\n" + program(old, new)


def rows(old: Side, new: Side) -> list[tuple[str, str, str, str]]:
    """What differs: the convention or the tensor, both values, and what to do."""
    found = [
        (key, old.dialect[key], new.dialect[key], ADVICE[key])
        for key, row in dialect.BY_KEY.items()
        if row.differs(new.dialect[key], old.dialect[key])
    ]
    names = [(name, old.names[name], new.names[name]) for name in _both(old, new)]
    return found + [(f"name of {n}", a, b, "`convert_state`") for n, a, b in names if a != b]


def _both(old: Side, new: Side) -> list[str]:
    """The tensors that both have."""
    return [name for name in TENSORS if name in old.names and name in new.names]


def program(old: Side, new: Side) -> str:
    """Return Python that has what is needed to go from one subject to another.

    `OPTIONS` is what a layer of the new one is to be given to be a default layer of the old one,
    `NAMES` has the tensors that both have; the functions are those of `conversions` that apply.
    """
    keys = ("momentum", "running_var", "layout")
    flips, rescales, swaps = (old.dialect[key] != new.dialect[key] for key in keys)
    used: list[Callable[..., Any]] = [
        *[conversions.convert_momentum] * flips,
        conversions.convert_state,
        *[conversions.convert_var] * rescales,
        *[conversions.swap_layout] * swaps,
    ]
    eps, momentum = (float(old.dialect[f"default_{key}"]) for key in ("eps", "momentum"))
    said = f"convert_momentum({momentum})" if flips else f"{momentum}"
    names = {old.names[name]: new.names[name] for name in _both(old, new)}
    facts = [f'OPTIONS = {{"eps": {eps}, "momentum": {said}}}', f"NAMES = {json.dumps(names)}"]
    step = {rank: old.correction(rank) - new.correction(rank) for rank in (2, 3)}
    facts += [f"STEP = {step}"] * rescales
    parts = ["from typing import Any", *(inspect.getsource(f).strip() for f in used)]
    return "\n\n\n".join([*parts, "\n".join(facts)])
