"""The options of a run as the words of a command line: for a run beside it, and for a reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bn1d_reference import spec

if TYPE_CHECKING:
    from collections.abc import Mapping


def words(options: Mapping[str, Any]) -> list[str]:
    """Return what `bn1d run` is given, beside a target, for the same questions.

    Args:
        options: as a results file has them; those that came later may be missing.
    """
    found = []
    for name in ("device", "profile", "timeout"):
        found += [f"--{name}", options[name]]
    drawn = options["seed"] or options["profile"] == "deep"
    found += ["--seed", options["seed"]] if drawn else []
    found += [word for pair in options["names"] for word in ("--map", pair)]
    found += [word for pair in options.get("dialect", ()) for word in ("--dialect", pair)]
    found += ["-k", options["select"]] if options["select"] else []
    found += ["--expect", options["expect"]] if options["expect"] else []
    found += ["--fail-fast"] if options["fail_fast"] else []
    found += ["--huge"] if options.get("huge") else []
    version = options.get("spec", spec.CURRENT)
    found += ["--spec", version] if version != spec.CURRENT else []
    return list(map(str, found))
