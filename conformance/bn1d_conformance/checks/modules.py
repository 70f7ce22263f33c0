"""What the checks of torch modules share: tensors, passes of any module, sums of answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bn1d_conformance.checks.common import judge_gradients, judge_state, same
from bn1d_conformance.numbers import ulp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bn1d_conformance.answer import Answer
    from bn1d_conformance.cases import Case
    from bn1d_conformance.guard import Guard
    from bn1d_conformance.subject import Array, State
    from bn1d_conformance.trial import Trial

#: The optimizers of a profile. Making one of torch.optim's imports PyTorch's compiler, which takes
#: longer than all that `quick` would ask of it.
OPTIMIZERS = {
    "quick": ("by hand",),
    "full": ("SGD", "AdamW"),
    "deep": ("SGD", "AdamW"),
}


def tensor(trial: Trial, layer: Guard, values: Array) -> Any:
    """A new tensor of these values, where the layer is."""
    inner: Any = layer.layer
    return trial.torch.from_numpy(values.copy()).to(inner.device)


def array(value: Any) -> Array | None:
    """A new array of a tensor's values; None stays None."""
    if value is None:
        return None
    values: Array = value.detach().cpu().numpy().copy()
    return values


def those(layer: Guard, *roles: str) -> list[str]:
    """The roles for which the module has a tensor."""
    return [role for role in roles if own(layer, role) is not None]


def own(layer: Guard, role: str) -> Any:
    """The module's own tensor for a role."""
    inner: Any = layer.layer
    return inner.tensor(role)


def name_of(layer: Guard, role: str) -> str:
    """What the module calls a role."""
    inner: Any = layer.layer
    return str(inner.names[role])


def path_of(layer: Guard, role: str) -> str:
    """Where the tensor of a role is registered: its name, below whatever wraps the layer."""
    named = (*layer.module.named_parameters(), *layer.module.named_buffers())
    paths: dict[int, str] = {id(value): path for path, value in named}
    return paths.get(id(own(layer, role)), name_of(layer, role))


class ByHand:
    """Gradient descent with weight decay: a tensor p moves by −lr·(dp + weight_decay·p)."""

    def __init__(self, parameters: Iterable[Any], lr: float, weight_decay: float = 0.0) -> None:
        """Hold on to the tensors, as an optimizer does."""
        self.parameters = list(parameters)
        self.lr, self.weight_decay = lr, weight_decay

    def step(self) -> None:
        """Move every tensor that has a gradient."""
        for p in self.parameters:
            if p.grad is not None:
                p.data -= self.lr * (p.grad + self.weight_decay * p.data)


def optimizer(trial: Trial, name: str, parameters: Iterable[Any], **options: float) -> Any:
    """One of `OPTIMIZERS` over some parameters; the first step of all but AdamW is ByHand's."""
    if name == "by hand":
        return ByHand(parameters, **options)
    momentum = {"momentum": 0.9} if name == "SGD" else {}
    return getattr(trial.torch.optim, name)(parameters, **options, **momentum)


def judge_pass(
    trial: Trial, ident: str, layer: Guard, case: Case, *, gradients: bool = True
) -> None:
    """Judge one pass of a layer in the case's state and mode, whatever has been made of it."""
    want = trial.expected(case)
    trial.compare(ident, layer.forward(case.x, grad=gradients), want.y, case)
    judge_tracking(trial, ident, layer.state(), case)
    if gradients:
        judge_gradients(trial, ident, layer.backward(case.dy), want)


def judge_tracking(trial: Trial, ident: str, state: State, case: Case) -> None:
    """Judge the statistics and the count that a pass leaves: moved in training, else as before."""
    if not case.config.track_running_stats:
        return
    before = case.state
    if case.training:
        judge_state(trial, ident, state, trial.expected(case))
    else:
        kept = same(state.running_mean, before.running_mean)
        kept = kept and same(state.running_var, before.running_var)
        trial.expect(ident, kept, "Evaluation changes the running statistics.")
    if state.num_batches_tracked is not None:  # a layer that counts nothing: STATS-8 says so
        count = (before.num_batches_tracked or 0) + case.training
        said = f"The counter is {state.num_batches_tracked}, where {count} is right."
        trial.expect(ident, state.num_batches_tracked == count, said)


def added(a: Answer, b: Answer) -> Answer:
    """The sum of two answers, each of which is rounded before they are added."""
    rounded = ulp(a.exact, a.format) + ulp(b.exact, b.format)
    return replace(
        a, exact=a.exact + b.exact, bound=a.bound + b.bound + rounded, scale=a.scale + b.scale
    )
