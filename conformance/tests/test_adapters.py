"""Tensors, names and torch modules: what is found, and that numbers cross to the bit."""

from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
import torch
from adapting import X, request, same, state

from bn1d_conformance import naming
from bn1d_conformance.adapters.tensors import to_array, to_tensor
from bn1d_conformance.adapters.torch_module import TorchModule
from bn1d_conformance.cases import drawn
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import ROLES, Config, State, SubjectError

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
