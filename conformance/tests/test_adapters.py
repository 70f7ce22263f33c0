"""Each adapter: what it finds, what it offers, and that numbers cross it to the bit."""

from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
import torch

from bn1d_conformance import adapters, naming
from bn1d_conformance.adapters.function import Function
from bn1d_conformance.adapters.plain import PlainClass
from bn1d_conformance.adapters.tensors import to_array, to_tensor
from bn1d_conformance.adapters.torch_module import TorchModule
from bn1d_conformance.cases import drawn
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import CAPABILITIES, ROLES, Config, Request, State, SubjectError

TRAINING, EVALUATION = True, False
X = np.array([[1.0, 2.0, -1.0], [3.0, -1.0, 0.5], [0.0, 5.0, 2.0], [2.0, 2.0, 2.0]], "float32")


def request(**names):
    return Request("somewhere:Something", names=names)


def state(fmt="fp32"):
    dtype = DTYPES[fmt]
    return State(
        weight=np.array([1.5, -2.0, 0.25], dtype),
        bias=np.array([0.5, 0.0, -3.0], dtype),
        running_mean=np.array([0.125, -7.0, 2.0], dtype),
        running_var=np.array([2.0, 0.5, 1.0], dtype),
        num_batches_tracked=5,
    )


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# Tensors and arrays


@pytest.mark.parametrize("fmt", DTYPES)
def test_every_bit_crosses_to_torch_and_back(fmt):
    dtype = DTYPES[fmt]
    kind = f"uint{dtype.itemsize * 8}"
    bits = np.random.default_rng(3).integers(0, 2 ** (dtype.itemsize * 8 - 1), 4096, kind)
    if dtype.itemsize == 2:
        bits = np.arange(1 << 16, dtype=kind)  # all of them, NaNs with their payload included
    array = bits.view(dtype).reshape(-1, 64)
    assert same(to_array(to_tensor(array)), array)


def test_a_tensor_is_a_copy_in_both_directions():
    array = np.ones(3, "float32")
    tensor = to_tensor(array)
    back = to_array(tensor)
    tensor.fill_(7)
    assert array.tolist() == back.tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 0, 4), (1, 1)])
def test_any_shape_crosses(shape):
    assert to_array(to_tensor(np.zeros(shape, ml_dtypes.bfloat16))).shape == shape


def test_strides_cross_by_value():
    array = np.arange(12, dtype="float32").reshape(3, 4).T
    assert np.array_equal(to_array(to_tensor(array)), array)
    assert np.array_equal(to_array(torch.arange(6.0).reshape(2, 3).t()), [[0, 3], [1, 4], [2, 5]])


@pytest.mark.parametrize("value", [None, 3.0, "text", [1, 2]])
def test_what_is_no_tensor_is_said(value):
    with pytest.raises(SubjectError, match=f"returned {type(value).__name__}, not a tensor"):
        to_array(value)


# Names


