"""Random calls of ops, for PyTorch and flambeau alike: what `test_fuzz` draws.

A call is drawn by a function ``choose(options)``, so that hypothesis, or any stream of random
numbers, can lead it. Arguments are described by plain data (`Given`), from which either library makes
its own tensors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flambeau.ops.record import REGISTRY, Op

Choose = Callable[[Sequence[Any]], Any]

DTYPES = (
    *("float32", "float64", "int64", "bool") * 3,
    *("int32", "uint8", "int8", "complex64", "bfloat16", "float16", "complex128", "int16"),
)
SIZES = (0, 1, 1, 2, 2, 3, 3, 4)
LAYOUTS = ("plain", "plain", "plain", "turned", "expanded", "sliced")
NUMBERS = (0, 1, 2, -1, 3, 0.5, -1.5, 2.0, True, False, 1 + 2j)
DIMS = (0, 0, -1, -1, 1, 1, -2, 2, 3, -4)
SOME_DIMS = (None, None, 0, -1, 1, (0,), (0, 1), (-1, 0), (0, 0), (), (5,))
SHAPES = (
    (),
    (0,),
    (1,),
    (-1,),
    (2, 3),
    (3, 2),
    (-1, 2),
    (2, -1),
    (-1, -1),
    (1, 1, 1),
    (2, 0),
    (4,),
)
MARKED = object()

PARAMETERS: dict[str, Sequence[Any]] = {
    "dim": DIMS,
    "dim0": DIMS,
    "dim1": DIMS,
    "dim2": DIMS,
    "axis0": DIMS,
    "axis1": DIMS,
    "dimension": DIMS,
    "start_dim": DIMS,
    "end_dim": DIMS,
    "dims": ((0,), (0, 1), (-1, 0), (1, 0), (0, 0), (), (5,)),
    "source": DIMS,
    "destination": DIMS,
    "keepdim": (False, True),
    "descending": (False, True),
    "sorted": (True,),
    "largest": (False, True),
    "upper": (False, True),
    "right": (False, True),
    "unbiased": (False, True),
    "correction": (0, 1, 2, 0.5),
    "dtype": ("float64", "float32", "int64", "bool", "complex64"),
    "alpha": NUMBERS,
    "beta": NUMBERS,
    "value": NUMBERS,
    "min": (None, *NUMBERS),
    "max": (None, *NUMBERS),
    "lambd": (0, 1, 2, 0.5),
    "negative_slope": NUMBERS,
    "threshold": (0, 1, 2, 0.5),
    "decimals": (1, -1, 3),
    "nan": (None, 0.0, 1.5),
    "posinf": (None, 2.0),
    "neginf": (None, -2.0),
    "rounding_mode": (None, "floor", "trunc", "near"),
    "rtol": (1e-5, 0.5),
    "atol": (1e-8, 1.0),
    "equal_nan": (False, True),
    "invert": (False, True),
    "assume_unique": (False,),
    "diagonal": (0, 1, -1, 5, -5),
    "offset": (0, 1, -1, 5, -5),
    "k": (0, 1, 1, 2, 2, 5, -1),
    "n": (0, 1, 1, 2, 3, -1),
    "p": (0, 1, 2, 2.0, 3.5, float("inf")),
    "q": (0.0, 0.25, 0.5, 1.0, 1.5),
    "chunks": (1, 2, 3, 0, -1),
    "split_size": (1, 2, 0, -1, 7),
    "split_size_or_sections": (1, 2, 0, -1, 7, [1, 1], [0, 2], [3]),
    "split_sizes": ([1, 1], [0, 2], [3], [], [-1, 2]),
    "indices_or_sections": (1, 2, 3, 0, -1, [1], [1, 2], [0, -1], []),
    "shape": SHAPES,
    "size": SHAPES,
    "sizes": SHAPES,
    "shifts": (0, 1, -1, 7, (1, 2), (1,)),
    "repeats": ((), (1,), (2, 1), (2, 0, 1), (1, 1, 1, 2)),
    "start": (0, 0, 1, -1, 2, 7),
    "end": (None, 0, 1, 2, -1, 9),
    "step": (1, 1, 2, 3, 0, -1),
    "length": (0, 1, 1, 2, 7, -1),
    "index": (0, 1, -1, 2, 5, -6),
    "groups": (1, 2, 3, 0),
    "upscale_factor": (1, 2, 0),
    "downscale_factor": (1, 2, 0),
    "num_classes": (-1, 3, 7),
    "bins": (1, 3, 10, 0),
    "minlength": (0, 3, -1),
    "fill_value": (-1, 0, 5),
    "return_inverse": (False, True),
    "return_counts": (False, True),
    "eps": (1e-6, 0.1),
    "keepdims": (False, True),
    "with_replacement": (False, True),
    "r": (0, 1, 2, 3),
    "spacing": (1, 2, 0.5),
    "dx": (1, 0.5, 2),
    "include_self": (True, False),
    "reduce": ("sum", "prod", "mean", "amax", "amin", "most"),
}
"""Values for parameters by their names; a parameter that is not here keeps its default."""

NEEDS = {"keepdim": "dim", "unbiased": "dim"}
"""Parameters that PyTorch takes only beside another one."""

LEFT_OUT = frozenset(
    """normal rand_like argsort sort topk mode kthvalue median nanmedian as_strided
    as_strided_scatter empty_like frexp svd qr eig linalg_eig linalg_eigh linalg_svd pca_lowrank
    svd_lowrank geqrf ormqr matrix_exp dropout feature_dropout alpha_dropout bernoulli
    feature_alpha_dropout istft stft unravel_index fill clone resize gradient histogramdd
    repeat_interleave unique_consecutive cov corrcoef cross quantile nanquantile norm pdist put
    take_along_dim triangular_solve index_copy scatter lu histogram bilinear select_scatter
    cummax cummin nansum kron pinverse celu addr vander tensordot cholesky_inverse polar cdist complex
    igamma igammac polygamma mvlgamma renorm rrelu binary_cross_entropy_with_logits
    hash_tensor""".split()
)
"""Ops whose results PyTorch leaves open (ties, memory, signs, repeated places), that need arguments
made for them, that have other parameters outside ``nn.functional``, or that take dtypes which PyTorch
does not."""

NOT_IN_PLACE = frozenset("masked_fill nan_to_num cumsum cumprod".split())
"""Ops that PyTorch lets write, in place, what it refuses elsewhere: repeated memory, narrower sums."""

FINITE = frozenset(
    """cholesky_inverse inner logdet lu var var_mean std std_mean matmul bmm mm dot vdot outer
    addr kron tensordot chain_matmul vander""".split()
)
"""Ops that are not given infinities and NaNs: where those spread to depends on the order of sums."""


@dataclass(frozen=True)
class Given:
    """A tensor's description: its values in C order, dtype and layout."""

    shape: tuple[int, ...]
    dtype: str
    layout: str
    seed: int
    kind: str = "number"

    def make(self, lib: Any) -> Any:
        """The tensor, of the library `lib`."""
        array = self._array()
        if self.layout == "turned" and array.ndim > 1:
            return self._cast(lib, array.T.copy()).permute(*reversed(range(array.ndim)))
        if self.layout == "expanded" and array.ndim and array.shape[0]:
            return self._cast(lib, array[:1]).expand(array.shape)
        if self.layout == "sliced" and array.ndim:
            wide = np.repeat(array, 2, axis=-1)
            return self._cast(lib, wide)[..., ::2]
        return self._cast(lib, array)

    def _cast(self, lib: Any, array: Any) -> Any:
        return lib.from_numpy(np.array(array, order="C")).to(getattr(lib, self.dtype))

    def _array(self) -> Any:
        rng = np.random.default_rng(self.seed)
        if self.kind == "index":
            return rng.integers(-1, 3, self.shape)
        if self.dtype == "bool":
            return rng.integers(0, 2, self.shape).astype(bool)
        if "int" in self.dtype:
            return rng.integers(0 if self.dtype[0] == "u" else -4, 5, self.shape)
        array = rng.integers(-12, 13, self.shape) / 4
        if self.kind == "special":
            odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5])
            array = np.where(
                rng.integers(0, 3, self.shape) == 0, rng.choice(odd, self.shape), array
            )
        if "complex" in self.dtype:
            array = array + 1j * (rng.integers(-12, 13, self.shape) / 4)
        return array


