"""Convolutions with one or few output channels a group: no product to speak of, so no panels.

Each vector of output pixels is the sum of masked loads of the input, one for each channel and tap
of its group, times a number.
"""

from __future__ import annotations

from llvmlite import ir

from .microkernel import Tile, load_bias, lower_bound, tile_for
from .target import Target
from .vectors import ChunkKernel, Value, Writer

DIRECT_POINTERS = (
    "weights", "x", "y", "bias", "plan", "depths", "taps", "starts", "masks", "outs",
)  # fmt: skip
# Output channels and those of a group; input channels of a group; taps; strides in the input
# between channels, groups and images, in the output between channels and images, in the weights
# between output channels of a group and between groups; vectors; segments; pieces of the channels;
# images; whether results below zero become zero; of a padded input, the taps of a row and the
# stride between its rows.
DIRECT_PLAN = (
    "m", "group_m", "channels", "n_taps", "x_channel", "x_group", "x_image", "y_row", "y_image",
    "w_row", "w_group", "vectors", "segments", "parts", "images", "relu", "tap_columns", "x_row",
)  # fmt: skip
# Vectors of pixels summed at once; taps summed at once (all of a 3x3 kernel).
VECTORS, _TAPS = 4, 9


def build_depthwise(dtype: str, target: Target) -> ir.Module:
    """``direct_forward`` and ``direct_weight``, and both ``_single`` for one segment a vector.

    ``direct_forward_padded`` reads a padded input: nothing is masked, and vectors lie in one row
    each, VECTORS of them below each other.
    """
    module = ir.Module(f"depthwise_{dtype}")
    tile = tile_for(dtype, target)
    for single in (True, False):
        _build_forward(module, tile, single)
        _build_weight(module, tile, single)
    _build_forward(module, tile, single=True, padded=True)
    return module


def _load_pixels(
    w: Writer, k: ChunkKernel, channel: Value, vector: Value, tap: Value, single: bool
) -> Value:
    """What `tap` reads for the pixels of `vector`, segment by segment unless there is one."""
    p, v = k.p, k.v
    first = vector if single else w.mul(vector, v["segments"])
    offset = w.word(p["taps"], tap)

    def segment(s: Value, otherwise: Value | None) -> Value:
        at = w.add(first, s)
        mask = w.mask_bits(w.small_word(p["masks"], w.add(w.mul(at, v["n_taps"]), tap)))
        start = w.word(p["starts"], at)
        return w.load_masked(w.at(channel, start, offset), mask, otherwise)

    loaded = segment(w.i(0), None)
    if single:
        return loaded
    with w.loop(1, v["segments"], carried=[loaded]) as s:
        s.next = [segment(s.index, s.carried[0])]
    return s.carried[0]


def _build_forward(module: ir.Module, tile: Tile, single: bool, padded: bool = False) -> None:
    """``direct_forward``: a chunk is some output channels of one image."""
    name = "direct_forward" + ("_padded" if padded else "_single" * single)
    k = ChunkKernel(module, tile.form, name, DIRECT_POINTERS, DIRECT_PLAN)
    w, p, v = k.w, k.p, k.v
    image, part = k.split(v["parts"])
    low, high = w.share(v["m"], 1, v["parts"], part)
    x = w.at(p["x"], w.mul(image, v["x_image"]))
    y = w.at(p["y"], w.mul(image, v["y_image"]))
    bound = w.splat(lower_bound(w, k.is_on("relu")))
    with w.loop(low, high) as m:
        group = w.div(m.index, v["group_m"])
        row = w.mul(w.rem(m.index, v["group_m"]), v["w_row"])
        weights = w.at(p["weights"], w.mul(group, v["w_group"]), row)
        source = w.at(x, w.mul(group, v["x_group"]))
        bias = w.splat(load_bias(w, p["bias"], m.index))
        line = w.at(y, w.mul(m.index, v["y_row"]))
        with w.loop(0, v["vectors"], VECTORS) as j:
            vectors = [w.add(j.index, i) for i in range(VECTORS)]
            with w.loop(0, v["channels"], carried=[bias] * VECTORS) as c:
                channel = w.at(source, w.mul(c.index, v["x_channel"]))
                depths = w.words(p["depths"], w.mul(c.index, v["n_taps"]))
                if padded:
                    place = w.at(channel, w.word(p["starts"], j.index))
                    c.next = _filter_rows(w, k, weights, depths, place, c.carried)
                else:
                    c.next = _filter(w, k, weights, depths, channel, vectors, c.carried, single)
            for vector, total in zip(vectors, c.carried, strict=True):
                out = w.words(p["outs"], w.mul(vector, 2))
                mask = w.mask_bits(w.word(out, 1))
                w.store_masked(w.at_least(total, bound), w.at(line, w.word(out)), mask)
    w.finish()