class Gamma(torch.nn.Module):
    """A module with other names."""

    def __init__(self, num_features, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.gamma = torch.nn.Parameter(torch.ones(num_features))
        self.beta = torch.nn.Parameter(torch.zeros(num_features))
        self.register_buffer("moving_mean", torch.zeros(num_features))
        self.register_buffer("moving_var", torch.ones(num_features))
        self.odd = torch.nn.Parameter(torch.ones(num_features))

    def forward(self, x):
        return torch.nn.functional.batch_norm(
            x,
            self.moving_mean,
            self.moving_var,
            self.gamma,
            self.beta,
            self.training,
            0.1,
            self.eps,
        )


def test_synonyms_are_found():
    names = TorchModule(Gamma, request()).names
    assert dict(names) == {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_var",
        "num_batches_tracked": None,
    }


def test_the_names_of_flax_are_found_and_go_after_those_that_say_more():
    class Flax(Gamma):
        def __init__(self, num_features):
            super().__init__(num_features)
            self.mean, self.var = self.moving_mean, self.moving_var

    assert TorchModule(Flax, request()).names["running_mean"] == "moving_mean"
    assert naming.find("running_mean", ["scale", "mean", "var"], {}) == "mean"
    assert naming.find("running_var", ["scale", "mean", "var"], {}) == "var"


def test_the_users_name_goes_before_the_usual_ones():
    assert TorchModule(Gamma, request(weight="odd")).names["weight"] == "odd"
    assert TorchModule(Gamma, request(weight="missing")).names["weight"] is None


def test_a_script_is_offered_where_torch_can_make_one():
    class Unscriptable(torch.nn.BatchNorm1d):
        def forward(self, *inputs, **options):
            return super().forward(*inputs, **options)

    assert "script" in TorchModule(torch.nn.BatchNorm1d, request()).capabilities
    assert "script" not in TorchModule(Unscriptable, request()).capabilities


def test_a_lazy_form_is_offered_where_it_becomes_the_class():
    class BatchNorm1d(torch.nn.BatchNorm1d):
        __module__ = "torch.nn.modules.batchnorm"  # whose LazyBatchNorm1d becomes another class

    subject = TorchModule(torch.nn.BatchNorm1d, request())
    layer = subject.build_lazy(Config(3, eps=0.5))
    assert (type(layer.module), layer.module.eps) == (torch.nn.LazyBatchNorm1d, 0.5)
    assert "lazy" in subject.capabilities
    assert "lazy" not in TorchModule(BatchNorm1d, request()).capabilities


def test_asking_a_module_what_it_offers_runs_nothing_of_it():
    class Silent(torch.nn.BatchNorm1d):
        def forward(self, x):
            raise AssertionError(x)

    assert {"vmap", "trace", "compile", "export"} <= TorchModule(Silent, request()).capabilities


def test_only_options_that_the_constructor_takes_are_offered():
    offered = TorchModule(Gamma, request()).capabilities
    assert "eps-option" in offered
    assert not {"momentum-option", "affine-option", "tracking-option"} & offered


@pytest.mark.parametrize("role", naming.SYNONYMS)
def test_the_specs_own_name_comes_first(role):
    assert naming.SYNONYMS[role][0] == role
    assert naming.find(role, naming.SYNONYMS[role], {}) == role


@pytest.mark.parametrize("role", ["weight", "running_var"])
def test_no_name_means_two_things(role):
    others = [n for r, names in naming.SYNONYMS.items() if r in ROLES and r != role for n in names]
    assert not set(naming.SYNONYMS[role]) & set(others)


def test_a_callable_that_takes_any_keyword_takes_this_one():
    assert naming.keyword("eps", lambda **options: options, {}) == "eps"
    assert naming.keyword("eps", lambda epsilon: epsilon, {}) == "epsilon"
    assert naming.keyword("eps", lambda x: x, {}) is None


# A torch module


@pytest.mark.parametrize("fmt", ["fp32", "fp64", "fp16", "bf16"])
def test_the_state_of_a_module_goes_there_and_back(fmt):
    layer = TorchModule(torch.nn.BatchNorm1d, request()).build(Config(3, format=fmt))
    layer.load(state(fmt))
    got = layer.state()
    assert all(same(getattr(got, role), getattr(state(fmt), role)) for role in ROLES)
    assert got.num_batches_tracked == 5


def test_state_is_read_as_a_copy():
    layer = TorchModule(torch.nn.BatchNorm1d, request()).build(Config(3))
    before = layer.state()
    layer.forward(X)
    assert before.running_mean.tolist() == [0, 0, 0]
    assert layer.state().running_mean.tolist() != [0, 0, 0]


def test_loading_writes_in_place():
    layer = TorchModule(torch.nn.BatchNorm1d, request()).build(Config(3))
    kept = layer.module.weight
    layer.load(state())
    assert layer.module.weight is kept


def test_what_is_absent_stays_absent():
    config = Config(3, affine=False, track_running_stats=False)
    layer = TorchModule(torch.nn.BatchNorm1d, request()).build(config)
    layer.load(state())
    assert layer.state() == State()


def test_a_module_computes_what_torch_computes():
    case = drawn("adapter", "fp32", (6, 3), 0)
    layer = TorchModule(torch.nn.BatchNorm1d, request()).build(case.config)
    layer.load(case.state)
    own = torch.nn.BatchNorm1d(3, eps=case.config.eps, momentum=case.config.momentum)
    layer_like = SimpleNamespace(**{r: torch.from_numpy(getattr(case.state, r)) for r in ROLES})
    own.load_state_dict({**vars(layer_like), "num_batches_tracked": torch.tensor(7)})
    x = torch.from_numpy(case.x.copy()).requires_grad_()
    y = own(x)
    y.backward(torch.from_numpy(case.dy))
    assert same(layer.forward(case.x, grad=True), y.detach().numpy())
    got = layer.backward(case.dy)
    assert same(got.x, x.grad.numpy())
    assert same(got.weight, own.weight.grad.numpy())
    assert same(layer.state().running_var, own.running_var.numpy())


def test_gradients_of_one_pass_do_not_reach_the_next():
    layer = TorchModule(torch.nn.BatchNorm1d, request()).build(Config(3))
    found = []
    for _ in range(2):
        layer.forward(X, grad=True)
        found.append(layer.backward(np.ones_like(X)).bias.tolist())
    assert found == [[4, 4, 4], [4, 4, 4]]


def test_a_detached_output_is_said():
    class Detached(torch.nn.BatchNorm1d):
        def forward(self, x):
            return super().forward(x).detach()

    layer = TorchModule(Detached, request()).build(Config(3))
    layer.forward(X, grad=True)
    with pytest.raises(SubjectError, match="the output is detached"):
        layer.backward(X)


def test_a_module_that_can_not_be_constructed_has_no_names():
    class Broken(torch.nn.Module):
        def __init__(self, num_features):
            raise RuntimeError(num_features)

    assert set(TorchModule(Broken, request()).names.values()) == {None}


# Plain classes


class Hand:
    """NumPy, methods to switch, gradients returned, a counter."""

    def __init__(self, channels, epsilon=1e-5, mom=0.1):
        self.epsilon, self.mom, self.mode = epsilon, mom, True
        self.scale, self.shift = np.ones(channels), np.zeros(channels)
        self.rm, self.rv = np.zeros((1, channels)), np.ones((1, channels))
        self.steps = 0

    def train(self):
        self.mode = True

    def eval(self):
        self.mode = False

    def __call__(self, x):
        if self.mode:
            self.steps += 1
            self.rm = (1 - self.mom) * self.rm + self.mom * x.mean(0)
        return (x - self.rm[0]) * self.scale + self.shift

    def backward(self, dy):
        return dy * self.scale, dy.sum(0), dy.sum(0)


class Attributes:
    """NumPy, a flag to switch, gradients left in attributes."""

    def __init__(self, num_features):
        self.gamma, self.beta = np.ones(num_features, "float32"), np.zeros(num_features, "float32")
        self.training = True

    def forward(self, x):
        self.x = x
        return x * self.gamma + self.beta if self.training else x

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.x).sum(0), dy.sum(0)
        return dy * self.gamma


