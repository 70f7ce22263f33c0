"""Every case is one that its format can hold, and that judges something."""

import re
from dataclasses import replace

import numpy as np
import pytest

from bn1d_conformance import cases, exact_cases
from bn1d_conformance.checks import test_dtype, test_grad
from bn1d_conformance.expected import Expected, VacuousError
from bn1d_conformance.numbers import DTYPES
from bn1d_conformance.subject import ROLES
from bn1d_reference import spec
from bn1d_reference.formats import FORMATS

PROFILES = ("quick", "full")
KEYS = [
    (family, fmt, rank, profile)
    for family in cases.FAMILIES
    for fmt in FORMATS
    for rank in (2, 3)
    for profile in PROFILES
]
FAMILY = pytest.mark.parametrize(("family", "fmt", "rank", "profile"), KEYS)
LONG = 3000  # values of a case that takes long in every way; others of its family are shorter
EXACT = [case for fmt in FORMATS for rank in (2, 3) for case in exact_cases.exact(fmt, rank)]


def suite(profile):
    """Every case of every family, in one profile."""
    keys = [key for key in KEYS if key[3] == profile]
    return [case for key in keys for case in cases.family(*key, 0)] + EXACT


def tensors(case):
    """The case's arrays, by name."""
    return {"x": case.x, "dy": case.dy, **{role: getattr(case.state, role) for role in ROLES}}


def same(a, b):
    """Equal to the last bit."""
    pairs = zip(tensors(a).values(), tensors(b).values(), strict=True)
    return (
        a.id == b.id and a.config == b.config and all(x.tobytes() == y.tobytes() for x, y in pairs)
    )


@FAMILY
def test_arrays_are_of_the_format_rank_and_layout(family, fmt, rank, profile):
    for case in cases.family(family, fmt, rank, profile, 0):
        C, params = case.config.num_features, DTYPES[case.config.format]
        assert case.format == fmt, case.id
        assert case.x.ndim == rank, case.id
        assert case.x.shape[1] == C, case.id
        assert (case.dy.shape, case.dy.dtype) == (case.x.shape, case.x.dtype), case.id
        for role in ROLES:
            array = getattr(case.state, role)
            assert (array.shape, array.dtype) == ((C,), params), case.id


@FAMILY
def test_numbers_are_finite_and_variances_no_less_than_zero(family, fmt, rank, profile):
    for case in cases.family(family, fmt, rank, profile, 0):
        assert all(np.isfinite(a.astype(float)).all() for a in tensors(case).values()), case.id
        assert (case.state.running_var >= 0).all(), case.id


def judges(case, *outputs):
    """Whether the oracle's bounds on these outputs say something of the case."""
    try:
        answers = [getattr(Expected(case), name) for name in outputs]
    except VacuousError:
        return False
    return all(np.isfinite(answer.bound).all() for answer in answers)


@FAMILY
def test_no_case_is_vacuous(family, fmt, rank, profile):
    for case in cases.family(family, fmt, rank, profile, 0):
        assert judges(case, "y", "running_mean", "running_var"), case.id
        if case.x.size <= LONG:
            assert judges(replace(case, training=False), "y"), case.id


def asked_for_gradients():
    """The families, formats and ranks in which a check judges gradients."""
    functions = [f for module in (test_grad, test_dtype) for f in vars(module).values()]
    marks = [m for f in functions for m in getattr(f, "pytestmark", ())]
    tables = [m.args[1] for m in marks if m.name == "parametrize" and "family" in m.args[0]]
    gradients = {i for i in spec.requirements() if i.startswith("GRAD-")} | {"DTYPE-3"}
    rows = [row for table in tables for row in table]
    return sorted({row.values for row in rows if gradients & set(row.marks[0].args)})


@pytest.mark.parametrize(("family", "fmt", "rank"), asked_for_gradients())
def test_no_gradient_is_vacuous(family, fmt, rank):
    short = [c for c in cases.family(family, fmt, rank, "full", 0) if c.x.size <= LONG]
    for case in short:
        assert judges(case, "dx", "dweight", "dbias"), case.id


def test_gradients_are_asked_for_in_every_format():
    assert {fmt for _, fmt, _ in asked_for_gradients()} == set(FORMATS)


def test_a_vacuous_case_is_refused():
    case = cases.drawn("far", "fp32", (8, 2), 0, offset=1e7)
    with pytest.raises(VacuousError, match=re.escape(case.id)):
        _ = Expected(case).y


@pytest.mark.parametrize("profile", PROFILES)
def test_ids_are_unique(profile):
    ids = [case.id for case in suite(profile)]
    assert len(set(ids)) == len(ids)


@FAMILY
def test_a_seed_gives_the_same_bits_again(family, fmt, rank, profile):
    first, second = (tuple(cases.FAMILIES[family](fmt, rank, profile, 3)) for _ in range(2))
    assert len(first) == len(second)
    assert all(map(same, first, second))


@pytest.mark.parametrize("family", ["A1", "A2", "A7", "A9"])
def test_another_seed_gives_other_numbers(family):
    pairs = zip(*(cases.family(family, "fp32", 2, "full", seed) for seed in (0, 1)), strict=True)
    assert all(
        a.x.tobytes() != b.x.tobytes() or a.dy.tobytes() != b.dy.tobytes() for a, b in pairs
    )


def test_a_family_is_the_same_whatever_was_drawn_before():
    alone = tuple(cases.FAMILIES["A9"]("fp32", 2, "quick", 0))
    list(cases.FAMILIES["A1"]("fp32", 2, "quick", 0))
    assert all(map(same, alone, cases.FAMILIES["A9"]("fp32", 2, "quick", 0)))


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("rank", [2, 3])
def test_families_are_only_empty_where_the_checks_leave_them_out(fmt, rank):
    single = fmt in {"fp32", "fp64"}
    empty = {name for name in cases.FAMILIES if not cases.family(name, fmt, rank, "quick", 0)}
    assert empty == ({"A4"} if single else {"A8", "A12"} | ({"A11"} if fmt == "fp16" else set()))


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.id)
def test_the_exact_answers_of_exact_cases_are_in_the_format(case):
    expected = Expected(case)
    for name in ("y", "running_mean", "running_var", "dx", "dweight", "dbias"):
        answer = getattr(expected, name)
        assert not answer.bound.any(), name
        values = answer.exact.astype(DTYPES[answer.format]).astype(float)
        assert np.array_equal(values, answer.exact), f"{name} is rounded"


@pytest.mark.parametrize("size", [(6, 3), (2, 3, 4), (1, 2, 7)])
def test_columns_go_there_and_back(size):
    array = np.arange(np.prod(size), dtype="float32").reshape(size)
    rows = cases.columns(array)
    assert rows.shape == (size[1], array.size // size[1])
    assert rows[1].tolist() == array[:, 1].ravel().tolist()
    assert np.array_equal(cases.from_columns(rows, size), array)


@pytest.mark.parametrize("n", [2, 3, 8, 33, 4097, 65537, 11])
def test_a_shape_has_n_values_a_channel(n):
    assert cases.shape(n, 5, 2) == (n, 5)
    N, C, L = cases.shape(n, 5, 3)
    assert (n, 5) == (N * L, C)
    assert L > 1


def test_a_case_counts_its_values():
    case = cases.drawn("count", "fp32", (2, 3, 4))
    assert case.n == 8
    assert replace(case, x=np.zeros((0, 3), "float32")).n == 0
