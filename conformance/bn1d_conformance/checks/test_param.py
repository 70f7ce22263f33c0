"""PARAM: what is learned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bn1d_conformance.checks.common import drawn, expect_name, names_of, requirement, same
from bn1d_conformance.checks.modules import OPTIMIZERS, optimizer
from bn1d_conformance.numbers import DTYPES, format_of
from bn1d_conformance.subject import ROLES, Config, State

if TYPE_CHECKING:
    from bn1d_conformance.trial import Trial


@requirement("PARAM-1")
@pytest.mark.parametrize("num_features", [1, 5])
def test_two_tensors(trial: Trial, num_features: int) -> None:
    """2·num_features numbers are learned."""
    with trial.case(f"num_features={num_features}"):
        layer = trial.build_default(num_features)
        state = layer.state()
        for role in ("weight", "bias"):
            trial.expect("PARAM-1", getattr(state, role) is not None, f"There is no {role}.")
        if trial.has("torch-module"):
            learned = dict(layer.module.named_parameters())
            count = sum(p.numel() for p in learned.values())
            shown = ", ".join(f"{k} {tuple(v.shape)}" for k, v in learned.items())
            ok = len(learned) == 2 and count == 2 * num_features
            said = f"It learns {count} numbers ({shown}), not {2 * num_features}."
            trial.expect("PARAM-1", ok, said, **learns_statistics(trial, layer.module))


def learns_statistics(trial: Trial, module: Any) -> dict[str, str]:
    """Why parameters and buffers are not those that they should be, if this is why; or nothing."""
    learned = dict(module.named_parameters())
    if not any(
        trial.subject.names.get(role) in learned for role in ("running_mean", "running_var")
    ):
        return {}
    says = "the running statistics are registered as parameters"
    return {"cause": "statistics are parameters", "says": says}


@requirement("PARAM-2")
def test_shapes(trial: Trial) -> None:
    """(num_features,), as the subject itself keeps them."""
    with trial.case("shapes"):
        layer = trial.build_default(5)
        for role in ("weight", "bias"):
            value = _own(trial, layer, role)
            shape = tuple(getattr(value, "shape", ())) if value is not None else None
            trial.expect("PARAM-2", shape == (5,), f"{role} has shape {shape}.")


def _own(trial: Trial, layer: Any, role: str) -> Any:
    """The subject's own tensor, not the kit's flattened copy."""
    name = trial.subject.names.get(role)
    return getattr(layer.module, name, None) if name else None


@requirement("PARAM-3")
@pytest.mark.parametrize("num_features", [1, 64])
def test_weight_starts_as_ones(trial: Trial, num_features: int) -> None:
    """All ones."""
    _starts(trial, "PARAM-3", "weight", 1, num_features)


@requirement("PARAM-4")
@pytest.mark.parametrize("num_features", [1, 64])
def test_bias_starts_as_zeros(trial: Trial, num_features: int) -> None:
    """All zeros."""
    _starts(trial, "PARAM-4", "bias", 0, num_features)


def _starts(trial: Trial, ident: str, role: str, value: float, num_features: int) -> None:
    with trial.case(f"{role}, num_features={num_features}"):
        got = getattr(trial.build_default(num_features).state(), role)
        ok = got is not None and bool((got.astype(float) == value).all())
        trial.expect(ident, ok, f"{role} starts as {None if got is None else got[:4]}.")


@requirement("PARAM-5")
def test_require_gradients(trial: Trial) -> None:
    """Leaves, of the class Parameter."""
    with trial.case("leaves"):
        inner: Any = trial.build(Config(3)).layer
        for role in ("weight", "bias"):
            p = inner.tensor(role)
            ok = isinstance(p, trial.torch.nn.Parameter) and p.requires_grad and p.is_leaf
            needs = getattr(p, "requires_grad", None)
            said = f"{role} is {type(p).__name__}, requires_grad {needs}."
            trial.expect("PARAM-5", ok, said)


@requirement("PARAM-6")
def test_affine_false(trial: Trial) -> None:
    """Both names are registered as parameters and None."""
    with trial.case("affine=False"):
        module = trial.build(Config(3, affine=False)).module
        registered_none(trial, "PARAM-6", module, ("weight", "bias"), "_parameters")
        left = [n for n, _ in module.named_parameters()]
        why = learns_statistics(trial, module)
        trial.expect("PARAM-6", not left, f"affine=False learns {', '.join(left)}.", **why)


def registered_none(
    trial: Trial, ident: str, module: Any, names: tuple[str, ...], registry: str
) -> None:
    """Attributes that exist, are None, are registered, and are in no state dict."""
    kept = getattr(module, registry)
    for name in names:
        value = getattr(module, name, "missing")
        trial.expect(
            ident,
            value is None,
            f"{name} is {value if value == 'missing' else type(value).__name__}, not None.",
        )
        trial.expect(ident, name in kept, f"{name} is not registered in {registry}.")
        trial.expect(ident, name not in module.state_dict(), f"{name} is in the state dict.")


@requirement("PARAM-7")
def test_bias_false(trial: Trial) -> None:
    """The weight stays, the bias is a registered None."""
    with trial.case("bias=False"):
        module = trial.build(Config(3, bias=False)).module
        registered_none(trial, "PARAM-7", module, ("bias",), "_parameters")
        left = [n for n, _ in module.named_parameters()]
        said = f"bias=False learns {', '.join(left) or 'nothing'}."
        trial.expect("PARAM-7", len(left) == 1, said, **learns_statistics(trial, module))


@requirement("PARAM-8")
def test_names(trial: Trial) -> None:
    """Weight and bias, in this order."""
    with trial.case("names"):
        layer = trial.build_default(3)
        for role in ("weight", "bias"):
            expect_name(trial, "PARAM-8", role)
        if trial.has("torch-module"):
            order = [n for n, _ in layer.module.named_parameters()]
            ok, why = (
                order == names_of(trial, "weight", "bias"),
                learns_statistics(trial, layer.module),
            )
            trial.expect("PARAM-8", ok, f"The parameters are {order}.", **why)


@requirement("PARAM-9")
def test_reset_parameters(trial: Trial) -> None:
    """Ones, zeros, zeros, ones, zero; in the tensors that are there."""
    case = drawn(trial, "reset", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        layer.forward(case.x)
        inner: Any = layer.layer
        kept = {r: inner.tensor(r) for r in ROLES}
        layer.method("reset_parameters")
        state = layer.state()
        for role, value in zip(ROLES, (1, 0, 0, 1), strict=True):
            got = getattr(state, role)
            ok = got is not None and bool((got == value).all())
            trial.expect("PARAM-9", ok, f"{role} is {got} after reset_parameters().")
            own = inner.tensor(role) is kept[role]
            trial.expect("PARAM-9", own, f"{role} is another tensor after reset_parameters().")
        count = state.num_batches_tracked
        trial.expect("PARAM-9", count in (0, None), f"The counter is {count} after the reset.")


@requirement("PARAM-9")
@pytest.mark.parametrize(
    "options", [{"affine": False}, {"bias": False}, {"track_running_stats": False}], ids=" ".join
)
def test_reset_of_what_is_there(trial: Trial, options: dict[str, Any]) -> None:
    """What was declined is neither asked for nor made."""
    config = Config(3, **options)
    trial.require(*config.needs)
    case = drawn(trial, "reset", 6, 3)
    with trial.case(f"{options}"):
        layer = trial.build(config, case.state)  # where it stands already, a reset proves nothing
        layer.forward(case.x)
        layer.method("reset_parameters")
        state = layer.state()
        there = (config.affine, config.affine and config.bias, *[config.track_running_stats] * 2)
        for role, value, kept in zip(ROLES, (1, 0, 0, 1), there, strict=True):
            got = getattr(state, role)
            reset = got is not None and bool((got == value).all())
            ok = reset if kept else got is None
            trial.expect("PARAM-9", ok, f"{role} is {got} after reset_parameters().")


@requirement("PARAM-10")
def test_default_format(trial: Trial) -> None:
    """fp32, and what set_default_dtype says."""
    torch = trial.torch
    with trial.case("default format"):
        state = trial.build_default(3).state()
        for role in ("weight", "bias"):
            got = _format(getattr(state, role))
            trial.expect("PARAM-10", got == "fp32", f"{role} is {got}.")
        try:
            torch.set_default_dtype(torch.float64)
            state = trial.build_default(3).state()
        finally:
            torch.set_default_dtype(torch.float32)
        for role in ("weight", "bias"):
            got = _format(getattr(state, role))
            trial.expect(
                "PARAM-10", got == "fp64", f"{role} is {got} where the default is float64."
            )


def _format(value: Any) -> str | None:
    return None if value is None else format_of(value)


@requirement("PARAM-11")
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_passes_change_nothing(trial: Trial, training: bool) -> None:
    """Forward and backward leave weight and bias."""
    trial.require(*(["eval", "statistics"] * (not training)))
    case = drawn(trial, "passes", 6, 3, training=training)
    with trial.case(case):
        layer = trial.build(case.config, case.state, training=training)
        before = layer.state()
        layer.forward(case.x, grad=trial.has("grad"))
        if trial.has("grad"):
            layer.backward(case.dy)
        after = layer.state()
        for role in ("weight", "bias"):
            ok = same(getattr(before, role), getattr(after, role))
            trial.expect("PARAM-11", ok, f"A pass changes {role}.")


@requirement("PARAM-12")
@pytest.mark.parametrize("how", ["in place", "replaced"])
@pytest.mark.parametrize("first", ["drawn", "ones and zeros"])
def test_read_at_every_pass(trial: Trial, how: str, first: str) -> None:
    """Written in place, and replaced, after a pass with others, or with those of a new layer."""
    case = drawn(trial, "read", 6, 3, training=False)
    doubled = replace(
        case.state,
        weight=case.state.weight * DTYPES[trial.format].type(-2),  # type: ignore[operator]
        bias=case.state.bias + DTYPES[trial.format].type(1),  # type: ignore[operator]
    )
    before = case.state
    if first == "ones and zeros":  # what a layer might take for ever for the identity
        ones = np.ones_like(doubled.weight)
        before = replace(before, weight=ones, bias=0 * ones)
    if how == "replaced":
        trial.require("torch-module")
    with trial.case(f"{case.id}/{how} after {first}"):
        layer = trial.build(case.config, before, training=False)
        layer.forward(case.x)
        if how == "in place":
            layer.load(doubled)
        else:
            for role in ("weight", "bias"):
                _assign(trial, layer.module, role, getattr(doubled, role))
        other = replace(case, state=doubled)
        trial.compare("PARAM-12", layer.forward(case.x), trial.expected(other).y, other)


def _assign(trial: Trial, module: Any, role: str, values: Any) -> None:
    name = trial.subject.names.get(role) or role
    device = next(t.device for t in (*module.parameters(), *module.buffers()))
    tensor = trial.torch.from_numpy(np.array(values)).to(device)
    setattr(module, name, trial.torch.nn.Parameter(tensor))


@requirement("PARAM-13")
def test_slot_can_be_filled(trial: Trial) -> None:
    """A registered None is assigned Parameters."""
    case = drawn(trial, "slot", 6, 3, training=False)
    with trial.case(case):
        bare = Config(3, eps=case.config.eps, affine=False)
        layer = trial.build(
            bare,
            State(None, None, case.state.running_mean, case.state.running_var),
            training=False,
        )
        layer.forward(case.x)
        for role in ("weight", "bias"):
            value = getattr(case.state, role)
            layer.call(f"assigning {role}", _assign, trial, layer.module, role, value)
        trial.compare("PARAM-13", layer.forward(case.x), trial.expected(case).y, case)
        listed = [n for n, _ in layer.module.named_parameters()]
        trial.expect("PARAM-13", len(listed) == 2, f"parameters() lists {listed}.")


@requirement("PARAM-14")
def test_gradient_descent(trial: Trial) -> None:
    """Weight − lr·dweight, bias − lr·dbias; and the next output shows it."""
    case = drawn(trial, "descent", 6, 3)
    with trial.case(case):
        layer = trial.build(case.config, case.state)
        name, *_ = OPTIMIZERS[trial.profile]
        descent = layer.call(
            "parameters()", lambda: optimizer(trial, name, layer.module.parameters(), lr=0.5)
        )
        layer.forward(case.x, grad=True)
        gradients = layer.backward(case.dy)
        layer.call("optimizer.step()", descent.step)
        after = layer.state()
        for role in ("weight", "bias"):
            gradient, new = getattr(gradients, role), getattr(after, role)
            if gradient is None:
                trial.fail("PARAM-14", f"{role} has no gradient.")
                continue
            want = getattr(case.state, role) - np.float32(0.5) * gradient
            ok = np.allclose(new, want, rtol=1e-6, atol=1e-6)
            trial.expect("PARAM-14", ok, f"{role} becomes {new[:2]}, where {want[:2]} is right.")
        moved = replace(case, state=replace(case.state, weight=after.weight, bias=after.bias))
        trial.compare("PARAM-14", layer.forward(case.x), trial.expected(moved).y, moved)
