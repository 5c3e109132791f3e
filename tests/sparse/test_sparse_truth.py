"""Sparse tensors against NumPy, SciPy and finite differences: random shapes, dtypes and patterns."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import flambeau as fl

FLOATS = ["float32", "float64", "float16", "bfloat16", "complex64", "int64"]
COMPRESSED = ["sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc"]


def matrix(rows: int, columns: int, seed: int, dtype: str = "float64", share: float = 0.3) -> Any:
    """A dense tensor with about that share of elements that are not zero."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-9, 10, (rows, columns)) * (rng.random((rows, columns)) < share)
    return fl.tensor(values.astype(np.float64)).to(getattr(fl, dtype))


def uncoalesced(dense: Any, seed: int) -> Any:
    """Coordinates of the same sum whose places repeat and are in no order."""
    rng = np.random.default_rng(seed)
    at, values = dense.to_sparse().indices(), dense.to_sparse().values()
    order = fl.tensor(rng.permutation(2 * values.numel()))
    both = fl.cat([at, at], 1).index_select(1, order)
    return fl.sparse_coo_tensor(both, fl.cat([values, values]).index_select(0, order), dense.shape)


def to_layout(dense: Any, name: str) -> Any:
    block = (2, 3) if name.startswith("sparse_b") else None
    return dense.to_sparse(layout=getattr(fl, name), blocksize=block)


# ---------------------------------------------------------------- layouts
@pytest.mark.parametrize("dtype", [*FLOATS, "bool"])
@pytest.mark.parametrize("name", ["sparse_coo", *COMPRESSED])
def test_every_layout_holds_what_was_put_in(name: str, dtype: str) -> None:
    for rows, columns, seed in [(4, 6, 0), (6, 3, 1), (2, 3, 2), (0, 3, 3), (4, 0, 4)]:
        dense = matrix(rows, columns, seed, "float64").to(getattr(fl, dtype))
        held = to_layout(dense, name)
        assert held.layout is getattr(fl, name)
        assert held.dtype is dense.dtype
        assert held.to_dense().tolist() == dense.tolist()
        for other in ["sparse_coo", *COMPRESSED]:
            assert to_layout(held, other).to_dense().tolist() == dense.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_compressed_indices_are_scipys(seed: int) -> None:
    dense = matrix(5, 7, seed)
    for mine, theirs, ends, plain in [
        (dense.to_sparse_csr(), sparse.csr_array(dense.numpy()), "crow_indices", "col_indices"),
        (dense.to_sparse_csc(), sparse.csc_array(dense.numpy()), "ccol_indices", "row_indices"),
    ]:
        np.testing.assert_array_equal(getattr(mine, ends)().numpy(), theirs.indptr)
        np.testing.assert_array_equal(getattr(mine, plain)().numpy(), theirs.indices)
        np.testing.assert_array_equal(mine.values().numpy(), theirs.data)


def test_batches_and_dense_dimensions() -> None:
    dense = fl.stack([matrix(4, 4, 1), matrix(4, 4, 1)])
    for name in COMPRESSED:
        block = (2, 2) if name.startswith("sparse_b") else None
        held = dense.to_sparse(layout=getattr(fl, name), blocksize=block)
        assert held.to_dense().tolist() == dense.tolist()
        assert held.to_sparse().to_dense().tolist() == dense.tolist()
    hybrid = dense.movedim(0, 2)
    assert hybrid.to_sparse_csr(dense_dim=1).to_dense().tolist() == hybrid.tolist()
    assert hybrid.to_sparse(2).to_dense().tolist() == hybrid.tolist()
    with pytest.raises(RuntimeError, match="same number of specified elements"):
        fl.stack([matrix(4, 4, 1), fl.zeros(4, 4, dtype=fl.float64)]).to_sparse_csr()


@pytest.mark.parametrize("dtype", FLOATS)
def test_values_at_one_place_add_up(dtype: str) -> None:
    dense = matrix(5, 4, 3, dtype)
    held = uncoalesced(dense, 1)
    assert not held.is_coalesced()
    merged = held.coalesce()
    assert merged.is_coalesced()
    assert merged.to_dense().tolist() == (dense + dense).tolist() == held.to_dense().tolist()
    numbers = merged.indices()[0] * 4 + merged.indices()[1]
    assert (np.diff(numbers.numpy()) > 0).all()


