"""What the playground's form can be filled with, and what the recorded runs show."""

from __future__ import annotations

import json

from bn1d_conformance.playground.tables import HEAD

#: Each has a name, and a text for every field of the form.
EXAMPLES: tuple[dict[str, str], ...] = (
    {
        "name": "Numbers that come out even",
        "features": "2",
        "affine": "yes",
        "weight": "",
        "bias": "",
        "momentum": "0.5",
        "eps": "0.25",
        "batch": "1 2\n1 -2\n1 0\n-1 0",
        "gradient": "1 0\n0 1\n0 0\n0 0",
    },
    {
        "name": "PyTorch's defaults",
        "features": "2",
        "affine": "yes",
        "weight": "",
        "bias": "",
        "momentum": "0.1",
        "eps": "1e-5",
        "batch": "1 10\n2 20\n3 45",
        "gradient": "1 1\n0 1\n0 1",
    },
    {
        "name": "The cumulative average",
        "features": "1",
        "affine": "no",
        "weight": "",
        "bias": "",
        "momentum": "None",
        "eps": "1e-5",
        "batch": "0\n4",
        "gradient": "1\n0",
    },
    {
        "name": "One value beside equal ones",
        "features": "1",
        "affine": "no",
        "weight": "",
        "bias": "",
        "momentum": "0.1",
        "eps": "1e-5",
        "batch": "1\n0\n0\n0\n0",
        "gradient": "1\n0\n0\n0\n0",
    },
    {
        "name": "A small spread far from zero",
        "features": "1",
        "affine": "yes",
        "weight": "2",
        "bias": "0.5",
        "momentum": "0.1",
        "eps": "1e-5",
        "batch": "1000000\n1000001\n1000002",
        "gradient": "1\n0\n0",
    },
)


def as_json() -> str:
    """Return what the page asks for at the start: the head of every table, and the examples."""
    return json.dumps({"head": HEAD, "examples": EXAMPLES})
