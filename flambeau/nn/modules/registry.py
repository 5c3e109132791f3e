"""What a module owns: its parameters, buffers and submodules, and the attribute rules for them.

The truth is in three tables, ``_parameters``, ``_buffers`` and ``_modules``. Each is a dict that
repeats its entries in the owner's ``__dict__``, so that ``self.weight`` is an ordinary attribute
lookup, and every change of a table, from wherever it comes, keeps both in step.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from ...tensor import Buffer, Parameter, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .module import Module

TABLES = ("_parameters", "_buffers", "_modules")
_ABSENT = object()


def typename(value: object) -> str:
    """Name of a value's type as error messages give it (`torch.FloatTensor`, `int`, `a.b.C`)."""
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    if kind.__module__ in ("builtins", "", None):
        return kind.__name__
    return f"{kind.__module__}.{kind.__qualname__}"


class Table(dict):
    """A dict of named members that mirrors its entries as attributes of the owning module.

    A name that the owner's class defines is not mirrored: there the class attribute wins. The
    owner is held weakly, so a module is freed as soon as its last reference goes. Copies and
    pickles are plain dicts.
    """

    __slots__ = ("_owner",)

    def __init__(self, owner: Module, entries: Any = None) -> None:
        self._owner = weakref.ref(owner)
        if entries:
            self.update(entries)

    def _show(self, name: str, value: Any) -> None:
        owner = self._owner()
        if owner is not None and not hasattr(type(owner), name):
            object.__setattr__(owner, name, value)

    def _hide(self, name: str, value: Any) -> None:
        owner = self._owner()
        # Someone may have put another attribute over the mirrored one: leave that alone.
        if owner is not None and owner.__dict__.get(name, _ABSENT) is value:
            object.__delattr__(owner, name)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self._show(name, value)

    def __delitem__(self, name: str) -> None:
        value = self[name]
        super().__delitem__(name)
        self._hide(name, value)

    def pop(self, name: str, *default: Any) -> Any:
        value = super().pop(name, *default)
        self._hide(name, value)
        return value

    def popitem(self) -> tuple[str, Any]:
        name, value = super().popitem()
        self._hide(name, value)
        return name, value

    def clear(self) -> None:
        for name in list(self):
            del self[name]

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *others: Any, **more: Any) -> None:
        for name, value in dict(*others, **more).items():
            self[name] = value

    def __ior__(self, other: Any) -> Table:
        self.update(other)
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return dict, (), None, None, iter(self.items())


