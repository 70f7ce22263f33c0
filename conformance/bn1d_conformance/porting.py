"""The porting guide: what differs between two subjects, and the code that converts.

It is drawn from what results files say of their subjects; nothing here runs one.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bn1d_conformance import conversions, dialect
from bn1d_conformance.markup import code, link, literal, table
from bn1d_conformance.subject import COUNTER, ROLES
from bn1d_conformance.unavailable import is_absent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Result = Mapping[str, Any]

TENSORS = (*ROLES, COUNTER)
#: What to do about each convention that differs; the others have code of their own.
ADVICE = {
    "running_average": "Take the averages that evaluation uses; go on training with care.",
    "cumulative": "`momentum=None` has no counterpart: choose a number.",
    "single_value": "Give every channel two values or more.",
    "names": "`NAMES`",
    "counter": "`num_batches_tracked` has no counterpart: leave it out, or start it at 0.",
}


@dataclass(frozen=True)
class Side:
    """A subject as a guide sees it.

    Attributes:
        name: for people.
        dialect: a value for every convention.
        names: what it calls each tensor that it has.
    """

    name: str
    dialect: Mapping[str, str]
    names: Mapping[str, str]

    @property
    def eps(self) -> float:
        """Its default."""
        return float(self.dialect["default_eps"])

    @property
    def momentum(self) -> float:
        """Its default, in its own sense."""
        return float(self.dialect["default_momentum"])

    def correction(self, rank: int) -> int:
        """What its tracked variance takes from n."""
        return dialect.correction(self.dialect, (0,) * rank)


PYTORCH = Side("PyTorch", dialect.PYTORCH, {name: name for name in TENSORS})


def side_of(result: Result) -> Side:
    """What a results file says of its subject's conventions.

    Raises:
        KeyError: if it is not as the schema says.
        TargetError: if its dialect is not in the table.
    """
    subject = result["subject"]
    dialect.check(subject["dialect"])
    found = {name: str(own) for name in TENSORS if (own := subject["names"].get(name))}
    lacks = {"counter": COUNTER not in found, "cumulative": "cumulative" not in _has(subject)}
    seen = {key: "none" for key, lacking in lacks.items() if lacking}
    return Side(subject["name"], {**dialect.PYTORCH, **seen, **subject["dialect"]}, found)


def _has(subject: Mapping[str, Any]) -> list[str]:
    return list(subject["capabilities"])


def pages(published: Mapping[str, Result]) -> dict[str, str]:
    """Return the pages by path: the table of conventions, the index, a guide for who differs."""
    there = {name: r for name, r in published.items() if not is_absent(r)}
    sides = {name: side_of(result) for name, result in there.items()}
    differing = {name: side for name, side in sides.items() if rows(PYTORCH, side)}
    guides = {f"porting/{name}.md": _page(side) for name, side in differing.items()}
    return {"dialects.md": _conventions(), "porting/index.md": _index(differing), **guides}


def _conventions() -> str:
    heads = ["Key", "About", "Values", "PyTorch's", "Can excuse"]
    return f"""# Dialects

A framework may differ from PyTorch by design, and say so: an adapter declares its conventions, and
`bn1d run --dialect running_var=biased` does so for a layer that the kit imports.

Every requirement is judged as PyTorch.
Where that fails, and a declared convention concerns what failed, it is judged again under it: the
verdict is `deviates` if it holds there, and `fail` if the layer is wrong by its own account too.
What deviates is counted, and makes nobody diverge; nothing outside this table can be excused.

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


def _index(sides: Mapping[str, Side]) -> str:
    keys = [row.key for row in dialect.CONVENTIONS]
    columns = [PYTORCH, *sides.values()]
    heads = [
        "Convention",
        PYTORCH.name,
        *(f"[{literal(s.name)}]({n}.md)" for n, s in sides.items()),
    ]
    body = [[code(key), *(code(s.dialect[key]) for s in columns)] for key in keys]
    names = [[code(n), *(code(s.names.get(n, "-")) for s in columns)] for n in TENSORS]
    return f"""# Porting

What differs between published subjects [by convention](../dialects.md), and not by mistake.
Two columns that differ in a row need what stands in that row of a guide.

{table(heads, body + names)}

A guide has the differences from PyTorch and back, and the code that converts.
Between any two results files, `bn1d porting FROM.json TO.json` writes it.
"""


def _page(other: Side) -> str:
    there, back = guide(PYTORCH, other), guide(other, PYTORCH)
    return f"# PyTorch and {literal(other.name)}\n\n{there}\n\n{back}\n"


