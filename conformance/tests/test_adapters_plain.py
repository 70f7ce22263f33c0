"""Plain classes and functions: what is found of them, and which adapter takes what."""

import numpy as np
import pytest
import torch
from adapting import EVALUATION, TRAINING, X, request, state

from bn1d_conformance import adapters
from bn1d_conformance.adapters.function import Function
from bn1d_conformance.adapters.plain import PlainClass
from bn1d_conformance.subject import CAPABILITIES, ROLES, Config

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
