"""A torch.nn.Module class used as a drop-in for torch.nn.BatchNorm1d."""

from __future__ import annotations

import functools
import pickle
import sys
import warnings
from typing import TYPE_CHECKING, Any

import torch

from bn1d_conformance import naming
from bn1d_conformance.adapters.tensors import DTYPES, to_array, to_tensor, write
from bn1d_conformance.subject import COUNTER, ROLES, Gradients, State, SubjectError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bn1d_conformance.subject import Array, Config, Request

ALWAYS = frozenset(
    [
        "train",
        "eval",
        "grad",
        "param-grad",
        "weights",
        "statistics",
        "parameters",
        "buffers",
        "counter",
        "cumulative",
        "defaults",
        "3d",
        "live",
        "torch-module",
        "fp64",
        "double-backward",
        "forward-ad",
        "trace",
        "fp32",
        "fp16",
        "bf16",
    ]
)
#: What later versions of torch brought. Whether a module can be taken is seen where it is asked:
#: trying here would run the forward pass, and one that ends the process has a verdict of its own.
TOOLS = {"compile": "compile", "export": "export", "vmap": "func"}
OPTIONS = {
    "eps-option": "eps",
    "momentum-option": "momentum",
    "affine-option": "affine",
    "bias-option": "bias",
    "tracking-option": "track_running_stats",
    "dtype-option": "dtype",
}


