"""Random streams: the Mersenne Twister, consumed word by word as PyTorch's CPU generator does.

Every drawing method returns a flat NumPy array in **memory order**: a caller that fills a dense
tensor whose dimensions are permuted (a transpose, channels-last) lays the values along its memory,
not along its indices. ``n`` is always a count of elements, ``dtype`` a NumPy dtype (ml_dtypes'
bfloat16 included). Arguments are checked by the callers, which know the operation's name.
"""

from __future__ import annotations

import ctypes
import math
import operator
import secrets
import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .box_muller import (
    BLOCK,
    cos_and_sin,
    fused_multiply_add,
    libm,
    pairs_by_list,
    transform_float32_,
    transform_float64_,
)
from .devices import device as Device
from .words import below, narrow, remainder, stays_below, temper

Array = np.ndarray[Any, np.dtype[Any]]

DEFAULT_SEED = 67280421310721
STATE_BYTES = 5056
_BLOCK_WORDS = 624
_CHUNK = 1 << 16  # words converted at a time, so that they are still in the cache
_COMPILE_FROM = 2048
_SMALL_DRAW = 64  # elements that a draw counts for beside its own, for what it costs in NumPy
_LIST_LIMIT = 16  # up to here this a Python loop beats NumPy's call overhead
_STATE = np.dtype(
    [
        ("seed", "<u8"),
        ("left", "<i4"),
        ("seeded", "<i4"),
        ("next", "<u8"),
        ("words", "<u8", _BLOCK_WORDS),
        ("normal_x", "<f8"),
        ("normal_y", "<f8"),
        ("normal_rho", "<f8"),
        ("normal_valid", "<i4"),
        ("unused", "V12"),
    ]
)
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
_REAL = {8: _FLOAT32, 16: _FLOAT64}  # by the size of the complex type
_MANTISSA32, _MANTISSA64 = np.uint32(2**24 - 1), np.uint64(2**53 - 1)
_SCALE32, _SCALE64 = np.float32(2.0**-24), 2.0**-53
_INTEGER_LIMIT = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "float64": 2**53}


class Kernels(Protocol):
    """Compiled loops that do what this module does in NumPy, bit for bit.

    ``state`` is the twister's 624 words and its position, uint32; arrays are contiguous.
    """

    def words(self, state: Array, out: Array, n: int) -> None: ...
    def uniform32(self, state: Array, out: Array, n: int, low: float, span: float) -> None: ...
    def uniform64(self, state: Array, out: Array, n: int, low: float, span: float) -> None: ...
    def normal32(self, blocks: Array, n: int, mean: float, std: float) -> None: ...
    def normal64(self, blocks: Array, n: int, mean: float, std: float) -> None: ...
    def pairs64(self, pairs: Array, n: int) -> None: ...
    def affine64(self, values: Array, n: int, factor: float, offset: float) -> None: ...
    def integers(self, state: Array, out: Array, n: int, span: int, low: int) -> None: ...
    def sample(self, kind: str, *arguments: Any) -> None: ...
    def shuffle(self, order: Array, words: Array, n: int) -> None: ...


def _no_kernels() -> Kernels | None:
    return None


# A floor that can compile puts its loader here; it is called once enough has been drawn.
load_kernels: Callable[[], Kernels | None] = _no_kernels
_kernels: Kernels | None = None
_drawn_in_numpy = 0


def compiled_for(n: int) -> Kernels | None:
    """The compiled loops for a draw of `n`, once enough has been drawn to be worth loading them."""
    global _kernels, _drawn_in_numpy
    if _kernels is None:
        _drawn_in_numpy += n + _SMALL_DRAW
        if _drawn_in_numpy >= _COMPILE_FROM:
            _kernels = load_kernels()
    return _kernels


