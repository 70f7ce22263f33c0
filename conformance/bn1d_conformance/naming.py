"""Names of the same thing in other people's code, and how to find them.

A wrong name fails the naming requirements (PARAM-8, BUF-2) and nothing else: everything that
has a usual synonym, or is named by `--map`, is found and judged.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SYNONYMS: dict[str, tuple[str, ...]] = {
    "weight": ("weight", "gamma", "scale", "w", "_weight", "_gamma", "g"),
    "bias": ("bias", "beta", "shift", "offset", "b", "_bias", "_beta"),
    "running_mean": (
        "running_mean", "moving_mean", "moving_avg", "run_mean", "rm", "mean_running",
        "ema_mean", "running_mu", "_running_mean", "moving_average_mean", "r_mean",
        "mean",  # of Flax; last, as many keep the batch's own under it too
    ),
    "running_var": (
        "running_var", "moving_var", "moving_variance", "running_variance", "run_var", "rv",
        "var_running", "ema_var", "_running_var", "moving_average_var", "r_var",
        "var", "variance",
    ),
    "num_batches_tracked": (
        "num_batches_tracked", "num_batches", "batches_tracked", "count", "counter", "n_batches",
        "t", "step", "steps",
    ),
    "input": ("input", "x", "inputs", "X", "inp"),
    "num_features": ("num_features", "features", "channels", "num_channels", "dim", "C", "size"),
    "eps": ("eps", "epsilon"),
    "momentum": ("momentum", "mom", "alpha"),
    "affine": ("affine", "elementwise_affine", "learnable"),
    "track_running_stats": ("track_running_stats", "track_stats", "track"),
    "training": ("training", "train", "is_training", "is_train", "mode"),
    "dweight": ("dweight", "grad_weight", "weight_grad", "dgamma", "grad_gamma", "d_gamma",
                "gamma_grad", "dscale", "grad_scale", "dW", "dw", "d_weight"),
    "dbias": ("dbias", "grad_bias", "bias_grad", "dbeta", "grad_beta", "d_beta", "beta_grad",
              "dshift", "grad_shift", "db", "d_bias"),
}  # fmt: skip


def find(role: str, available: Iterable[str], chosen: Mapping[str, str]) -> str | None:
    """Return the name that `role` goes by among `available`; `chosen` is the user's --map."""
    names = set(available)
    candidates = (chosen[role],) if role in chosen else SYNONYMS.get(role, (role,))
    return next((name for name in candidates if name in names), None)


def parameters(call: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters that `call` takes, without self; empty where Python can't tell."""
    try:
        found = inspect.signature(call).parameters
    except (TypeError, ValueError):
        return {}
    return dict(found)


def keyword(role: str, call: Callable[..., Any], chosen: Mapping[str, str]) -> str | None:
    """Return the keyword that `call` takes for `role`, `role` itself where it takes any."""
    found = parameters(call)
    if name := find(role, found, chosen):
        return name
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found.values())
    return chosen.get(role, role) if anything else None


def keywords(
    roles: Iterable[str], call: Callable[..., Any], chosen: Mapping[str, str]
) -> dict[str, str]:
    """Return the keywords of the roles that `call` takes, by role."""
    return {role: key for role in roles if (key := keyword(role, call, chosen))}


def default(role: str, call: Callable[..., Any], chosen: Mapping[str, str]) -> Any:
    """Return the default that `call` has for `role`; `inspect.Parameter.empty` if none."""
    found = parameters(call)
    name = find(role, found, chosen)
    return found[name].default if name else inspect.Parameter.empty
