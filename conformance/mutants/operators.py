"""Mutants of a Python source: one change each, at the syntax tree, with an id that lasts.

An id names the source, the function, the operator, and how many times it was applied before in
this function: what is edited elsewhere leaves it alone.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    #: What an operator offers for a node: its label, and the node that takes the place.
    Offers = Iterator[tuple[str, ast.AST]]

BINARY = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mod,
}  # fmt: skip
COMPARED = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
#: Names that take each other's place, as attributes and as variables.
PAIRS = (
    ("weight", "bias"), ("running_mean", "running_var"), ("mean", "var"), ("eps", "momentum"),
    ("affine", "track_running_stats"), ("dweight", "dbias"), ("ones", "zeros"),
    ("ones_", "zeros_"), ("new_ones", "new_zeros"), ("sqrt", "rsqrt"), ("add_", "sub_"),
    ("hat", "dy"), ("float64", "float32"),
)  # fmt: skip
NAMES = {
    **dict(PAIRS), **{b: a for a, b in PAIRS}, "sum": "mean", "square": "abs", "double": "float",
    "zeros_like": "ones_like", "long": "float32", "ValueError": "RuntimeError",
}  # fmt: skip
DEFAULTS = {"device": "'meta'", "dtype": "torch.float64"}  # in the place of None
#: Conditions that are negated; the others have operators of their own that do.
NEGATED = (ast.Attribute, ast.BoolOp, ast.Call, ast.Constant, ast.Name, ast.BinOp)
MODULES = ("torch", "nn")
UNCHANGED = (ast.Import, ast.ImportFrom, ast.expr_context, ast.operator, ast.cmpop, ast.boolop)
T = TypeVar("T")


@dataclass(frozen=True)
class Mutant:
    """One change of one source.

    Attributes:
        id: `source:function:operator:number`.
        source: the stem of the file.
        operator: what was done, for example `Add->Sub`.
        before, after: the lines that changed.
        text: the whole source, changed.
    """

    id: str
    source: str
    operator: str
    before: str
    after: str
    text: str


@dataclass
class Site:
    """A node, where it hangs in the tree, and the name of the function that it is in."""

    node: ast.AST
    parent: ast.AST
    field: str
    index: int | None
    function: str

    def program(self, tree: ast.Module, node: ast.AST) -> str:
        """What the tree would say with another node in this place."""
        self._put(node)
        said = ast.dump(tree)
        self._put(self.node)
        return said

    def _put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutants(path: Path) -> list[Mutant]:
    """Return every mutant of a file, no two of them the same program, in the order of its text.

    Raises:
        ValueError: if a change can't be written into the text as it was meant.
    """
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    seen, numbers, found = {_program(text)}, Counter[str](), []
    for site in list(_sites(tree, "module")):
        for label, node in _offers(site):
            wanted = site.program(tree, node)
            if wanted in seen:
                continue
            seen.add(wanted)
            key = f"{path.stem}:{site.function}:{label}"
            numbers[key] += 1
            lines = _changed(text, site.node, node, wanted)
            found.append(Mutant(f"{key}:{numbers[key]}", path.stem, label, *lines))
    return found


def _sites(node: ast.AST, function: str) -> Iterator[Site]:
    """Every place below a node whose change could change an answer."""
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns"}:
            continue
        rows = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, child in rows:
            if isinstance(child, ast.AST) and not isinstance(child, UNCHANGED):
                yield from _places(Site(child, node, field, index, function))


def _places(site: Site) -> Iterator[Site]:
    """A node, and what is below it; of an exception its type, and the values in its message."""
    node = site.node
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        yield Site(node.exc.func, node.exc, "func", None, site.function)
        for index, word in enumerate(node.exc.args):
            if isinstance(word, ast.JoinedStr):
                yield Site(word, node.exc, "args", index, site.function)
        return
    yield site
    if not isinstance(node, ast.JoinedStr):  # Python 3.11 does not say where its parts are
        yield from _sites(node, _inside(node, site.function))


def _inside(node: ast.AST, function: str) -> str:
    """The name of the function or class that the children of a node are in."""
    if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return function
    return node.name if function == "module" else f"{function}.{node.name}"


def _changed(text: str, old: Any, new: ast.AST, wanted: str) -> tuple[str, str, str]:
    """The lines before and after, and the whole text after."""
    lines = text.splitlines(keepends=True)
    first, last = old.lineno - 1, old.end_lineno
    head = lines[first].encode()[: old.col_offset].decode()
    tail = lines[last - 1].encode()[old.end_col_offset :].decode()
    for said in (ast.unparse(new), f"({ast.unparse(new)})"):
        after = head + said + tail
        whole = "".join([*lines[:first], after, *lines[last:]])
        if _program(whole) == wanted:
            return _line("".join(lines[first:last])), _line(after), whole
    raise ValueError(f"{ast.unparse(new)!r} can't stand in the place of {ast.unparse(old)!r}")


def _program(text: str) -> str:
    """What a text says, however it is written; "" where it is no Python."""
    try:
        return ast.dump(ast.parse(text))
    except SyntaxError:
        return ""


def _line(text: str) -> str:
    return " ".join(text.split())


# Operators


def _offers(site: Site) -> Offers:
    """What may take the place of a node."""
    node = site.node
    yield from _by_place(site)
    for kind, operator in OPERATORS.items():
        if isinstance(node, kind):
            yield from operator(node)
    if isinstance(node, ast.Call) and not isinstance(site.parent, ast.Expr):
        yield from _unwrapped(node)


def _by_place(site: Site) -> Offers:
    """What depends on where a node stands: decorators, defaults, conditions, answers."""
    node, parent = site.node, site.parent
    if site.field == "decorator_list" and ast.unparse(node) != "staticmethod":  # for instances
        yield "drop-decorator", ast.parse("lambda f: f", mode="eval").body
    if isinstance(parent, ast.arguments) and site.field == "defaults":
        yield from _default(parent, site.index or 0)
    if isinstance(parent, (ast.Return, ast.Assign)) and isinstance(node, ast.Tuple):
        yield from _ordered(node)
    if isinstance(parent, ast.Return):
        yield "return-None", ast.Constant(None)
    if site.field == "test" and isinstance(parent, ast.IfExp):
        yield "if->body", ast.Constant(True)  # noqa: FBT003 - a node of the tree
        yield "if->else", ast.Constant(False)  # noqa: FBT003
    if site.field in {"test", "ifs"} and isinstance(parent, (ast.If, ast.comprehension)):
        yield "if->True", ast.Constant(True)  # noqa: FBT003
        yield "if->False", ast.Constant(False)  # noqa: FBT003
    if site.field in {"test", "ifs"} and isinstance(node, NEGATED):
        yield "if->not", ast.UnaryOp(ast.Not(), node)


def _default(arguments: ast.arguments, index: int) -> Offers:
    """Another default than None."""
    name = arguments.args[index - len(arguments.defaults)].arg
    if name in DEFAULTS:
        yield "default", ast.parse(DEFAULTS[name], mode="eval").body


def _binary(node: ast.BinOp) -> Offers:
    old = type(node.op)
    if old in BINARY:
        new = BINARY[old]
        yield f"{old.__name__}->{new.__name__}", ast.BinOp(node.left, new(), node.right)
    yield f"{old.__name__}->left", node.left
    yield f"{old.__name__}->right", node.right
    if old in {ast.Sub, ast.Div}:
        yield f"{old.__name__}-swapped", ast.BinOp(node.right, node.op, node.left)


def _augmented(node: ast.AugAssign) -> Offers:
    new = BINARY[type(node.op)]
    label = f"{type(node.op).__name__}->{new.__name__}"
    yield label, ast.AugAssign(node.target, new(), node.value)
    yield "drop-statement", ast.Pass()


def _compared(node: ast.Compare) -> Offers:
    for k, op in enumerate(node.ops):
        for new in COMPARED[type(op)]:
            label = f"{type(op).__name__}->{new.__name__}"
            ops = [*node.ops[:k], new(), *node.ops[k + 1 :]]
            yield label, ast.Compare(node.left, ops, node.comparators)


def _boolean(node: ast.BoolOp) -> Offers:
    old, new = type(node.op).__name__, ast.Or if isinstance(node.op, ast.And) else ast.And
    yield f"{old}->{new.__name__}", ast.BoolOp(new(), node.values)
    for rest in _without_one(node.values):
        yield f"{old}-drop", rest[0] if len(rest) == 1 else ast.BoolOp(node.op, list(rest))


def _unary(node: ast.UnaryOp) -> Offers:
    yield f"{type(node.op).__name__}-drop", node.operand


def _constant(node: ast.Constant) -> Offers:
    value = node.value
    if isinstance(value, bool):
        yield f"{value}->{not value}", ast.Constant(not value)
    elif isinstance(value, int):
        yield "int+1", ast.Constant(value + 1)
        yield "int-1", ast.parse(str(value - 1), mode="eval").body
    elif isinstance(value, float):
        yield "float*2", ast.Constant(2 * value)
        yield "float->0", ast.Constant(0.0)
    elif isinstance(value, str):
        yield "string", ast.Constant(value + "_")
        if value in NAMES:
            yield f"{value}->{NAMES[value]}", ast.Constant(NAMES[value])


def _formatted(node: ast.JoinedStr) -> Offers:
    """Without one of its values; the words around it become one, as Python reads them."""
    for k, part in enumerate(node.values):
        if isinstance(part, ast.FormattedValue):
            rest = ast.unparse(ast.JoinedStr([*node.values[:k], *node.values[k + 1 :]]))
            yield "f-string-drop", ast.parse(rest, mode="eval").body


def _called(node: ast.Call) -> Offers:
    for args in _without_one(node.args):
        yield "drop-argument", ast.Call(node.func, list(args), node.keywords)
    for args in _swapped(node.args):
        yield "swap-arguments", ast.Call(node.func, list(args), node.keywords)
    for keywords in _without_one(node.keywords):
        yield "drop-keyword", ast.Call(node.func, node.args, list(keywords))


def _unwrapped(node: ast.Call) -> Offers:
    """What a method is called on, or the one argument of a function."""
    func = node.func
    if isinstance(func, ast.Attribute) and not isinstance(func.value, ast.Call):
        if not (isinstance(func.value, ast.Name) and func.value.id in (*MODULES, "self")):
            yield "unwrap", func.value
    elif isinstance(func, ast.Attribute) and "super" not in ast.unparse(func):
        yield "unwrap", func.value
    elif isinstance(func, ast.Name) and len(node.args) == 1:
        yield "unwrap", node.args[0]


def _listed(node: ast.Tuple | ast.List) -> Offers:
    if isinstance(node.ctx, ast.Load):
        for values in _without_one(node.elts):
            yield "drop-element", type(node)(list(values), node.ctx)


def _ordered(node: ast.Tuple) -> Offers:
    """Two neighbours of what is assigned or returned in each other's place."""
    for values in _swapped(node.elts):
        yield "swap-elements", ast.Tuple(list(values), node.ctx)