class Generator:
    """A seeded stream of random numbers, the same as PyTorch's CPU generator for the same seed.

    Methods are safe to call from several threads; each draw is one uninterrupted piece of the
    stream. RuntimeError for a device other than the CPU.

    >>> Generator().manual_seed(0).uniform(2, np.dtype("float32"))
    array([0.4962566, 0.7682218], dtype=float32)
    """

    # The floor that knows Tensors replaces this by its constructor from an array.
    state_type: Callable[[Array], Any] = staticmethod(np.asarray)
    device = Device("cpu")

    def __init__(self, device: Any = None) -> None:
        where = Device("cpu" if device is None else device)
        if where.type != "cpu":
            raise RuntimeError(
                f"Generator: expected device 'cpu', got '{where}', which has no generator"
            )
        self.lock = threading.RLock()
        twister = np.random.MT19937(0)
        self._draw = np.random.Generator(twister).integers
        # NumPy keeps the twister as `uint32 key[624]; int position`: reading and moving the
        # position in place costs nanoseconds where the state dictionary costs tens of microseconds.
        memory = (ctypes.c_uint32 * (_BLOCK_WORDS + 1)).from_address(
            int(twister.ctypes.state_address)
        )
        self._twister = twister  # owns that memory
        state: Array = np.frombuffer(memory, np.uint32)  # type: ignore[call-overload]
        self._state = state
        self._key, self._numpy_position = state[:_BLOCK_WORDS], state[_BLOCK_WORDS:]
        self.manual_seed(DEFAULT_SEED)

    # ------------------------------------------------------------------ seed and state
    def manual_seed(self, seed: int) -> Generator:
        """Restart the stream at `seed`, in [-2**63, 2**64); returns self. ValueError outside."""
        try:
            seed = operator.index(seed)
        except TypeError:
            raise RuntimeError(
                f"manual_seed expected a long, but got {type(seed).__name__}"
            ) from None
        if not -(2**63) <= seed < 2**64:
            raise ValueError(f"manual_seed: Overflow when unpacking long long: {seed}")
        with self.lock:
            self._seed = seed % 2**64
            start: Any = np.random.RandomState(seed & 0xFFFFFFFF).get_state()
            self._key[:] = start[1]
            self._position = _BLOCK_WORDS
            self._fresh = True  # nothing drawn since seeding: only the exported state shows it
            self._block: Array | None = None
            self.cached_normal: float | None = None
        return self

    def seed(self) -> int:
        """Restart the stream at a seed from the operating system and return that seed."""
        seed = secrets.randbits(64)
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed at which the stream started."""
        return self._seed

    def state_array(self) -> Array:
        """The stream's state in PyTorch's layout: uint8 of shape (5056,)."""
        state = np.zeros((), _STATE)
        with self.lock:
            state["seed"], state["seeded"] = self._seed, 1
            exhausted = self._position == _BLOCK_WORDS
            state["left"] = 1 if exhausted else _BLOCK_WORDS + 1 - self._position
            state["next"] = 0 if self._fresh else self._position
            state["words"] = self._key
            if self.cached_normal is not None:
                state["normal_y"], state["normal_valid"] = self.cached_normal, 1
        return np.frombuffer(state.tobytes(), np.uint8).copy()

    def set_state_array(self, state: Array) -> None:
        """Continue from a state made by `state_array` or by PyTorch; RuntimeError if malformed."""
        if state.dtype != np.uint8:
            raise TypeError(f"RNG state must be a torch.ByteTensor, got {state.dtype}")
        if state.size != STATE_BYTES:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {STATE_BYTES} but found the input RNG "
                f"state size to be {state.size}"
            )
        fields = np.frombuffer(np.ascontiguousarray(state).tobytes(), _STATE)[0]
        left, position = int(fields["left"]), int(fields["next"])
        if not 1 <= left <= _BLOCK_WORDS or position > _BLOCK_WORDS or not fields["seeded"]:
            raise RuntimeError(
                f"Invalid mt19937 state: left={left} (expected 1 to 624), next={position} "
                f"(expected at most 624), seeded={int(fields['seeded'])} (expected 1)"
            )
        with self.lock:
            self._seed = int(fields["seed"])
            self._key[:] = fields["words"]
            self._position = _BLOCK_WORDS if left == 1 else position
            self._fresh = left == 1 and position == 0
            self._block = None
            valid = bool(fields["normal_valid"])
            self.cached_normal = float(fields["normal_y"]) if valid else None

    def get_state(self) -> Any:
        """The stream's state as a uint8 tensor of shape (5056,)."""
        return type(self).state_type(self.state_array())

    def set_state(self, new_state: Any) -> None:
        """Continue from a state made by `get_state`; RuntimeError if it is malformed."""
        self.set_state_array(np.asarray(new_state))

    def clone_state(self) -> Generator:
        """A new generator that stands at the same point of the same stream."""
        twin = type(self)(self.device)
        twin.set_state_array(self.state_array())
        return twin

    graphsafe_get_state = clone_state

    def graphsafe_set_state(self, other: Generator) -> None:
        """Continue from where `other` stands."""
        self.set_state_array(other.state_array())

    def __getstate__(self) -> Array:
        return self.state_array()

    def __setstate__(self, state: Array) -> None:
        Generator.__init__(self)
        self.set_state_array(state)

    # ------------------------------------------------------------------ reading ahead
    def mark(self, n: int) -> tuple[Array | None, int, bool]:
        """Where the stream stands, to `rewind` after at most `n` words; hold `lock` till then."""
        stays = self._position + n <= _BLOCK_WORDS
        return None if stays else self._key.copy(), self._position, self._fresh

    def rewind(self, mark: tuple[Array | None, int, bool]) -> None:
        """Go back to a place from `mark`."""
        key, self._position, self._fresh = mark
        if key is not None:
            self._key[:] = key
            self._block = None

    def skip(self, n: int) -> None:
        """Pass over `n` words; hold `lock`."""
        if self._position + n <= _BLOCK_WORDS:
            self._position += n
        else:
            self._words(n)

    # ------------------------------------------------------------------ words
    def _run(self, kernel: Callable[..., None], out: Array, n: int, *bounds: float) -> Array:
        """Let a compiled kernel draw into `out`."""
        self._numpy_position[0] = self._position
        kernel(self._state, out, n, *bounds)
        self._position, self._block = int(self._numpy_position[0]), None
        self._fresh &= n == 0
        return out

    def _words(self, n: int) -> Array:
        """The next n 32-bit words, uint32; may be a view that must not be written to."""
        if (compiled := compiled_for(n)) is not None:
            return self._run(compiled.words, np.empty(n, np.uint32), n)
        position = self._position
        end = position + n
        if end <= _BLOCK_WORDS:
            if self._block is None:
                self._block = temper(self._key)
            self._position = end
            return self._block[position:end]
        self._fresh = False
        self._numpy_position[0] = position
        if n > _BLOCK_WORDS:
            words = self._draw(0, 2**32, n, np.uint32)
            self._position, self._block = int(self._numpy_position[0]), None
            return words
        left = _BLOCK_WORDS - position
        words = np.empty(n, np.uint32)
        if left:
            words[:left] = self._draw(0, 2**32, left, np.uint32)
        self._block = self._draw(0, 2**32, _BLOCK_WORDS, np.uint32)
        self._position = n - left
        words[left:] = self._block[: n - left]
        return words

    def _wide_words(self, n: int) -> Array:
        """The next n 64-bit words, uint64, each made of two with the first one high."""
        words = self._words(2 * n).astype(np.uint64)
        return words[0::2] << 32 | words[1::2]

    def random32(self, n: int) -> Array:
        """Draw `n` words, uint32."""
        with self.lock:
            return self._words(n).copy()

    def random64(self, n: int) -> Array:
        """Draw `n` double words, uint64."""
        with self.lock:
            return self._wide_words(n)

    def _uniform32(self, n: int, low: float = 0.0, span: float = 1.0) -> Array:
        result = np.empty(n, np.float32)
        if (compiled := compiled_for(n)) is not None:
            return self._run(compiled.uniform32, result, n, low, span)
        for start in range(0, n, _CHUNK):
            part = result[start : start + _CHUNK]
            part[...] = self._words(len(part)) & _MANTISSA32
            part *= _SCALE32
            if (low, span) != (0.0, 1.0):
                part[...] = part.astype(np.float64) * span + low  # rounded once
        return result

    def _uniform64(self, n: int, low: float = 0.0, span: float = 1.0) -> Array:
        result = np.empty(n)
        if (compiled := compiled_for(n)) is not None:
            return self._run(compiled.uniform64, result, n, low, span)
        for start in range(0, n, _CHUNK):
            part = result[start : start + _CHUNK]
            part[...] = self._wide_words(len(part)) & _MANTISSA64
            part *= _SCALE64
            if (low, span) != (0.0, 1.0):
                part[...] = fused_multiply_add(part, span, low)
        return result

    def uniform(self, n: int, dtype: Any, low: float = 0.0, high: float = 1.0) -> Array:
        """Draw `n` uniform numbers in [low, high); a complex one has such parts."""
        if dtype is not _FLOAT32:
            dtype = np.dtype(dtype)
        elif low == 0.0 and high == 1.0:
            with self.lock:
                return self._uniform32(n)
        if dtype is _FLOAT64 and low == 0.0 and high == 1.0:
            with self.lock:
                return self._uniform64(n)
        if dtype.kind == "c":
            return self.uniform(2 * n, _REAL[dtype.itemsize], low, high).view(dtype)
        with self.lock:
            if dtype == _FLOAT64:
                values = self._uniform64(n, float(low), float(high) - float(low))
            else:
                first = np.float32(low)
                span = float(np.float32(high) - first)
                values = self._uniform32(n, float(first), span)
                if dtype is _FLOAT32 and stays_below(float(first), span, high):
                    return values
        return below(values.astype(dtype, copy=False), low, high)

    def normal(
        self,
        n: int,
        dtype: Any,
        mean: float = 0.0,
        std: float = 1.0,
        contiguous: bool = True,
    ) -> Array:
        """Draw `n` normal numbers; `contiguous` says whether the tensor to fill is row-major.

        Box and Muller's method (1958): in blocks of 16 for 16 or more elements of a contiguous
        tensor, else one value at a time in float64. A complex number has parts with std / sqrt(2).
        """
        if dtype is not _FLOAT32:
            dtype = np.dtype(dtype)
        if dtype.kind == "c":
            scale = std * math.sqrt(0.5)
            parts = self.normal(2 * n, _REAL[dtype.itemsize], 0.0, scale, contiguous).view(dtype)
            return parts + dtype.type(mean) if mean else parts
        with self.lock:
            if n < BLOCK or not contiguous:
                values = _fused(self._serial_normal(n, dtype == _FLOAT64), std, mean)
            elif dtype == _FLOAT64:
                values = self._block_normal(n, self._uniform64, _transform64_, mean, std)
            elif dtype == _FLOAT32:
                values = self._block_normal(n, self._uniform32, _transform32_, mean, std)
            else:
                values = self._half_normal(n, mean, std)
        return narrow(values, dtype, abs(mean) + 9.0 * std)

    def _block_normal(
        self,
        n: int,
        uniform: Callable[[int], Array],
        transform_: Callable[[Array, float, float], None],
        mean: float,
        std: float,
    ) -> Array:
        values = uniform(n)
        transform_(values, mean, std)
        if n % BLOCK:
            tail = uniform(BLOCK)
            transform_(tail, mean, std)
            values[n - BLOCK :] = tail
        return values

    def _half_normal(self, n: int, mean: float, std: float) -> Array:
        # Sixteen-bit types are filled block by block: a remainder's own uniforms are never drawn.
        whole = n // BLOCK * BLOCK
        drawn = self._uniform32(whole + (BLOCK if whole < n else 0))
        _transform32_(drawn, mean, std)
        values = np.empty(n, np.float32)
        values[:whole] = drawn[:whole]
        if whole < n:
            values[n - BLOCK :] = drawn[whole:]
        return values

    def _serial_normal(self, n: int, exact: bool = True) -> Array:
        """Draw `n` standard normals, float64, in pairs; half a pair is kept for the next call.

        `exact` asks for the C library's rounding of the last bit, which float32 does not show.
        """
        cached = self.cached_normal is not None
        pairs = (n + 1 - cached) // 2 if n else 0
        u = self._uniform64(2 * pairs)
        compiled = compiled_for(n)
        if compiled is not None:
            compiled.pairs64(u, pairs)
        values = u if compiled and not cached else np.empty(2 * pairs + cached)
        if cached and n:
            values[0], self.cached_normal = self.cached_normal, None
        if compiled is not None:
            if cached:
                values[1:] = u
        elif pairs <= _LIST_LIMIT:
            values[cached:] = pairs_by_list(u.tolist())
        else:
            first, second = u[0::2], u[1::2]
            logarithm = libm(math.log1p, -second) if exact else np.log1p(-second)
            r = np.sqrt(-2.0 * logarithm)
            cosine, sine = cos_and_sin(2.0 * math.pi * first)
            values[cached::2], values[cached + 1 :: 2] = r * cosine, r * sine
        if n < len(values) and pairs:
            self.cached_normal = float(values[-1])
        return values[:n]

    def log_normal(self, n: int, dtype: Any, mean: float = 1.0, std: float = 2.0) -> Array:
        """Draw exp of `n` normal numbers, always drawn one at a time."""
        exact = np.dtype(dtype) == _FLOAT64
        with self.lock:
            values = _fused(self._serial_normal(n, exact), std, mean)
        return narrow(libm(math.exp, values) if exact else np.exp(values), dtype)

    # ------------------------------------------------------------------ integers
    def randint(self, low: int, high: int, n: int, dtype: Any) -> Array:
        """Draw `n` integers in [low, high); from a span of 2**28 up each takes two words."""
        span = high - low
        with self.lock:
            if span < 2**28 and (compiled := compiled_for(n)) is not None:
                return self._run(compiled.integers, np.empty(n, np.int64), n, span, low).astype(
                    dtype, copy=False
                )
            if span < 2**28:
                values = remainder(self._words(n), span).astype(np.int64)
            else:
                wide = self._wide_words(n)
                values = (wide if span >= 2**64 else wide % np.uint64(span)).view(np.int64)
        if low:
            values += np.int64(low)
        return values.astype(dtype, copy=False)

    def random_(self, n: int, dtype: Any) -> Array:
        """Draw `n` integers, from 0 to all that `dtype` holds (exactly, for a floating type)."""
        dtype = np.dtype(dtype)
        limit = _INTEGER_LIMIT.get(dtype.name)
        with self.lock:
            if dtype.kind == "b":
                return (self._words(n) & np.uint32(1)).astype(np.bool_)
            if limit is None:
                limit = int(np.iinfo(dtype).max)
            if dtype.itemsize == 8:
                return (self._wide_words(n) % np.uint64(limit + 1)).astype(dtype)
            return remainder(self._words(n), limit + 1).astype(dtype)

    def randperm(self, n: int) -> Array:
        """The numbers 0 to n - 1 in random order, int64 (Fisher and Yates, front to back)."""
        if n < 2:
            return np.arange(n)
        with self.lock:
            words = self._words(n - 1)
        if (compiled := compiled_for(n)) is not None:
            shuffled = np.arange(n)
            compiled.shuffle(shuffled, words.copy(), n)
            return shuffled
        targets = words % np.arange(n, 1, -1, dtype=np.uint32)
        order = list(range(n))
        for i, offset in enumerate(targets.tolist()):
            order[i], order[i + offset] = order[i + offset], order[i]
        return np.array(order)

    def bernoulli(self, p: float, n: int) -> Array:
        """Draw `n` bools, True with probability `p`; each takes two words."""
        with self.lock:
            if n <= _CHUNK:
                return self._uniform64(n) < p
            result = np.empty(n, np.bool_)
            for start in range(0, n, _CHUNK):
                part = result[start : start + _CHUNK]
                np.less(self._uniform64(len(part)), p, out=part)
            return result

    def bernoulli_array(self, p: Array) -> Array:
        """True with probability `p` (an array, in memory order) for each element, bool, flat."""
        flat = p.reshape(-1)
        with self.lock:
            if flat.dtype == _FLOAT64:
                return self._uniform64(flat.size) < flat
            return self._uniform32(flat.size) < flat.astype(np.float32, copy=False)

    def exponential(self, n: int, dtype: Any, rate: float = 1.0) -> Array:
        """Draw `n` exponential numbers, -log(1 - u) / rate."""
        u = self.uniform(n, _FLOAT64)
        values = libm(math.log1p, -u) if np.dtype(dtype) == _FLOAT64 else np.log1p(-u)
        values *= -1.0 / rate
        return narrow(values, dtype, 37.0 / rate)

    def geometric(self, n: int, dtype: Any, p: float) -> Array:
        """Draw `n` counts of trials up to the first success, ceil(log(u) / log(1 - p))."""
        u = self.uniform(n, _FLOAT64)
        with np.errstate(divide="ignore"):
            values = np.ceil(np.log(u) / math.log1p(-p))
        return narrow(values, dtype)

    def cauchy(self, n: int, dtype: Any, median: float = 0.0, sigma: float = 1.0) -> Array:
        """Draw `n` Cauchy numbers, median + sigma tan(pi (u - 1/2))."""
        angle = math.pi * (self.uniform(n, _FLOAT64) - 0.5)
        tangent = libm(math.tan, angle) if np.dtype(dtype) == _FLOAT64 else np.tan(angle)
        return narrow(_fused(tangent, sigma, median), dtype, 2e16 * sigma + abs(median))

    def rrelu_noise(self, x: Array, lower: float, upper: float) -> Array:
        """The slopes of a randomised leaky ReLU over `x` (flat): uniform where x <= 0, else 1."""
        noise = np.ones(x.size, x.dtype)
        falls = np.flatnonzero(x.reshape(-1) <= 0)
        # PyTorch rounds the bounds to the type of x and draws between them in float64.
        low, high = float(x.dtype.type(lower)), float(x.dtype.type(upper))
        noise[falls] = self.uniform(len(falls), _FLOAT64, low, high)
        return noise

    # ------------------------------------------------------------------ choices
    def multinomial(self, weights: Array, n: int, replacement: bool = False) -> Array:
        """Draw `n` indices for each row of `weights` (rows, choices): int64, shape (rows, n).

        RuntimeError if a weight is negative or not finite, or if a row sums to zero.
        """
        most = np.maximum.reduce(weights, -1, initial=0)
        least = np.minimum.reduce(weights, None, initial=0)
        if not (least >= 0 and np.maximum.reduce(most, initial=0) < math.inf):
            raise RuntimeError(
                "multinomial: probability tensor contains either `inf`, `nan` or element < 0"
            )
        if not np.minimum.reduce(most, initial=1) > 0:
            raise RuntimeError(
                "multinomial: invalid multinomial distribution (sum of probabilities <= 0)"
            )
        if replacement and n != 1:
            sums = weights.cumsum(-1, weights.dtype)
            sums = (sums / sums[:, -1:]).astype(np.float64)
            draws = self.uniform(len(weights) * n, _FLOAT64).reshape(len(weights), n)
            rows = [s.searchsorted(u) for s, u in zip(sums, draws, strict=True)]
            return np.array(rows, np.int64).reshape(len(weights), n)
        # The largest of w / q with q exponential: a race that each w wins in proportion.
        q = self.exponential(weights.size, weights.dtype).reshape(weights.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            race = -(weights / q)
        if n == 1:
            return np.argmin(race, axis=-1, keepdims=True)
        if 8 * n < race.shape[1]:
            some = np.argpartition(race, n)[:, : n + 1]
            some = np.take_along_axis(some, np.take_along_axis(race, some, 1).argsort(), 1)
            ranked = np.take_along_axis(race, some, 1)
            if (ranked[:, :-1] < ranked[:, 1:]).all():  # else one that is left out may be equal
                return some[:, :n].astype(np.int64)
        return np.argsort(race, axis=-1, kind="stable")[:, :n].astype(np.int64)


def _transform32_(values: Array, mean: float, std: float) -> None:
    blocks = len(values) // BLOCK
    if (compiled := compiled_for(len(values))) is not None:
        compiled.normal32(values, blocks, mean, std)
    else:
        transform_float32_(values[: blocks * BLOCK].reshape(blocks, BLOCK), mean, std)


def _transform64_(values: Array, mean: float, std: float) -> None:
    blocks = len(values) // BLOCK
    if (compiled := compiled_for(len(values))) is not None:
        compiled.normal64(values, blocks, mean, std)
    else:
        transform_float64_(values[: blocks * BLOCK].reshape(blocks, BLOCK), mean, std)


def _fused(values: Array, std: float, mean: float) -> Array:
    if std == 1.0 and mean == 0.0:
        return values
    if (compiled := compiled_for(0)) is not None:
        compiled.affine64(values, len(values), float(std), float(mean))
        return values
    return fused_multiply_add(values, float(std), float(mean))


default_generator = Generator()