def _filter(
    w: Writer, k: ChunkKernel, weights: Value, depths: Value, channel: Value,
    vectors: list[Value], totals: list[Value], single: bool,
) -> list[Value]:  # fmt: skip
    """`totals` and what all taps give for `vectors` of pixels of a channel."""
    with w.loop(0, k.v["n_taps"], carried=totals) as t:
        number = w.splat(w.load(w.at(weights, w.word(depths, t.index))))
        loaded = [_load_pixels(w, k, channel, vector, t.index, single) for vector in vectors]
        t.next = [w.fma(number, x, total) for x, total in zip(loaded, t.carried, strict=True)]
    return t.carried


def _filter_rows(
    w: Writer, k: ChunkKernel, weights: Value, depths: Value, place: Value, totals: list[Value]
) -> list[Value]:
    """The same for vectors below each other, the first at `place` of a padded channel.

    Taps go down their columns: what a tap reads for one vector, the next reads for that above.
    """
    p, v = k.p, k.v
    with w.loop(0, v["tap_columns"], carried=totals) as column:
        top = w.at(place, w.word(p["taps"], column.index))
        rows = [w.load_vector(w.at(top, w.mul(v["x_row"], i))) for i in range(VECTORS - 1)]
        below = w.mul(v["x_row"], VECTORS - 1)
        state = [*column.carried, *rows]
        with w.loop(column.index, v["n_taps"], v["tap_columns"], carried=state) as t:
            number = w.splat(w.load(w.at(weights, w.word(depths, t.index))))
            last = w.load_vector(w.at(place, w.word(p["taps"], t.index), below))
            loaded = [*t.carried[VECTORS:], last]
            sums = [w.fma(number, *pair) for pair in zip(loaded, t.carried[:VECTORS], strict=True)]
            t.next = [*sums, *loaded[1:]]
        column.next = t.carried[:VECTORS]
    return column.carried


DIRECT_WEIGHT_POINTERS = (
    "g", "x", "dw", "none", "plan", "nothing", "taps", "starts", "masks", "outs",
)  # fmt: skip


def _build_weight(module: ir.Module, tile: Tile, single: bool) -> ir.Function:
    """``direct_weight``: a chunk is some output channels, over all images."""
    name = "direct_weight" + "_single" * single
    k = ChunkKernel(module, tile.form, name, DIRECT_WEIGHT_POINTERS, DIRECT_PLAN)
    w, p, v = k.w, k.p, k.v
    low, high = w.share(v["m"], 1, v["parts"], k.index)
    with w.loop(low, high) as m:
        source = w.at(p["x"], w.mul(w.div(m.index, v["group_m"]), v["x_group"]))
        line = w.at(p["g"], w.mul(m.index, v["y_row"]))
        with w.loop(0, v["channels"]) as c, w.loop(0, v["n_taps"], _TAPS) as tb:
            last = w.sub(v["n_taps"], 1)
            taps = [w.min(w.add(tb.index, t), last) for t in range(_TAPS)]
            channel = w.at(source, w.mul(c.index, v["x_channel"]))
            sums = _sum_pixels(w, k, channel, line, taps, single)
            depth = w.mul(w.add(w.mul(m.index, v["channels"]), c.index), v["n_taps"])
            for t, total in enumerate(sums):
                tap = w.add(tb.index, t)
                with w.b.if_then(w.lt(tap, v["n_taps"])):
                    w.store(w.sum(total), w.at(p["dw"], w.add(depth, tap)))
    return w.finish()


def _sum_pixels(
    w: Writer, k: ChunkKernel, channel: Value, line: Value, taps: list[Value], single: bool
) -> list[Value]:
    """For each tap, the sum over all images and vectors of the gradient times the input."""
    p, v = k.p, k.v
    zeros = [w.zero()] * len(taps)
    with w.loop(0, v["images"], carried=zeros) as n:
        g = w.at(line, w.mul(n.index, v["y_image"]))
        x = w.at(channel, w.mul(n.index, v["x_image"]))
        with w.loop(0, v["vectors"], carried=n.carried) as j:
            out = w.words(p["outs"], w.mul(j.index, 2))
            gradient = w.load_masked(w.at(g, w.word(out)), w.mask_bits(w.word(out, 1)))
            j.next = [
                w.fma(gradient, _load_pixels(w, k, x, j.index, tap, single), total)
                for tap, total in zip(taps, j.carried, strict=True)
            ]
        n.next = j.carried
    return n.carried