def _attribute(node: ast.Attribute) -> Offers:
    if node.attr in NAMES:
        new = NAMES[node.attr]
        yield f"{node.attr}->{new}", ast.Attribute(node.value, new, node.ctx)


def _name(node: ast.Name) -> Offers:
    if node.id in NAMES and isinstance(node.ctx, ast.Load):
        yield f"{node.id}->{NAMES[node.id]}", ast.Name(NAMES[node.id], node.ctx)


def _dropped(_: ast.Expr | ast.For) -> Offers:
    yield "drop-statement", ast.Pass()


def _assigned(node: ast.Assign) -> Offers:
    """Without the assignment; only where the name, or the attribute, is there without it."""
    target = node.targets[0]
    names = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
    if isinstance(target, ast.Attribute) or (isinstance(target, ast.Name) and target.id in names):
        yield "drop-statement", ast.Pass()


def _without_one(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for k in range(len(values)):
        yield [*values[:k], *values[k + 1 :]]


def _swapped(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for k in range(len(values) - 1):
        yield [*values[:k], values[k + 1], values[k], *values[k + 2 :]]


OPERATORS: dict[Any, Callable[[Any], Offers]] = {
    ast.BinOp: _binary, ast.AugAssign: _augmented, ast.Compare: _compared, ast.BoolOp: _boolean,
    ast.UnaryOp: _unary, ast.Constant: _constant, ast.JoinedStr: _formatted, ast.Call: _called,
    ast.Tuple: _listed, ast.List: _listed, ast.Attribute: _attribute, ast.Name: _name,
    ast.Expr: _dropped, ast.For: _dropped, ast.Assign: _assigned,
}  # fmt: skip
