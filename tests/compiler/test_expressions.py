"""The scalar language: tracing, simplification, rendering as Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.backends.cpu.scalars import numpy_function
from flambeau.compiler.expressions import (
    BUILDER,
    PRIMITIVES,
    Expression,
    apply,
    inputs_of,
    is_constant,
    lift,
    parameters,
    render_python,
    trace,
)
from flambeau.ops.readers import NumpyNames
from flambeau.ops.record import REGISTRY

SPACE = NumpyNames()


def evaluate(e, **values):
    """The value of an expression by its NumPy rendering."""
    rendered = render_python(e, {n: n for n in values}, "N_")
    space = {**SPACE, **values}
    for line in rendered.statements:
        exec(line, space)
    return eval(rendered.text, space)


def test_a_lambda_is_traced():
    e = trace(lambda m, x, y: m.exp(x) * 2 + y / (1 - x))
    assert repr(e) == "add(mul(exp(x), 2), true_divide(y, sub(1, x)))"
    assert inputs_of(e) == {"x", "y"}
    assert parameters(lambda m, x, alpha: x) == ["x", "alpha"]


def test_a_constant_function_is_traced():
    assert trace(lambda m, x: 0).op == "const"
    assert inputs_of(trace(lambda m, x: 0)) == set()


@pytest.mark.parametrize(
    ("f", "text"),
    [
        (lambda m, x, y: x + y, "add(x, y)"),
        (lambda m, x, y: 1 + x, "add(1, x)"),
        (lambda m, x, y: x - 1, "sub(x, 1)"),
        (lambda m, x, y: 1 - x, "sub(1, x)"),
        (lambda m, x, y: 3 * x, "mul(3, x)"),
        (lambda m, x, y: 2 / x, "true_divide(2, x)"),
        (lambda m, x, y: x**2, "pow(x, 2)"),
        (lambda m, x, y: 2**x, "pow(2, x)"),
        (lambda m, x, y: -x, "neg(x)"),
        (lambda m, x, y: x < y, "lt(x, y)"),
        (lambda m, x, y: x <= y, "le(x, y)"),
        (lambda m, x, y: x > 0, "gt(x, 0)"),
        (lambda m, x, y: x >= 0, "ge(x, 0)"),
        (lambda m, x, y: (x > 0) & (y > 0), "bitwise_and(gt(x, 0), gt(y, 0))"),
        (lambda m, x, y: (x > 0) | (y > 0), "bitwise_or(gt(x, 0), gt(y, 0))"),
        (lambda m, x, y: (x > 0) ^ (y > 0), "bitwise_xor(gt(x, 0), gt(y, 0))"),
        (lambda m, x, y: ~(x > 0), "bitwise_not(gt(x, 0))"),
        (lambda m, x, y: m.where(x > 0, x, y), "where(gt(x, 0), x, y)"),
        (lambda m, x, y: m.eq(x, y), "eq(x, y)"),
        # what does nothing is left out
        (lambda m, x, y: x * 1, "x"),
        (lambda m, x, y: 1 * x, "x"),
        (lambda m, x, y: x / 1, "x"),
        (lambda m, x, y: x * -1, "neg(x)"),
        (lambda m, x, y: -1 * x, "neg(x)"),
        # and what only looks like it is not
        (lambda m, x, y: x + 0, "add(x, 0)"),
        (lambda m, x, y: 1 / x, "true_divide(1, x)"),
        (lambda m, x, y: x * 0, "mul(x, 0)"),
        (lambda m, x, y: x - 1 + 1, "add(sub(x, 1), 1)"),
    ],
)
def test_operators(f, text):
    assert repr(trace(f)) == text


def test_unknown_primitives_and_wrong_counts_are_refused():
    with pytest.raises(AttributeError, match="nonsense"):
        trace(lambda m, x: m.nonsense(x))
    with pytest.raises(TypeError, match="exp takes 1"):
        trace(lambda m, x: m.exp(x, x))
    with pytest.raises(TypeError, match="where takes 3"):
        trace(lambda m, x: m.where(x, x))


def test_every_primitive_can_be_built_and_has_a_numpy_function():
    for name, primitive in PRIMITIVES.items():
        args = [Expression("input", n) for n in "abc"[: primitive.arity]]
        assert getattr(BUILDER, name)(*args).op == name
        assert callable(numpy_function(name))


def test_lifting_and_constants():
    x = Expression("input", "x")
    assert lift(x) is x
    assert is_constant(lift(2), 2)
    assert not is_constant(x, 2)
    assert apply("mul", x, 1) is x


def test_shared_parts_are_computed_once():
    def f(m, x):
        t = m.exp(x)
        return t / (1 + t) + t

    rendered = render_python(trace(f), {"x": "a"}, "N_")
    assert len(rendered.statements) == 1
    assert rendered.statements[0] == "_0 = N_exp(a)"
    assert rendered.text.count("N_exp") == 0


def test_shared_parts_are_bound_before_they_are_used():
    def f(m, x):
        u = m.exp(x)
        v = u * u
        return v / (1 + v) + u

    rendered = render_python(trace(f), {"x": "a"}, "N_")
    names = [line.split(" = ")[0] for line in rendered.statements]
    assert names == sorted(set(names))
    assert evaluate(trace(f), x=np.float64(0.5)) == pytest.approx(
        np.exp(1) / (1 + np.exp(1)) + np.exp(0.5)
    )


def test_rendering_for_tensors_uses_operators():
    rendered = render_python(trace(lambda m, x, y: m.sin(x) * y + 1), {"x": "p", "y": "q"}, "F.")
    assert rendered == ([], "((F.sin(p) * q) + 1)")


@pytest.mark.parametrize("value", [math.inf, -math.inf, -2.5, 0.1, 1e-300, 3, True, 1j])
def test_constants_survive_rendering(value):
    e = apply("add", Expression("input", "x"), value)
    assert evaluate(e, x=np.float64(0)) == value


def test_nan_survives_rendering():
    e = apply("add", Expression("input", "x"), math.nan)
    assert np.isnan(evaluate(e, x=np.float64(0)))


leaves = st.one_of(
    st.sampled_from(["x", "y"]).map(lambda n: Expression("input", n)),
    st.sampled_from([0, 1, -1, 2, 0.5, -3.25]).map(lift),
)


def _combine(parts):
    return st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "mul", "maximum", "minimum"]), parts, parts),
        st.tuples(st.sampled_from(["neg", "abs", "sin", "square", "tanh"]), parts),
    ).map(lambda t: apply(*t))


def direct(e, values):
    """The value of an expression, computed by walking its tree."""
    if e.op == "input":
        return values[e.args[0]]
    if e.op == "const":
        return np.float64(e.args[0])
    return numpy_function(e.op)(*(direct(a, values) for a in e.args))


@given(st.recursive(leaves, _combine, max_leaves=12), st.floats(-3, 3), st.floats(-3, 3))
def test_rendering_means_what_the_tree_means(e, x, y):
    values = {"x": np.asarray(x), "y": np.asarray(y)}
    np.testing.assert_array_equal(evaluate(e, **values), direct(e, values))


def test_every_pointwise_op_has_a_formula_that_renders():
    found = [op for op in REGISTRY.values() if op.family == "pointwise"]
    assert len(found) > 80
    for op in found:
        names = {n: n for n in op.signature.parameters}
        for prefix in ("N_", "F."):
            rendered = render_python(op.expression, names, prefix)
            compile("\n".join([*rendered.statements, rendered.text]), op.name, "exec")
        assert inputs_of(op.expression) <= set(names)
