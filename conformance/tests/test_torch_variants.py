"""What PyTorch makes of its layer, behind the names of the group bn1d.subjects."""

import copy
from importlib.metadata import entry_points

import numpy as np
import pytest
import torch

from bn1d_conformance import targets
from bn1d_conformance.adapters import torch_functions
from bn1d_conformance.reports import repro
from bn1d_conformance.subject import CAPABILITIES, Config, Request, State, SubjectError

#: PyTorch 2.13 advises against TorchScript; who runs it still wants to know whether it is right.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # of its own, in export
]

COMPILED = ["torch-compile", "torch-aot"]
MODULES = ["torch-script", "torch-trace", "torch-export", *COMPILED]
FUNCTIONS = ["torch-functional", "torch-batch-norm", "torch-native", "torch-decomp"]
GRAPHS = ["torch-trace", "torch-export"]
X = np.array([[1.0, -2.0, 3.0], [4.0, 0.5, -6.0], [7.0, 8.0, 9.5], [0.25, 1.0, 2.0]], "float32")
DY = X[::-1] * np.float32(0.5)
STATE = State(
    weight=np.array([1.5, -2.0, 0.5], "float32"),
    bias=np.array([0.25, 1.0, -3.0], "float32"),
    running_mean=np.array([0.5, 0.25, -1.0], "float32"),
    running_var=np.array([2.0, 0.5, 4.0], "float32"),
)


def subject(name):
    return targets.load(Request(name))


def passes(layer):
    """Answers, gradients and statistics of a pass each way, in three dimensions too."""
    layer.load(STATE)
    seen = []
    for training, x in ((True, X), (False, X), (True, X.reshape(2, 3, 2))):
        layer.train(training)
        y = layer.forward(x, grad=True)
        gradients = layer.backward(DY.reshape(x.shape))
        state = layer.state()
        seen += [y, *gradients, state.running_mean, state.running_var]
    return seen


def test_each_name_is_tried_here():
    ours = {e.name for e in entry_points(group="bn1d.subjects") if "torch" in e.name}
    assert ours == {*MODULES, *FUNCTIONS}


@pytest.mark.parametrize("name", [*MODULES, *FUNCTIONS])
def test_a_variant_gives_the_numbers_of_the_layer(name):
    eager, variant = (subject(n).build(Config(3)) for n in ("torch.nn:BatchNorm1d", name))
    for got, want in zip(passes(variant), passes(eager), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*MODULES, *FUNCTIONS])
def test_a_variant_says_what_it_is(name):
    found = subject(name)
    assert found.target == name
    assert found.name.startswith("torch.")
    assert found.version == torch.__version__
    assert found.capabilities <= set(CAPABILITIES)
    assert found.capabilities >= {"train", "eval", "grad", "statistics", "3d", "fp16", "bf16"}
    assert ("torch-module" in found.capabilities) == (name in {"torch-script", *COMPILED})


def test_what_is_constructed_is_the_variant_itself():
    assert isinstance(subject("torch-script").cls(3, eps=0.5), torch.jit.ScriptModule)
    assert isinstance(subject("torch-script").build(Config(3)).module, torch.jit.ScriptModule)
    for name in COMPILED:
        compiled = subject(name).build(Config(3)).module
        assert type(compiled) is type(torch.compile(torch.nn.BatchNorm1d(3)))


@pytest.mark.parametrize("name", GRAPHS)
def test_recording_a_graph_is_no_pass(name):
    layer = subject(name).build(Config(3))
    layer.load(copy.copy(STATE))
    layer.forward(X)
    eager = subject("torch.nn:BatchNorm1d").build(Config(3))
    eager.load(copy.copy(STATE))
    eager.forward(X)
    got, want = layer.state(), eager.state()
    assert got.num_batches_tracked == want.num_batches_tracked == 1
    np.testing.assert_array_equal(got.running_mean, want.running_mean)


