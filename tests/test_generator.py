"""The random streams against published values and, where it is installed, against PyTorch."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from flambeau import box_muller, generator, variates
from flambeau.backends.cpu import random_streams
from flambeau.generator import Generator

F32, F64, I64 = np.dtype("float32"), np.dtype("float64"), np.dtype("int64")
BF16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = (F32, F64, np.dtype("float16"), BF16)
INTEGERS = ("bool", "uint8", "int8", "int16", "int32", "int64")
SIZES = (0, 1, 2, 5, 15, 16, 17, 24, 33, 100, 623, 624, 625, 1249, 40_000, 150_001)


@pytest.fixture(params=["numpy", "compiled"], autouse=True)
def kernels(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on NumPy's loops and on the compiled ones."""
    found = random_streams.load() if request.param == "compiled" else None
    if request.param == "compiled" and found is None:
        pytest.skip("nothing can be compiled here")
    monkeypatch.setattr(generator, "_kernels", found)
    monkeypatch.setattr(generator, "load_kernels", lambda: found)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


# ---------------------------------------------------------------- published values, PyTorch 2.13
FROZEN: list[tuple[str, int, Any, list[float]]] = [
    (
        "uniform float32",
        0,
        lambda g: g.uniform(5, F32),
        [
            0.49625658988952637,
            0.7682217955589294,
            0.08847743272781372,
            0.13203048706054688,
            0.30742281675338745,
        ],
    ),
    (
        "uniform float64",
        1,
        lambda g: g.uniform(3, F64),
        [0.06105327471962363, 0.2245545065676504, 0.23425251394483937],
    ),
    (
        "seed -1",
        -1,
        lambda g: g.uniform(3, F32),
        [0.9937993884086609, 0.5713063478469849, 0.5700080394744873],
    ),
    (
        "seed 2**32 + 5",
        2**32 + 5,
        lambda g: g.uniform(3, F32),
        [0.8302518725395203, 0.12611091136932373, 0.9074696898460388],
    ),
    (
        "serial normal",
        0,
        lambda g: g.normal(5, F32),
        [
            1.5409960746765137,
            -0.293428897857666,
            -2.1787893772125244,
            0.5684312582015991,
            -1.0845223665237427,
        ],
    ),
    (
        "block normal and its tail",
        0,
        lambda g: g.normal(17, F32),
        [
            -1.1258398294448853,
            -1.6959311962127686,
            0.5666506290435791,
            0.7935083508491516,
            0.5988394618034363,
            -1.5550950765609741,
            -0.3413603901863098,
            1.85300612449646,
            0.46809640526771545,
            -0.5854975581169128,
            -0.1733967512845993,
            0.18347793817520142,
            1.3893661499023438,
            1.586334228515625,
            0.946298360824585,
            -0.843676745891571,
            0.9318265914916992,
        ],
    ),
    (
        "float64 normal",
        1,
        lambda g: g.normal(3, F64),
        [0.6613521715704522, 0.2669240982925188, 0.061677258237348306],
    ),
    (
        "log_normal",
        0,
        lambda g: g.log_normal(5, F32, 0.5, 0.25),
        [
            2.4235877990722656,
            1.5321052074432373,
            0.9562868475914001,
            1.9004825353622437,
            1.2571778297424316,
        ],
    ),
    ("randint", 0, lambda g: g.randint(0, 10, 8, I64), [4, 9, 3, 0, 3, 9, 7, 3]),
    (
        "randint of 40 bits",
        0,
        lambda g: g.randint(0, 2**40, 3, I64),
        [741280623151, 506137267392, 291447657211],
    ),
    (
        "random_ int64",
        0,
        lambda g: g.random_(2, I64),
        [900450186894289455, 3969543146641149120],
    ),
    ("random_ float32", 0, lambda g: g.random_(2, F32), [8325664.0, 12888472.0]),
    ("randperm", 0, lambda g: g.randperm(10), [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]),
    (
        "bernoulli",
        0,
        lambda g: g.bernoulli(0.3, 16),
        [0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0],
    ),
    (
        "exponential",
        0,
        lambda g: g.exponential(3, F32, 1.5),
        [2.338884115219116, 0.8202565312385559, 0.4100293815135956],
    ),
    ("geometric", 0, lambda g: g.geometric(7, F32, 0.3), [1, 1, 3, 1, 2, 1, 5]),
    (
        "cauchy",
        0,
        lambda g: g.cauchy(3, F32, 0.5, 2.0),
        [21.695459365844727, 2.0295345783233643, 0.24340131878852844],
    ),
    (
        "multinomial with replacement",
        0,
        lambda g: g.multinomial(np.arange(10, dtype=F32)[None], 8, True)[0],
        [9, 8, 6, 9, 8, 8, 4, 6],
    ),
    (
        "multinomial without replacement",
        0,
        lambda g: g.multinomial(np.arange(10, dtype=F32)[None], 6)[0],
        [6, 9, 7, 8, 4, 2],
    ),
    (
        "rrelu",
        0,
        lambda g: -g.rrelu_noise(-np.ones(20, F32), 1 / 8, 1 / 3)[:3],
        [-0.3270943760871887, -0.27246248722076416, -0.22070477902889252],
    ),
]