def _check_name(kind: str, name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
    if "." in name:
        seen = f", got: {name}" if kind == "module" else ""
        raise KeyError(f'{kind} name can\'t contain "."{seen}')
    if name == "":
        raise KeyError(f'{kind} name can\'t be empty string ""')


def _check_free(owner: Members, name: str, table: dict) -> None:
    if hasattr(owner, name) and name not in table:
        raise KeyError(f"attribute '{name}' already exists")


# Called with (module, name, value) when a member is registered; None or a replacement comes back.
# Filled by the `register_module_*_registration_hook` functions.
parameter_watchers: OrderedDict[int, Any] = OrderedDict()
buffer_watchers: OrderedDict[int, Any] = OrderedDict()
module_watchers: OrderedDict[int, Any] = OrderedDict()


def _watched(watchers: dict[int, Any], owner: Members, name: str, value: Any) -> Any:
    for hook in watchers.values():
        replacement = hook(owner, name, value)
        if replacement is not None:
            value = replacement
    return value


class Members:
    """The part of `Module` that registers members and decides what an assignment means."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _non_persistent_buffers_set: set[str]
    _modules: dict[str, Module | None]

    def _open_tables(self) -> None:
        put = object.__setattr__
        put(self, "training", True)
        put(self, "_parameters", Table(self))
        put(self, "_buffers", Table(self))
        put(self, "_non_persistent_buffers_set", set())
        put(self, "_modules", Table(self))

    def _table(self, table: str, kind: str) -> dict:
        found = self.__dict__.get(table)
        if found is None:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        return found

    # -- registration ------------------------------------------------------------------------

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter under ``name``; None reserves the name for a parameter.

        Raises TypeError for anything but a Parameter, KeyError for a bad or taken name,
        ValueError for a tensor that has a history.
        """
        table = self._table("_parameters", "parameter")
        _check_name("parameter", name)
        _check_free(self, name, table)
        if param is None:
            table[name] = None
            return
        if not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{typename(param)}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        if param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                f"created explicitly. To express '{name}' as a function of another Tensor, "
                "compute the value in the forward() method."
            )
        table[name] = _watched(parameter_watchers, self, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a buffer: state that is no parameter, saved with the module if ``persistent``.

        Raises TypeError for anything but a Tensor or None, KeyError for a bad or taken name.
        """
        table = self._table("_buffers", "buffer")
        _check_name("buffer", name)
        _check_free(self, name, table)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        table[name] = _watched(buffer_watchers, self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a child module under ``name``.

        Raises TypeError for anything but a Module or None, KeyError for a bad or taken name.
        """
        if module is not None and not isinstance(module, Members):
            raise TypeError(f"{typename(module)} is not a Module subclass")
        if not isinstance(name, str):
            raise TypeError(f"module name should be a string. Got {typename(name)}")
        _check_free(self, name, self._modules)
        _check_name("module", name)
        self._modules[name] = _watched(module_watchers, self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    # -- attributes --------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        # Reached only when the mirrored attribute is missing.
        state = self.__dict__
        for table in TABLES:
            members = state.get(table)
            if members is not None and name in members:
                return members[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Tensor):
            if isinstance(value, Parameter):
                self._set_parameter(name, value)
                return
            if isinstance(value, Buffer):
                self._set_buffer(name, value, value.persistent)
                return
        elif isinstance(value, Members):
            self._set_module(name, value)
            return
        state = self.__dict__
        if name in state.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, None)
        elif name in state.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' "
                    "(torch.nn.Module or None expected)"
                )
            self._modules[name] = _watched(module_watchers, self, name, None)
        elif name in state.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{typename(value)}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
            self._buffers[name] = _watched(buffer_watchers, self, name, value)
        elif name in TABLES and type(value) is not Table:
            self._replace_table(name, value)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for table in TABLES:
            members = self.__dict__.get(table, ())
            if name in members:
                del members[name]
                if table == "_buffers":
                    self._non_persistent_buffers_set.discard(name)
                if self.__dict__.get(name, _ABSENT) is not _ABSENT:  # a table that is no Table
                    object.__delattr__(self, name)
                return
        object.__delattr__(self, name)

    def _set_parameter(self, name: str, value: Parameter) -> None:
        if self.__dict__.get("_parameters") is None:
            raise AttributeError("cannot assign parameters before Module.__init__() call")
        self._clear_name(name, keep="_parameters")
        self.register_parameter(name, value)

    def _set_buffer(self, name: str, value: Tensor, persistent: bool) -> None:
        if self.__dict__.get("_buffers") is None:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._clear_name(name, keep="_buffers")
        self.register_buffer(name, value, persistent)

    def _set_module(self, name: str, value: Members) -> None:
        if self.__dict__.get("_modules") is None:
            raise AttributeError("cannot assign module before Module.__init__() call")
        self._clear_name(name, keep="_modules")
        self._modules[name] = _watched(module_watchers, self, name, value)

    def _clear_name(self, name: str, keep: str) -> None:
        """Takes ``name`` away from every table but ``keep``, and from the plain attributes."""
        for table in TABLES:
            if table != keep and name in self.__dict__[table]:
                del self.__dict__[table][name]
        if keep != "_buffers":
            self._non_persistent_buffers_set.discard(name)
        if name in self.__dict__ and name not in self.__dict__[keep]:
            object.__delattr__(self, name)

    def _replace_table(self, table: str, entries: Any) -> None:
        old = self.__dict__.get(table)
        if type(old) is Table:
            old.clear()
        object.__setattr__(self, table, Table(self, entries))

    def __dir__(self) -> Iterable[str]:
        names = set(dir(type(self))) | set(self.__dict__)
        for table in TABLES:
            names.update(self.__dict__.get(table, ()))
        return sorted(name for name in names if not name[0].isdigit())

    # -- copying and pickling ----------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Instance state with plain dicts for tables and without the mirrored attributes."""
        state = dict(self.__dict__)
        state.pop("_compiled_call_impl", None)  # it is this module's own
        for table in TABLES:
            members = state.get(table)
            if members is None:
                continue
            state[table] = dict(members)
            for name, value in members.items():
                if state.get(name, _ABSENT) is value:
                    del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__.setdefault("training", True)
        self.__dict__.setdefault("_non_persistent_buffers_set", set())
        for table in TABLES:
            object.__setattr__(self, table, Table(self, self.__dict__.get(table)))
