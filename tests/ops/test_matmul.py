"""Products of vectors and matrices, and einsum, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from tests.ops.compare import agree, case, integers, normal, refuse

N = normal
CASES = [
    case("mm", N(3, 4), N(4, 5)),
    case("mm", N(0, 4), N(4, 5)),
    case("mm", N(3, 0), N(0, 5)),
    case("bmm", N(2, 3, 4), N(2, 4, 5)),
    case("mv", N(3, 4), N(4)),
    case("dot", N(4), N(4, seed=1)),
    case("vdot", N(4), N(4, seed=1)),
    case("matmul", N(4), N(4, seed=1)),
    case("matmul", N(4), N(4, 3)),
    case("matmul", N(3, 4), N(4)),
    case("matmul", N(4), N(2, 4, 3)),
    case("matmul", N(2, 3, 4), N(4)),
    case("matmul", N(2, 3, 4), N(4, 5)),
    case("matmul", N(3, 4), N(2, 4, 5)),
    case("matmul", N(5, 1, 3, 4), N(2, 4, 5)),
    case("matmul", N(0, 3, 4), N(4, 5)),
    case("addmm", N(3, 5), N(3, 4), N(4, 5), beta=0.5, alpha=2.0),
    case("addmm", N(5), N(3, 4), N(4, 5)),
    case("addmv", N(3), N(3, 4), N(4), alpha=0.3),
    case("addr", N(3, 4), N(3), N(4), beta=0.2, alpha=3.0),
    case("addbmm", N(3, 5), N(2, 3, 4), N(2, 4, 5), beta=0.5, alpha=2.0),
    case("baddbmm", N(1, 3, 5), N(2, 3, 4), N(2, 4, 5), beta=0.5, alpha=2.0),
    case("outer", N(3), N(4)),
    case("inner", N(2, 3), N(4, 3)),
    case("inner", N(2, 3), N()),
    case("kron", N(2, 3), N(4, 1, 2)),
    case("tensordot", N(2, 3, 4), N(3, 4, 5), dims=2),
    case("tensordot", N(2, 3, 4), N(4, 5, 3), dims=([2, 1], [0, 2])),
    case("tensordot", N(2, 3), N(4), dims=0),
    case("nn.functional.linear", N(2, 3, 4), N(5, 4), N(5)),
    case("nn.functional.linear", N(4), N(5, 4)),
    case("nn.functional.bilinear", N(2, 3), N(2, 4), N(5, 3, 4), N(5)),
    case("nn.functional.scaled_dot_product_attention", N(2, 3, 4), N(2, 5, 4), N(2, 5, 6)),
    case(
        "nn.functional.scaled_dot_product_attention",
        N(2, 4, 3, 4), N(2, 2, 5, 4), N(2, 2, 5, 6), is_causal=True, scale=0.4, enable_gqa=True,
    ),
]  # fmt: skip
EQUATIONS = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("ij,ij", (3, 4), (3, 4)),
    ("ij,kj->ik", (3, 4), (5, 4)),
    ("ji", (3, 4)),
    ("ii->i", (4, 4)),
    ("ii", (4, 4)),
    ("ijj->ij", (2, 3, 3)),
    ("i,j->ji", (3,), (4,)),
    ("i,j,k->ijk", (2,), (3,), (4,)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("...ij,...jk->...ik", (2, 3, 4), (4, 5)),
    ("b...i,bi->b...", (2, 3, 4), (2, 4)),
    ("a...a->...", (3, 2, 3)),
    ("ij,j->", (3, 4), (4,)),
    ("bi,bi->b", (3, 4), (3, 4)),
    ("ij,ik->jk", (1, 4), (3, 5)),
    (" i j , j k -> k i ", (3, 4), (4, 5)),
    ("abc->", (2, 3, 4)),
    ("ab,cd->abcd", (2, 3), (2, 2)),
    ("bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("ij,jk->ik", (0, 4), (4, 5)),
]


@pytest.mark.parametrize("made", CASES)
def test_product(made):
    agree(made)


# PyTorch's own kron does not take transposed operands.
@pytest.mark.parametrize("made", [p for p in CASES if p.values[0].path != "kron"])
def test_product_of_other_layouts(made):
    agree(made, layout="reversed", order=1)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("shapes", [((3, 4), (5, 4)), ((2, 3, 4), (5, 4)), ((30, 4), (5, 4))])
def test_distances(p, shapes):
    made = case("cdist", *(normal(*s, seed=i) for i, s in enumerate(shapes)), p=p).values[0]
    agree(made, order=1, rtol=1e-5)


def test_distances_have_second_derivatives():
    for rows in (3, 30):
        x, y = (flambeau.tensor(normal(n, 4, seed=n), requires_grad=True) for n in (rows, 2))
        assert flambeau.autograd.gradgradcheck(lambda a, b: flambeau.cdist(a, b), (x, y))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("made", [CASES[0], CASES[3], CASES[10], CASES[29]])
def test_half_precision_is_rounded_once(made, dtype):
    agree(made, dtype=dtype, order=1, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(("equation", "shapes"), [(e, s) for e, *s in EQUATIONS])
def test_einsum(equation, shapes):
    operands = [normal(*s, seed=i) for i, s in enumerate(shapes)]
    made = case("einsum", equation, *operands).values[0]
    agree(made)


def test_einsum_of_sublists():
    made = case("einsum", normal(2, 3), [0, 1], normal(3, 4), [1, 2], [2, 0]).values[0]
    agree(made)


def test_einsum_is_numpys():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in ((3, 4), (4, 5), (5, 3))]
    ours = flambeau.einsum("ij,jk,kl->il", *map(flambeau.tensor, arrays))
    np.testing.assert_allclose(ours.numpy(), np.einsum("ij,jk,kl->il", *arrays))


@pytest.mark.parametrize(
    "made",
    [
        case("mm", N(3, 4), N(3, 4)),
        case("mm", N(3), N(3, 4)),
        case("mm", N(3, 4), integers(5, 4, 2)),
        case("bmm", N(2, 3, 4), N(3, 4, 5)),
        case("bmm", N(3, 4), N(3, 4, 5)),
        case("mv", N(3, 4), N(3)),
        case("mv", N(3), N(3)),
        case("dot", N(3), N(4)),
        case("dot", N(3, 1), N(3)),
        case("matmul", N(), N(3)),
        case("matmul", N(2, 3, 4), N(3, 4, 5)),
        case("addmm", N(4), N(3, 4), N(4, 5)),
        case("outer", N(2, 3), N(3)),
        case("tensordot", N(2, 3), N(4, 5), dims=1),
        case("nn.functional.linear", N(2, 3), N(5, 4)),
        case("einsum", "ij,jk", N(3, 4)),
        case("einsum", "ij->k", N(3, 4)),
        case("einsum", "ij->ii", N(3, 4)),
        case("einsum", "ijk", N(3, 4)),
        case("einsum", "ij,jk", N(3, 4), N(5, 6)),
        case("einsum", "ii", N(3, 4)),
        case("einsum", "i?->i", N(3, 4)),
        case("cdist", N(3, 4), N(5, 3)),
        case("cdist", N(3, 4), N(5, 4), p=-1.0),
    ],
)
def test_wrong_shapes_are_refused(made):
    refuse(made)


def test_in_place_and_out():
    a, b, c = (flambeau.tensor(normal(3, 3, seed=i)) for i in range(3))
    expected = 0.5 * a.numpy() + 2 * b.numpy() @ c.numpy()
    out = flambeau.empty(3, 3, dtype=flambeau.float64)
    flambeau.addmm(a, b, c, beta=0.5, alpha=2, out=out)
    np.testing.assert_allclose(out.numpy(), expected)
    np.testing.assert_allclose(a.addmm_(b, c, beta=0.5, alpha=2).numpy(), expected)


def test_beta_zero_hides_nan():
    nan = flambeau.full((2, 2), float("nan"))
    eye = flambeau.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert flambeau.addmm(nan, eye, eye, beta=0).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_attention_ignores_masked_keys_and_empty_rows():
    q, k, v = (flambeau.tensor(normal(1, 3, 4, seed=i)) for i in range(3))
    mask = flambeau.tensor([[True, False, False], [True, True, False], [False, False, False]])
    out = flambeau.nn.functional.scaled_dot_product_attention(q, k, v, mask)
    np.testing.assert_allclose(out[0, 0].numpy(), v[0, 0].numpy())
    assert not out[0, 2].numpy().any()


def test_complex_gradients_are_conjugated():
    torch = pytest.importorskip("torch")
    z = normal(3, 3) + 1j * normal(3, 3, seed=1)
    w = normal(3, 3, seed=2) + 1j * normal(3, 3, seed=3)
    grads = []
    for library in (flambeau, torch):
        a = library.tensor(z).requires_grad_()
        b = library.tensor(w).requires_grad_()
        library.matmul(a, b).abs().sum().backward()
        grads.append((np.array(a.grad.tolist()), np.array(b.grad.tolist())))
    np.testing.assert_allclose(grads[0][0], grads[1][0])
    np.testing.assert_allclose(grads[0][1], grads[1][1])


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize(
    "shapes", [((40, 41), (41, 42)), ((3, 33, 34), (34, 50)), ((2, 1, 33, 64), (3, 64, 37))]
)
def test_large_complex_products(shapes, dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s) + 1j * rng.standard_normal(s) for s in shapes)
    ours = [flambeau.tensor(v).to(getattr(flambeau, dtype)) for v in (a, b)]
    found = (ours[0] @ ours[1]).numpy()
    exact = [v.numpy().astype(np.clongdouble) for v in ours]
    expected = np.matmul(*exact)
    scale = np.matmul(np.abs(exact[0]), np.abs(exact[1]))
    bound = np.finfo(found.dtype).eps * shapes[0][-1] ** 0.5
    assert (np.abs(found - expected) <= bound * scale).all()
    turned = (ours[1].mT.conj() @ ours[0].mT.conj()).numpy()
    assert (
        np.abs(turned - expected.swapaxes(-1, -2).conj()) <= bound * scale.swapaxes(-1, -2)
    ).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.complex64])
@pytest.mark.parametrize("step", [1, 2])
def test_dot_of_long_vectors(step: int, dtype: Any) -> None:
    rng = np.random.default_rng(step)
    a, b = (rng.normal(size=160_000).astype(dtype)[::step] for _ in range(2))
    x, y = flambeau.from_numpy(a), flambeau.from_numpy(b)
    results = []
    for threads in (1, 3):
        flambeau.set_num_threads(threads)
        results.append((flambeau.dot(x, y).item(), flambeau.vdot(x, y).item()))
    flambeau.set_num_threads(2)
    assert results[0] == results[1]
    wide = np.clongdouble if dtype == np.complex64 else np.longdouble
    exact = np.dot(a.astype(wide), b.astype(wide)), np.vdot(a.astype(wide), b.astype(wide))
    bound = 0 if dtype == np.int64 else 20_000 * np.finfo(dtype).eps
    np.testing.assert_allclose(results[0], exact, rtol=0, atol=bound)
