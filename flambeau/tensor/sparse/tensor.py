"""The class of sparse tensors: what is asked of one, and what it answers with an error."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import devices, dtypes
from ...autograd.grad_mode import FAST
from ...backends.sparse import Coordinates, places
from ...ops.record import Op
from .. import core
from ..composed import ComposedTensor, values_of, with_values
from ..core import array_of, from_array
from ..inplace import check_leaf

TITLES = {
    devices.strided: "Strided",
    devices.sparse_coo: "Sparse",
    devices.sparse_csr: "SparseCsr",
    devices.sparse_csc: "SparseCsc",
    devices.sparse_bsr: "SparseBsr",
    devices.sparse_bsc: "SparseBsc",
    devices.jagged: "Jagged",
}


def unsupported(name: str, layout: devices.layout) -> NotImplementedError:
    """The error of an op that has no rule for this layout."""
    backend = "SparseCPU" if layout is devices.sparse_coo else "SparseCsrCPU"
    return NotImplementedError(
        f"Could not run 'aten::{name}' with arguments from the '{backend}' backend: there is no "
        f"rule for tensors of layout {layout}. Use to_dense() first, or work on values()."
    )


class SparseTensor(ComposedTensor):
    """A tensor of which only some elements are stored; see `flambeau.sparse`."""

    @property
    def is_sparse(self) -> bool:  # type: ignore[override]
        """Whether the layout is COO."""
        return self.layout is devices.sparse_coo

    @property
    def is_sparse_csr(self) -> bool:  # type: ignore[override]
        """Whether the layout is CSR."""
        return self.layout is devices.sparse_csr

    @property
    def nbytes(self) -> int:
        raise RuntimeError(
            "nbytes is not defined for sparse tensors.  If you want the size of the constituent "
            "tensors, add the nbytes of the indices and values.  If you want the size of the  "
            "equivalent dense tensor, multiply numel() by element_size()"
        )

    def interpret(self, op: Op, arguments: dict[str, Any]) -> Any:
        from .rules import RULES

        rule = RULES.get(op.name)
        if rule is None:
            raise unsupported(op.name, self.layout)
        return rule(**arguments)

    def made_like(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        from .structure import empty_like

        raw, layout = array_of(self), kwargs.pop("layout", None)
        random = function.__name__.startswith("rand") and not isinstance(raw, Coordinates)
        if random and layout in (None, raw.layout):
            drawn = function(from_array(raw.values), *args, **kwargs)
            made = with_values(raw, drawn.detach())
        elif not function.__name__.startswith(("zeros", "empty")):
            raise unsupported("fill_", self.layout)
        elif layout is None or layout is raw.layout:
            made = empty_like(self).to(kwargs.get("dtype"))
        elif layout is devices.strided:
            return function(from_array(np.empty(raw.shape, raw.dtype)), *args, **kwargs)
        else:
            made = empty_like(self).to(kwargs.get("dtype")).to_sparse(layout=layout)
        return made.requires_grad_() if kwargs.get("requires_grad") else made

    @staticmethod
    def pick(x: Any, pattern: Any) -> Any:
        """The elements of a dense or sparse tensor at the places of `pattern`, as its values."""
        F = FAST["F"]
        at = pattern.elements()
        if not isinstance(x, SparseTensor):
            found = F.advanced_index(x, tuple(at)) if len(at) else x.unsqueeze(0)
        elif array_of(x).shares_pattern(pattern):
            return values_of(x)
        else:
            found = looked_up(x, at)
        shape = pattern.values.shape
        return found if tuple(found.shape) == shape else found.reshape(shape)

    # ------------------------------------------------------------ Python's protocols
    def __repr__(self, *, tensor_contents: Any = None) -> str:
        from .rendering import render

        return render(self)

    def __format__(self, spec: str) -> str:
        return object.__format__(self, spec)

    def __getitem__(self, index: Any) -> Any:
        from .structure import indexed

        return indexed(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise unsupported("index_put_", self.layout)

    def __iter__(self) -> Any:
        return iter(FAST["F"].unbind(self, 0))

    def __reduce_ex__(self, protocol: Any) -> Any:
        from .copying import reduce

        return reduce(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        from .copying import deepcopy

        return deepcopy(self, memo)

    # ------------------------------------------------------------ what needs a dense array
    def stride(self, dim: int | None = None) -> Any:
        if self.layout is devices.sparse_coo:
            return (0,) * self.ndim if dim is None else 0
        raise RuntimeError(f"Sparse {_short(self)} tensors do not have strides")

    def is_contiguous(self, memory_format: Any = devices.contiguous_format) -> bool:
        if self.layout is devices.sparse_coo:
            return False
        raise RuntimeError(f"Sparse {_short(self)} tensors do not have is_contiguous")

    def contiguous(self, memory_format: Any = None) -> Any:
        """This tensor: there is no memory order to choose."""
        return self

    def data_ptr(self) -> int:
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")

    def tolist(self) -> Any:
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")

    def storage_offset(self) -> int:
        raise RuntimeError("sparse tensors do not have a storage offset")

    def untyped_storage(self) -> Any:
        raise NotImplementedError("Cannot access storage of SparseTensorImpl")

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return array_of(self).to_dense()
        raise TypeError(
            f"can't convert {TITLES[self.layout]} layout tensor to numpy. Use Tensor.to_dense() "
            "first."
        )

    def item(self) -> Any:
        if self.numel() != 1:
            raise RuntimeError(
                f"a Tensor with {self.numel()} elements cannot be converted to Scalar"
            )
        return array_of(self).to_dense().item()

    @property
    def mT(self) -> Any:
        """The transposed matrix, or matrices."""
        return FAST["F"].transpose(self, -2, -1)

    @property
    def T(self) -> Any:
        """This tensor with its dimensions in reverse order."""
        if self.ndim == 2:
            return FAST["F"].t(self)
        return FAST["F"].permute(self, tuple(range(self.ndim - 1, -1, -1)))

    def transpose_(self, dim0: int, dim1: int) -> Any:
        """Exchange two dimensions in place."""
        return self._replaced(FAST["F"].transpose(self, dim0, dim1))

    def t_(self) -> Any:
        """Transpose this matrix in place."""
        return self._replaced(FAST["F"].t(self))

    def _replaced(self, result: Any) -> Any:
        check_leaf(self, "transpose_")
        array_of(self).__dict__.update(array_of(result).__dict__)
        self._gf = result._gf
        core.bump(self)
        return self

    # ------------------------------------------------------------ dtype and device
    def to(self, *args: Any, **kwargs: Any) -> Any:
        """This tensor with another dtype; the only device is the CPU."""
        given: list[Any] = [a._t if isinstance(a, core.TensorCore) else a for a in args]
        other = kwargs.get("other")
        wanted = [*(a for a in given if isinstance(a, dtypes.dtype)), kwargs.get("dtype")]
        dtype = next((t for t in wanted if t is not None), None if other is None else other.dtype)
        places_ = [a for a in given if isinstance(a, (str, devices.device))]
        for place in [*places_, kwargs.get("device")]:
            if devices.resolve_device(place).type != "cpu":
                raise NotImplementedError(f"sparse tensors on the device {place} are not supported")
        if dtype is not None and dtype is not self._t:
            return FAST["F"].to_dtype(self, dtype)
        return FAST["F"].clone(self) if kwargs.get("copy") else self

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The tensor's type name, or the tensor with another dtype."""
        if dtype is not None:
            return self.to(dtype)
        if self.layout is not devices.sparse_coo:
            raise RuntimeError("Unimplemented backend SparseCsrCPU")
        return "torch.sparse." + from_array(array_of(self).values[:0]).type().removeprefix("torch.")


def _short(t: Any) -> str:
    return TITLES[t.layout].removeprefix("Sparse").upper()


def looked_up(x: Any, at: Any) -> Any:
    """The values of the sparse tensor `x` at the indices `at` (S, N): (N, *dense), 0 elsewhere."""
    F = FAST["F"]
    from .layouts import coalesce, elements

    indices, values = elements(coalesce(x))
    sizes = x.shape[: len(at)]
    found, wanted = places(indices, sizes), places(at, sizes)
    if not found.size:
        return F.zeros((at.shape[1], *values.shape[1:]), dtype=x.dtype)
    order = None
    if not isinstance(array_of(x), Coordinates):
        order = np.argsort(found, kind="stable")
        found = found[order]
    place = np.minimum(np.searchsorted(found, wanted), len(found) - 1)
    hit = found[place] == wanted
    taken = F.index_select(values, 0, from_array(place if order is None else order[place]))
    if hit.all():
        return taken
    mask = from_array(hit.reshape(-1, *[1] * (values.ndim - 1)))
    return F.where(mask, taken, F.zeros((), dtype=x.dtype))


__all__ = ["TITLES", "SparseTensor", "looked_up", "unsupported"]