@dataclass(frozen=True)
class Call:
    """One call: an op's name, the way it is called, and its arguments."""

    name: str
    way: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def run(self, lib: Any) -> Any:
        """The result with `lib`, or the exception."""
        args = [made(lib, a) for a in self.args]
        kwargs = {k: made(lib, v) for k, v in self.kwargs.items()}
        if "dtype" in kwargs:
            kwargs["dtype"] = getattr(lib, kwargs["dtype"])
        try:
            if self.way == "function":
                return getattr(lib, self.name)(*args, **kwargs)
            result = getattr(args[0], self.name)(*args[1:], **kwargs)
            return (result, args[0]) if self.way == "in place" else result
        except Exception as error:
            return error


def made(lib: Any, value: Any) -> Any:
    """`value` with each description in it made a tensor."""
    if isinstance(value, Given):
        return value.make(lib)
    if isinstance(value, list):
        return [made(lib, v) for v in value]
    return value


def table(torch: Any) -> list[Op]:
    """The ops that can be called with arguments from here, in both libraries."""
    found = []
    for name, op in REGISTRY.items():
        known = callable(getattr(torch, name, None)) or hasattr(torch.Tensor, name)
        if not known or op.family == "random" or name in LEFT_OUT or name.startswith("_"):
            continue
        required = [p for p in op.params if p not in op.defaults]
        if op.tensors and all(p in PARAMETERS for p in required):
            found.append(op)
    return found


