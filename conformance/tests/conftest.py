"""The command as a user runs it, and a file of subjects to point it at."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from textwrap import dedent

import pytest

SUBJECTS = '''
    """A right layer in NumPy, and others with one thing wrong."""

    import numpy as np


    class Right:
        """Has the usual other names, and gradients by hand."""

        def __init__(self, num_features, eps=1e-5, momentum=0.1):
            self.eps, self.momentum, self.training = eps, momentum, True
            self.gamma = np.ones(num_features, np.float32)
            self.beta = np.zeros(num_features, np.float32)
            self.moving_mean = np.zeros(num_features, np.float32)
            self.moving_var = np.ones(num_features, np.float32)

        def train(self):
            self.training = True

        def eval(self):
            self.training = False

        def track(self, mean, var, n):
            m = self.momentum
            self.moving_mean[...] = (1 - m) * self.moving_mean + m * mean
            self.moving_var[...] = (1 - m) * self.moving_var + m * var * n / (n - 1)

        def forward(self, x):
            if x.ndim != 2 or x.shape[1] != len(self.gamma):
                raise ValueError(f"expected (N, {len(self.gamma)}), got {x.shape}")
            if self.training and len(x) < 2:
                raise ValueError(f"expected more than 1 value a channel, got {x.shape}")
            wide = x.astype(np.float64)
            mean, var = self.moving_mean, self.moving_var
            if self.training:
                mean, var = wide.mean(0), wide.var(0)
                self.track(mean, var, len(x))
            self.rstd = 1 / np.sqrt(var + self.eps)
            self.hat = (wide - mean) * self.rstd
            return (self.hat * self.gamma + self.beta).astype(x.dtype)

        def backward(self, dy):
            wide = dy.astype(np.float64)
            through = wide - wide.mean(0) - self.hat * (wide * self.hat).mean(0)
            dx = self.gamma * self.rstd * (through if self.training else wide)
            dgamma, dbeta = (wide * self.hat).sum(0), wide.sum(0)
            kind = self.gamma.dtype
            return dx.astype(dy.dtype), dgamma.astype(kind), dbeta.astype(kind)


    class Biased(Right):
        """Tracks the biased variance."""

        def track(self, mean, var, n):
            super().track(mean, var * (n - 1) / n, n)


    def returns(x, running_mean, running_var, weight, bias, training, momentum, eps):
        """The layer as a function that hands its statistics back."""
        layer = Right(x.shape[1], eps, momentum)
        layer.gamma, layer.beta, layer.training = weight, bias, training
        layer.moving_mean, layer.moving_var = running_mean.copy(), running_var.copy()
        return layer.forward(x), layer.moving_mean, layer.moving_var


    INSTANCE = Right(3)
    NUMBER = 3
'''

TORCH_SUBJECTS = '''
    """Drop-in modules with one thing wrong."""

    import torch


    class Biased(torch.nn.BatchNorm1d):
        """Tracks the biased variance."""

        def forward(self, x):
            if not self.training:
                return super().forward(x)
            axes = [d for d in range(x.dim()) if d != 1]
            n = x.numel() // x.shape[1]
            before = self.running_var.clone()
            y = super().forward(x)
            biased = x.detach().float().var(axes, unbiased=False).to(before.dtype)
            self.running_var.copy_((1 - self.momentum) * before + self.momentum * biased)
            return y


    class Shifted(torch.nn.BatchNorm1d):
        """Adds a little to every output."""

        def forward(self, x):
            return super().forward(x) + 0.125


    class Lenient(torch.nn.BatchNorm1d):
        """Conforms, and answers without one of its statistics, which it may refuse (INPUT-17)."""

        def forward(self, x):
            one = self.running_mean is None
            if one == (self.running_var is None):
                return super().forward(x)
            return torch.nn.functional.batch_norm(x, None, None, training=True)


    LAYER = torch.nn.BatchNorm1d(3)
'''


def run(command, cwd):
    """Run a command to its end, whatever that is."""
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where the subjects are: layers.py in NumPy, modules.py in torch."""
    path = tmp_path_factory.mktemp("subjects")
    (path / "layers.py").write_text(dedent(SUBJECTS))
    (path / "modules.py").write_text(dedent(TORCH_SUBJECTS))
    return path


ASKS_FOR = """
    import sys
    import pytest

    class Look:
        asked = set()

        def find_spec(self, name, path=None, target=None):
            if name == {name!r}:
                marks = self.item.iter_markers("requirement")
                self.asked |= {{ident for mark in marks for ident in mark.args}}
                raise ModuleNotFoundError(name)

        def pytest_collection_finish(self):
            sys.meta_path.insert(0, self)  # before pytest's own, which rewrites plugins

        def pytest_runtest_setup(self, item):
            self.item = item

        def pytest_sessionfinish(self):
            print("asked for by:", *self.asked)

    words = "--pyargs bn1d_conformance.checks -p no:terminal -p no:hypothesispytest".split()
    words += ["--bn1d-subject", {target!r}, "--bn1d-profile", {profile!r}, "-k", {select!r}]
    pytest.main(words, plugins=[Look()])
"""


@pytest.fixture(scope="session")
def imported_by(folder):
    """The requirements of the items that ask for a module, which none of them gets."""

    def call(name, target, profile, select):
        code = dedent(ASKS_FOR).format(name=name, target=target, profile=profile, select=select)
        words = [sys.executable, "-c", code]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        ran = subprocess.run(
            words, cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        (line,) = (s for s in ran.stdout.splitlines() if s.startswith("asked for by:"))
        return set(line.partition(":")[2].split())

    return call


@pytest.fixture
def students(folder, tmp_path):
    """A folder with two submissions: a right layer, and one that tracks the biased variance."""
    path = tmp_path / "students"
    path.mkdir()
    code = (folder / "layers.py").read_text()
    (path / "ann.py").write_text(code)
    (path / "bob.py").write_text(code.replace("var * n / (n - 1)", "var"))
    return path


@pytest.fixture(scope="session")
def bn1d(folder):
    """Run the command in the subjects' folder."""
    command = Path(sysconfig.get_path("scripts")) / "bn1d"

    def call(*words, cwd=folder):
        return subprocess.run(
            [command, *map(str, words)],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return call


@pytest.fixture(scope="session")
def judge(bn1d, tmp_path_factory):
    """Run a target in the quick profile, and return the results document."""

    def call(target, *words):
        out = tmp_path_factory.mktemp("results") / "result.json"
        ran = bn1d("run", target, "--profile", "quick", "--json", out, *words)
        assert out.exists(), ran.stderr
        return json.loads(out.read_text("utf-8"))

    return call


@pytest.fixture
def result():
    """A results file of two areas with one failure."""
    from site_pages import two_areas  # noqa: PLC0415 - it imports what makes pages

    return two_areas()


@pytest.fixture(scope="session")
def python():
    """Run a few lines in a Python of their own."""

    def call(code, cwd=None, *, isolated=False):
        flags = ["-I", "-S"] if isolated else []
        return run([sys.executable, *flags, "-c", dedent(code)], cwd)

    return call