def test_indices_outside_are_noticed_before_memory_is_touched() -> None:
    for at in ([[0, 5]], [[0, -1]]):
        held = fl.sparse_coo_tensor(at, [1.0, 2.0], (3,))
        for use in (held.to_dense, held.coalesce, lambda h=held: fl.zeros(3).add_(h)):
            with pytest.raises(RuntimeError, match="index"):
                use()
    for ends, plain in ([0, 1, 2], [0, 7]), ([0, 3, 2], [0, 1]), ([1, 1, 2], [0, 1]):
        held = fl.sparse_csr_tensor(ends, plain, [1.0, 2.0], (2, 2))
        for use in (held.to_dense, lambda h=held: h @ fl.ones(2, 2), lambda h=held: h @ h):
            with pytest.raises(RuntimeError):
                use()


def test_invariants_are_checked_where_that_is_asked_for() -> None:
    check = fl.sparse.check_sparse_tensor_invariants

    def wrong() -> Any:
        return fl.sparse_csr_tensor([0, 1, 2], [0, 7], [1.0, 2.0], (2, 2))

    wrong()
    with check(), pytest.raises(RuntimeError, match="ncols"):
        wrong()
    with pytest.raises(RuntimeError, match="ncols"):
        check()(wrong)()
    check.enable()
    try:
        with pytest.raises(RuntimeError, match="ncols"):
            wrong()
        with check(False):
            wrong()
    finally:
        check.disable()
    assert not check.is_enabled()


# ---------------------------------------------------------------- products
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["sparse_coo", *COMPRESSED])
def test_products_are_those_of_the_dense_matrices(name: str, dtype: str) -> None:
    for rows, inner, columns, seed in [(4, 6, 5, 0), (2, 3, 1, 1), (6, 3, 0, 2), (4, 0, 2, 3)]:
        a, b = matrix(rows, inner, seed, dtype), matrix(inner, columns, seed + 9, dtype, 1.0)
        expected = (a.to(fl.complex128) @ b.to(fl.complex128)).numpy()
        held = to_layout(a, name)
        for found in (held @ b, fl.sparse.mm(held, b), (b.t() @ held.t()).t()):
            assert found.dtype is a.dtype
            np.testing.assert_array_equal(found.to(fl.complex128).numpy(), expected)


def test_sparse_by_sparse_and_the_fused_forms() -> None:
    a, b = matrix(5, 6, 1), matrix(6, 4, 2)
    expected = a.numpy() @ b.numpy()
    for left, right in ((a.to_sparse(), b.to_sparse()), (a.to_sparse_csr(), b.to_sparse_csr())):
        product = left @ right
        assert product.layout is left.layout
        np.testing.assert_array_equal(product.to_dense().numpy(), expected)
    c = matrix(5, 4, 3, share=1.0)
    fused = fl.addmm(c, a.to_sparse(), b, beta=0.5, alpha=-2)
    np.testing.assert_allclose(fused.numpy(), 0.5 * c.numpy() - 2 * expected)
    np.testing.assert_array_equal(fl.smm(a.to_sparse(), b).to_dense().numpy(), expected)
    np.testing.assert_array_equal(fl.hspmm(a.to_sparse(), b).to_dense().numpy(), expected)
    batch = fl.stack([a, a * 2])
    stacked = fl.bmm(batch.to_sparse(), fl.stack([b, b]))
    np.testing.assert_array_equal(stacked.numpy(), np.stack([expected, 2 * expected]))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_solving_and_its_gradients(dtype: str) -> None:
    dense = (matrix(6, 6, 4) + 30 * fl.eye(6, dtype=fl.float64)).to(getattr(fl, dtype))
    right = fl.arange(1.0, 7).to(dense.dtype)
    found = fl.sparse.spsolve(dense.to_sparse_csr(), right)
    np.testing.assert_allclose((dense @ found).numpy(), right.numpy(), rtol=1e-4)
    if dtype != "float32":
        held = dense.to_sparse_csr().requires_grad_()
        check = fl.sparse.as_sparse_gradcheck(fl.autograd.gradcheck)
        assert check(fl.sparse.spsolve, (held, right.requires_grad_()), masked=True)


