"""Huge batches, at a size that a test can have: who passes, who fails, who is not asked."""

import json

import pytest

LAYERS = '''
import torch


class Wraps(torch.nn.BatchNorm1d):
    """What lies beyond 2**19 values is written over the beginning."""

    LIMIT = 2**19

    def forward(self, x):
        y = super().forward(x)
        flat = y.flatten()
        rest = flat[self.LIMIT :]
        return torch.cat([rest, flat[len(rest) : self.LIMIT], rest]).view(y.shape)


class Loses(torch.nn.BatchNorm1d):
    """The last channels of many are not tracked."""

    def forward(self, x):
        before = self.running_var[256:].clone()
        y = super().forward(x)
        self.running_var.data[256:] = before
        return y


class Short(torch.nn.BatchNorm1d):
    def forward(self, x):
        if x.numel() > 2**19:
            raise MemoryError
        return super().forward(x)
'''
SIZE = "600000"


@pytest.fixture(scope="module")
def asked(python, tmp_path_factory):
    """Judge the huge batches at a small size: the events that were recorded."""
    folder = tmp_path_factory.mktemp("huge")
    (folder / "layers.py").write_text(LAYERS)

    def call(name, huge=SIZE):
        records = folder / f"{name}-{huge}"
        records.mkdir()
        target = f"{folder}/layers.py:{name}" if name != "Right" else "torch.nn:BatchNorm1d"
        words = ["-n", "1", "-p", "xdist", "-k", "huge", "--bn1d-profile", "quick"]
        words += ["--bn1d-subject", target, "--bn1d-records", str(records)]
        words += ["--bn1d-huge", huge] if huge else []
        ran = python(f"""
            from bn1d_conformance.running.run import call_pytest
            raise SystemExit(call_pytest({words!r}, object()))
        """)
        assert ran.returncode in (0, 1, 5), ran.stdout + ran.stderr
        lines = (line for f in records.glob("*.jsonl") for line in f.read_text().splitlines())
        return [json.loads(line) for line in lines]

    return call


def judged(events):
    return [e for e in events if e["e"] == "judged"]


def test_a_right_layer_passes_in_both_modes_and_ranks(asked):
    rows = judged(asked("Right"))
    assert len(rows) == 4
    assert all(row["requirement"] == "LAYOUT-6" and row["passed"] for row in rows)


def test_an_index_that_wraps_is_seen_and_its_script_is_no_batch(asked):
    rows = judged(asked("Wraps"))
    assert [row["passed"] for row in rows] == [False] * 4
    failures = [f for row in rows for f in row["failures"]]
    assert [f["message"][:2] for f in failures] == ["y["] * 4
    assert not any("program" in f["evidence"] for f in failures)


def test_statistics_of_the_last_channels_are_looked_at(asked):
    rows = judged(asked("Loses"))
    assert [f["evidence"]["quantity"] for row in rows for f in row["failures"]] == [
        "running_var"
    ] * 2


def test_what_there_is_no_memory_for_is_not_run(asked):
    whys = [e["why"] for e in asked("Short") if e["e"] == "skip"]
    assert len(whys) == 4
    assert all(why.startswith("there is not enough memory: forward in") for why in whys)
    skips = [e for e in asked("Right", huge=str(10**14)) if e["e"] == "skip"]
    assert {e["verdict"] for e in skips} == {"not-run"}
    assert all("of memory, and this machine has" in e["why"] for e in skips)


def test_nobody_is_asked_unless_he_says_so(asked):
    assert not judged(asked("Right", huge=""))
