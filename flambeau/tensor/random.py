"""Random tensors: the seeded streams of `Generator`, laid into tensors in memory order.

The numbers for a seed are those of PyTorch's CPU generator. A tensor is filled along its memory:
one whose dimensions are permuted gets the same numbers at the same addresses.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import dtypes, variates
from ..autograd.grad_mode import FAST
from ..backends.cpu.layout import in_memory_order
from ..generator import Generator, default_generator
from . import core
from .core import TensorCore, from_array
from .creation import finish, in_order_of, into, place, sizes, storage_dtype
from .functions import publish
from .inplace import check_leaf, check_writable, note_change
from .methods import method

Generator.state_type = staticmethod(from_array)
publish(Generator, "Generator")
publish(default_generator, "default_generator")


levels: list[Any] = []
"""The transformations that run, in any thread; they say what drawing numbers means."""
FAST["random_levels"] = levels


def drawing(f: Callable[..., Any]) -> Callable[..., Any]:
    """Make `f`, which draws numbers, ask the transformation that it is called in."""

    @functools.wraps(f)
    def draw(*args: Any, **kwargs: Any) -> Any:
        if levels:
            decider = FAST["drawing"]((*args, *kwargs.values()))
            if decider is not None:
                return decider.draw(draw, args, kwargs)
        return f(*args, **kwargs)

    return draw


def _stream(generator: Generator | None) -> Generator:
    return default_generator if generator is None else generator


# ---------------------------------------------------------------- the default generator
@publish
def manual_seed(seed: int) -> Generator:
    """Restart the default generator at `seed`; returns it."""
    return default_generator.manual_seed(int(seed))


@publish
def seed() -> int:
    """Restart the default generator at a seed from the operating system; returns the seed."""
    return default_generator.seed()


@publish
def initial_seed() -> int:
    """The seed at which the default generator started."""
    return default_generator.initial_seed()


@publish
def get_rng_state() -> Any:
    """The default generator's state, a uint8 tensor of shape (5056,)."""
    return default_generator.get_state()