class TorchModule:
    """The subject behind `bn1d run torch.nn:BatchNorm1d`."""

    adapter = "torch-module"
    dialect: Mapping[str, str] = {}

    def __init__(self, cls: type[torch.nn.Module], request: Request) -> None:
        """Keep the class; nothing is constructed before a check asks."""
        self.cls = cls
        self.request = request
        self.target = request.target
        self.name = f"{cls.__module__}.{cls.__qualname__}"
        root = sys.modules.get(cls.__module__.partition(".")[0])
        self.version = str(getattr(root, "__version__", f"torch {torch.__version__}"))

    @property
    def device_name(self) -> str:
        """What an accelerator calls itself; "" for a CPU."""
        is_cuda = torch.device(self.request.device).type == "cuda"
        return torch.cuda.get_device_name(self.request.device) if is_cuda else ""

    @functools.cached_property
    def capabilities(self) -> frozenset[str]:
        """A drop-in module promises all that a keyword of its constructor does not decline."""
        options = {c for c, role in OPTIONS.items() if role in self.keywords}
        found = {"pickle": self._pickles(), "script": self._scripts(), "lazy": self.lazy}
        tools = {c for c, name in TOOLS.items() if hasattr(torch, name)}
        return ALWAYS | options | tools | {c for c, there in found.items() if there}

    @functools.cached_property
    def keywords(self) -> Mapping[str, str]:
        """The constructor's keywords by role; looked up once for hundreds of layers."""
        return naming.keywords(OPTIONS.values(), self.cls, self.request.names)

    @functools.cached_property
    def lazy(self) -> type[torch.nn.Module] | None:
        """The class's lazy form, named as torch.nn names its own; None where there is none."""
        home = sys.modules.get(self.cls.__module__)
        form = getattr(home, f"Lazy{self.cls.__name__}", None)
        return form if getattr(form, "cls_to_become", None) is self.cls else None

    @functools.cached_property
    def names(self) -> Mapping[str, str | None]:
        """The attributes under which a layer keeps its tensors."""
        try:
            return TorchLayer(self.cls(3), self.request).names
        except Exception:  # noqa: BLE001 - CTOR-1 says that it can't be constructed
            return dict.fromkeys((*ROLES, COUNTER))

    def build(self, config: Config) -> TorchLayer:
        """Construct with every argument that the constructor takes, and convert the format."""
        module = self.cls(config.num_features, **self._given(config))
        if config.format != "fp32":
            module = module.to(DTYPES[config.format])
        return self.wrap(module.to(self.request.device))

    def build_lazy(self, config: Config) -> TorchLayer:
        """Construct the lazy form, which does not know num_features yet."""
        assert self.lazy  # noqa: S101 - asked for where there is one; this tells mypy
        return TorchLayer(self.lazy(**self._given(config)).to(self.request.device), self.request)

    def _given(self, config: Config) -> dict[str, Any]:
        """The keywords of a configuration that the constructor takes."""
        wanted = {role: getattr(config, role) for role in OPTIONS.values() if role != "dtype"}
        if config.bias:
            del wanted["bias"]  # True is what every version without the keyword does
        return {key: wanted[role] for role, key in self.keywords.items() if role in wanted}

    def build_default(self, num_features: int) -> TorchLayer:
        """Construct from num_features alone."""
        return self.wrap(self.cls(num_features).to(self.request.device))

    def wrap(self, module: torch.nn.Module) -> TorchLayer:
        """A layer of a module that exists already."""
        return TorchLayer(module, self.request)

    def _pickles(self) -> bool:
        """Whether the class can be found again by its name."""
        try:
            pickle.dumps(self.cls)
        except Exception:  # noqa: BLE001 - not offered, for whatever reason
            return False
        return True

    def _scripts(self) -> bool:
        """Whether torch.jit.script takes a layer; it runs nothing of it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                torch.jit.script(self.cls(3))
            except Exception:  # noqa: BLE001 - not offered, for whatever reason
                return False
        return True


class TorchLayer:
    """One module, its tensors under the names that the spec gives them."""

    def __init__(self, module: torch.nn.Module, request: Request) -> None:
        """Find the names of the module's tensors."""
        self.module = module
        self.device = request.device
        have = [n for n in dir(module) if not n.startswith("__")]
        self.names = {r: naming.find(r, have, request.names) for r in (*ROLES, COUNTER)}
        self.x: torch.Tensor | None = None
        self.y: torch.Tensor | None = None

    def tensor(self, role: str) -> Any:
        """The module's own tensor for `role`; None where it has none."""
        name = self.names[role]
        return getattr(self.module, name, None) if name else None

    def state(self) -> State:
        """Read the tensors, flattened to (C,), and the counter as an int."""
        values = {r: self._read(r) for r in ROLES}
        counter = self.tensor(COUNTER)
        return State(**values, num_batches_tracked=None if counter is None else int(counter))

    def _read(self, role: str) -> Array | None:
        value = self.tensor(role)
        return None if value is None else to_array(value, f"reading {role}").reshape(-1)

    def load(self, state: State) -> None:
        """Write in place, as load_state_dict does."""
        for role in ROLES:
            values = getattr(state, role)
            if values is not None and self.tensor(role) is not None:
                write(self.tensor(role), values)
        if state.num_batches_tracked is not None and (name := self.names[COUNTER]):
            counter = getattr(self.module, name)
            if isinstance(counter, torch.Tensor):
                counter.fill_(state.num_batches_tracked)
            elif counter is not None:
                setattr(self.module, name, state.num_batches_tracked)

    def train(self, mode: bool) -> None:  # noqa: FBT001 - the signature of Module.train
        """Switch the mode."""
        self.module.train(mode)

    def forward(self, x: Array, *, grad: bool = False) -> Array:
        """Answer for a fresh tensor; its memory is compared afterwards (INPUT-9)."""
        self.x = to_tensor(x, self.device)
        if grad:
            self.x.requires_grad_()
            self.module.zero_grad(set_to_none=True)
        self.y = self.call(self.x)
        stage = "forward in training" if self.module.training else "forward in evaluation"
        return to_array(self.y, stage)

    def call(self, x: torch.Tensor) -> Any:
        """Pass `x` through the module, as its user does."""
        return self.module(x)

    def given(self) -> Array:
        """The memory that the last forward pass was given, as it is now."""
        return to_array(self.x)

    def backward(self, dy: Array) -> Gradients:
        """Run autograd from the last output."""
        if self.x is None or self.y is None or not self.y.requires_grad:
            raise SubjectError("backward", "the output is detached: it requires no gradient")
        self.y.backward(to_tensor(dy, self.device))
        weight, bias = (self._gradient(r) for r in ("weight", "bias"))
        return Gradients(None if self.x.grad is None else to_array(self.x.grad), weight, bias)

    def _gradient(self, role: str) -> Array | None:
        gradient = getattr(self.tensor(role), "grad", None)
        return None if gradient is None else to_array(gradient).reshape(-1)

    def double_backward(self, *arrays: Array) -> Gradients:
        """Return the gradients of <gx,dx> + <gw,dweight> + <gb,dbias> for x, dy and weight."""
        x, y, weight, bias = self.x, self.y, self.tensor("weight"), self.tensor("bias")
        if x is None or y is None:
            raise SubjectError("double backward", "there is no forward pass")
        dy, *factors = (to_tensor(a, self.device) for a in arrays)
        seed = dy.requires_grad_()
        first = torch.autograd.grad(y, (x, weight, bias), seed, create_graph=True)
        loss = sum((g * v).sum() for g, v in zip(first, factors, strict=True))
        wanted = (x, seed, weight)
        second = torch.autograd.grad(loss, wanted, allow_unused=True)
        if all(g is None for g in second):  # as autograd says it where unused is not allowed
            raise RuntimeError("no gradient depends on x, dy or weight")
        pairs = zip(wanted, second, strict=True)
        # One that is missing beside others is a zero that no error announces (GRAD-13).
        return Gradients(*(to_array(torch.zeros_like(t) if g is None else g) for t, g in pairs))
