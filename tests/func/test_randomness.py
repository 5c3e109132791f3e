"""Random numbers inside `vmap`, its warnings and its rules for indices, against PyTorch."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

import flambeau as fl  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
MODES = ("error", "same", "different")


def near(L, x):
    return x.repeat(11, 1).T


CALLS = {
    "rand": lambda L, x, s: L.rand(3),
    "rand of a size": lambda L, x, s: L.randn(size=(17,)),
    "randint": lambda L, x, s: L.randint(2, 9, (2, 2)),
    "randperm": lambda L, x, s: x[L.randperm(3)],
    "rand_like": lambda L, x, s: L.rand_like(x),
    "rand_like of what all share": lambda L, x, s: L.randn_like(s.repeat(11, 1)),
    "bernoulli": lambda L, x, s: L.bernoulli(x),
    "bernoulli of what all share": lambda L, x, s: L.bernoulli(s),
    "bernoulli with p": lambda L, x, s: L.bernoulli(x, 0.3),
    "multinomial": lambda L, x, s: L.multinomial(x, 2),
    "multinomial of rows": lambda L, x, s: L.multinomial(L.stack([x, x]), 2),
    "multinomial of what all share": lambda L, x, s: L.multinomial(L.stack([s, s]), 2, True),
    "normal": lambda L, x, s: L.normal(x, s),
    "normal by numbers": lambda L, x, s: L.normal(0.0, 1.0, (3,)),
    "normal of what all share": lambda L, x, s: L.normal(s, 1.0),
    "poisson": lambda L, x, s: L.poisson(x),
    "binomial": lambda L, x, s: L.binomial(x * 10, s),
    "gamma": lambda L, x, s: L._standard_gamma(s.repeat(7)),
    "gamma of examples": lambda L, x, s: L._standard_gamma(x),
    "dirichlet": lambda L, x, s: L._sample_dirichlet(s),
    "out": lambda L, x, s: L.randn(3, out=L.empty(3)),
    "uniform_": lambda L, x, s: x.clone().uniform_(),
    "uniform_ of what all share": lambda L, x, s: s.clone().uniform_(),
    "normal_": lambda L, x, s: x.repeat(11, 1).normal_(),
    "bernoulli_ by examples": lambda L, x, s: x.clone().bernoulli_(x),
    "bernoulli_ by what all share": lambda L, x, s: x.clone().bernoulli_(s),
    "bernoulli_ of what all share": lambda L, x, s: s.clone().bernoulli_(x),
    "dropout": lambda L, x, s: L.nn.functional.dropout(near(L, x)),
    "dropout of what all share": lambda L, x, s: L.nn.functional.dropout(near(L, s)),
    "dropout of everything": lambda L, x, s: L.nn.functional.dropout(x, 1.0),
    "dropout in place": lambda L, x, s: L.nn.functional.dropout(s.clone(), inplace=True),
    "no dropout": lambda L, x, s: L.nn.Dropout().eval()(s),
    "module": lambda L, x, s: L.nn.Dropout()(s),
    "alpha_dropout": lambda L, x, s: L.nn.functional.alpha_dropout(s, training=True),
    "channels": lambda L, x, s: L.feature_dropout(near(L, x)[None], 0.5, True),
    "channels of what all share": lambda L, x, s: L.feature_dropout(near(L, s)[None], 0.5, True),
    "nested": lambda L, x, s: L.func.vmap(
        lambda y: L.nn.functional.dropout(s.repeat(5)), randomness="different"
    )(x),
    "nested bernoulli": lambda L, x, s: L.func.vmap(
        lambda y: L.bernoulli(x), randomness="different"
    )(x),
    "nested, the same": lambda L, x, s: L.func.vmap(lambda y: L.rand_like(x), randomness="same")(x),
    "jvp": lambda L, x, s: L.func.jvp(L.nn.functional.dropout, (s,), (s,))[1],
    "jvp of bernoulli": lambda L, x, s: L.func.jvp(L.bernoulli, (x,), (x,))[0],
    "jvp of uniform_": lambda L, x, s: L.func.jvp(lambda y: y.clone().uniform_(), (x,), (x,))[1],
    "grad": lambda L, x, s: L.func.grad(lambda y: L.nn.functional.dropout(y).sum())(s),
}


def observed(L, call, mode):
    L.manual_seed(0)
    x, s = L.tensor([[0.1, 0.5, 0.9], [0.2, 0.6, 0.7]]), L.tensor([0.1, 0.5, 0.9])
    try:
        found = L.func.vmap(lambda a: call(L, a, s), randomness=mode)(x).tolist()
    except RuntimeError:
        found = "refused"
    return found, L.rand(1).item()


def flat(x):
    return [y for part in x for y in flat(part)] if isinstance(x, list) else [x]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CALLS)
def test_random_numbers(name, mode):
    ours, after = observed(fl, CALLS[name], mode)
    theirs, expected = observed(torch, CALLS[name], mode)
    assert after == expected
    if isinstance(theirs, str) or isinstance(ours, str):
        assert ours == theirs
        return
    assert flat(ours) == pytest.approx(flat(theirs), rel=1e-5)


def test_windows_at_given_places_are_not_random():
    x = fl.rand(3, 2, 1, 5, 5)
    places = fl.full((2, 1, 2), 0.3)

    def pooled(a):
        return fl.nn.functional.fractional_max_pool2d(a, 2, output_size=2, _random_samples=places)

    assert (fl.func.vmap(pooled)(x) == fl.stack([pooled(a) for a in x])).all()


# ---------------------------------------------------------------- the loop and its warning
LOOPS = {
    "histc": lambda L, x, i: L.histc(x, 4),
    "bincount": lambda L, x, i: L.bincount(i, minlength=4),
    "masked_scatter": lambda L, x, i: x.masked_scatter(x > 1, x),
    "put": lambda L, x, i: x.put(i, x),
    "isin": lambda L, x, i: L.isin(x, x),
    "unique": lambda L, x, i: L.unique(i),
    "sum": lambda L, x, i: x.sum(),
    "index_add": lambda L, x, i: x.index_add(0, i, x),
    "select_scatter": lambda L, x, i: L.select_scatter(x, x[0], 0, 1),
}


def warned(L, call):
    x, i = L.arange(6.0).reshape(2, 3), L.tensor([[2, 0, 1], [1, 2, 0]])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            L.func.vmap(lambda a, b: call(L, a, b))(x, i)
        except RuntimeError:
            return None
    return [str(w.message).split(". Please")[0] for w in caught]


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_announced_where_pytorch_announces_one(name):
    ours, theirs = warned(fl, LOOPS[name]), warned(torch, LOOPS[name])
    assert ours == (theirs or [])


# ---------------------------------------------------------------- rules
INDEXED = {
    "index_add": lambda L, x, i: x.index_add(1, i, x[:, :2], alpha=2),
    "index_add of one place": lambda L, x, i: x.index_add(1, i[0], x[:, :1]),
    "index_copy": lambda L, x, i: x.index_copy(-1, i, x[:, 1:3]),
    "index_fill": lambda L, x, i: x.index_fill(1, i, 7.0),
    "index_fill by a tensor": lambda L, x, i: x.index_fill(0, i % 2, x[0, 0]),
    "index_put": lambda L, x, i: L.index_put(x, (i % 2, i), x[0, :2]),
    "index_put that adds": lambda L, x, i: L.index_put(x, (i * 0,), x, accumulate=True),
    "searchsorted": lambda L, x, i: L.searchsorted(x[0].sort()[0], x),
    "searchsorted of rows": lambda L, x, i: L.searchsorted(x.sort()[0], x[:, :1], right=True),
    "bucketize": lambda L, x, i: L.bucketize(x, L.tensor([-1.0, 0.0, 1.0])),
    "select_scatter": lambda L, x, i: L.select_scatter(x, x[0, :2], 1, 2),
    "slice_scatter": lambda L, x, i: L.slice_scatter(x, x[:1] * 2, 0, 1, 2),
    "block_diag": lambda L, x, i: L.block_diag(x, x[0], x[0, 0]),
    "one_hot": lambda L, x, i: L.nn.functional.one_hot(i, 5),
    "embedding": lambda L, x, i: L.nn.functional.embedding(i, x.T, padding_idx=1),
    "addmm": lambda L, x, i: L.addmm(x[:, :2], L.ones(2, 4), L.ones(4, 2)),
    "baddbmm": lambda L, x, i: L.baddbmm(x[:, :2], L.ones(5, 2, 4), L.ones(5, 4, 2), beta=0.5),
    "cholesky_ex": lambda L, x, i: L.linalg.cholesky_ex(x @ x.T)[0],
    "inv_ex": lambda L, x, i: L.linalg.inv_ex(x @ x.T)[0],
    "solve_ex": lambda L, x, i: L.linalg.solve_ex(x @ x.T, x[:, 0])[0],
    "lu_factor": lambda L, x, i: L.linalg.lu_factor(x @ x.T)[0],
    "lu_solve": lambda L, x, i: L.linalg.lu_solve(*L.linalg.lu_factor(x @ x.T), x),
    "pinv": lambda L, x, i: L.linalg.pinv(x),
    "lstsq": lambda L, x, i: L.linalg.lstsq(x.T, x.T[:, :1], driver="gels")[0],
    "matrix_power": lambda L, x, i: L.linalg.matrix_power(x @ x.T, 0),
    "grid_sample": lambda L, x, i: L.nn.functional.grid_sample(
        x[None, None], x[None, :, :2, None].expand(1, 2, 2, 2) / 9, align_corners=False
    ),
    "sum of a number": lambda L, x, i: x[0, 0].sum(),
    "max of a number": lambda L, x, i: x[0, 0].max(0)[0] + x[0, 0].max() + x[0, 0].amax(()),
    "cumsum of a number": lambda L, x, i: x[0, 0].cumsum(0) + L.softmax(x[0, 0], 0),
    "argmax of a number": lambda L, x, i: x[0, 0].argmax() + x[0, 0].argmin(0, True),
    "mean of a number": lambda L, x, i: x[0, 0].mean(-1, True) + x[0, 0].logsumexp(0),
}


@pytest.mark.parametrize("name", INDEXED)
def test_rules(name):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64)
    i = torch.tensor([[0, 2], [3, 1], [2, 1]])
    call = INDEXED[name]
    ours = fl.func.vmap(lambda a, b: call(fl, a, b))(
        fl.from_numpy(x.numpy()), fl.tensor(i.tolist())
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.func.vmap(lambda a, b: call(torch, a, b))(x, i)
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert flat(ours.tolist()) == pytest.approx(flat(theirs.tolist()), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("index", [[[0, 1], [2, 4]], [[0, -1], [1, 1]]])
def test_an_example_cannot_reach_into_another(index):
    x, i = fl.zeros(2, 4), fl.tensor(index)
    with pytest.raises((IndexError, RuntimeError)):
        fl.func.vmap(lambda a, b: a.index_add(0, b, a[:2]))(x, i)
    with pytest.raises((IndexError, RuntimeError)):
        fl.func.vmap(lambda a, b: fl.nn.functional.embedding(b, a[:, None]))(x, i)