@pytest.mark.parametrize("name", GRAPHS)
def test_layers_of_one_graph_have_their_own_tensors(name):
    variant = subject(name)
    one, two = variant.build(Config(3)), variant.build(Config(3))
    one.load(STATE)
    two.forward(X)
    one.forward(X)
    assert not np.array_equal(one.state().running_mean, two.state().running_mean)
    assert np.array_equal(one.state().weight, STATE.weight)


def test_the_compiler_never_gives_up_for_eager():
    subject("torch-compile")
    assert torch._dynamo.config.recompile_limit > 100_000
    assert torch._dynamo.config.accumulated_recompile_limit > 100_000


@pytest.mark.parametrize("name", ["torch-aot"])
def test_what_is_refused_leaves_the_next_layer_compiled(name):
    variant = subject(name)
    layer = variant.build(Config(3))
    with pytest.raises(ValueError, match="4D input"):
        layer.forward(X.reshape(2, 3, 2, 1))
    for config in (Config(3), Config(3, eps=0.5)):
        layer = variant.build(config)
        layer.forward(X, grad=True)
        assert type(layer.y.grad_fn).__name__ == "CompiledFunctionBackward"


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_layer_offers_nothing_that_eager_answers(name):
    assert "cumulative" not in subject(name).capabilities


def test_the_kernel_that_reads_beyond_its_tensors_finds_memory_of_its_own():
    wide = np.concatenate([X, X[:, :2]], axis=1)
    layer = subject("torch-native").build(Config(3))
    layer.load(STATE)
    assert layer.forward(wide).shape == wide.shape
    assert all(len(v) == 3 for v in (layer.state().running_mean, layer.state().running_var))
    tensor = torch.ones(3)
    assert torch_functions._roomy(tensor, 3) is tensor
    roomy = torch_functions._roomy(tensor, 5)
    assert roomy.tolist() == [1, 1, 1]
    assert roomy.untyped_storage().nbytes() == 5 * 4


def test_export_refuses_what_depends_on_the_counter():
    exported = subject("torch-export")
    assert "cumulative" not in exported.capabilities
    with pytest.raises(torch.fx.experimental.symbolic_shapes.GuardOnDataDependentSymNode):
        exported.build(Config(3, momentum=None)).forward(X)


def test_a_graph_has_no_backward_pass_before_a_forward_pass():
    with pytest.raises(SubjectError):
        subject("torch-trace").build(Config(3)).backward(DY)


# Scripts that show a failure


def failed(name):
    """A results file in which a training pass of the subject fails."""
    found = subject(name)
    steps = [
        {"do": "build", "config": {"num_features": 3, "eps": 0.5, "momentum": 0.1}},
        {"do": "forward", "x": {"format": "fp32", "shape": [2, 3], "values": ["0x1p0"] * 6}},
    ]
    steps[1]["grad"] = False
    failure = {"case": "c", "message": "m.", "cause": "", "evidence": {"program": steps}}
    calls = dict(getattr(found, "calls", {}))
    about = {"target": name, "name": found.name, "adapter": found.adapter, "calls": calls}
    about |= {"names": dict(found.names), "host": "torch"}
    rows = {"STATS-2": {"failures": [failure]}}
    return {"subject": about, "diagnoses": [], "requirements": rows}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("torch-script", "bn = torch.jit.script(BatchNorm1d(3, eps=0.5, momentum=0.1))"),
        ("torch-compile", "bn = torch.compile(BatchNorm1d(3, eps=0.5, momentum=0.1))"),
        ("torch-functional", "from torch.nn.functional import batch_norm"),
    ],
)
def test_a_script_does_what_the_name_stands_for(python, name, line):
    script = repro.script(failed(name))
    assert line in script.splitlines()
    assert "bn1d_conformance" not in script
    if name != "torch-compile":
        ran = python(script)
        assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", [*GRAPHS, "torch-native", "torch-aot"])
def test_where_no_script_can_a_sentence_says_so(name):
    with pytest.raises(repro.NothingToShowError, match="STATS-2 failed through 'torch-"):
        repro.script(failed(name))