@publish
def set_rng_state(new_state: Any) -> None:
    """Continue the default generator from a state made by `get_rng_state`."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(
    devices: Any = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str | None = None,
) -> Iterator[None]:
    """Inside, draw as ever; on leaving, the default generator stands where it stood before.

    The `devices` of `device_type` would be those beside the CPU; there are none.
    """
    if not enabled:
        yield
        return
    state = default_generator.state_array()
    try:
        yield
    finally:
        default_generator.set_state_array(state)


# ---------------------------------------------------------------- laying values into memory
def lay(d: Any, flat: Any) -> None:
    """Write `flat`, a stream of values, into the array `d` in memory order."""
    if d.flags.c_contiguous:
        d.reshape(-1)[...] = flat
    else:
        ordered = in_memory_order(d)
        ordered[...] = flat.reshape(ordered.shape)


# ---------------------------------------------------------------- new tensors
def _kind(dtype: dtypes.dtype | None) -> Any:
    return storage_dtype(dtype or dtypes.get_default_dtype())


def _sized(name: str, draw: Callable[[Generator, int, Any], Any], doc: str) -> None:
    """Publish ``name(*size)`` and ``name_like(input)``."""

    def create(
        *size: Any,
        generator: Generator | None = None,
        out: Any = None,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        names: Any = None,
    ) -> Any:
        shape = sizes(size)
        kind = _kind(dtype) if out is None or dtype is not None else out._d.dtype
        _check_inexact(name, kind)
        flat = draw(_stream(generator), math.prod(shape), kind)
        return finish(flat.reshape(shape), out, device, requires_grad, pin_memory)

    def named_size(*size: Any, **kwargs: Any) -> Any:
        if not kwargs:  # the usual call, which is small as often as not
            shape = sizes(size)
            flat = draw(default_generator, math.prod(shape), _kind(None))
            return from_array(flat.reshape(shape))
        return create(kwargs.pop("size"), **kwargs) if "size" in kwargs else create(*size, **kwargs)

    named_size.__name__, named_size.__doc__ = name, doc
    publish(drawing(named_size))

    def like(
        input: Any,
        *,
        generator: Generator | None = None,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: bool = False,
        requires_grad: bool = False,
        memory_format: Any = None,
    ) -> Any:
        if hasattr(input, "made_like") and not hasattr(input, "_d"):
            options = {"dtype": dtype, "requires_grad": requires_grad}
            return input.made_like(like, generator=generator, **options)
        kind = input._d.dtype if dtype is None else storage_dtype(dtype)
        _check_inexact(f"{name}_like", kind)
        array = in_order_of(input._d, np.empty(input._d.shape, kind))
        lay(array, draw(_stream(generator), array.size, kind))
        return place(array, None, device, requires_grad, pin_memory)

    like.__name__, like.__doc__ = f"{name}_like", f"{doc} Shape and dtype are those of `input`."
    publish(drawing(like))


def _check_inexact(name: str, kind: Any) -> None:
    if kind.kind in "fc":
        return
    if not dtypes.from_numpy_dtype(kind).inexact:
        title = dtypes.from_numpy_dtype(kind).title
        raise NotImplementedError(
            f"\"{name}\" not implemented for '{title}': a floating dtype is needed"
        )


_sized(
    "rand",
    lambda stream, n, kind: stream.uniform(n, kind),
    "A tensor of numbers drawn uniformly from [0, 1).",
)
_sized(
    "randn",
    lambda stream, n, kind: stream.normal(n, kind),
    "A tensor of numbers drawn from the standard normal distribution.",
)


def _bounds(low: Any, high: Any) -> tuple[int, int]:
    low, high = (int(v) for v in (low, high))
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    return low, high


@publish
@drawing
def randint(
    low: Any,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """Integers drawn uniformly from [low, high); ``randint(high, size)`` starts at 0."""
    if size is None or isinstance(high, (tuple, list)):
        low, high, size = 0, low, high if size is None else size
    low, high = _bounds(low, high)
    shape = sizes((size,))
    kind = storage_dtype(dtype or dtypes.int64)
    flat = _stream(generator).randint(low, high, math.prod(shape), kind)
    return finish(flat.reshape(shape), out, device, requires_grad, pin_memory)


@publish
@drawing
def randint_like(
    input: Any,
    low: Any,
    high: Any = None,
    *,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Any:
    """Integers drawn from [low, high) (or [0, low)), of the shape and dtype of `input`."""
    low, high = _bounds(*((0, low) if high is None else (low, high)))
    kind = input._d.dtype if dtype is None else storage_dtype(dtype)
    array = in_order_of(input._d, np.empty(input._d.shape, kind))
    lay(array, _stream(generator).randint(low, high, array.size, kind))
    return place(array, None, device, requires_grad, pin_memory)


@publish
@drawing
def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """The numbers 0 to n - 1 in random order."""
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    array = _stream(generator).randperm(n).astype(storage_dtype(dtype or dtypes.int64), copy=False)
    return finish(array, out, device, requires_grad, pin_memory)


@publish
@drawing
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """Normal numbers with the given mean and standard deviation, each a number or a tensor."""
    tensors = [x for x in (mean, std) if isinstance(x, TensorCore)]
    _check_std(std)
    if not tensors:
        shape = sizes((() if size is None else size,))
        flat = _stream(generator).normal(math.prod(shape), _kind(dtype), float(mean), float(std))
        return finish(flat.reshape(shape), out, device, requires_grad, pin_memory)
    a, b = (x._d if isinstance(x, TensorCore) else x for x in (mean, std))
    shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    kind = tensors[0]._d.dtype
    _check_inexact("normal", kind)
    drawn = _stream(generator).normal(math.prod(shape), kind).reshape(shape)
    return finish((drawn * b + a).astype(kind, copy=False), out, device, requires_grad, pin_memory)


def _check_std(std: Any) -> None:
    bad = bool((std._d < 0).any()) if isinstance(std, TensorCore) else std < 0
    if bad:
        raise RuntimeError(f"normal expects all elements of std >= 0.0, but found std {std}")


def _probabilities(name: str, p: Any) -> None:
    if p.size and not (np.minimum.reduce(p, None) >= 0 and np.maximum.reduce(p, None) <= 1):
        raise RuntimeError(f"{name} expects all probabilities to be in [0, 1]")


@publish
@drawing
def bernoulli(
    input: Any, p: float | None = None, *, generator: Generator | None = None, out: Any = None
) -> Any:
    """Ones with the probabilities in `input` (or with probability `p`), zeros else."""
    _check_inexact("bernoulli", input._d.dtype)
    _probabilities("bernoulli", input._d if p is None else np.asarray(p))
    drawn = FAST["F"].bernoulli_of(input, p, _stream(generator))
    return drawn if out is None else into(out, drawn._d)


@publish
@drawing
def multinomial(
    input: Any,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    out: Any = None,
) -> Any:
    """Indices drawn with the weights in each row of `input`, int64 of shape (rows, num_samples)."""
    d = input._d
    if d.dtype.kind not in "f" and not input._t.is_floating_point:
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: {input._t.title}"
        )
    if out is not None and out._t is not dtypes.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {out._t.title}")
    if d.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > d.shape[-1]:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    rows = d.reshape(-1, d.shape[-1])
    if input._t in dtypes.HALF:
        rows = rows.astype(np.float32)
    drawn = _stream(generator).multinomial(rows, num_samples, replacement)
    array = drawn.reshape(*d.shape[:-1], num_samples)
    return into(out, array) if out is not None else from_array(array)


@publish
@drawing
def poisson(input: Any, generator: Any = None) -> Any:
    """Poisson counts with the rates in `input`, in its dtype; RuntimeError below 0."""
    drawn = variates.poisson(_stream(generator), input._d)
    return from_array(drawn.reshape(input._d.shape))


@publish
@drawing
def binomial(count: Any, prob: Any, generator: Any = None) -> Any:
    """Successes in `count` trials of probability `prob` (tensors of one shape), as floats."""
    counts, chances = np.broadcast_arrays(count._d, prob._d)
    drawn = variates.binomial(_stream(generator), counts, chances)
    return from_array(drawn.reshape(counts.shape).astype(prob._d.dtype, copy=False))


# ---------------------------------------------------------------- in-place methods
def _fill(t: Any, where: str, draw: Callable[[int, Any], Any]) -> Any:
    """Fill `t` in place with what ``draw(count, dtype)`` gives, in memory order."""
    check_leaf(t, where)
    check_writable(t, where)
    lay(t._d, draw(t._d.size, t._d.dtype))
    note_change(t, where)
    if t._gf is not None and not core.is_leaf_node(t._gf):
        t._gf = None
    return t


@method
@drawing
def uniform_(
    self: Any,
    from_: float = 0.0,
    to: float = 1.0,
    *,
    generator: Generator | None = None,
    **bounds: float,
) -> Any:
    """Fill with numbers drawn uniformly from [from, to)."""
    low, high = float(bounds.pop("from", from_)), float(to)
    if bounds:
        raise TypeError(f"uniform_() got unexpected keyword arguments {sorted(bounds)}")
    _check_inexact("uniform_", self._d.dtype)
    if low > high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}"
        )
    return _fill(self, "uniform_", lambda n, kind: _stream(generator).uniform(n, kind, low, high))


@method
@drawing
def normal_(
    self: Any, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Any:
    """Fill with normal numbers of the given mean and standard deviation."""
    _check_inexact("normal_", self._d.dtype)
    _check_std(std)
    contiguous = bool(self._d.flags.c_contiguous)
    return _fill(
        self,
        "normal_",
        lambda n, kind: _stream(generator).normal(n, kind, float(mean), float(std), contiguous),
    )


@method
@drawing
def random_(
    self: Any,
    from_: int | None = None,
    to: int | None = None,
    *,
    generator: Generator | None = None,
    **bounds: Any,
) -> Any:
    """Fill with integers from [from, to), [0, to), or all that the dtype holds."""
    low = bounds.pop("from", from_)
    if low is None and to is None:
        return _fill(self, "random_", lambda n, kind: _stream(generator).random_(n, kind))
    if to is None:
        low, to = 0, low
    low, high = _bounds(low or 0, to)
    return _fill(self, "random_", lambda n, kind: _stream(generator).randint(low, high, n, kind))


@method
@drawing
def bernoulli_(self: Any, p: Any = 0.5, *, generator: Generator | None = None) -> Any:
    """Fill with ones with probability `p` (a number or a tensor), zeros else."""
    stream = _stream(generator)
    if isinstance(p, TensorCore):
        _probabilities("bernoulli_", p._d)
        spread = np.broadcast_to(p._d, self._d.shape)
        return _fill(self, "bernoulli_", lambda n, kind: stream.bernoulli_array(spread))
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
    return _fill(self, "bernoulli_", lambda n, kind: stream.bernoulli(float(p), n))


@method
@drawing
def exponential_(self: Any, lambd: float = 1.0, *, generator: Generator | None = None) -> Any:
    """Fill with exponential numbers of rate `lambd`."""
    _check_inexact("exponential_", self._d.dtype)
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _fill(
        self,
        "exponential_",
        lambda n, kind: _stream(generator).exponential(n, kind, float(lambd)),
    )


@method
@drawing
def geometric_(self: Any, p: float, *, generator: Generator | None = None) -> Any:
    """Fill with counts of trials up to the first success of probability `p`."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    return _fill(
        self, "geometric_", lambda n, kind: _stream(generator).geometric(n, kind, float(p))
    )


@method
@drawing
def cauchy_(
    self: Any, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None
) -> Any:
    """Fill with Cauchy numbers."""
    _check_inexact("cauchy_", self._d.dtype)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _fill(
        self,
        "cauchy_",
        lambda n, kind: _stream(generator).cauchy(n, kind, float(median), float(sigma)),
    )


@method
@drawing
def log_normal_(
    self: Any, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None
) -> Any:
    """Fill with exp of normal numbers."""
    _check_inexact("log_normal_", self._d.dtype)
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    return _fill(
        self,
        "log_normal_",
        lambda n, kind: _stream(generator).log_normal(n, kind, float(mean), float(std)),
    )


for _function in (bernoulli, multinomial, poisson):
    method(_function)
