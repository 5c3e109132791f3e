"""Batched matrix products, convolutions and solvers."""

from __future__ import annotations

from typing import Any

from ..grad_mode import FAST, is_grad_enabled
from .rules import Call, rule


def _product(c: Call, first: str, second: str) -> Any:
    """The matrix product of two arguments for each example: (size, ..., rows, columns)."""
    a, b = c.rank(first), c.rank(second)
    x, y = c.part(first), c.part(second)
    if a == 1:
        x = x.unsqueeze(-2)
    if b == 1:
        y = y.unsqueeze(-1)
    rank = max(a, b, 2)
    x = _lead(c, first, x, max(a, 2), rank)
    y = _lead(c, second, y, max(b, 2), rank)
    out = FAST["F"].matmul(x, y)
    if a == 1:
        out = out.squeeze(-2)
    return out.squeeze(-1) if b == 1 else out


def _lead(c: Call, name: str, x: Any, rank: int, wanted: int) -> Any:
    """A batched `x` whose examples have `rank` dimensions, with `wanted` instead."""
    if not c.is_batched(name) or rank == wanted:
        return x
    return x.reshape(c.size, *[1] * (wanted - rank), *x.shape[1:])


@rule("matmul mm bmm mv dot")
def matmul(c: Call) -> Any:
    """The matrix product, in all its forms."""
    first, second = c.op.tensors
    _check(c, first, second)
    return _product(c, first, second)


def _check(c: Call, first: str, second: str) -> None:
    """Refuse what the op would refuse of one example."""
    ranks = (c.rank(first), c.rank(second))
    wanted = {"mm": (2, 2), "bmm": (3, 3), "mv": (2, 1), "dot": (1, 1)}.get(c.op.name, ranks)
    a, b = c[first].shape, c[second].shape
    fits = min(ranks) > 0 and a[-1] == b[-2 if ranks[1] > 1 else -1]
    if ranks != wanted or not fits:
        raise RuntimeError(
            f"{c.op.name}: shapes cannot be multiplied or have wrong numbers of dimensions: "
            f"{list(a)} and {list(b)}"
        )


@rule("outer_product")
def outer_product(c: Call) -> Any:
    """All products of the elements of two vectors."""
    return c.full("input").unsqueeze(-1) * c.full("vec2").unsqueeze(-2)


@rule("cross_product")
def cross_product(c: Call) -> Any:
    """Cross products along a dimension that is counted from the back."""
    return c.run_full()


@rule("vdot")
def vdot(c: Call) -> Any:
    """The inner product, conjugated on the left."""
    x = c.part("input")
    return (x.conj() * c.part("other")).sum(-1)


@rule("addmm baddbmm")
def addmm(c: Call) -> Any:
    """A matrix product and what is added to it."""
    _, first, second = c.op.tensors
    product = _product(c, first, second)
    if not c.is_batched(first) and not c.is_batched(second):
        product = product.unsqueeze(0)
    beta, alpha = c["beta"], c["alpha"]
    if alpha != 1:
        product = product * alpha
    if beta == 0:
        return product
    bias = c.ready("input", len(product.shape) - 1)
    return product + (bias if beta == 1 else bias * beta)


@rule("linear")
def linear(c: Call) -> Any:
    """Rows times a weight, which all examples share or each has its own."""
    if c.only("input"):
        return c.run()
    x, weight, bias = c.part("input"), c.part("weight"), c["bias"]
    if not c.is_batched("weight"):
        out = FAST["F"].linear(x, weight)
    else:
        rows = x.reshape(c.size, -1, x.shape[-1]) if c.is_batched("input") else x.reshape(
            -1, x.shape[-1]
        )  # fmt: skip
        if c.rank("weight") == 1:
            weight = weight.unsqueeze(1)
        out = products_of_rows(rows, weight)
        last = () if c.rank("weight") == 1 else (weight.shape[1],)
        out = out.reshape(c.size, *c["input"].shape[:-1], *last)
    if bias is None:
        return out
    batched_out = c.is_batched("input") or c.is_batched("weight")
    rank = len(out.shape) - batched_out
    return out + c.ready("bias", rank)


def products_of_rows(rows: Any, weight: Any) -> Any:
    """(size, n, in) or (n, in) rows times a (size, out, in) weight each: (size, n, out)."""
    from ..function import Function

    if len(rows.shape) == 2 or weight.stride(0) != 0:
        return FAST["F"].matmul(rows, weight.transpose(1, 2))

    class Shared(Function):
        """The product with one weight in every example's place, whose gradients differ."""

        @staticmethod
        def forward(ctx: Any, rows: Any, weight: Any) -> Any:
            ctx.save_for_backward(rows, weight)
            return FAST["F"].linear(rows, weight[0])

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            rows, weight = ctx.saved_tensors
            back = None
            if ctx.needs_input_grad[0]:
                # Where this is recorded, the weight of each example counts by itself.
                back = g.matmul(weight if is_grad_enabled() else weight[0])
            own = g.transpose(1, 2).matmul(rows) if ctx.needs_input_grad[1] else None
            return back, own

    return Shared.apply(rows, weight)