# ---------------------------------------------------------------- derivatives
CHECKED = {
    "to_dense": lambda x, d: x.to_dense() * d,
    "mm": lambda x, d: fl.sparse.mm(x, d.t()),
    "from the left": lambda x, d: fl.sparse.mm(d.t(), x),
    "mul": lambda x, d: x * d,
    "add": lambda x, d: d + x * 3,
    "square": lambda x, d: x * x,
    "sum": lambda x, d: fl.sparse.sum(x) * d if x.is_sparse else x.sum() * d,
    "values": lambda x, d: x.values().sin(),
    "tanh": lambda x, d: x.tanh(),
    "transposed": lambda x, d: fl.sparse.mm(x.transpose(0, 1), d),
}
COORDINATES = {
    "sum along": lambda x, d: fl.sparse.sum(x * d, 0),
    "softmax": lambda x, d: fl.sparse.softmax(x, 1) * d,
    "log_softmax": lambda x, d: fl.sparse.log_softmax(x, 0) * d,
    "select": lambda x, d: x.select(0, 1) * d[1],
    "index_select": lambda x, d: x.index_select(1, fl.tensor([2, 0, 2])) * d[:, :3],
    "cat": lambda x, d: fl.cat([x, x * d], 1),
    "stack": lambda x, d: fl.stack([x, x * d], 2),
    "sparse product": lambda x, d: fl.sparse.mm(x, x.t()),
    "norm": lambda x, d: x.norm() * d,
    "smm": lambda x, d: fl.smm(x, d.t()),
    "sspaddmm": lambda x, d: fl.sspaddmm(x[:, 0].unsqueeze(1) * 2, x, d[0].unsqueeze(1)),
    "to blocks": lambda x, d: x.to_sparse_bsr((3, 2)),
}
BY_ROWS = {
    "mean of rows": lambda x, d: fl.sparse.mm(x, d.t(), "mean"),
    "largest": lambda x, d: fl.sparse.mm(x, d.t(), "amax"),
    "sampled": lambda x, d: fl.sparse.sampled_addmm(x, d[:, :2], d[:2], beta=0.5, alpha=2.0),
    "other layout": lambda x, d: x.to_sparse_csc().to_sparse() * d,
}


@pytest.mark.parametrize(
    ("name", "layout"),
    [*((n, k) for n in CHECKED for k in ("sparse_coo", "sparse_csr", "sparse_bsr"))]
    + [(n, "sparse_coo") for n in COORDINATES]
    + [(n, "sparse_csr") for n in BY_ROWS],
)
def test_derivatives_agree_with_finite_differences(name: str, layout: str) -> None:
    function = {**CHECKED, **COORDINATES, **BY_ROWS}[name]
    dense = matrix(3, 4, 5, share=0.6) / 4
    block = (3, 2) if layout == "sparse_bsr" else None
    x = dense.to_sparse(layout=getattr(fl, layout), blocksize=block).requires_grad_()
    d = (matrix(3, 4, 6, share=1.0) / 4 + 0.1).requires_grad_()
    check = fl.sparse.as_sparse_gradcheck(fl.autograd.gradcheck)
    assert check(function, (x, d), masked=True)


def test_unmasked_derivatives_reach_elements_that_are_not_stored() -> None:
    x = matrix(3, 4, 5).to_sparse().requires_grad_()
    d = matrix(4, 2, 6, share=1.0).requires_grad_()
    check = fl.sparse.as_sparse_gradcheck(fl.autograd.gradcheck)
    assert check(lambda a, b: a @ b, (x, d), masked=False)
    (x @ d).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.ones((3, 2)) @ d.detach().numpy().T)


def test_second_derivatives() -> None:
    at = fl.tensor([[0, 0, 1], [0, 2, 1]])
    values = fl.tensor([1.0, 2.0, 3.0], dtype=fl.float64).requires_grad_()
    d = matrix(3, 2, 1, share=1.0).requires_grad_()

    def function(v: Any, b: Any) -> Any:
        x = fl.sparse_coo_tensor(at, v, (2, 3), is_coalesced=True)
        return fl.sparse.mm(x * x, b) ** 2

    assert fl.autograd.gradgradcheck(function, (values, d))