class Argument:
    """NumPy, the mode an argument, gradients in a dictionary, statistics returned beside y."""

    def __init__(self, num_features):
        self.w, self.b = np.ones(num_features, "float32"), np.zeros(num_features, "float32")
        self.grads = {}

    def forward(self, x, *, is_training=True):
        return (x if is_training else 2 * x), {"cache": x}

    def backward(self, dy):
        self.grads = {"gamma": dy.sum(0), "beta": 2 * dy.sum(0)}
        return dy


class Bare:
    """Torch without nn.Module: autograd is the backward pass."""

    def __init__(self, num_features):
        self.weight = torch.ones(num_features, requires_grad=True)
        self.bias = torch.zeros(num_features, requires_grad=True)

    def __call__(self, x):
        return x * self.weight + self.bias


def test_a_plain_class_is_found_out():
    subject = PlainClass(Hand, request())
    assert dict(subject.names) == {
        "weight": "scale",
        "bias": "shift",
        "running_mean": "rm",
        "running_var": "rv",
        "num_batches_tracked": "steps",
    }
    wanted = {"train", "eval", "weights", "statistics", "counter", "grad", "param-grad", "fp64"}
    assert wanted | {"eps-option", "momentum-option"} <= subject.capabilities
    assert not {"affine-option", "torch-module", "cumulative"} & subject.capabilities


def test_constructor_arguments_go_by_their_own_names():
    layer = PlainClass(Hand, request()).build(Config(3, eps=0.5, momentum=0.25))
    assert (layer.module.epsilon, layer.module.mom) == (0.5, 0.25)


@pytest.mark.parametrize("cls", [Hand, Attributes, Argument, Bare])
def test_the_state_of_a_plain_class_goes_there_and_back(cls):
    layer = PlainClass(cls, request()).build(Config(3))
    layer.load(state())
    got = layer.state()
    for role in ROLES:
        value = getattr(got, role)
        assert value is None or value.tolist() == getattr(state(), role).tolist(), role
    assert got.weight is not None
    assert got.num_batches_tracked in {5, None}


@pytest.mark.parametrize(("cls", "train", "evaluation"), [(Attributes, 1, 1), (Argument, 1, 2)])
def test_the_mode_is_switched(cls, train, evaluation):
    layer = PlainClass(cls, request()).build(Config(3))
    for mode, factor in ((True, train), (False, evaluation), (True, train)):
        layer.train(mode)
        assert np.array_equal(layer.forward(X), X * factor)


def test_methods_switch_the_mode():
    layer = PlainClass(Hand, request()).build(Config(3))
    layer.train(EVALUATION)
    layer.forward(X)
    assert layer.state().num_batches_tracked == 0
    layer.train(TRAINING)
    layer.forward(X)
    assert layer.state().num_batches_tracked == 1


@pytest.mark.parametrize(
    ("cls", "weight", "bias"),
    [
        (Hand, X.sum(0), X.sum(0)),
        (Attributes, (X * X).sum(0), X.sum(0)),
        (Argument, X.sum(0), 2 * X.sum(0)),
        (Bare, (X * X).sum(0), X.sum(0)),
    ],
)
def test_gradients_are_found_where_they_are_left(cls, weight, bias):
    layer = PlainClass(cls, request()).build(Config(3))
    layer.forward(X, grad=True)
    got = layer.backward(X)
    assert np.allclose(got.x, X)
    assert np.allclose(got.weight, weight)
    assert np.allclose(got.bias, bias)


