"""From the user's words to a subject: `module:attr`, `path/file.py:attr` or a name, and --map.

A name without a colon is an entry point of the group `bn1d.subjects`, by which any distribution
offers subjects of its own.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import shlex
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bn1d_conformance import adapters, files
from bn1d_conformance.subject import Request, Subject, TargetError

if TYPE_CHECKING:
    from types import ModuleType

GROUP = "bn1d.subjects"


def load(request: Request) -> Subject:
    """Import the target and choose the adapter for it; or read two folders, or start a worker.

    Raises:
        TargetError: if there is no such module, file or attribute, if importing it raises, or
            if what it names can't be judged.
    """
    if request.worker:
        return adapters.worker(request)
    place, attr = split(resolve(request.target))
    if files.is_file(Path(place, "manifest.json")):
        return adapters.recorded(Path(place), Path(attr), request)
    value: Any = import_place(place)
    for part in attr.split("."):
        if not hasattr(value, part):
            raise TargetError(f"{place} has no attribute {attr!r}.", _offer(value))
        value = getattr(value, part)
    return adapters.adapt(value, request)


def resolve(target: str) -> str:
    """Return what a name stands for as `module:attr`; a target that is no name as it is.

    Raises:
        TargetError: if no entry point has the name.
    """
    if ":" in target:
        return target
    found = entry_points(group=GROUP)
    if target in found.names:
        return found[target].value
    raise TargetError(
        f"{target!r} is no target.",
        "Write module:attr or path/file.py:attr, for example torch.nn:BatchNorm1d, or a name: "
        f"{', '.join(sorted(found.names)) or 'none is installed'}.",
    )


def named(target: str) -> str:
    """Return a file without an attribute as `path/file.py:attr`; any other target as it is.

    The file is parsed, and not run. What it names is the one public class of the file; of several,
    and where there is none of the functions, the one whose name has "norm" or "bn" in it; of
    several such the one with "1d" in it.

    Raises:
        TargetError: if there is no such file, it can't be parsed, or leaves a choice.
    """
    path = Path(target)
    if path.suffix != ".py":
        return target
    try:
        tree = ast.parse(path.read_bytes(), target)
    except OSError:
        raise TargetError(f"There is no file {target}.", "Check the path.") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise TargetError(f"{target} can't be parsed: {why}.", "It is no Python file.") from None
    found = _candidates(tree)
    if len(found) != 1:
        names = ", ".join(found) or "no class and no function"
        raise TargetError(f"{target} defines {names}.", f"Say which to judge: {target}:NAME.")
    return f"{target}:{found[0]}"


def _candidates(tree: ast.Module) -> list[str]:
    """The names of a file that may be meant: as few as the rule of `named` leaves."""
    classes, functions = (
        [node.name for node in tree.body if isinstance(node, kind) and node.name[0] != "_"]
        for kind in (ast.ClassDef, ast.FunctionDef)
    )
    found = classes or functions
    for words in (("norm", "bn"), ("1d",)):
        narrower = [n for n in found if any(word in n.lower() for word in words)]
        found = narrower if len(found) > 1 and narrower else found
    return found


def split(target: str) -> tuple[str, str]:
    """Split at the last colon into what to import and what to take from it.

    Raises:
        TargetError: if either part is missing.
    """
    place, _, attr = target.rpartition(":")
    if not place or not attr:
        raise TargetError(
            f"{target!r} is no target.",
            "Write module:attr or path/file.py:attr, for example torch.nn:BatchNorm1d.",
        )
    return place, attr


def import_place(place: str) -> ModuleType:
    """Import a module by name, or a file by path with its folder importable, as for a script.

    Raises:
        TargetError: if it does not exist, or raises while it is imported.
    """
    path = Path(place)
    is_file = path.suffix == ".py" or "/" in place
    if is_file and not files.is_file(path):
        raise TargetError(
            f"There is no file {place}.", "Check the path; it is taken as you type it."
        )
    sys.path.insert(0, str(path.resolve().parent) if is_file else str(Path.cwd()))
    try:
        return _import_file(path) if is_file else importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(error.name + ".")):
            hint = "Install it into this environment, or give a file: path/file.py:attr."
            raise TargetError(f"There is no module {error.name!r} here.", hint) from None
        raise TargetError(
            f"Importing {place} fails: it needs the module {error.name!r}.",
            f"Install {error.name} into this environment.",
        ) from None
    except BaseException as error:  # noqa: BLE001 - a subject may raise anything, SystemExit too
        said = f"{type(error).__name__}: {error}".splitlines()[0][:300].rstrip(": ")
        command = f"python {shlex.quote(place)}" if is_file else f'python -c "import {place}"'
        hint = f"Run `{command}` to see where."
        raise TargetError(f"Importing {place} raises {said}.", hint) from None


def _import_file(path: Path) -> ModuleType:
    """Import a file under its own name, registered, so that its classes can be pickled."""
    name = path.stem if path.stem not in sys.modules else f"bn1d_subject_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _offer(value: object) -> str:
    """Name what the user may have meant."""
    near = [n for n in dir(value) if not n.startswith("_") and callable(getattr(value, n, None))]
    norms = [n for n in near if "norm" in n.lower() or "bn" in n.lower()] or near
    return f"It has {', '.join(norms[:8])}." if norms else "It has nothing that can be called."