@pytest.mark.parametrize(("seed", "draw", "expected"), [f[1:] for f in FROZEN], ids=lambda f: "")
def test_published_values(seed: int, draw: Any, expected: list[float]) -> None:
    np.testing.assert_array_equal(draw(seeded(seed)), expected)


# ---------------------------------------------------------------- PyTorch as the oracle
@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def bits(tensor: Any) -> np.ndarray[Any, Any]:
    torch = pytest.importorskip("torch")
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(BF16)
    return tensor.numpy()


def torch_dtype(torch: Any, dtype: np.dtype[Any]) -> Any:
    return getattr(torch, dtype.name)


def same(mine: Any, theirs: Any) -> None:
    expected = bits(theirs)
    assert mine.dtype == expected.dtype
    assert mine.shape == expected.shape
    assert mine.tobytes() == expected.tobytes()


def same_state(g: Generator, torch: Any) -> None:
    assert g.state_array().tobytes() == torch.get_rng_state().numpy().tobytes()


# PyTorch's vectorised float32 kernel is the one rebuilt here; without it only rounding differs.
def same_normal(mine: Any, theirs: Any, torch: Any) -> None:
    if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") or mine.dtype == F64:
        same(mine, theirs)
    else:
        rtol = {2: 1e-2, 4: 2e-5}[mine.dtype.itemsize]
        np.testing.assert_allclose(mine.astype(F64), theirs.double().numpy(), rtol, rtol)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("n", SIZES)
def test_uniform_and_normal(torch: Any, dtype: np.dtype[Any], n: int) -> None:
    g, kind = seeded(n), torch_dtype(torch, dtype)
    torch.manual_seed(n)
    same(g.uniform(n, dtype), torch.empty(n, dtype=kind).uniform_())
    same_normal(g.normal(n, dtype), torch.empty(n, dtype=kind).normal_(), torch)
    same(g.uniform(n, dtype, -0.3, 0.55), torch.empty(n, dtype=kind).uniform_(-0.3, 0.55))
    same_normal(g.normal(n, dtype, 0.3, 1.7), torch.empty(n, dtype=kind).normal_(0.3, 1.7), torch)
    strided = torch.empty(n, 2, dtype=kind)[:, 0].normal_(0.3, 1.7)
    same(g.normal(n, dtype, 0.3, 1.7, contiguous=n < 2), strided.contiguous())
    same_state(g, torch)


@pytest.mark.parametrize("n", [3, 20])
@pytest.mark.parametrize("name", ["complex64", "complex128"])
def test_complex(torch: Any, name: str, n: int) -> None:
    g = seeded(4)
    torch.manual_seed(4)
    same(g.uniform(n, name), torch.rand(n, dtype=getattr(torch, name)))
    same_normal_parts = g.normal(n, name)
    theirs = torch.randn(n, dtype=getattr(torch, name))
    np.testing.assert_allclose(same_normal_parts, theirs.numpy(), rtol=2e-5, atol=1e-6)
    same_state(g, torch)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("n", [7, 1000, 70_000])
