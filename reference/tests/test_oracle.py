"""The layer: its state, what it refuses, and the shapes that it takes."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

import bn1d_reference
from bn1d_reference.channel import Batch
from bn1d_reference.formats import FP16, FP64
from bn1d_reference.oracle import BatchNorm1d

X = [[1.0, -2.0], [2.0, 0.5], [4.0, 0.25]]
DY = [[1.0, 0.5], [0.0, -1.0], [3.0, 2.0]]


def grads(bn, x, dy, gx, **kwargs):
    """Everything a layer says about an input."""
    y = bn.forward(x, **kwargs)
    first = bn.backward(dy, **kwargs)
    return y, first, bn.double_backward(gx, [0.5] * bn.num_features, [2.0] * bn.num_features)


def test_the_package_names_its_version_and_the_specs():
    assert bn1d_reference.__version__ == bn1d_reference.SPEC_VERSION == "0.1.0"


class TestState:
    def test_a_new_layer_has_two_parameters_and_three_buffers(self):
        bn = BatchNorm1d(2)
        assert bn.parameters() == {"weight": [1.0, 1.0], "bias": [0.0, 0.0]}
        assert bn.buffers() == {
            "running_mean": [0.0, 0.0],
            "running_var": [1.0, 1.0],
            "num_batches_tracked": 0,
        }
        assert (bn.eps, bn.momentum, bn.affine, bn.track_running_stats) == (1e-5, 0.1, True, True)
        assert bn.training
        assert bn.batches is None
        assert list(bn.parameters()) == ["weight", "bias"]
        assert list(bn.buffers()) == ["running_mean", "running_var", "num_batches_tracked"]

    def test_what_is_switched_off_is_none(self):
        bn = BatchNorm1d(2, affine=False, track_running_stats=False)
        assert bn.parameters() == bn.buffers() == {}
        assert bn.weight is bn.bias is bn.running_mean is bn.running_var is None
        assert bn.num_batches_tracked is None
        assert BatchNorm1d(2, bias=False).parameters() == {"weight": [1.0, 1.0]}

    def test_train_and_eval_switch_the_mode(self):
        bn = BatchNorm1d(1)
        assert bn.eval() is bn
        assert not bn.training
        assert bn.train().training
        assert not bn.train(mode=False).training

    def test_resets_restore_the_start(self):
        bn = BatchNorm1d(2)
        start = (bn.parameters(), bn.buffers())
        bn.weight, bn.bias = [2.0, 3.0], [4.0, 5.0]
        bn.forward(X)
        bn.reset_running_stats()
        assert bn.buffers() == start[1]
        assert bn.weight == [2.0, 3.0]
        bn.forward(X)
        bn.reset_parameters()
        assert (bn.parameters(), bn.buffers()) == start

    def test_resets_create_nothing(self):
        bn = BatchNorm1d(2, affine=False, track_running_stats=False)
        bn.reset_parameters()
        assert bn.parameters() == bn.buffers() == {}

    def test_results_of_the_layer_have_its_format_and_outputs_the_one_asked_for(self):
        x = [[0.1], [0.7], [0.3]]
        bn = BatchNorm1d(1, format=FP16)
        wide, g = bn.forward(x, format=FP64), bn.backward(x, format=FP64)
        assert FP16.cast(wide[0]) != wide[0]
        assert FP16.cast(g.x[0]) != g.x[0]
        narrow = [*bn.running_mean, *bn.running_var, *g.weight, *g.bias]
        assert FP16.cast(narrow) == narrow
        again = bn.forward(x)
        assert [FP16.cast(row) for row in wide] == again


class TestRunningStatistics:
    def test_exponential_average(self):
        bn = BatchNorm1d(1, momentum=0.25, format=FP64)
        bn.running_mean, bn.running_var = [8.0], [4.0]
        bn.forward([[1.0], [3.0]])
        assert (bn.running_mean, bn.running_var) == ([6.5], [3.5])  # unbiased variance: 2
        assert bn.num_batches_tracked == 1

    def test_correction_zero_tracks_the_biased_variance_and_changes_nothing_else(self):
        x = [[1.0, 3.0, 8.0], [0.0, 0.5, 7.0]]
        layers = [BatchNorm1d(2, momentum=m, correction=0, format=FP64) for m in (0.25, None)]
        for bn, weight in zip(layers, (0.25, 1.0), strict=True):
            bn.running_var = [4.0, 8.0]
            usual = BatchNorm1d(2, momentum=bn.momentum, format=FP64)
            assert bn.forward_channels(x) == usual.forward_channels(x)
            assert bn.running_mean == usual.running_mean
            olds = zip((4.0, 8.0), map(Batch, x), strict=True)
            exact = [Fraction((1 - weight) * old) + Fraction(weight) * q.var for old, q in olds]
            assert bn.running_var == list(map(float, exact))

    def test_a_layer_tracks_what_another_has_seen(self):
        seen, other = BatchNorm1d(2), BatchNorm1d(2)
        seen.forward(X)
        other.track(seen.batches)
        assert other.buffers() == seen.buffers()

    def test_cumulative_average_replaces_the_start_and_then_averages(self):
        bn = BatchNorm1d(1, momentum=None, format=FP64)
        bn.running_mean, bn.running_var = [100.0], [100.0]
        batches = [[1.0, 3.0], [5.0, 9.0], [-8.0, 4.0, 16.0, 0.0]]
        for x in batches:
            bn.forward_channels([x])
        assert bn.running_mean == [4.0]
        unbiased = [2, 8, Fraction(300, 3)]
        assert bn.running_var == [float(Fraction(sum(unbiased), 3))]
        assert bn.num_batches_tracked == 3

    def test_momentum_zero_counts_and_changes_nothing(self):
        bn = BatchNorm1d(2, momentum=0.0)
        bn.forward(X)
        assert bn.running_mean == [0.0, 0.0]
        assert bn.running_var == [1.0, 1.0]
        assert bn.num_batches_tracked == 1

    def test_momentum_one_keeps_no_memory(self):
        bn = BatchNorm1d(1, momentum=1.0)
        bn.running_mean, bn.running_var = [100.0], [100.0]
        bn.forward([[1.0], [3.0]])
        assert (bn.running_mean, bn.running_var) == ([2.0], [2.0])

    def test_evaluation_changes_nothing_and_uses_what_training_left(self):
        bn = BatchNorm1d(2)
        bn.forward(X)
        before = bn.buffers()
        y = bn.eval().forward(X)
        assert bn.buffers() == before
        assert bn.batches is None
        bn.running_mean = [0.0, 0.0]
        assert bn.forward(X) != y

    def test_a_layer_told_not_to_track_does_not(self):
        bn = BatchNorm1d(2)
        bn.track_running_stats = False
        bn.forward(X)
        assert bn.num_batches_tracked == 0
        assert bn.running_mean == [0.0, 0.0]

    @pytest.mark.parametrize("name", ["running_mean", "running_var", "num_batches_tracked"])
    def test_what_lacks_one_of_its_buffers_moves_none(self, name):
        bn = BatchNorm1d(2)
        setattr(bn, name, None)
        before = bn.buffers()
        bn.forward(X)
        assert bn.buffers() == before

    @pytest.mark.parametrize("name", ["running_mean", "running_var"])
    def test_without_one_statistic_evaluation_uses_the_batch(self, name):
        bn = BatchNorm1d(2)
        trained = bn.forward(X)
        setattr(bn.eval(), name, None)
        assert bn.forward(X) == trained

    def test_without_buffers_evaluation_uses_the_batch(self):
        bn = BatchNorm1d(2, track_running_stats=False)
        trained = grads(bn, X, DY, X)
        assert grads(bn.eval(), X, DY, X) == trained
        assert [batch.n for batch in bn.batches] == [3, 3]


class TestRefusals:
    @pytest.mark.parametrize(
        ("x", "message"),
        [
            ([1.0, 2.0], "expected 2D or 3D input .got 1D"),
            ([[[[1.0]]]], "expected 2D or 3D input .got 4D"),
            ([[1.0, 2.0], [3.0]], "ragged"),
            ([[1.0, 2.0], 3.0], "ragged"),
            ([[[1.0], [2.0, 3.0]]], "ragged"),
            ([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], "expected 2 channels, got size .2, 3."),
            ([[1.0], [2.0]], "expected 2 channels, got size .2, 1."),
            ([[1.0, 2.0]], "more than 1 value per channel"),
            ([[[1.0], [2.0]]], "more than 1 value per channel"),
        ],
    )
    def test_a_refused_input_changes_nothing(self, x, message):
        bn = BatchNorm1d(2)
        before = (bn.parameters(), bn.buffers())
        with pytest.raises(ValueError, match=message):
            bn.forward(x)
        assert (bn.parameters(), bn.buffers()) == before

    def test_channels_must_be_as_many_as_the_layers_and_of_one_length(self):
        bn = BatchNorm1d(2)
        for count in (1, 3):
            with pytest.raises(ValueError, match=f"expected 2 channels, got {count}"):
                bn.forward_channels([[1.0, 2.0]] * count)
        with pytest.raises(ValueError, match="unequal lengths"):
            bn.forward_channels([[1.0, 2.0], [1.0, 2.0, 3.0]])

    def test_one_value_a_channel_will_do_for_evaluation_with_buffers_only(self):
        assert BatchNorm1d(1).eval().forward([[0.0]]) == [[0.0]]
        with pytest.raises(ValueError, match="more than 1 value"):
            BatchNorm1d(1, track_running_stats=False).eval().forward([[0.0]])

    @pytest.mark.parametrize("eps", [0.0, -1e-3])
    def test_training_needs_a_positive_eps(self, eps):
        with pytest.raises(ValueError, match="eps must be positive during training"):
            BatchNorm1d(2, eps=eps).forward(X)

    def test_evaluation_accepts_eps_zero_and_nothing_less(self):
        assert BatchNorm1d(2, eps=0.0).eval().forward(X) == X
        with pytest.raises(ValueError, match="eps must be non-negative"):
            BatchNorm1d(2, eps=-1e-3).eval().forward(X)

    def test_a_gradient_needs_its_pass_and_its_shape(self):
        bn = BatchNorm1d(2)
        with pytest.raises(ValueError, match="needs a forward pass"):
            bn.backward(DY)
        bn.forward(X)
        with pytest.raises(ValueError, match="needs a backward pass"):
            bn.double_backward(X)
        for dy in (DY[:2], [*DY, DY[0]]):
            with pytest.raises(ValueError, match="expected shape"):
                bn.backward(dy)

    @pytest.mark.parametrize("training", [True, False])
    def test_a_gradient_needs_as_many_channels(self, training):
        bn, two, one = BatchNorm1d(2).train(training), [[1.0, 2.0]] * 2, [[1.0, 2.0]]
        bn.forward_channels(two)
        with pytest.raises(ValueError, match="zip"):
            bn.backward_channels(one)
        with pytest.raises(ValueError, match="zip"):  # it has no backward pass to go on from
            bn.double_backward_channels(two)
        bn.backward_channels(two)
        for arguments in ((one,), ([*two, *one],), (two, [1.0]), (two, None, [1.0])):
            with pytest.raises(ValueError, match="zip"):
                bn.double_backward_channels(*arguments)

    def test_what_another_has_seen_needs_as_many_channels(self):
        seen = BatchNorm1d(3)
        seen.forward_channels([[1.0, 2.0]] * 3)
        with pytest.raises(ValueError, match="zip"):
            BatchNorm1d(2).track(seen.batches)

    @pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("length", [1, 3])
    def test_state_of_another_length_is_refused(self, name, training, length):
        bn = BatchNorm1d(2).train(training)
        setattr(bn, name, [1.0] * length)
        with pytest.raises(ValueError, match=f"{name} has {length} elements, not 2"):
            bn.forward(X)
        assert bn.num_batches_tracked == 0


class TestShapes:
    def test_three_dimensions_are_two_with_time_as_samples(self):
        rng = random.Random(1)
        N, C, L = 3, 2, 4
        x, dy, gx = (
            [[[rng.gauss(0, 1) for _ in range(L)] for _ in range(C)] for _ in range(N)]
            for _ in range(3)
        )

        def flat(v):
            return [[v[i][c][t] for c in range(C)] for i in range(N) for t in range(L)]

        for training in (True, False):
            y, first, second = grads(BatchNorm1d(C).train(training), x, dy, gx)
            y2, first2, second2 = grads(
                BatchNorm1d(C).train(training), flat(x), flat(dy), flat(gx)
            )
            assert flat(y) == y2
            assert (flat(first.x), *first[1:]) == first2
            assert (flat(second.x), flat(second.dy), second.weight) == second2

    def test_columns_are_the_nested_input_by_channel(self):
        nested, by_channel = BatchNorm1d(2), BatchNorm1d(2)
        y, first, second = grads(nested, X, DY, X)

        def columns(v):
            return [list(column) for column in zip(*v, strict=True)]

        assert by_channel.forward_channels(columns(X)) == columns(y)
        g = by_channel.backward_channels(columns(DY))
        gg = by_channel.double_backward_channels(columns(X), [0.5] * 2, [2.0] * 2)
        assert g == (columns(first.x), first.weight, first.bias)
        assert gg == (columns(second.x), columns(second.dy), second.weight)
        assert by_channel.buffers() == nested.buffers()

    def test_integers_are_numbers(self):
        assert BatchNorm1d(1).forward([[1], [3]]) == BatchNorm1d(1).forward([[1.0], [3.0]])

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("empty", [[], [[[], []], [[], []], [[], []]]])
    def test_an_empty_batch_is_counted_and_changes_nothing(self, training, empty):
        bn = BatchNorm1d(2).train(training)
        assert bn.forward(empty) == empty
        assert bn.num_batches_tracked == training
        assert (bn.running_mean, bn.running_var) == ([0.0, 0.0], [1.0, 1.0])
        if empty:
            assert bn.backward(empty) == (empty, [0.0, 0.0], [0.0, 0.0])
            assert bn.double_backward(empty) == (empty, empty, [0.0, 0.0])
        else:
            assert bn.backward_channels([[], []]) == ([[], []], [0.0, 0.0], [0.0, 0.0])

    def test_a_layer_without_channels_has_nothing_to_say(self):
        bn = BatchNorm1d(0)
        assert bn.forward_channels([]) == []
        assert bn.backward_channels([]) == ([], [], [])
        with pytest.raises(ValueError, match=r"expected shape \(0, 0\), got \(1, 0\)"):
            bn.backward([[]])

    def test_absent_parameters_have_no_gradient_and_count_as_one_and_zero(self):
        plain, bare = (
            grads(BatchNorm1d(2), X, DY, X),
            grads(BatchNorm1d(2, affine=False), X, DY, X),
        )
        assert bare[0] == plain[0]
        assert bare[1] == (plain[1].x, None, None)
        assert bare[2] == (plain[2].x, plain[2].dy, None)
        assert grads(BatchNorm1d(2, bias=False), X, DY, X)[1] == (*plain[1][:2], None)

    def test_a_backward_pass_uses_what_its_forward_pass_saw(self):
        bn = BatchNorm1d(2).eval()
        expected = grads(bn, X, DY, X)
        bn.forward(X)
        bn.weight[0], bn.running_var, bn.eps, bn.training = 9.0, [9.0, 9.0], 9.0, True
        assert bn.backward(DY) == expected[1]

    def test_zero_factors_are_the_default_of_a_double_backward_pass(self):
        bn = BatchNorm1d(2)
        bn.forward(X)
        bn.backward(DY)
        assert bn.double_backward(X) == bn.double_backward(X, [0.0, 0.0], [0.0, 0.0])
