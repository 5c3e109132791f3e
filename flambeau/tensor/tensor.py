"""The Tensor: PyTorch's class over a NumPy array.

Methods that are ops are not written here: methods.py derives them from the ops' records. What
stands here is what is not an op: properties, autograd, conversions, Python protocols.
"""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import devices, dtypes
from ..autograd import engine
from ..autograd.grad_mode import FAST, is_inference_mode_enabled
from ..autograd.node import RemovableHandle, add_hook, hooks_of
from ..ops.shapes import wrap_dim
from . import core, indexing, printing
from .core import base_of, from_array, is_leaf_node
from .shape import Size
from .storage import INFERENCE

if TYPE_CHECKING:  # what is derived from ops' records, for those who read the source only
    from .declared import DeclaredTensor as TensorCore
else:
    from .core import TensorCore

_new_tuple = tuple.__new__


class Tensor(TensorCore):
    """A multi-dimensional array of one dtype that can take part in autograd.

    Made by `flambeau.tensor`, `flambeau.zeros` and the like. ``Tensor(2, 3)`` is an uninitialised
    float tensor of that shape, ``Tensor([1, 2])`` holds the values given.
    """

    __slots__ = ()
    __module__ = "flambeau"  # where a user finds it, and pickle
    __array_priority__ = 1000

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        from . import creation

        if cls is not Tensor:
            from . import subclassing

            return subclassing.construct(cls, args, kwargs)
        return creation.from_constructor(args, dtypes.get_default_dtype(), **kwargs)

    # ------------------------------------------------------------ facts
    @property
    def shape(self) -> Size:
        """The sizes of the dimensions."""
        return _new_tuple(Size, self._d.shape)

    @property
    def dtype(self) -> dtypes.dtype:
        """The element type."""
        return self._t

    @property
    def device(self) -> devices.device:
        """Where the data lives."""
        return core.device_of(self._d)

    @property
    def layout(self) -> devices.layout:
        """Always strided."""
        return devices.strided

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._d.ndim

    @property
    def is_cuda(self) -> bool:
        """Whether the tensor is on a GPU."""
        return self.device.type == "cuda"

    @property
    def is_meta(self) -> bool:
        """Whether the tensor has a shape but no data."""
        return self.device.type == "meta"

    is_sparse = is_quantized = is_mkldnn = is_nested = is_mps = is_xpu = is_sparse_csr = False

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._t.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._d.size * self._t.itemsize

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        if dim is None:
            return Size(self._d.shape)
        try:
            return self._d.shape[dim]
        except (IndexError, TypeError):
            return self._d.shape[wrap_dim(dim, self._d.ndim)]

    def dim(self) -> int:
        """The number of dimensions."""
        return self._d.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self._d.size

    nelement = numel

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._t.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours in each dimension (or in `dim`), in elements."""
        strides = tuple(s // self._t.itemsize for s in self._d.strides)
        if 0 in strides:
            from . import memory

            strides = memory.filled_strides(self._d.shape, strides)
        return strides if dim is None else strides[wrap_dim(dim, self._d.ndim)]

    def storage_offset(self) -> int:
        """Elements between the start of the storage and the first element."""
        from . import memory

        return memory.offset_of(self._d)

    def untyped_storage(self) -> Any:
        """The memory behind the tensor, as bytes."""
        from . import storages

        return storages.storage_of(self._d)

    def data_ptr(self) -> int:
        """The address of the first element."""
        d = self._d
        if not d.size or d.__class__ is not np.ndarray:
            return 0
        return int(d.__array_interface__["data"][0])

    def is_contiguous(self, memory_format: Any = devices.contiguous_format) -> bool:
        """Whether the elements lie in memory in the order of `memory_format`."""
        if memory_format is devices.contiguous_format and self._d.__class__ is np.ndarray:
            return self._d.flags.c_contiguous
        from . import memory

        return memory.is_contiguous(self._d, memory_format)

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point one."""
        return self._t.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is complex."""
        return self._t.is_complex

    def is_signed(self) -> bool:
        """Whether the dtype has negative numbers."""
        return self._t.is_signed

    def is_conj(self) -> bool:
        """Whether the tensor is a lazy conjugate: never."""
        return False

    is_neg = is_conj

    def is_inference(self) -> bool:
        """Whether the tensor was made in inference mode."""
        return self._s is INFERENCE

    @property
    def names(self) -> tuple[None, ...]:
        """Names of the dimensions: none."""
        return (None,) * self._d.ndim

    # ------------------------------------------------------------ autograd
    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows to this tensor."""
        return self._gf is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch, in place, whether a gradient is computed for this leaf."""
        if requires_grad:
            if self._gf is None:
                if not self._t.inexact:
                    raise RuntimeError(
                        "only Tensors of floating point and complex dtype can require gradients, "
                        f"not {self._t}"
                    )
                if self._s is INFERENCE and not is_inference_mode_enabled():
                    raise RuntimeError(
                        "Setting requires_grad=True on inference tensor outside InferenceMode is "
                        "not allowed."
                    )
                self._gf = core.leaf_node(self)
        elif self._gf is not None:
            if not is_leaf_node(self._gf):
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to "
                    "use a computed variable in a subgraph that doesn't require differentiation "
                    "use var_no_grad = var.detach()."
                )
            self._gf = None
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self._gf is None or is_leaf_node(self._gf)

    @property
    def grad_fn(self) -> Any:
        """The node of the operation that made this tensor, or None."""
        n = self._gf
        return None if n is None or is_leaf_node(n) else n.as_edge()[0]

    @property
    def output_nr(self) -> int:
        """Which output of its node this tensor is."""
        return 0 if self._gf is None else self._gf.as_edge()[1]

    @property
    def grad(self) -> Any:
        """The gradient accumulated by backward, or None."""
        held = self._grad
        lost = held is None and self._gf is not None and not self.is_leaf
        if lost and not self.retains_grad:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its "
                ".grad attribute won't be populated during autograd.backward(). If you indeed want "
                "the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the "
                "non-leaf Tensor.",
                UserWarning,
                stacklevel=2,
            )
        return held

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is None:
            self._grad = None
            return
        if not isinstance(value, TensorCore):
            raise TypeError(
                f"assigned grad expected to be a Tensor or None but got {type(value).__name__}"
            )
        if value.shape != self.shape:
            raise RuntimeError(
                "assigned grad has data of a different size: expected "
                f"{list(self.shape)}, got {list(value.shape)}"
            )
        if value._t is not self._t:
            raise RuntimeError(
                f"assigned grad has data of a different type: expected {self._t}, got {value._t}"
            )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradients of this tensor with respect to the leaves to their ``grad``."""
        n = self._gf
        plain = inputs is None and gradient is None and n is not None and not create_graph
        if plain and self._d.size == 1 and not self._t.is_complex:
            engine.execute((n,), (engine.ones_like(self._d),), bool(retain_graph), False)
            return
        from ..autograd.interface import backward

        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def register_hook(self, hook: Any) -> RemovableHandle:
        """Call ``hook(grad)`` when this tensor's gradient is known; its result replaces it."""
        if self._gf is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        return add_hook(self._gf, "pre", hook)

    def register_post_accumulate_grad_hook(self, hook: Any) -> RemovableHandle:
        """Call ``hook(tensor)`` after this leaf's ``grad`` was updated."""
        if not is_leaf_node(self._gf):
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        return add_hook(self._gf, "post", lambda _inputs, _outputs: hook(self))

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf tensor in its ``grad``."""
        if self._gf is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if is_leaf_node(self._gf):
            return
        import weakref

        me = weakref.ref(self)

        def keep(g: Any) -> None:
            tensor = me()
            if tensor is not None:
                tensor._grad = g if tensor._grad is None else tensor._grad + g

        hooks_of(self._gf).retain = keep

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this non-leaf tensor."""
        n = self._gf
        return n is not None and getattr(getattr(n, "hooks", None), "retain", None) is not None

    def detach(self) -> Tensor:
        """The same memory and version counter, outside the tape."""
        out = core.new_tensor()
        out._d, out._t, out._v = self._d, self._t, self._v
        s = self._s
        out._s = core.storage_of(self) if s is None else s
        out._gf = out._grad = out._view = None
        return out

    def detach_(self) -> Tensor:
        """Take this tensor out of the tape, in place."""
        if self._view is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._gf = None
        return self

    @property
    def data(self) -> Tensor:
        """The same memory without autograd; changes through it are not counted."""
        return from_array(self._d)

    @data.setter
    def data(self, value: Any) -> None:
        if not isinstance(value, TensorCore):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._gf is not None and not value._t.inexact:
            raise RuntimeError(
                "data set to a tensor that requires gradients must be floating point or complex "
                "dtype"
            )
        if value.device.type != self.device.type:
            raise RuntimeError(
                "Attempted to call `variable.set_data(tensor)`, but `variable` and `tensor` have "
                "incompatible tensor type."
            )
        self._d, self._t = value._d, value._t

    @property
    def _version(self) -> int:
        if self._s is INFERENCE:
            raise RuntimeError("Inference tensors do not track version counter.")
        return core.version(self)

    @property
    def _base(self) -> Any:
        return None if self._view is None else base_of(self)

    def _is_view(self) -> bool:
        return self._view is not None

    # ------------------------------------------------------------ leaving the library
    def item(self) -> Any:
        """The only element as a Python number; RuntimeError if there are more."""
        try:
            return self._d.item()
        except (ValueError, AttributeError):
            raise RuntimeError(
                f"a Tensor with {self._d.size} elements cannot be converted to Scalar"
            ) from None

    def tolist(self) -> Any:
        """The elements as (nested) Python lists."""
        if self._t in dtypes.HALF or self._t in dtypes.FLOAT8:
            return self._d.astype(np.float64).tolist()
        return self._d.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """The tensor's memory as a NumPy array (shared unless `force` has to convert)."""
        if self._gf is not None and not force:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                "instead."
            )
        if not isinstance(self._d, np.ndarray):
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first."
            )
        if (self._t not in dtypes.HALF and self._t in dtypes.FLOAT8) or self._t is dtypes.bfloat16:
            raise TypeError(f"Got unsupported ScalarType {self._t.title}")
        return self._d.view()  # an array whose shape may be set without changing the tensor

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        if dtype is None and not copy:
            return array
        return np.array(array, dtype=dtype, copy=copy)

    def __array_wrap__(self, array: Any, *_: Any) -> Any:
        array = np.asarray(array)
        return from_array(array.astype(np.uint8) if array.dtype == bool else array)

    def __dlpack__(
        self,
        *,
        stream: Any = -1,
        max_version: tuple[int, int] | None = None,
        dl_device: Any = None,
        copy: bool | None = None,
    ) -> Any:
        """A DLPack capsule with this tensor's memory."""
        from . import dlpack

        return dlpack.export(self, stream, max_version, dl_device, copy)

    def __dlpack_device__(self) -> tuple[builtins.int, builtins.int]:
        """DLPack's number for the kind of device, and the device's number."""
        from . import dlpack

        if self.device.type != "cpu":
            raise ValueError(f"Unknown device type {self.device.type} for Dlpack")
        return (dlpack.DLDeviceType.kDLCPU, 0)

    def __bool__(self) -> builtins.bool:
        d = self._d
        if d.size != 1:
            if d.size == 0:
                raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return builtins.bool(d.item())

    def _as(self, kind: type) -> Any:
        if self._d.size != 1:
            raise ValueError(
                f"only one element tensors can be converted to Python scalars, not one of shape "
                f"{list(self._d.shape)} to {kind.__name__}"
            )
        value = self._d.item()
        if self._t.is_complex and kind is not builtins.complex:
            if value.imag:
                raise RuntimeError(
                    f"value of a {self._t} tensor cannot be converted to {kind.__name__} without "
                    "overflow"
                )
            value = value.real
        return kind(value)

    def __int__(self) -> builtins.int:
        return self._as(builtins.int)  # type: ignore[no-any-return]

    def __float__(self) -> builtins.float:
        return self._as(builtins.float)  # type: ignore[no-any-return]

    def __complex__(self) -> builtins.complex:
        return self._as(builtins.complex)  # type: ignore[no-any-return]

    def __index__(self) -> builtins.int:
        if self._t.inexact or self._d.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return builtins.int(self._d.item())

    def __len__(self) -> builtins.int:
        if not self._d.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self._d.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self._d.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(FAST["F"].unbind(self, 0))

    def __contains__(self, element: Any) -> builtins.bool:
        if isinstance(element, (TensorCore, int, float, complex, bool)):
            return builtins.bool((self == element).any())
        raise RuntimeError(
            f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
            f"{type(element)}."
        )

    def __hash__(self) -> builtins.int:
        return id(self)

    __getitem__ = indexing.get
    __setitem__ = indexing.set

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return printing.render(self)

    def __format__(self, spec: str) -> str:
        if self._d.ndim == 0 and type(self) is Tensor:
            return self.item().__format__(spec)
        return object.__format__(self, spec)

    def __reduce_ex__(self, protocol: Any) -> Any:
        from . import pickling

        return pickling.reduce(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        from . import pickling

        return pickling.deepcopy(self, memo)

    def __matmul__(self, other: Any) -> Any:
        return FAST["F"].matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return FAST["F"].matmul(other, self)

    def __neg__(self) -> Any:
        return FAST["F"].neg(self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return FAST["F"].abs(self)

    def __invert__(self) -> Any:
        if self._t.inexact:
            raise TypeError(
                "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
            )
        return FAST["F"].bitwise_not(self)

    @classmethod
    def __torch_function__(
        cls,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        from . import subclassing

        return subclassing.override(cls, func, types, args, kwargs)

    __torch_dispatch__: Any = None

    @staticmethod
    def _make_subclass(cls: Any, data: Any, require_grad: bool = False, **options: Any) -> Any:
        from . import subclassing

        return subclassing.make_subclass(cls, data, require_grad, **options)

    @staticmethod
    def _make_wrapper_subclass(cls: Any, size: Any, **options: Any) -> Any:
        from . import subclassing

        return subclassing.make_wrapper_subclass(cls, size, **options)

    def as_subclass(self, cls: Any) -> Any:
        """This tensor as an instance of `cls`, with the same memory and history."""
        from . import subclassing

        return subclassing.as_subclass(self, cls)


core.adopt(Tensor)
FAST["Tensor"] = Tensor