@pytest.mark.parametrize(
    ("cls", "host"), [(Hand, "numpy"), (Attributes, "numpy"), (Bare, "torch")]
)
def test_a_class_is_given_the_arrays_that_it_holds(cls, host):
    """Though this file imports torch."""
    assert PlainClass(cls, request()).host.name == host


def test_the_memory_that_was_given_can_be_looked_at():
    layer = PlainClass(Hand, request()).build(Config(3))
    layer.forward(X)
    assert np.array_equal(layer.given(), X)


# Functions


def pure(x, running_mean, running_var, gamma, beta, *, training=True, momentum=0.1, eps=1e-5):
    """NumPy; hands the statistics back."""
    if not training:
        return (x - running_mean) / np.sqrt(running_var + eps) * gamma + beta
    mean, var = x.mean(0), x.var(0)
    y = (x - mean) / np.sqrt(var + eps) * gamma + beta
    return y, running_mean + momentum * (mean - running_mean), running_var


def short(x):
    """No state at all."""
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def test_a_function_offers_what_its_arguments_allow():
    whole = Function(torch.nn.functional.batch_norm, request())
    wanted = {"train", "eval", "statistics", "weights", "grad", "3d", "fp16", "eps-option"}
    assert wanted <= whole.capabilities
    assert whole.capabilities <= set(CAPABILITIES)
    bare = Function(short, request())
    assert "train" in bare.capabilities
    assert not {"eval", "weights", "statistics", "grad"} & bare.capabilities


def test_arguments_are_found_by_their_synonyms():
    names = Function(pure, request()).names
    assert names["weight"] == "gamma"
    assert names["bias"] == "beta"


def test_the_users_map_names_an_argument():
    def odd(x, stretch):
        return x * stretch

    assert Function(odd, request()).names["weight"] is None
    assert Function(odd, request(weight="stretch")).names["weight"] == "stretch"


def test_statistics_that_are_returned_are_kept():
    layer = Function(pure, request()).build(Config(3, momentum=0.5))
    layer.load(state())
    layer.forward(X)
    want = (state().running_mean + X.mean(0)) / 2
    assert np.allclose(layer.state().running_mean, want)
    layer.train(EVALUATION)
    assert layer.forward(X).shape == X.shape


def test_statistics_that_are_written_are_read():
    layer = Function(torch.nn.functional.batch_norm, request()).build(Config(3, momentum=0.5))
    layer.load(state())
    layer.forward(X)
    assert np.allclose(layer.state().running_mean, (state().running_mean + X.mean(0)) / 2)


def test_a_function_of_torch_has_gradients():
    layer = Function(torch.nn.functional.batch_norm, request()).build(Config(3))
    layer.forward(X, grad=True)
    got = layer.backward(np.ones_like(X))
    assert got.bias.tolist() == [4, 4, 4]
    assert got.x.shape == X.shape


def test_a_function_without_defaults_is_torch_where_it_takes_tensors():
    def strict(x, running_mean, running_var, weight, bias, training, momentum, eps):
        answer = torch.nn.functional.batch_norm(
            x, running_mean, running_var, weight, bias, training, momentum, eps
        )
        return answer.view(x.size())  # a method that NumPy's arrays do not have so

    assert Function(strict, request()).host.autograd


def test_the_functional_batch_norm_of_torch_conforms(judge):
    result = judge("torch.nn.functional:batch_norm")
    assert result["verdict"] == "conforms"
    assert result["diagnoses"] == []
    verdicts = {i: row["verdict"] for i, row in result["requirements"].items()}
    assert {verdicts[i] for i in ("TRAIN-1", "EVAL-1", "STATS-1", "STATS-2", "GRAD-1")} == {"pass"}
    assert verdicts["STATS-8"] == "not-applicable"


def test_a_right_layer_by_hand_passes_what_applies(judge):
    words = ["-k", "test_train or test_eval or test_stats or test_grad"]
    result = judge("layers.py:Right", *words)
    assert result["diagnoses"] == []
    assert result["subject"]["adapter"] == "plain-class"
    assert result["subject"]["host"] == "numpy"


# What is chosen


@pytest.mark.parametrize(
    ("value", "adapter"),
    [
        (torch.nn.BatchNorm1d, "torch-module"),
        (Hand, "plain-class"),
        (pure, "function"),
        (torch.nn.functional.batch_norm, "function"),
    ],
)
def test_the_adapter_fits(value, adapter):
    assert adapters.adapt(value, request()).adapter == adapter
