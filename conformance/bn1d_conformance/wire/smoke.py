"""A worker's manners, before its mathematics: does it speak the wire, and what is malformed?

Each manner is asked of a worker that runs; one that is lost is started again for the next. Whether
the numbers are right is not asked here.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bn1d_conformance.subject import COUNTER, ROLES, Config
from bn1d_conformance.wire import protocol
from bn1d_conformance.wire.process import LostError
from bn1d_conformance.wire.session import Hello, RefusedError, Session, misfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bn1d_conformance.subject import Array

PAUSE = 0.2  # seconds in which a worker that says too much has said it
MEGABYTE = (1 << 16, 3)  # the shape of one, in base64
GRADIENTS = {"x": "dx", "weight": "dweight", "bias": "dbias"}


class MannerError(Exception):
    """What a worker should not have done, in words that follow "it"."""


@dataclass
class Guest:
    """A worker that is tried.

    Attributes:
        seconds: for each answer; a start gets ten times as many.
        has: its capabilities.
    """

    session: Session
    seconds: float
    hello: Hello | None = None
    has: set[str] = field(default_factory=set)
    layers: int = 0

    def ready(self) -> Hello:
        """Start it, unless it runs."""
        if self.session.process is None or self.hello is None:
            self.hello = self.session.start(10 * self.seconds)
            self.has = set(self.hello.capabilities)
        return self.hello

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Put a request."""
        return self.session.ask(do, self.seconds, fields)

    def build(self, fmt: str = "", **options: Any) -> int:
        """Construct a layer of three channels; return its number."""
        return self.make(protocol.config(Config(3, format=fmt or self.formats[0], **options)))

    def make(self, config: dict[str, Any]) -> int:
        """Construct a layer from what goes over the wire."""
        self.layers += 1
        self.ask("build", layer=self.layers, config=config)
        return self.layers

    def forward(self, layer: int, x: Array, *, grad: bool = False) -> Array:
        """Ask for an answer, in training if it trains."""
        y = self.ask("forward", layer=layer, x=x, training="train" in self.has, grad=grad)["y"]
        return y if isinstance(y, np.ndarray) else np.empty(0)

    @property
    def formats(self) -> list[str]:
        """Formats of its inputs; of its state, too, but for the halves."""
        return [f for f in ("fp32", "fp64", "fp16", "bf16") if f in self.has]

    def x(self, *size: int, fmt: str = "") -> Array:
        """Numbers from −1 to 1."""
        values = np.linspace(-1, 1, int(np.prod(size))).reshape(size)
        return values.astype(protocol.DTYPES[protocol.FORMATS[fmt or self.formats[0]]])


def says_hello(guest: Guest) -> None:
    """It starts, and says who it is."""
    guest.ready()


def can_be_judged(guest: Guest) -> None:
    """It offers what the wire has, and a mode and a format among it."""
    if fault := misfit(guest.ready(), guest.session.device):
        raise MannerError(f"can't be judged: {' '.join(fault)}")
    if not guest.has & {"train", "eval"}:
        raise MannerError("offers neither train nor eval")
    if not guest.formats:
        raise MannerError("offers no format: fp32, fp64, fp16 or bf16")


def answers(guest: Guest) -> None:
    """Its answers have the shape and the dtype of what it was asked, in every format and rank."""
    for fmt in guest.formats:
        layer = guest.build(fmt if fmt == "fp64" else guest.formats[0])
        for size in [(4, 3)] + [(2, 3, 5)] * ("3d" in guest.has):
            _is_like(guest.forward(layer, x := guest.x(*size, fmt=fmt)), x, "y")


def has_options(guest: Guest) -> None:
    """It builds and answers in every configuration that it offers."""
    offered: dict[str, dict[str, Any]] = {
        "eps-option": {"eps": 0.5},
        "momentum-option": {"momentum": 0.5},
        "cumulative": {"momentum": None},
        "affine-option": {"affine": False},
        "bias-option": {"bias": False},
        "tracking-option": {"track_running_stats": False},
    }
    layers = [guest.build(**options) for name, options in offered.items() if name in guest.has]
    layers += [guest.make({"num_features": 3})] if "defaults" in guest.has else []
    for layer in layers:
        _is_like(guest.forward(layer, x := guest.x(4, 3)), x, "y")
        guest.ask("state", layer=layer)