def test_transforms_of_uniforms(torch: Any, dtype: np.dtype[Any], n: int) -> None:
    g, kind = seeded(2), torch_dtype(torch, dtype)
    torch.manual_seed(2)
    same(g.log_normal(n, dtype, 0.513, 0.257), torch.empty(n, dtype=kind).log_normal_(0.513, 0.257))
    same(g.geometric(n, dtype, 0.3), torch.empty(n, dtype=kind).geometric_(0.3))
    same(g.cauchy(n, dtype, 0.5, 2.3), torch.empty(n, dtype=kind).cauchy_(0.5, 2.3))
    p = torch.linspace(0, 1, n).to(kind)
    same(g.bernoulli_array(bits(p)), torch.zeros(n, dtype=torch.bool).bernoulli_(p))
    same_state(g, torch)


def uses_mkl(torch: Any) -> bool:
    """Whether this PyTorch draws Bernoulli numbers by MKL, which has a stream of its own."""
    torch.manual_seed(0)
    return bool(torch.zeros(16).bernoulli_(0.3).tolist() != FROZEN[13][3])


@pytest.mark.parametrize("n", [7, 1000, 70_000])
def test_bernoulli_and_exponential(torch: Any, n: int) -> None:
    if uses_mkl(torch):
        pytest.skip("this PyTorch draws them from MKL's generator")
    g = seeded(6)
    torch.manual_seed(6)
    same(g.bernoulli(0.3, n), torch.zeros(n, dtype=torch.bool).bernoulli_(0.3))
    same(g.bernoulli(0.0, n), torch.zeros(n, dtype=torch.bool).bernoulli_(0.0))
    same(g.bernoulli(1.0, n), torch.zeros(n, dtype=torch.bool).bernoulli_(1.0))
    for dtype in FLOATS:
        theirs = torch.empty(n, dtype=torch_dtype(torch, dtype)).exponential_(1.5)
        same(g.exponential(n, dtype, 1.5), theirs)
    same_state(g, torch)


SPANS = ((0, 1), (0, 2), (-5, 5), (0, 2**28 - 1), (0, 2**28), (0, 2**32), (-(2**40), 2**40))


@pytest.mark.parametrize(("low", "high"), [*SPANS, (-(2**63), 2**63 - 1)])
@pytest.mark.parametrize("n", [3, 2000])
def test_randint(torch: Any, low: int, high: int, n: int) -> None:
    g = seeded(8)
    torch.manual_seed(8)
    same(g.randint(low, high, n, I64), torch.randint(low, high, (n,)))
    same(g.randint(0, 100, n, F32), torch.randint(0, 100, (n,), dtype=torch.float32))
    same_state(g, torch)


@pytest.mark.parametrize("name", [*INTEGERS, "float16", "bfloat16", "float32", "float64"])
def test_random_without_bounds(torch: Any, name: str) -> None:
    g, dtype = seeded(9), BF16 if name == "bfloat16" else np.dtype(name)
    torch.manual_seed(9)
    for n in (5, 1000):
        same(g.random_(n, dtype), torch.zeros(n, dtype=getattr(torch, name)).random_())
    same_state(g, torch)


