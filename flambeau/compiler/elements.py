"""Elements in memory: how each kind is stored, and what it becomes when it is computed with."""

from __future__ import annotations

from typing import NamedTuple

from .scalar_ir import ScalarWriter, Value


class Storage(NamedTuple):
    """How an element lies in memory: LLVM type, compute type, bytes, and whether it is signed."""

    memory: str
    compute: str
    size: int
    signed: bool = True


STORAGE = {
    "f32": Storage("float", "float", 4),
    "f64": Storage("double", "double", 8),
    "f16": Storage("half", "float", 2),
    "bf16": Storage("i16", "float", 2),
    "bool": Storage("i8", "i1", 1),
    **{f"i{8 * n}": Storage(f"i{8 * n}", "i64", n) for n in (1, 2, 4, 8)},
    **{f"u{8 * n}": Storage(f"i{8 * n}", "i64", n, False) for n in (1, 2, 4, 8)},
}
KINDS = {
    "float32": "f32",
    "float64": "f64",
    "float16": "f16",
    "bfloat16": "bf16",
    "bool": "bool",
    **{f"int{n}": f"i{n}" for n in (8, 16, 32, 64)},
    **{f"uint{n}": f"u{n}" for n in (8, 16, 32, 64)},
}
"""The kind of element that a NumPy dtype of this name has."""


def load_element(w: ScalarWriter, address: Value, element: str, note: str = "") -> Value:
    """The element at `address` in its compute type; `note` is metadata of the access."""
    s = STORAGE[element]
    v = w.emit(f"load {s.memory}, ptr {address.name}, align {s.size}{note}", s.memory)
    if element == "bool":
        return w.emit(f"icmp ne i8 {v.name}, 0", "i1")
    if element == "bf16":
        wide = w.emit(f"zext i16 {v.name} to i32", "i32")
        wide = w.emit(f"shl i32 {wide.name}, 16", "i32")
        return w.emit(f"bitcast i32 {wide.name} to float", "float")
    if element == "f16":
        return w.emit(f"fpext half {v.name} to float", "float")
    if s.compute == "i64" and s.size < 8:
        extend = "sext" if s.signed else "zext"
        return w.emit(f"{extend} {s.memory} {v.name} to i64", "i64")
    return v


def store_element(w: ScalarWriter, address: Value, element: str, v: Value, note: str = "") -> None:
    """Put `v`, of the element's compute type, at `address`."""
    s = STORAGE[element]
    if element == "bool":
        v = w.emit(f"zext i1 {v.name} to i8", "i8")
    elif element == "bf16":
        v = _round_to_bfloat16(w, v)
    elif element == "f16":
        v = w.emit(f"fptrunc float {v.name} to half", "half")
    elif s.compute == "i64" and s.size < 8:
        v = w.emit(f"trunc i64 {v.name} to {s.memory}", s.memory)
    w.lines.append(f"  store {v.type} {v.name}, ptr {address.name}, align {s.size}{note}")


def _round_to_bfloat16(w: ScalarWriter, v: Value) -> Value:
    """The upper half of a float's bits, rounded to nearest even; NaN stays NaN."""
    number = w.emit(f"bitcast float {v.name} to i32", "i32")
    upper = w.emit(f"lshr i32 {number.name}, 16", "i32")
    odd = w.emit(f"and i32 {upper.name}, 1", "i32")
    bias = w.emit(f"add i32 {odd.name}, 32767", "i32")
    rounded = w.emit(f"add i32 {number.name}, {bias.name}", "i32")
    rounded = w.emit(f"lshr i32 {rounded.name}, 16", "i32")
    quiet = w.emit(f"or i32 {upper.name}, 64", "i32")
    nan = w.compare("uno", v, v)
    chosen = w.emit(f"select i1 {nan.name}, i32 {quiet.name}, i32 {rounded.name}", "i32")
    return w.emit(f"trunc i32 {chosen.name} to i16", "i16")
