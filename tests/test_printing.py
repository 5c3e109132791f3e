"""How tensors look, character by character as PyTorch prints them."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from tests.ops.compare import normal
from tests.oracle import agree

NAN, INF = float("nan"), float("inf")
VALUES = [
    [], [1.0], [1.0, 2.5, 3.0], [0.0, 0.0], [-0.0], [1.0, 1000.0], [1.0, 1001.0], [1e-4, 1.0],
    [9e-5, 0.5], [1e8, 1.0], [1.1e8], [1e-8, 1e8], [NAN], [NAN, 1.0], [INF, -INF, 2.5],
    [NAN, INF], [0.1, NAN, -INF], [-1.5, 22.25], [123456.789], [99999.0, 1.0], [5e-324],
    [1 / 3] * 40, list(range(30)), [-1.0, 1.0] * 20, [[1.0, 200.0], [-30.0, 4.0]], [[[1.0]]],
    [[]], [[[], []]], 3.0, -2.5, NAN, INF, 1e-9, 1e20, 0.0,
]  # fmt: skip
EXPRESSIONS = """
arange(7); arange(1001); arange(1000); arange(2000.0).reshape(2, 1000); arange(24).reshape(2, 3, 4)
arange(3000).reshape(3, 10, 100); zeros(2, 0, 3); zeros(0); zeros(0, dtype=torch.int64); ones(3, 3)
zeros(0, 2, dtype=torch.float64); eye(4); eye(60); ones(2, 2, 2, 2); tensor(True)
tensor([True, False])
tensor(5); tensor([-5, 300]); tensor([1, 2], dtype=torch.int32); tensor([1, 2], dtype=torch.uint8)
tensor(1 + 2j); tensor([1 + 2j, -3.5 - 0.25j]); tensor([1j, float('nan')]); tensor([1e5 + 1e-5j])
tensor([0.5, 1.5]).half(); tensor([0.1, 100]).bfloat16(); ones(2, dtype=torch.complex128)
tensor([1.0, 2.5], dtype=torch.float64); tensor([1.0], requires_grad=True); full((3, 3), 1e-7)
ones(2, requires_grad=True) * 2; (ones(2, requires_grad=True) ** 2).sum(); empty(3, device='meta')
empty(2, 2, device='meta', dtype=torch.int32); zeros(1100, 3); zeros(3, 1100)
tensor([[1.5], [NAN]])
ones(3, dtype=torch.float64, requires_grad=True); ones(30, requires_grad=True).exp(); ones(3).t()
ones(2, 3).t(); arange(12).reshape(3, 4)[::2]; ones(3, dtype=torch.int16); tensor(3.0).half()
zeros(2, 0, requires_grad=True); tensor(2.0, requires_grad=True).sqrt()
ones(3, 3, dtype=torch.int8); ones(2, requires_grad=True).unsqueeze(0); ones(5).bool()
nn.Parameter(torch.ones(2)); nn.Parameter(torch.ones(2, dtype=torch.float64), requires_grad=False)
""".replace("\n", "; ").strip("; ").split("; ")  # fmt: skip


def shown(L, expression: str) -> str:
    scope = {"torch": L, "NAN": NAN}
    head = expression.split("(")[0].lstrip("(")
    prefix = "torch." if hasattr(L, head) or head.startswith("nn.") else ""
    text = expression if not prefix else prefix + expression
    if expression.startswith("("):
        text = expression.replace("(ones", "(torch.ones")
    return repr(eval(text, scope))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("number", range(len(VALUES)))
def test_values(number: int, dtype: str) -> None:
    agree(lambda L: repr(L.tensor(VALUES[number], dtype=getattr(L, dtype))))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions(expression: str) -> None:
    agree(lambda L: shown(L, expression))


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 37.0, 1e4, 1e9])
@pytest.mark.parametrize("shape", [(1,), (7,), (40,), (3, 4), (2, 30), (5, 6, 7), (2, 2, 2, 3),
                                   (2000,), (40, 40), (9, 9, 20)])  # fmt: skip
def test_many_shapes_and_scales(shape: tuple[int, ...], scale: float) -> None:
    x = normal(*shape) * scale
    agree(lambda L: [repr(L.from_numpy(x)), repr(L.from_numpy(x).float()), str(L.from_numpy(x))])


def test_integers_of_all_widths() -> None:
    def script(L):
        x = L.from_numpy((normal(6, 9) * 1000).astype(np.int64))
        return [repr(x.to(getattr(L, t))) for t in ("int8", "uint8", "int16", "int32", "int64")]

    agree(script)


OPTIONS = [
    {"precision": 2}, {"precision": 8}, {"threshold": 5}, {"edgeitems": 1, "threshold": 10},
    {"linewidth": 40}, {"sci_mode": True}, {"sci_mode": False}, {"profile": "short"},
    {"profile": "full"}, {"profile": "default", "precision": 3}, {"linewidth": 200},
    {"threshold": 0, "edgeitems": 2}, {"linewidth": 3},
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_options(number: int) -> None:
    def script(L):
        L.set_printoptions(**OPTIONS[number])
        try:
            return [repr(L.from_numpy(normal(7) * s)) for s in (1e-5, 1.0, 1e5)] + [
                repr(L.arange(40).reshape(5, 8)),
                repr(L.from_numpy(normal(4, 30))),
            ]
        finally:
            L.set_printoptions(profile="default")

    agree(script)


def test_options_are_scoped() -> None:
    before = repr(flambeau.tensor([0.123456]))
    from flambeau.tensor.printing import printoptions

    with printoptions(precision=6):
        assert repr(flambeau.tensor([0.123456])) == "tensor([0.123456])"
    assert repr(flambeau.tensor([0.123456])) == before


def test_unknown_profile() -> None:
    with pytest.raises(ValueError, match="profile"):
        flambeau.set_printoptions(profile="tiny")


def test_names_of_nodes() -> None:
    def script(L):
        x = L.ones(2, 3, requires_grad=True)
        y = [
            x + 1, x - 1, 1 - x, x * x, x / 2, x**2, -x, x.exp(), x.log(), x.sum(), x.mean(),
            x.reshape(6), x.view(6), x.t(), x.permute(1, 0), x.transpose(0, 1), x.clone(),
            x.max(), x.max(1)[0], x.min(), L.maximum(x, x), L.where(x > 0, x, 0), x.sigmoid(),
            x.tanh(), x.abs(), x.sqrt(), x.std(), x.var(), L.cat([x, x]), L.stack([x, x]),
            x.unbind()[0], x.squeeze(), x.unsqueeze(0), x.expand(2, 2, 3), x[L.tensor([0])],
            x.clamp(min=0), x.cumsum(0), x.softmax(1), x.prod(), x.gather(0, L.zeros(1, 3).long()),
            x.index_select(0, L.tensor([0])), x.masked_fill(x > 2, 0.0), x.repeat(2, 1), x.flip(0),
            x.sort()[0], x.topk(1)[0], x.relu(), x.norm(), x.split(1)[0], x.sin(),
        ]  # fmt: skip
        return [v.grad_fn.name() for v in y]

    agree(script)


def _drawn(rng, name, shape):
    """Values of the kinds that decide how numbers are written."""
    kind = int(rng.integers(12))
    if name == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if "int" in name:
        info = np.iinfo(name)
        top = info.max if kind < 4 else min(100, info.max)
        return rng.integers(info.min if kind < 4 else 0, top, shape, dtype=name, endpoint=True)
    v = rng.standard_normal(shape)
    chance = rng.random(shape)
    choices = (
        lambda: v,
        lambda: np.round(v * 5),
        lambda: v * 10.0 ** rng.integers(-12, 12),
        lambda: v * 10.0 ** rng.integers(-12, 12, shape),
        lambda: np.where(chance < 0.3, np.nan, v),
        lambda: np.where(chance < 0.3, np.inf, np.where(chance > 0.8, -np.inf, v)),
        lambda: np.zeros(shape),
        lambda: np.full(shape, np.nan),
        lambda: np.round(v * 1e9),
        lambda: v * 1e-5,
        lambda: np.where(chance < 0.5, -0.0, np.round(v)),
        lambda: np.where(chance < 0.5, 0, v * 100),
    )
    v = choices[kind]()
    return v + 1j * np.roll(v, 1) * rng.choice([1, 0, 1e-3, 1e3]) if "complex" in name else v


_NAMES = (
    "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 "
    "complex64 complex128"
).split()
_SHAPES = [
    *((), (0,), (1,), (3,), (2, 3), (0, 3), (2, 0), (1, 1, 1), (2, 2, 2), (30,), (200,)),
    *((1001,), (10, 200), (2, 2, 2, 2), (7, 1, 9), (11, 10, 10)),
]
_OPTIONS = [
    *({}, {"sci_mode": True}, {"sci_mode": False}, {"precision": 2}, {"precision": 8}),
    *({"linewidth": 40}, {"threshold": 5}, {"edgeitems": 1, "threshold": 10}, {"precision": 0}),
    *({"profile": "short"}, {"profile": "full"}, {"linewidth": 200}),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(12))
def test_random_tensors_look_as_in_torch(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    for _ in range(40):
        name, shape = _NAMES[rng.integers(len(_NAMES))], _SHAPES[rng.integers(len(_SHAPES))]
        options = _OPTIONS[rng.integers(len(_OPTIONS))]
        values, how = np.array(_drawn(rng, name, shape)), int(rng.integers(6))
        texts = []
        for lib in (flambeau, torch):
            t = lib.from_numpy(values.copy()).to(getattr(lib, name))
            if how == 0 and t.dtype.is_floating_point:
                t.requires_grad_()
            elif how == 1 and (t.dtype.is_floating_point or t.dtype.is_complex):
                t = t.requires_grad_().clone()
            elif how == 2:
                t = lib.nn.Parameter(t, requires_grad=False)
            elif how == 3 and t.dim() > 1:
                t = t.mT
            elif how == 4:
                t = t.to("meta")
            lib.set_printoptions(profile="default")
            lib.set_printoptions(**options)
            try:
                texts.append(repr(t))
            finally:
                lib.set_printoptions(profile="default")
        assert texts[0] == texts[1]