# ---------------------------------------------------------------- look-ups and optimizers
def test_looked_up_rows_give_a_sparse_gradient() -> None:
    weight = fl.nn.Parameter(matrix(9, 3, 2, "float32"))
    index = fl.tensor([[1, 4], [4, 8]])
    dense = fl.nn.functional.embedding(index, weight, padding_idx=8) ** 2
    (expected,) = fl.autograd.grad(dense.sum(), weight)
    for _ in range(2):
        (
            fl.nn.functional.embedding(index, weight, padding_idx=8, sparse=True) ** 2
        ).sum().backward()
        assert weight.grad.is_sparse
    assert weight.grad._nnz() == 6
    np.testing.assert_array_equal(weight.grad.to_dense().numpy(), 2 * expected.numpy())
    (weight * 2).sum().backward()
    assert not weight.grad.is_sparse
    np.testing.assert_array_equal(weight.grad.numpy(), 2 * expected.numpy() + 2)


def test_sparse_gradients_meet_others_on_their_way() -> None:
    weight = matrix(6, 2, 4, share=1.0).requires_grad_()
    index, look_up = fl.tensor([1, 2, 2]), fl.nn.functional.embedding
    for loss in (
        lambda rows, w: (rows @ w.t()).sum(),  # tied weights: sparse and dense
        lambda rows, w: rows.sum() + look_up(fl.tensor([5]), w, sparse=True).sum(),
        lambda rows, w: (rows**3).sum(),
    ):
        sparse_, dense = (
            fl.autograd.grad(loss(look_up(index, weight, sparse=flag), weight), weight)[0]
            for flag in (True, False)
        )
        np.testing.assert_allclose(sparse_.to_dense().numpy(), dense.to_dense().numpy())
    (g,) = fl.autograd.grad(
        (look_up(index, weight, sparse=True) ** 2).sum(), weight, create_graph=True
    )
    (h,) = fl.autograd.grad(fl.sparse.sum(g), weight)
    np.testing.assert_array_equal(h.to_dense().numpy()[:, 0], [0, 2, 4, 0, 0, 0])


def test_gathered_elements_and_bags_give_sparse_gradients() -> None:
    table = matrix(5, 3, 2).requires_grad_()
    index = fl.tensor([[0, 2, 1], [4, 0, 0]])
    for sparse_grad in (False, True):
        (g,) = fl.autograd.grad(fl.gather(table, 0, index, sparse_grad=sparse_grad).sum(), table)
        assert g.is_sparse is sparse_grad
        assert g.to_dense().sum().item() == 6
    bags = fl.tensor([1, 2, 2, 4]), fl.tensor([0, 3])
    for mode in ("sum", "mean"):
        found = []
        for flag in (False, True):
            out = fl.nn.functional.embedding_bag(
                bags[0], table, bags[1], mode=mode, sparse=flag, padding_idx=1
            )
            found.append((out, fl.autograd.grad((out * out).sum(), table)[0].to_dense()))
        for one, two in zip(*found, strict=True):
            np.testing.assert_allclose(one.detach().numpy(), two.detach().numpy())


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize(
    "make",
    [
        lambda L, p: L.optim.SGD(p, lr=0.1),
        lambda L, p: L.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, maximize=True),
        lambda L, p: L.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda L, p: L.optim.Adagrad(p, lr=0.1, lr_decay=0.01),
        lambda L, p: L.optim.SparseAdam(p, lr=0.1, betas=(0.8, 0.95)),
    ],
)
def test_optimizers_take_sparse_gradients_as_pytorch_does(make: Any) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for L in (torch, fl):
        weight = L.nn.Parameter(L.arange(20.0).reshape(10, 2) / 7)
        optimizer = make(L, [weight])
        for index in ([1, 2, 2], [2, 9, 0], [1, 1, 5]):
            optimizer.zero_grad()
            rows = L.nn.functional.embedding(L.tensor(index), weight, sparse=True)
            (rows**2).sum().backward()
            optimizer.step()
        found.append(weight.detach().numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=2e-6)


