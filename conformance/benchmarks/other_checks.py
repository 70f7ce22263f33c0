"""What other checks let through: those that people write, on the mutants of this project.

    python conformance/benchmarks/other_checks.py [--only NAME ...]

Every mutant that is a torch module, and every right variant, is shown to each check of `CHECKS`
in a process of its own; what a check does not see it lets through.  Writes other_checks.json
beside this file, or, of some alone, prints what each check says of them.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import multiprocessing
import platform
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HERE = Path(__file__).resolve().parent
ZOO = HERE.parent / "tests" / "zoo"
OUT = HERE / "other_checks.json"
SECONDS = 60  # that one implementation may take
SHAPES = [(2, 3), (3, 1), (8, 5), (32, 8), (33, 7), (128, 4), (2, 3, 1), (4, 3, 5), (16, 8, 10)]


def pair(made: Any, channels: int, **options: Any) -> tuple[nn.Module, nn.Module]:
    """The layer and torch's, with the same weights, which are not ones and zeros."""
    ours, theirs = made(channels, **options), nn.BatchNorm1d(channels, **options)
    torch.manual_seed(channels)
    with torch.no_grad():
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            own.copy_(torch.randn(channels))
            other.copy_(own)
    return ours, theirs


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """torch.allclose, with the tolerance that kernels' tests have most often."""
    return torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def one_forward(made: Any) -> bool:
    """One random forward pass in training."""
    ours, theirs = pair(made, 8)
    x = torch.randn(32, 8)
    return close(ours(x), theirs(x))


def forward_and_backward(made: Any) -> bool:
    """One random forward and backward pass in training, and one in evaluation."""
    ours, theirs = pair(made, 8)
    same = step(ours, theirs, torch.randn(32, 8))
    ours.eval()
    theirs.eval()
    return same and step(ours, theirs, torch.randn(32, 8))


def step(ours: nn.Module, theirs: nn.Module, x: torch.Tensor) -> bool:
    """Whether outputs and all gradients agree."""
    dy, pairs = torch.randn_like(x), []
    for layer in (ours, theirs):
        layer.zero_grad()
        own = x.clone().requires_grad_()
        y = layer(own)
        y.backward(dy)
        pairs.append([y, own.grad, *(p.grad for p in layer.parameters())])
    return all(map(close, *pairs))


def gradcheck(made: Any) -> bool:
    """torch.autograd.gradcheck in double precision, in training."""
    torch.manual_seed(0)
    layer = made(3).double()
    return torch.autograd.gradcheck(layer, (torch.randn(5, 3).double().requires_grad_(),))


def many_shapes(made: Any) -> bool:
    """Nine shapes: three steps of training, the state after them, then evaluation."""
    return all(shape_agrees(made, shape) for shape in SHAPES)


def shape_agrees(made: Any, shape: tuple[int, ...]) -> bool:
    """Whether outputs, gradients, state and evaluation agree on inputs of one shape."""
    ours, theirs = pair(made, shape[1])
    if not all(step(ours, theirs, 2 * torch.randn(shape) + 1) for _ in range(3)):
        return False
    own, other = ours.state_dict(), theirs.state_dict()
    if list(own) != list(other) or not all(close(own[n].float(), other[n].float()) for n in own):
        return False
    ours.eval()
    theirs.eval()
    return step(ours, theirs, torch.randn(shape))


CHECKS: dict[str, Callable[[Any], bool]] = {
    check.__name__: check for check in (one_forward, gradcheck, forward_and_backward, many_shapes)
}


def zoo() -> tuple[list[Any], list[Any]]:
    """The mutants and the right variants that are torch modules."""
    sys.path.insert(0, str(ZOO))
    try:
        for path in sorted(ZOO.glob("mutants_*.py")):
            importlib.import_module(path.stem)
        benign = [importlib.import_module(path.stem) for path in sorted(ZOO.glob("benign*.py"))]
        mutants = importlib.import_module("register").MUTANTS
    finally:
        sys.path.remove(str(ZOO))
    right = [made for module in benign for made in module.BENIGN if is_layer(made)]
    return [m for m in mutants if is_layer(m.made)], right


def is_layer(made: Any) -> bool:
    """Whether it is a class of torch modules."""
    return inspect.isclass(made) and issubclass(made, nn.Module)


def seen_by(made: Any) -> list[str]:
    """The checks that see something wrong: a difference, or an exception."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    return [name for name, check in CHECKS.items() if not passes(check, made)]


def passes(check: Callable[[Any], bool], made: Any) -> bool:
    """Whether a check has nothing to say."""
    torch.manual_seed(0)
    try:
        return check(made)
    except Exception:  # noqa: BLE001 - whatever it raises, a test would show it
        return False


def apart(made: Any) -> list[str]:
    """`seen_by` in a process of its own; of one that dies or hangs, every check."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=lambda: there.send(seen_by(made)))
    child.start()
    there.close()
    try:
        return list(here.recv()) if here.poll(SECONDS) else list(CHECKS)
    except EOFError:
        return list(CHECKS)
    finally:
        child.kill()
        child.join()


def rows(made: Iterable[Any]) -> list[dict[str, Any]]:
    """One row an implementation, in the order of their names."""
    return [
        {"name": each.__name__, "seen_by": apart(each)}
        for each in sorted(made, key=lambda each: each.__name__)
    ]


def main() -> None:
    """Read the command line, show everything to every check, and write or print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[])
    only = parser.parse_args().only
    mutants, right = zoo()
    chosen = [m.made for m in mutants] + right
    if only:
        for row in rows(each for each in chosen if each.__name__ in only):
            print(row["name"], "seen by", ", ".join(row["seen_by"]) or "none")
        return
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    found = {
        "versions": versions,
        "checks": {name: inspect.getdoc(check) for name, check in CHECKS.items()},
        "mutants": rows(m.made for m in mutants),
        "right": rows(right),
    }
    OUT.write_text(json.dumps(found, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    main()