def guide(old: Side, new: Side) -> str:
    """Return in Markdown how a layer of one subject becomes one of another."""
    head = f"## From {literal(old.name)} to {literal(new.name)}"
    differences = rows(old, new)
    if not differences:
        return f"{head}\n\nNo convention differs."
    columns = ["What", literal(old.name), literal(new.name), "Do"]
    body = [(code(what), code(a), code(b), advice) for what, a, b, advice in differences]
    return f"""{head}

{table(columns, body)}

```python
{program(old, new)}
```"""


def rows(old: Side, new: Side) -> list[tuple[str, str, str, str]]:
    """What differs: the convention or the tensor, both values, and what to do."""
    found = [
        (key, old.dialect[key], new.dialect[key], _advice(key, old))
        for key, row in dialect.BY_KEY.items()
        if old.dialect[key] != new.dialect[key] and (row.values or _apart(key, old, new))
    ]
    both = [n for n in TENSORS if n in old.names and n in new.names]
    return found + [
        (name, old.names[name], new.names[name], "`NAMES`")
        for name in both
        if old.names[name] != new.names[name]
    ]


def _apart(key: str, old: Side, new: Side) -> bool:
    return float(old.dialect[key]) != float(new.dialect[key])


def script(old: Side, new: Side) -> str:
    """Return the guide as Python: what differs in comments, and the code that converts."""
    head = [f"# From {_quoted(old)} to {_quoted(new)}"]
    head += [f"# {what}: {a} -> {b}; {do.replace('`', '')}" for what, a, b, do in rows(old, new)]
    return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in head) + (
        "\n\n" + program(old, new)
    )


def _advice(key: str, old: Side) -> str:
    said = {
        "momentum": "`convert_momentum`",
        "default_momentum": "say it: `OPTIONS`",
        "default_eps": f"say it: `eps={old.eps:g}`",
        "running_var": "`port`",
        "layout": "`swap_layout`",
    }
    return {**ADVICE, **said}[key]


def program(old: Side, new: Side) -> str:
    """Return Python that has what is needed to go from one subject to another.

    `OPTIONS` is what a layer of the new one is to be given to be a default layer of the old one;
    `port(state, n, start)` turns the old one's tensors, by its names, into the new one's.
    """
    used = _needed(old, new)
    parts = ["from typing import Any"] * (conversions.swap_layout in used)
    parts += [inspect.getsource(function).strip() for function in used]
    flips = conversions.convert_momentum in used
    momentum = f"convert_momentum({old.momentum:g})" if flips else f"{old.momentum:g}"
    named = {old.names[n]: new.names[n] for n in TENSORS if n in old.names and n in new.names}
    parts += [
        f'OPTIONS = {{"eps": {old.eps:g}, "momentum": {momentum}}}',
        f"NAMES = {json.dumps(named)}",
        _port(old, new),
    ]
    return "\n\n\n".join(parts)


def _needed(old: Side, new: Side) -> list[Callable[..., Any]]:
    """The conversions between two dialects."""
    wanted: dict[Callable[..., Any], object] = {
        conversions.convert_momentum: old.dialect["momentum"] != new.dialect["momentum"],
        conversions.to_biased: _more_biased(old, new),
        conversions.to_unbiased: _more_biased(new, old),
        conversions.swap_layout: old.dialect["layout"] != new.dialect["layout"],
    }
    return [function for function, is_needed in wanted.items() if is_needed]


def _more_biased(old: Side, new: Side) -> list[int]:
    """The ranks of inputs for which the new one divides by n where the old one does not."""
    if "running_var" not in old.names or "running_var" not in new.names:
        return []
    return [rank for rank in (2, 3) if old.correction(rank) > new.correction(rank)]


def _port(old: Side, new: Side) -> str:
    lines = [
        "def port(state, n, start=0.0, rank=2):",
        f'    """The tensors of a layer of {_quoted(old)}, for one of {_quoted(new)}."""',
        "    state = {NAMES[name]: value for name, value in state.items() if name in NAMES}",
    ]
    var = json.dumps(new.names.get("running_var", ""))
    for name, ranks in (("to_biased", (old, new)), ("to_unbiased", (new, old))):
        found = _more_biased(*ranks)
        line = f"state[{var}] = {name}(state[{var}], n, start)"
        if len(found) == 1:
            lines += [f"    if rank == {found[0]}:", f"        {line}"]
        elif found:
            lines += [f"    {line}"]
    return "\n".join([*lines, "    return state"])


def _quoted(side: Side) -> str:
    """A name that a docstring can hold, whoever chose it."""
    return "".join(c if c.isalnum() or c in " ._-+" else " " for c in side.name)
