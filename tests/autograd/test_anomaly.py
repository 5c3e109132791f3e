"""Anomaly mode: failures of backward name the line of the forward call, NaN is refused."""

from __future__ import annotations

import warnings

import pytest

import flambeau as fl
from tests.oracle import Scripts, agree

scripts = Scripts()


def leaf(L, *values):
    return L.tensor(list(values), requires_grad=True)


class Fails(fl.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        raise KeyError("inside")


@scripts.raises
def nan_is_an_error(L):
    with L.autograd.detect_anomaly():
        a = leaf(L, 0.0, -1.0)
        a.sqrt().sum().backward()


@scripts
def nan_without_the_mode(L):
    a = leaf(L, 0.0, -1.0)
    a.sqrt().sum().backward()
    return a.grad


@scripts
def nan_left_unchecked(L):
    with L.autograd.detect_anomaly(check_nan=False):
        a = leaf(L, 0.0, -1.0)
        a.sqrt().sum().backward()
        return a.grad


@scripts.raises
def switched_by_call(L):
    a = leaf(L, -1.0)
    L.autograd.set_detect_anomaly(True)
    try:
        a.sqrt().backward()
    finally:
        L.autograd.set_detect_anomaly(False)


@scripts
def switched_as_a_context(L):
    a = leaf(L, -1.0)
    with L.autograd.set_detect_anomaly(False):
        a.sqrt().backward()
    return a.grad


@scripts
def good_gradients_pass(L):
    with L.autograd.detect_anomaly():
        a = leaf(L, 1.0, 2.0)
        (a * a.exp()).sum().backward()
        return a.grad


@scripts
def double_backward_is_checked(L):
    with L.autograd.detect_anomaly():
        a = leaf(L, 0.0)
        (g,) = L.autograd.grad(a**1.5, a, create_graph=True)
        (h,) = L.autograd.grad(g**0.5, a)
        return h


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_a_nan_names_the_node_and_its_line():
    with fl.autograd.detect_anomaly():
        a = leaf(fl, -1.0)
        y = a.log().sqrt()  # the culprit
        with pytest.raises(RuntimeError, match="SqrtBackward0") as caught:
            y.backward()
    assert "# the culprit" in str(caught.value)
    assert "returned nan values in its 0th output" in str(caught.value)


def test_an_exception_in_a_node_gets_the_line_as_a_note():
    with fl.autograd.detect_anomaly():
        y = Fails.apply(leaf(fl, 1.0))  # applied here
        with pytest.raises(KeyError) as caught:
            y.backward()
    (note,) = caught.value.__notes__
    assert "FailsBackward" in note
    assert "# applied here" in note


def test_the_line_is_found_through_structured_and_in_place_ops():
    with fl.autograd.detect_anomaly():
        a = leaf(fl, 1.0, 2.0)
        b = a * 1
        b.log_()
        c = (b - 5).sqrt()
        d = c.softmax(0).view(2, 1).sum()  # chain
        with pytest.raises(RuntimeError, match="SoftmaxBackward0|SqrtBackward0"):
            d.backward()


def test_the_mode_leaves_no_trace_behind():
    from flambeau.autograd.grad_mode import FAST

    with fl.autograd.detect_anomaly():
        assert FAST["TRACE"] is not None
    assert FAST["TRACE"] is None
    with pytest.raises(ZeroDivisionError), fl.autograd.detect_anomaly():
        raise ZeroDivisionError
    assert FAST["TRACE"] is None


def test_graphs_made_before_the_mode_still_run():
    a = leaf(fl, -1.0)
    y = a.sqrt()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fl.autograd.detect_anomaly(), pytest.raises(RuntimeError, match="SqrtBackward0"):
            y.backward()