# ---------------------------------------------------------------- convolutions
def _into_channels(x: Any) -> Any:
    """(size, n, channels, ...) -> (n, size * channels, ...)."""
    x = x.transpose(0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])


def _out_of_channels(x: Any, size: int) -> Any:
    """(n, size * channels, ...) -> (size, n, channels, ...)."""
    return x.reshape(x.shape[0], size, -1, *x.shape[2:]).transpose(0, 1)


def _fold(x: Any) -> Any:
    """(size, n, ...) -> (size * n, ...)."""
    return x.reshape(-1, *x.shape[2:])


@rule("convolve")
def convolve(c: Call) -> Any:
    """Examples are more items or, with weights of their own, more groups."""
    x, weight, bias = c.part("input"), c.part("weight"), c["bias"]
    if not c.size:
        return None
    if not c.is_batched("weight"):
        if not c.is_batched("input"):
            out = c.run(bias=None).unsqueeze(0)
        else:
            out = c.run(input=_fold(x), bias=None)
            out = out.reshape(c.size, -1, *out.shape[1:])
    elif not c.is_batched("input") and c["groups"] == 1:
        out = _out_of_channels(c.run(weight=_fold(weight), bias=None), c.size)
    else:
        full = c.full("input")
        groups = c.size * c["groups"]
        out = c.run(input=_into_channels(full), weight=_fold(weight), bias=None, groups=groups)
        out = _out_of_channels(out, c.size)
    if bias is None:
        return out
    held = c.part("bias")
    if c.is_batched("bias"):
        held = held.unsqueeze(1)
    return out + held.reshape(*held.shape, *[1] * (len(weight.shape) - 2 - c.is_batched("weight")))


@rule("convolution_input_grad")
def input_grad(c: Call) -> Any:
    """The gradient of a convolution for its input."""
    size = tuple(c["input_size"])
    if not c.size:
        return None
    if c.only("grad"):
        out = c.run(grad=_fold(c.part("grad")), input_size=(c.size * size[0], *size[1:]))
        return out.reshape(c.size, *size)
    out = c.run(
        grad=_into_channels(c.full("grad")),
        weight=_fold(c.full("weight")),
        input_size=(size[0], c.size * size[1], *size[2:]),
        groups=c.size * c["groups"],
    )
    return _out_of_channels(out, c.size)


@rule("convolution_weight_grad")
def weight_grad(c: Call) -> Any:
    """The gradient of a convolution for each example's weight: examples are more groups."""
    size = tuple(c["weight_size"])
    if not c.size:
        return None
    out = c.run(
        grad=_into_channels(c.full("grad")),
        input=_into_channels(c.full("input")),
        weight_size=(c.size * size[0], *size[1:]),
        groups=c.size * c["groups"],
    )
    return out.reshape(c.size, *size)


# ---------------------------------------------------------------- solvers
@rule("identity")
def identity(c: Call) -> Any:
    """The same matrix for all examples."""
    like = FAST["F"].empty((1,), dtype=c["input"]._t)
    return c.run(input=like).expand(c.size, c["rows"], c["columns"])


@rule("pivot_matrix")
def pivot_matrix(c: Call) -> Any:
    """Permutation matrices, of a dtype that all examples share."""
    if not c.is_batched("pivots"):
        return None
    return c.run(like=FAST["F"].empty((1,), dtype=c["like"]._t))


@rule("linalg_solve_triangular cholesky_solve")
def solve_matrices(c: Call) -> Any:
    """Systems of equations with matrices on both sides."""
    first, second = c.op.tensors
    rank = max(c.rank(first), c.rank(second))
    if min(c.rank(first), c.rank(second)) < 2:
        return None
    if c.rank(first) != c.rank(second):
        # What all examples share could be taken for vectors.
        full = {n: c.full(n) for n in (first, second)}
        return c.run(**{
            n: x.reshape(c.size, *[1] * (rank - c.rank(n)), *x.shape[1:]) for n, x in full.items()
        })  # fmt: skip
    return c.run_full()


@rule("linalg_solve linalg_solve_ex")
def solve(c: Call) -> Any:
    """Systems of equations with a vector or matrix on the right."""
    a, b = c["A"].shape, c["B"].shape
    is_vector = len(b) == 1 or (len(b) == len(a) - 1 and tuple(b) == tuple(a[:-1]))
    if not is_vector:
        return solve_matrices(c)
    if not c["left"]:
        return None
    rank = max(len(a), len(b) + 1)
    right = c.full("B").unsqueeze(-1)
    right = right.reshape(c.size, *[1] * (rank - len(b) - 1), *right.shape[1:])
    out = c.run(A=c.ready("A", rank), B=right)
    if c.op.name == "linalg_solve":
        return out.squeeze(-1)
    return type(out)(out[0].squeeze(-1), out[1])