def test_optimizers_that_cannot_say_so() -> None:
    weight = fl.nn.Parameter(fl.ones(4, 2))
    fl.nn.functional.embedding(fl.tensor([1]), weight, sparse=True).sum().backward()
    with pytest.raises(RuntimeError, match="consider SparseAdam"):
        fl.optim.Adam([weight]).step()
    with pytest.raises(RuntimeError, match="weight_decay"):
        fl.optim.Adagrad([weight], weight_decay=0.1).step()
    with pytest.raises(ValueError, match="dense parameter"):
        fl.optim.SparseAdam([fl.nn.Parameter(fl.eye(2).to_sparse())])
    weight.grad = fl.ones(4, 2)
    with pytest.raises(RuntimeError, match="dense gradients"):
        fl.optim.SparseAdam([weight]).step()
    weight.grad = fl.ones(4, 2).to_sparse() * 3
    norm = fl.nn.utils.clip_grad_norm_([weight], 1.0)
    assert norm.item() == pytest.approx(3 * 8**0.5)
    assert weight.grad.norm().item() == pytest.approx(1.0, rel=1e-4)


# ---------------------------------------------------------------- copies and files
SAMPLES = {
    "coordinates": lambda L: L.tensor([[0, 1.5, 0], [2, 0, 3]]).to_sparse(),
    "repeated": lambda L: L.sparse_coo_tensor([[0, 0], [1, 1]], [1.0, 2.0], (2, 2)),
    "csr": lambda L: L.tensor([[0, 1.5, 0], [2, 0, 3]]).to_sparse_csr(),
    "csc": lambda L: L.tensor([[0, 1.5, 0], [2, 0, 3]]).to_sparse_csc(),
    "bsr": lambda L: L.ones(4, 4, dtype=L.float16).to_sparse_bsr((2, 2)),
    "parameter": lambda L: L.nn.Parameter(L.eye(2).to_sparse()),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_copies_pickles_and_files(name: str) -> None:
    x = SAMPLES[name](fl)
    file = io.BytesIO()
    fl.save({"x": x}, file)
    file.seek(0)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), fl.load(file)["x"]):
        assert repr(twin) == repr(x)
        assert isinstance(twin, fl.nn.Parameter) == isinstance(x, fl.nn.Parameter)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLES)
def test_files_go_to_pytorch_and_back(name: str) -> None:
    torch = pytest.importorskip("torch")
    for writer, reader in ((fl, torch), (torch, fl)):
        file = io.BytesIO()
        writer.save(SAMPLES[name](writer), file)
        file.seek(0)
        assert repr(reader.load(file)) == repr(SAMPLES[name](reader))


def test_sparse_tensors_pass_through_functions_hooks_and_modules() -> None:
    class Square(fl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * (2 * ctx.saved_tensors[0])

    seen: list[Any] = []
    x = matrix(3, 3, 1).to_sparse().requires_grad_()
    x.register_hook(seen.append)
    fl.sparse.mm(Square.apply(x), fl.ones(3, 1, dtype=fl.float64)).sum().backward()
    np.testing.assert_array_equal(x.grad.to_dense().numpy(), 2 * x.detach().to_dense().numpy())
    assert seen[0].is_sparse
    module, other = fl.nn.Module(), fl.nn.Module()
    module.register_buffer("held", x.detach())
    other.register_buffer("held", fl.zeros(3, 3, dtype=fl.float64).to_sparse())
    other.load_state_dict(module.state_dict())
    assert other.float().held.to_dense().tolist() == x.detach().to_dense().tolist()
    y = fl.sparse.mm(x, x).to_dense().sum()
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_in_place_sums_write_into_the_memory_that_is_there() -> None:
    dense, x = fl.ones(4, 5, dtype=fl.float64), uncoalesced(matrix(4, 5, 2), 3)
    view, expected = dense.t(), 1 - 2 * x.to_dense().numpy()
    dense.add_(x, alpha=-2)
    np.testing.assert_array_equal(view.numpy().T, expected)
    strided = fl.ones(5, 4, dtype=fl.float64).t()
    strided.add_(x, alpha=-2)
    np.testing.assert_array_equal(strided.numpy(), expected)
    held = x.detach()
    x.mul_(2)
    assert held.to_dense().tolist() == x.to_dense().tolist()
    with pytest.raises(RuntimeError, match="cannot be put"):
        dense[:] = x


def test_a_file_with_indices_outside_is_refused() -> None:
    for wrong in (
        fl.sparse_coo_tensor([[0, 5]], [1.0, 2.0], (3,)),
        fl.sparse_csr_tensor([0, 1, 2], [0, 7], [1.0, 2.0], (2, 2)),
    ):
        file = io.BytesIO()
        fl.save(wrong, file)
        file.seek(0)
        with pytest.raises(RuntimeError, match="do not fit"):
            fl.load(file)
