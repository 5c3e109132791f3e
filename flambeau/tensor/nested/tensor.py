"""The class of nested tensors, jagged and strided."""

from __future__ import annotations

from typing import Any

from ... import devices
from ...autograd.grad_mode import FAST
from ...backends.nested import Jagged, Parts
from ...ops.record import Op
from ...ops.shapes import wrap_dim
from ..composed import ComposedTensor, values_of, with_values
from ..core import array_of, from_array
from ..printing import history_notes

_NO_ARRAY = "is not supported for tensor subclasses"


class NestedTensor(ComposedTensor):
    """A batch of tensors that differ in size; see `flambeau.nested`."""

    is_nested = True  # type: ignore[assignment]

    def interpret(self, op: Op, arguments: dict[str, Any]) -> Any:
        from . import packed, parts

        module: Any = packed if self.layout is devices.jagged else parts
        return module.interpret(op, arguments)

    @staticmethod
    def pick(g: Any, pattern: Any) -> Any:
        """The values of the gradient `g`, which has the members of `pattern`."""
        if isinstance(g, NestedTensor):
            return values_of(g)
        raise RuntimeError("a nested tensor's gradient must be nested")

    def made_like(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        raw = array_of(self)
        made = function(from_array(raw.values), *args, **kwargs)
        out = with_values(raw, made.detach())
        return out.requires_grad_() if made.requires_grad else out

    # ------------------------------------------------------------ facts
    def size(self, dim: int | None = None) -> Any:
        raw = array_of(self)
        if isinstance(raw, Jagged):
            return super().size(dim)
        if dim is None:
            return self.shape
        d = wrap_dim(dim, self.ndim)
        if d == 0:
            return len(raw.sizes)
        found = {s[d - 1] for s in raw.sizes}
        if len(found) != 1:
            raise RuntimeError(f"Given dimension {d} is irregular and does not have a size.")
        return found.pop()

    def __len__(self) -> int:
        return int(self.size(0))

    def stride(self, dim: int | None = None) -> Any:
        steps: list[Any] = []
        step: Any = 1
        for n in reversed(self.shape):
            steps.insert(0, step)
            step = n * step
        return tuple(steps) if dim is None else steps[dim]

    def is_contiguous(self, memory_format: Any = devices.contiguous_format) -> bool:
        raw = array_of(self)
        plain = raw.values.flags.c_contiguous and getattr(raw, "lengths", None) is None
        return bool(plain)

    def contiguous(self, memory_format: Any = devices.contiguous_format) -> Any:
        """This tensor with its members one after the other in memory."""
        from .packed import compacted

        if self.is_contiguous() or isinstance(array_of(self), Parts):
            return self
        out = compacted(self)
        raw = array_of(out)
        if raw.values.flags.c_contiguous:
            return out
        return with_values(raw, values_of(out).contiguous())

    def offsets(self) -> Any:
        """Where each member begins among the values (B + 1,)."""
        return from_array(self._jagged("offsets").offsets)

    def lengths(self) -> Any:
        """The members' lengths (B,) where they do not follow from the offsets, else None."""
        found = self._jagged("lengths").lengths
        return None if found is None else from_array(found)

    def _jagged(self, name: str) -> Any:
        raw = array_of(self)
        if not isinstance(raw, Jagged):
            raise AttributeError(f"a nested tensor of layout {self.layout} has no {name}")
        return raw

    def values(self) -> Any:
        """The members' elements: packed along the ragged dimension, or flat."""
        return values_of(self)

    def _get_max_seqlen(self) -> int:
        return int(self._jagged("max_seqlen").counts.max(initial=0))

    def _get_min_seqlen(self) -> int:
        counts = self._jagged("min_seqlen").counts
        return int(counts.min()) if counts.size else 0

    @property
    def _max_seqlen(self) -> int:
        return self._get_max_seqlen()

    @property
    def _min_seqlen(self) -> int:
        return self._get_min_seqlen()

    @property
    def _ragged_idx(self) -> int:
        return int(self._jagged("ragged dimension").ragged)

    @property
    def _lengths(self) -> Any:
        return self.lengths()

    @property
    def _offsets(self) -> Any:
        return self.offsets()

    # ------------------------------------------------------------ members and shapes
    def unbind(self, dim: int = 0) -> Any:
        """The members, as a tuple of dense tensors."""
        return FAST["F"].unbind(self, dim)

    def __iter__(self) -> Any:
        return iter(self.unbind())

    def __getitem__(self, index: Any) -> Any:
        from .shapes import indexed

        return indexed(self, index)

    def view(self, *shape: Any) -> Any:
        """The same values in another shape, with the ragged size or -1 at the ragged dimension."""
        return self.reshape(*shape)

    def reshape(self, *shape: Any) -> Any:
        """The same values in another shape, with the ragged size or -1 at the ragged dimension."""
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return FAST["F"].reshape(self, tuple(sizes))

    def select(self, dim: int, index: int) -> Any:
        """Member number `index`, or a slice of all members along another dimension."""
        from .shapes import select

        return select(self, dim, index)

    @property
    def T(self) -> Any:
        """Always an error: the batch stays first."""
        raise ValueError("Permute is not supported on the batch dimension for jagged NT")

    def transpose(self, dim0: int, dim1: int) -> Any:
        """This tensor with two dimensions, neither the batch, exchanged."""
        return FAST["F"].transpose(self, dim0, dim1)

    def attended(
        self,
        key: Any,
        value: Any,
        attn_mask: Any,
        dropout_p: float,
        is_causal: bool,
        scale: float | None,
        enable_gqa: bool,
    ) -> Any:
        """Scaled dot-product attention of each member by itself; this tensor is the query."""
        from .packed import attended

        options = {
            "dropout_p": dropout_p,
            "is_causal": is_causal,
            "scale": scale,
            "enable_gqa": enable_gqa,
        }
        return attended(self, key, value, attn_mask, options)

    def to_padded_tensor(self, padding: float, output_size: Any = None) -> Any:
        """The members filled up with `padding` to one size, as a dense tensor."""
        from .shapes import padded

        return padded(self, padding, output_size)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """This tensor with another dtype; the only device is the CPU."""
        old = values_of(self)
        new = old.to(*args, **kwargs)
        return self if new is old else with_values(array_of(self), new)

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The tensor's type name, or the tensor with another dtype."""
        if dtype is not None:
            return self.to(dtype)
        return from_array(array_of(self).values[:0]).type()

    # ------------------------------------------------------------ what needs a dense array
    def numpy(self, *, force: bool = False) -> Any:
        raise RuntimeError(f".numpy() {_NO_ARRAY}.")

    def tolist(self) -> Any:
        if self.layout is devices.jagged:
            raise RuntimeError(f".tolist() {_NO_ARRAY}, got NestedTensor")
        return [t.tolist() for t in self.unbind()]

    def item(self) -> Any:
        if self.numel() != 1:
            raise RuntimeError(
                f"a Tensor with {self.numel()} elements cannot be converted to Scalar"
            )
        return array_of(self).values.item()

    def __setitem__(self, index: Any, value: Any) -> None:
        raise NotImplementedError("index_put_ is not implemented for nested tensors")

    def __format__(self, spec: str) -> str:
        return object.__format__(self, spec)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        notes = history_notes(self)
        if self.layout is devices.jagged:
            sizes = "(" + ", ".join(map(repr, self.shape)) + ")"
            whole = f"contiguous={self.is_contiguous()}"
            shown = [f"size={sizes}", f"offsets={self.offsets()!r}", *notes, whole]
            return f"NestedTensor({', '.join(shown)})"
        members = [t.requires_grad_(self.requires_grad) for t in self.detach().unbind()]
        texts = [repr(t).replace("\n", "\n  ") for t in members]
        body = ",\n  ".join(texts)
        text = f"nested_tensor([\n  {body}\n]" if texts else "nested_tensor([\n\n]"
        return ", ".join([text, *notes]) + ")"

    def __reduce_ex__(self, protocol: Any) -> Any:
        from .construction import rebuild

        if not self.is_leaf:
            raise RuntimeError(
                "Pickling a tensor that has history is not supported: detach() it first."
            )
        raw = array_of(self)
        state = dict(raw.__dict__)
        return rebuild, (type(raw), state, self.requires_grad, dict(self.__dict__))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            if not self.is_leaf:
                raise RuntimeError(
                    "Only Tensors created explicitly by the user (graph leaves) support the "
                    "deepcopy protocol at the moment."
                )
            raw = array_of(self)
            out = from_array(raw.with_values(raw.values.copy()))
            memo[id(self)] = out.requires_grad_() if self.requires_grad else out
        return memo[id(self)]


def members(x: Any) -> list[Any]:
    """The members of a nested tensor."""
    return list(FAST["F"].unbind(x, 0))


__all__ = ["NestedTensor", "members"]