def draw(choose: Choose, ops: Sequence[Op], torch: Any) -> Call:
    """A random call of one of `ops`."""
    op = choose(ops)
    shape = tuple(choose(SIZES) for _ in range(choose((0, 1, 1, 2, 2, 3))))
    dtype = choose(DTYPES)
    kind = choose(("number", "number", "number", "special"))
    kind = "number" if op.name in FINITE else kind
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for name, p in op.signature.parameters.items():
        value = MARKED
        if name in op.tensors:
            if name in op.optional and choose((True, False)):
                continue
            value = _tensor(choose, op, name, shape, dtype, kind, first=not args)
        elif name not in op.defaults or (name in PARAMETERS and choose((True, False, False))):
            value = _parameter(choose, op, name, kwargs, args)
        if value is MARKED:
            continue
        listed = p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and name != "dtype"
        if listed and len(args) == _place(op, name):
            args.append(value)
        else:
            kwargs[name] = value
    name, way = _spelling(choose, op, torch)
    if way == "in place":
        kwargs.pop("dtype", None)
    return Call(name, way, tuple(args), kwargs)


def _parameter(choose: Choose, op: Op, name: str, kwargs: dict[str, Any], args: Any) -> Any:
    """A value for a parameter; none where it has no meaning without one that is not given."""
    given = {*kwargs, *list(op.signature.parameters)[: len(args)]}
    if name in NEEDS and NEEDS[name] in op.params and NEEDS[name] not in given:
        return MARKED
    if name == "correction" and "unbiased" in given:
        return MARKED
    return choose(PARAMETERS[name])


def _place(op: Op, name: str) -> int:
    return list(op.signature.parameters).index(name)


def _spelling(choose: Choose, op: Op, torch: Any) -> tuple[str, str]:
    ways = ["function"] if callable(getattr(torch, op.name, None)) else []
    single = op.tensors[0] not in op.lists
    if single and op.method and hasattr(torch.Tensor, op.name):
        ways.append("method")
    inplace = op.inplace and op.name not in NOT_IN_PLACE
    if single and inplace and hasattr(torch.Tensor, f"{op.name}_"):
        ways.append("in place")
    way = choose(ways) if ways else "function"
    return (f"{op.name}_" if way == "in place" else op.name), way


def _tensor(
    choose: Choose, op: Op, name: str, shape: tuple[int, ...], dtype: str, kind: str, first: bool
) -> Any:
    """A tensor argument: like the first one, or one that broadcasts with it, or any."""
    if name in op.lists:
        return [
            _tensor(choose, op, "", shape, dtype, kind, first=False)
            for _ in range(choose((1, 2, 3)))
        ]
    if name in ("index", "indices", "boundaries"):
        return Given(
            _like(choose, shape),
            choose(("int64", "int64", "int32")),
            "plain",
            _seed(choose),
            "index",
        )
    if name in ("mask", "condition"):
        return Given(
            _like(choose, shape), choose(("bool", "bool", "bool", "uint8")), "plain", _seed(choose)
        )
    if first:
        return Given(shape, dtype, choose(LAYOUTS), _seed(choose), kind)
    numbered = op.family == "pointwise" and op.name not in ("maximum", "minimum", "lerp")
    if numbered and choose((True, False, False)):
        return choose(NUMBERS)
    other = dtype if choose((True, True, False)) else choose(DTYPES)
    return Given(_like(choose, shape), other, choose(LAYOUTS), _seed(choose), kind)


def _like(choose: Choose, shape: tuple[int, ...]) -> tuple[int, ...]:
    how = choose(("same", "same", "ones", "shorter", "turned", "any"))
    if how == "ones":
        return tuple(choose((n, 1)) for n in shape)
    if how == "shorter":
        return shape[1:]
    if how == "turned":
        return shape[::-1]
    if how == "any":
        return tuple(choose(SIZES) for _ in range(choose((0, 1, 2, 3))))
    return shape


def _seed(choose: Choose) -> int:
    return choose(range(50))
