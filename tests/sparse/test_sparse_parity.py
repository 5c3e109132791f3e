"""Sparse tensors print, compute and fail as PyTorch's: one expression, two libraries."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import flambeau

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")


def names(L: Any) -> dict[str, Any]:
    """What the expressions speak of: `x` coalesced, `u` not, `c` CSR, `h` with a dense dimension."""
    x = L.tensor([[0, 1.5, 0], [2, 0, 3]]).to_sparse()
    u = L.sparse_coo_tensor([[0, 0, 1], [1, 1, 2]], [1.0, 2, 3], (2, 3))
    h = L.arange(24.0).reshape(2, 3, 4).to_sparse(2)
    b = L.arange(1.0, 17).reshape(4, 4).tril().to_sparse_bsr((2, 2))
    return {"L": L, "x": x, "u": u, "c": x.to_sparse_csr(), "h": h, "b": b, "d": L.ones(2, 3)}


def outcome(L: Any, expression: str) -> tuple[str, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = eval(expression, names(L))
        except Exception as error:
            return ("raises", type(error).__name__)
    return ("gives", repr(value))


VALUES = """
x ; c ; u ; h ; b ; u.coalesce() ; L.sparse_coo_tensor(size=(2, 3)) ; L.sparse_coo_tensor((2, 3), dtype=L.int32)
x.half() ; c.double() ; x.int() ; x.to(L.float64) ; x.requires_grad_() ; L.nn.Parameter(x)
L.sparse_coo_tensor([[0, 1]], [1.0, 2], dtype=L.float16) ; L.sparse_coo_tensor([[0, 1]], L.ones(2, 3))
L.sparse_coo_tensor([[0, 1]], [1.0, 2], (2000,), dtype=L.complex64) ; L.sparse_coo_tensor([[]], [])
L.sparse_csr_tensor([0, 1, 2], [0, 1], [1.0, 2.0]) ; L.sparse_csc_tensor([0, 1, 2], [0, 3], [1.0, 2.0])
L.sparse_bsr_tensor([0, 1, 2], [0, 1], L.ones(2, 2, 2))
L.sparse_bsc_tensor([0, 1, 2], [0, 1], L.ones(2, 2, 2))
L.sparse_compressed_tensor([0, 1, 2], [0, 1], [1.0, 2.0], layout=L.sparse_csr)
L.tensor(5.0).to_sparse() ; L.tensor(0.0).to_sparse() ; L.zeros(3, 0).to_sparse()
L.ones(2, 2, 2).to_sparse_csr() ; L.ones(2, 2, 2).to_sparse_csr(dense_dim=1) ; L.eye(2).to_sparse_csc()
L.eye(4).to_sparse_bsc((2, 2)) ; c.to_sparse() ; c.to_sparse_csc() ; c.to_sparse_bsr((1, 3))
c.to_sparse(layout=L.sparse_csc) ; L.ones(2, 3).to_sparse(layout=L.sparse_bsr, blocksize=(2, 3))
x.indices() ; x.values() ; u._values() ; u._indices() ; c.crow_indices() ; c.col_indices() ; c.values()
c.to_sparse_csc().ccol_indices() ; c.to_sparse_csc().row_indices() ; b.values()
x._nnz(), c._nnz(), b._nnz() ; x.sparse_dim(), h.sparse_dim(), c.sparse_dim(), d.sparse_dim()
x.dense_dim(), h.dense_dim(), c.dense_dim(), d.dense_dim() ; x.is_coalesced(), u.is_coalesced()
x.is_sparse, c.is_sparse, x.is_sparse_csr, c.is_sparse_csr, d.is_sparse ; x.layout, c.layout, b.layout
x.stride() ; x.is_contiguous() ; x.type() ; x.numel() ; x.shape ; x.element_size() ; len(x) ; x.cpu() ; list(x)
x + x ; u + u ; c + c ; x - x ; d + x ; d + c ; c + d ; d - x ; L.add(x, x, alpha=3) ; x + x.double()
x * 2 ; 2 * x ; c * 2 ; x / 2 ; x * x ; u * u ; u * x ; c * c ; x * d ; d * x ; c * d ; x * L.ones(3)
x * L.tensor(2.0) ; x ** 2 ; x.pow(3) ; x.floor_divide(2) ; -x ; -u ; -c
x.abs() ; x.sqrt() ; u.sqrt() ; x.relu() ; c.relu() ; x.sin() ; c.sin() ; x.isnan() ; c.isnan() ; x.log1p()
x.round() ; x.sign() ; x.tanh() ; x.trunc() ; x.isinf() ; x.erf() ; x.asinh() ; x.deg2rad() ; x.signbit()
x.sum() ; u.sum() ; c.sum() ; x.sum(0) ; x.sum(1) ; h.sum(2) ; h.sum((0, 2)) ; x.sum((0, 1)) ; c.sum(1, keepdim=True)
x.norm() ; x.norm(1) ; x.any() ; L.sparse.sum(u) ; L.sparse.sum(u, 0) ; L.sparse.sum(u, [0, 1])
L.sparse.sum(u, dtype=L.float64) ; L.sparse.sum(h, [0, 2]) ; L.sparse.sum(h, 2) ; L.sparse.sum(x.int(), 0)
x.t() ; c.t() ; x.transpose(0, 1) ; c.transpose(0, 1) ; x.T ; x.mT ; x.permute(1, 0) ; b.t() ; x.t_()
x[0] ; x[0, 1] ; x[:, 1] ; c[0] ; c[0, 1] ; x.select(0, 1) ; h[1] ; h.select(2, 1) ; x.unbind() ; c.unbind()
x.index_select(1, L.tensor([1, 0])) ; h.index_select(2, L.tensor([1])) ; x.index_select(0, L.tensor([1, 1]))
x.unsqueeze(0) ; x.unsqueeze(2) ; h.unsqueeze(3) ; L.cat([x, u]) ; L.cat([x, x], 1) ; L.cat([h, h], 2) ; L.stack([x, x])
L.stack([x, x], 2) ; x.clone() ; u.clone() ; x.detach() ; L.zeros_like(u) ; L.empty_like(x) ; L.zeros_like(c)
x.zero_() ; c.zero_() ; x.mul_(2) ; x.add_(x) ; d.add_(u, alpha=3) ; d.mul_(u) ; u.mul_(d) ; x.copy_(u) ; x.neg_()
u.sparse_mask(x) ; d.sparse_mask(x) ; d.sparse_mask(u) ; d.sparse_mask(c) ; x.sparse_mask(u.coalesce())
x.sparse_resize_((4, 5), 2, 0) ; x.sparse_resize_and_clear_((4, 5), 2, 0) ; x.resize_as_sparse_(L.eye(4).to_sparse())
u @ L.ones(3, 2) ; L.ones(2, 2) @ u ; u @ L.ones(3) ; u @ u.t() ; c @ L.ones(3, 2) ; L.ones(2, 2) @ c ; c @ c.t()
L.mv(u, L.ones(3)) ; L.addmv(L.ones(2), c, L.ones(3)) ; L.addmm(L.ones(2, 2), u, L.ones(3, 2), beta=2, alpha=3)
L.nn.functional.linear(d, u) ; L.nn.functional.linear(d, c) ; L.bmm(L.ones(1, 2, 2).to_sparse(), L.ones(1, 2, 2))
L.smm(u, L.ones(3, 2)) ; L.hspmm(u, L.ones(3, 2)) ; L.dsmm(u, L.ones(3, 2)) ; L.sspaddmm(u @ u.t(), u, L.ones(3, 2))
L.sparse.mm(u, L.ones(3, 2)) ; L.sparse.mm(d, x.t()) ; L.sparse.mm(d, L.ones(3, 2)) ; L.sparse.mm(u, x.t())
L.sparse.mm(c, L.ones(3, 2), "mean") ; L.sparse.mm(c, L.ones(3, 2), "amax") ; L.sparse.mm(c, L.ones(3, 2), "amin")
L.sparse.addmm(L.ones(2, 2), u, L.ones(3, 2)) ; L.sparse.addmm(L.ones(2, 2), L.eye(2), L.eye(2), beta=0.5)
L.sparse.sampled_addmm(c, L.ones(2, 4), L.ones(4, 3), beta=0.5, alpha=2.0)
L.sparse.softmax(u, 1) ; L.sparse.softmax(h, 2) ; L.sparse.log_softmax(u, 1)
L.sparse.log_softmax(L.eye(3).to_sparse(), 0, dtype=L.float64)
L.sparse.spdiags(L.arange(9.0).reshape(3, 3), L.tensor([0, -1, 2]), (3, 3))
L.sparse.spdiags(L.ones(2, 3), L.tensor([0, 1]), (3, 3), layout=L.sparse_csr) ; L.sparse.spdiags(L.ones(3), L.tensor(1), (3, 3))
L.empty(2, 3, layout=L.sparse_coo) ; L.zeros(2, 3, layout=L.sparse_csr) ; x.is_same_size(u) ; d.to_dense()
L.sparse.check_sparse_tensor_invariants.is_enabled()
"""

ERRORS = """
x.numpy() ; c.numpy() ; x.tolist() ; x.data_ptr() ; x.item() ; c.stride() ; c.is_contiguous() ; x.nbytes ; bool(x)
u.values() ; u.indices() ; c.indices() ; x.crow_indices() ; c.ccol_indices() ; c.coalesce() ; d.values() ; d.indices()
d.coalesce() ; d.is_coalesced() ; d.crow_indices() ; d._nnz() ; x + 1 ; c + 1 ; x + d ; x / d ; x ** 0 ; x.exp() ; x.cos()
x == x ; x > 0 ; x.max() ; x.softmax(1) ; x.reshape(3, 2) ; x.flatten() ; x.view(3, 2) ; x.squeeze() ; x[0:1] ; x.mean()
L.cat([x, d]) ; x.fill_(1) ; d.copy_(u) ; L.ones_like(x) ; u.add_(d) ; d.add_(u.t()) ; L.mm(u, L.ones(4, 2)) ; u @ c.t()
c.sum(0) ; d.sparse_mask(x.t()) ; d.t().sparse_mask(d) ; d.to_sparse(3) ; x.to_sparse(1) ; d.to_sparse_bsr((3, 3))
L.sparse_coo_tensor([[0, 1]], [1.0, 2, 3], (3,)) ; L.sparse_coo_tensor([[0, 1]], [1.0, 2], (3, 3))
L.sparse_coo_tensor([0, 1], [1.0, 2], (3,)) ; L.sparse_coo_tensor([[0, -1]], [1.0, 2])
L.sparse_coo_tensor([[0, 5]], [1.0, 2], (3,), check_invariants=True)
L.sparse_coo_tensor([[0, 0]], [1.0, 2], is_coalesced=True, check_invariants=True)
L.sparse_csr_tensor([0, 1, 3], [0, 1], [1.0, 2.0], (2, 2), check_invariants=True)
L.sparse_csr_tensor([0, 1, 2], [0, 3], [1.0, 2.0], (2, 2), check_invariants=True)
L.sparse_csr_tensor([1, 1, 2], [0, 1], [1.0, 2.0], (2, 2), check_invariants=True)
L.sparse_csr_tensor([0, 2, 2], [1, 0], [1.0, 2.0], (2, 2), check_invariants=True)
L.sparse_csr_tensor([0, 1, 2], [0, 1, 1], [1.0, 2.0], (2, 2), check_invariants=True)
L.sparse_csr_tensor([0, 1, 2], [0, 1], [1.0, 2.0], (3, 2), check_invariants=True)
L.sparse_bsr_tensor([0, 1, 2], [0, 1], L.ones(2, 2, 2), (5, 4), check_invariants=True)
L.sparse_compressed_tensor([0, 1, 2], [0, 1], [1.0, 2.0]) ; L.sparse.spdiags(L.ones(2, 3), L.tensor([0, 0]), (3, 3))
L.sparse_compressed_tensor([0, 1, 2], [0, 1], [1.0, 2.0], layout=L.sparse_coo) ; L.sparse.softmax(c, 1)
x.sparse_resize_((1, 1), 2, 0) ; L.sparse_coo_tensor([[0, 1]], [1.0, 2]).sparse_resize_((5, 3), 1, 1)
L.sparse.mm(c, L.ones(3, 2), "prod") ; h.transpose(0, 2) ; L.ones(2, 3, layout=L.sparse_coo) ; x.requires_grad_().neg_()
L.sparse.sampled_addmm(x, L.ones(2, 4), L.ones(4, 3)) ; c.index_select(0, L.tensor([1])) ; c.unsqueeze(0)
"""


def _listed(text: str) -> list[str]:
    return [e.strip() for line in text.splitlines() for e in line.split(" ; ") if e.strip()]


@pytest.mark.parametrize("expression", _listed(VALUES))
def test_expressions_give_what_pytorch_gives(expression: str) -> None:
    expected = outcome(torch, expression)
    assert expected[0] == "gives"
    assert outcome(flambeau, expression) == expected


@pytest.mark.parametrize("expression", _listed(ERRORS))
def test_expressions_fail_as_pytorch_does(expression: str) -> None:
    expected = outcome(torch, expression)
    assert expected[0] == "raises"
    assert outcome(flambeau, expression) == expected


GRADIENTS = """
w.to_dense() ; w.coalesce().values() ; L.sparse.mm(w, d) ; w @ d ; d @ w ; L.sparse.addmm(L.ones(2, 2), w, d)
w * w.detach() ; w * 2 ; w + w ; L.ones(2, 3) + w ; w * L.ones(2, 3) ; w.sum() ; L.sparse.sum(w, 0) ; L.sparse.sum(w)
w.t() ; w.transpose(0, 1) ; -w ; L.sparse.softmax(w, 1) ; L.sparse.log_softmax(w, 0) ; w.coalesce() ; w.to_sparse_csr()
d.to_sparse() ; d.to_sparse_csr() ; w / 2 ; w.clone() ; w.double() ; w.values() ; L.mv(w, L.ones(3)) ; w * 3 - w
L.sparse_coo_tensor(L.tensor([[0, 1], [1, 1]]), d[0], (2, 2)) ; L.sparse_csr_tensor([0, 1, 2], [0, 1], d[0], (2, 2))
L.sparse.mm(w, d, "sum") ; L.sparse.mm(w, d, "mean") ; L.sparse.mm(w, d, "amax") ; L.nn.functional.linear(d.t(), w)
L.sparse.sampled_addmm(w, d.t()[:, :2], d.t()[:, 1:], beta=0.5) ; w.to_sparse_csc() ; w.to_dense(masked_grad=False)
d.t().sparse_mask(w.detach()) ; L.sparse.mm(w, w.t()) ; w.pow(2) ; w.abs()
"""


def gradients(L: Any, expression: str, kind: str) -> Any:
    """The layouts and values of the result and of both gradients, or None where it fails."""
    column = 1 if kind == "repeated" else 2
    w = L.sparse_coo_tensor([[0, 0, 1], [1, column, 2]], L.tensor([1.0, 2, 3]), (2, 3))
    w = (w.to_sparse_csr() if kind == "csr" else w).requires_grad_()
    d = L.arange(6.0).reshape(3, 2).requires_grad_()
    try:
        out = eval(expression, {"L": L, "w": w, "d": d})
        dense = out if out.layout is L.strided else out.to_dense()
        (dense * L.arange(1.0, 1 + dense.numel()).reshape(dense.shape)).sum().backward()
    except (RuntimeError, NotImplementedError):
        return None
    return [
        None if t is None else (str(t.layout), t.detach().to_dense().numpy())
        for t in (out, w.grad, d.grad)
    ]


@pytest.mark.parametrize("kind", ["distinct", "repeated", "csr"])
@pytest.mark.parametrize("expression", _listed(GRADIENTS))
def test_gradients_have_pytorchs_layouts_and_values(expression: str, kind: str) -> None:
    expected = gradients(torch, expression, kind)
    if expected is None:
        pytest.skip("PyTorch has no such derivative")
    found = gradients(flambeau, expression, kind)
    assert found is not None
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert mine[0] == theirs[0]
            torch.testing.assert_close(mine[1], theirs[1], atol=1e-5, rtol=1e-5)