def _is_like(got: Array | None, want: Array, name: str) -> None:
    if got is None:
        raise MannerError(f"leaves out {name}")
    if got.shape != want.shape or got.dtype != want.dtype:
        raise MannerError(
            f"answers with {name} of shape {got.shape} and dtype {got.dtype}, "
            f"where {want.shape} and {want.dtype} are right"
        )
    if not np.isfinite(got.astype(float)).all():
        raise MannerError(f"answers with {name} that holds NaN or infinity")


def gives_gradients(guest: Guest) -> None:
    """Its gradients have the shapes of what they are gradients of."""
    if "grad" not in guest.has:
        return
    layer, x = guest.build(), guest.x(4, 3)
    guest.forward(layer, x, grad=True)
    got = guest.ask("backward", layer=layer, dy=x)
    like = {"x": x, "weight": x[0], "bias": x[0]}
    for name, gradient in GRADIENTS.items():
        if name == "x" or "param-grad" in guest.has:
            _is_like(got[gradient], like[name], gradient)


def keeps_state(guest: Guest) -> None:
    """It gives back the state that it was given, bit for bit, and keeps its layers apart."""
    layers = [guest.build(), guest.build()]
    states = [_state(guest, k) for k in (1, 2)]
    for layer, state in zip(layers, states, strict=True):
        guest.ask("load", layer=layer, state=state)
    for layer, state in zip(layers, states, strict=True):
        got = guest.ask("state", layer=layer)
        for name, value in state.items():
            _is_same(got[name], value, name)


def _state(guest: Guest, k: int) -> dict[str, Any]:
    values = guest.x(3) + guest.x(3).dtype.type(k + 2)
    has = {**dict.fromkeys(ROLES[:2], "weights"), **dict.fromkeys(ROLES[2:], "statistics")}
    arrays = {role: values for role, needed in has.items() if needed in guest.has}
    return {**arrays, COUNTER: 40 + k} if "counter" in guest.has else arrays


def _is_same(got: Any, want: Any, name: str) -> None:
    if isinstance(want, int) or got is None:
        if got != want:
            raise MannerError(f"answers with {name} {got}, where {want} was loaded")
        return
    if got.size != want.size or got.dtype != want.dtype or got.tobytes() != want.tobytes():
        words = f"{got.dtype} {got.ravel()[:3]}, where {want.dtype} {want[:3]} was loaded"
        raise MannerError(f"answers with {name} {words}")


def refuses(guest: Guest) -> None:
    """It refuses by an answer, and answers the next request: of an unknown name, of no layer."""
    for do, wrong in (("dance", {}), ("state", {"layer": 10**6})):
        try:
            guest.ask(do, **wrong)
        except RefusedError:
            continue
        raise MannerError(f"does not refuse {do} {wrong or ''}".rstrip())
    guest.build()


def bears_the_unusual(guest: Guest) -> None:
    """It answers or refuses four axes, no rows and a wrong number of channels, and goes on."""
    layer = guest.build()
    for size in ((2, 3, 4, 5), (0, 3), (4, 2), (3,)):
        with suppress(RefusedError):
            guest.forward(layer, guest.x(*size))
    guest.build()


def bears_a_megabyte(guest: Guest) -> None:
    """It answers a line of more than a megabyte."""
    layer = guest.build()
    x = guest.x(*MEGABYTE)
    _is_like(guest.forward(layer, x), x, "y")


def leaves(guest: Guest) -> None:
    """It forgets a layer, says no more than it is asked, and leaves when it is told to."""
    guest.ask("close", layer=guest.build())
    time.sleep(PAUSE)
    guest.build()  # hears of what was written meanwhile
    if not guest.session.finish():
        raise MannerError("does not end with exit status 0 when it is told to close")


MANNERS: tuple[Callable[[Guest], None], ...] = (
    says_hello,
    can_be_judged,
    answers,
    has_options,
    gives_gradients,
    keeps_state,
    refuses,
    bears_the_unusual,
    bears_a_megabyte,
    leaves,
)


def smoke(session: Session, seconds: float) -> Iterator[tuple[str, str]]:
    """Try each manner: what it is, and what is wrong; "" where nothing is.

    Nothing can be tried of a worker that does not say hello, or offers what there is not.
    """
    guest = Guest(session, seconds)
    try:
        for manner in MANNERS:
            fault = _fault(manner, guest)
            yield str(manner.__doc__), fault
            if fault and manner in MANNERS[:2]:
                return
    finally:
        session.stop()


def _fault(manner: Callable[[Guest], None], guest: Guest) -> str:
    try:
        guest.ready()
        manner(guest)
    except (MannerError, LostError, RefusedError, protocol.MalformedError) as error:
        return f"It {error}."
    except OSError as error:
        return f"It can't be started: {error}."
    return ""