@pytest.mark.parametrize("n", [0, 1, 2, 10, 255, 256, 257, 258, 700, 3000, 60_000, 100_001])
def test_randperm(torch: Any, n: int) -> None:
    for seed in range(3):
        g = seeded(seed)
        torch.manual_seed(seed)
        same(g.randperm(n), torch.randperm(n))
        same_state(g, torch)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_multinomial(torch: Any, dtype: np.dtype[Any]) -> None:
    weights = torch.rand(7, 900, generator=torch.Generator().manual_seed(1)).numpy().astype(dtype)
    weights[:, 3] = 0
    theirs = torch.from_numpy(weights)
    g = seeded(5)
    torch.manual_seed(5)
    same(g.multinomial(weights, 300, True), torch.multinomial(theirs, 300, replacement=True))
    if not uses_mkl(torch):
        g = seeded(5)
        torch.manual_seed(5)
        same(g.multinomial(weights, 40), torch.multinomial(theirs, 40))
        same(g.multinomial(weights, 1), torch.multinomial(theirs, 1))


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_rejection_samplers(torch: Any, dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(3)
    rate = np.append(rng.uniform(0, 60, 700), [0, 0.1, 9.99, 10, 5000]).astype(dtype)
    count = np.append(rng.integers(0, 300, 700), [0, -2, 5, 5, 5]).astype(dtype)
    prob = np.append(rng.uniform(0, 1, 700), [0.5, 0.5, 0, 1, 0.5]).astype(dtype)
    alpha = np.append(rng.uniform(0.01, 5, 700), [1, 1e-3, 100, 0, 1 / 3]).astype(dtype)
    g = seeded(12)
    torch.manual_seed(12)
    same(g.normal(1, F32), torch.randn(1))  # leaves half a pair, which the first gamma takes
    for _ in range(2):
        same(variates.poisson(g, rate), torch.poisson(torch.from_numpy(rate)))
        args = torch.from_numpy(count), torch.from_numpy(prob)
        same(variates.binomial(g, count, prob), torch.binomial(*args))
        same(variates.standard_gamma(g, alpha), torch._standard_gamma(torch.from_numpy(alpha)))
        rows = alpha.reshape(-1, 5)
        theirs = torch._sample_dirichlet(torch.from_numpy(rows)).numpy()
        np.testing.assert_allclose(variates.dirichlet(g, rows), theirs, rtol=1e-15, atol=0)
        same(g.normal(3, F32), torch.randn(3))
        same_state(g, torch)


def in_numpy(draw: Any) -> Any:
    """What `draw` gives without the compiled loops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "_kernels", None)
        patch.setattr(generator, "load_kernels", lambda: None)
        return draw()


def sample_rejected(kind: str, n: int) -> tuple[Any, ...]:
    """Samples of every method that `kind` has, and where the stream stands after them."""
    rng = np.random.default_rng(n)
    g = seeded(n)
    g.normal(n % 2, F32)  # leaves half a pair or none
    if kind == "poisson":
        rate = rng.choice([0, 1e-3, 1, 9.99, 10, 11.5, 300, 1e6, 1e12], n)
        drawn = variates.poisson(g, rate * rng.uniform(0.9, 1, n))
    elif kind == "binomial":
        count = rng.choice([-1, 0, 1, 20, 1000, 10**7, math.inf, math.nan], n)
        prob = rng.choice([-1, 0, 1e-6, 0.01, 0.3, 0.5, 0.8, 1, math.nan], n)
        drawn = variates.binomial(g, count, prob)
    else:
        alpha = rng.choice([0, 1e-3, 0.3, 1, 2.5, 1e4, math.nan], n)
        drawn = variates.standard_gamma(g, alpha.astype(kind))
    return drawn.tobytes(), g.state_array().tobytes(), g.uniform(700, F64).tobytes()


@pytest.mark.parametrize("kind", ["poisson", "binomial", "float32", "float64"])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 60, 5000])
def test_compiled_samplers_take_the_same_decisions(kind: str, n: int) -> None:
    assert sample_rejected(kind, n) == in_numpy(lambda: sample_rejected(kind, n))


def draw_little(g: Generator) -> list[Any]:
    """Draws of a few elements by each method, from every place in a block of words."""
    drawn: list[Any] = []
    for n in (0, 1, 3, 7, 16, 33, 100):
        drawn += [g.uniform(n, d, *bounds) for d in FLOATS for bounds in ((), (-1, 2), (1, 1.0001))]
        drawn += [g.normal(n, d, 0.3, 2.0, flag) for d in FLOATS for flag in (True, False)]
        drawn += [g.randint(*s, n, I64) for s in (*SPANS, (-7, 2**28 - 9), (5, 2**27 + 3))]
        drawn += [g.bernoulli(0.3, n), g.randperm(n), g.random32(n), g.random_(n, F32)]
        drawn += [g.log_normal(n, F64), g.exponential(n, F32), g.cauchy(n, F64)]
        drawn += [variates.poisson(g, np.full(n, 3.0)), variates.standard_gamma(g, np.ones(n))]
        drawn.append(g.state_array())
    return [d.tobytes() for d in drawn]


def test_small_draws_load_the_compiled_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = in_numpy(lambda: draw_little(seeded(5)))
    monkeypatch.setattr(generator, "_kernels", None)
    monkeypatch.setattr(generator, "_drawn_in_numpy", 0)
    loads, found = [], generator.load_kernels()

    def load() -> Any:
        loads.append(found)
        return found

    monkeypatch.setattr(generator, "load_kernels", load)
    g = seeded(1)
    g.uniform(3, F32)
    assert not loads
    assert draw_little(seeded(5)) == expected
    assert loads
    assert generator._kernels is found


def test_remainders_are_exact() -> None:
    words = seeded(2).random32(100_000).astype(I64)
    for span in (1, 3, 7, 10, 2**16 + 1, 2**28 - 1, 2**27 + 1):
        np.testing.assert_array_equal(
            seeded(2).randint(-3, span - 3, 100_000, I64), words % span - 3
        )


def test_bounds_that_rounding_reaches() -> None:
    high = float(np.nextafter(F32.type(1), F32.type(2)))
    values = seeded(0).uniform(1000, F32, 1.0, high)
    assert values.tolist() == [1.0] * 1000
    assert (seeded(0).uniform(1 << 16, F32, 1000.0, 1000.5) < 1000.5).all()


def test_state_travels_both_ways(torch: Any) -> None:
    g = seeded(3)
    g.normal(3, F32)
    g.uniform(1000, F32)
    torch.set_rng_state(torch.from_numpy(g.state_array()))
    assert torch.initial_seed() == 3
    same(g.normal(5, F64), torch.randn(5, dtype=torch.float64))
    torch.rand(77)
    torch.randn(1)
    g.set_state(torch.get_rng_state())
    same(g.normal(1, F64), torch.randn(1, dtype=torch.float64))
    same(g.random64(400).view(I64) & (2**63 - 1), torch.zeros(400, dtype=torch.int64).random_())
    same_state(g, torch)


# ---------------------------------------------------------------- properties
def test_words_do_not_depend_on_how_they_are_taken() -> None:
    whole = seeded(1).random32(5000)
    g, taken, rng = seeded(1), [], np.random.default_rng(0)
    while sum(map(len, taken)) < 4000:
        taken.append(g.random32(int(rng.choice([0, 1, 3, 50, 600, 624, 625, 900]))))
    joined = np.concatenate(taken)
    np.testing.assert_array_equal(joined, whole[: len(joined)])
    assert whole[0] == 1791095845  # the first word of mt19937 seeded with 1
    g = seeded(1)
    pairs = np.concatenate([g.random64(n) for n in (1, 700, 3, 200)])
    np.testing.assert_array_equal(pairs >> 32, whole[0:1808:2])
    np.testing.assert_array_equal(pairs & 0xFFFFFFFF, whole[1:1808:2])


def test_a_drawn_array_is_the_caller_s() -> None:
    g = seeded(0)
    first = g.random32(5)
    first[:] = 0
    assert (g.random32(600) != 0).any()
    assert seeded(0).random32(1)[0] == 2357136044


def test_state_is_saved_restored_copied_and_pickled() -> None:
    g = seeded(11)
    g.normal(3, F32)  # leaves half a pair
    state = g.get_state()
    assert state.shape == (5056,)
    assert str(state.dtype).endswith("uint8")
    twins = [g.clone_state(), copy.deepcopy(g), pickle.loads(pickle.dumps(g))]
    expected = [g.normal(3, F32), g.uniform(900, F64)]
    for twin in twins:
        assert twin.initial_seed() == 11
        np.testing.assert_array_equal(twin.normal(3, F32), expected[0])
        np.testing.assert_array_equal(twin.uniform(900, F64), expected[1])
    g.set_state(state)
    np.testing.assert_array_equal(g.normal(3, F32), expected[0])


def test_bad_arguments() -> None:
    g = Generator()
    state = g.state_array()
    with pytest.raises(RuntimeError, match="5056 but found the input RNG state size to be 5055"):
        g.set_state_array(state[:-1])
    with pytest.raises(TypeError, match="ByteTensor"):
        g.set_state_array(state.astype(np.int8))
    with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
        g.set_state_array(np.zeros_like(state))
    for seed in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match="Overflow"):
            g.manual_seed(seed)
    with pytest.raises(RuntimeError, match="expected a long, but got float"):
        g.manual_seed(1.5)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="expected device 'cpu'"):
        Generator("meta")
    with pytest.raises(RuntimeError, match="invalid Poisson rate"):
        variates.poisson(g, np.array([1.0, math.nan]))
    with pytest.raises(RuntimeError, match="expected finite rates"):
        variates.poisson(g, np.array([1.0, math.inf]))
    assert g.state_array().tobytes() == state.tobytes()
    for weights in ([[-1.0, 2.0]], [[1.0, math.nan]], [[math.inf, 1.0]]):
        with pytest.raises(RuntimeError, match="`inf`, `nan` or element < 0"):
            g.multinomial(np.array(weights), 1)
    with pytest.raises(RuntimeError, match="sum of probabilities <= 0"):
        g.multinomial(np.array([[1.0, 2.0], [0.0, 0.0]]), 1)


def test_seed_is_fresh() -> None:
    g = Generator()
    first, second = g.seed(), g.seed()
    assert first != second
    assert g.initial_seed() == second
    np.testing.assert_array_equal(g.random32(4), seeded(second).random32(4))


def test_threads_share_one_stream() -> None:
    g, taken = seeded(0), []

    def take() -> None:
        taken.extend(g.random32(37) for _ in range(50))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = seeded(0).random32(4 * 50 * 37)
    np.testing.assert_array_equal(np.sort(np.concatenate(taken)), np.sort(expected))
    assert {t.tobytes() for t in taken} == {p.tobytes() for p in expected.reshape(-1, 37)}


def test_rounding_up_to_the_bound_gives_the_lower_bound() -> None:
    values = seeded(0).uniform(1 << 16, BF16, 2.0, 7.3).astype(F64)
    assert values.min() == 2.0
    assert values.max() < float(BF16.type(7.3))


def test_multiply_add_is_rounded_once() -> None:
    from fractions import Fraction

    x = seeded(0).uniform(500, F64)
    got = box_muller.fused_multiply_add(x, 1 / 3, -0.123)
    exact = [float(Fraction(v) * Fraction(1 / 3) + Fraction(-0.123)) for v in x.tolist()]
    np.testing.assert_array_equal(got, exact)
    assert (x * (1 / 3) - 0.123 != exact).any()


def test_normals_are_normal() -> None:
    for values in (seeded(1).normal(20_000, F32), seeded(1).normal(20_000, F64, contiguous=False)):
        ordered = np.sort(values).tolist()
        expected = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in ordered])
        distance = np.abs(expected - (np.arange(20_000) + 0.5) / 20_000).max()
        assert distance < 1.95 / math.sqrt(20_000)  # Kolmogorov and Smirnov, at 0.1 %


@pytest.mark.parametrize("kind", ["distinct", "ties", "mostly zero"])
def test_few_of_many_choices_are_those_of_a_stable_sort(kind: str, monkeypatch: Any) -> None:
    weights = np.random.default_rng(0).random((3, 200)).astype(F32)
    if kind == "mostly zero":
        weights[1:, 3:] = 0
    noise = np.ones(weights.size, F32) if kind == "ties" else weights[::-1].ravel() + 0.5
    weights = np.round(weights * 5) if kind == "ties" else weights
    generator = Generator()
    monkeypatch.setattr(generator, "exponential", lambda count, dtype: noise)
    race = -(weights / noise.reshape(weights.shape))
    expected = np.argsort(race, axis=-1, kind="stable")[:, :6]
    np.testing.assert_array_equal(generator.multinomial(weights, 6), expected)
