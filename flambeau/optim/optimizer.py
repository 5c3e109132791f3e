"""`Optimizer`: parameter groups, state, checkpoints and hooks, without an algorithm."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any, TypeAlias

from ..autograd import enable_grad
from ..autograd.node import RemovableHandle
from ..dtypes import float32, float64, get_default_dtype
from ..tensor import Tensor
from ..tensor import functions as fl

ParamsT: TypeAlias = "Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]"
StateDict: TypeAlias = dict[str, Any]

__all__ = [
    "Optimizer",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
    "required",
]


class _Required:
    """Stands in a group's defaults for an option that has none."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()

_pre_hooks_of_all: OrderedDict[int, Callable[..., Any]] = OrderedDict()
_post_hooks_of_all: OrderedDict[int, Callable[..., Any]] = OrderedDict()


def _add_hook(
    table: OrderedDict[int, Any], hook: Callable[..., Any], prepend: bool = False
) -> RemovableHandle:
    handle = RemovableHandle(table)
    table[handle.id] = hook
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before every step of every optimizer."""
    return _add_hook(_pre_hooks_of_all, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after every step of every optimizer."""
    return _add_hook(_post_hooks_of_all, hook)


def scalar_state(value: float) -> Tensor:
    """A count or factor kept per parameter: 0-d, float32 (float64 where that is the default)."""
    return fl.tensor(value, dtype=float64 if get_default_dtype() is float64 else float32)


def evaluate(closure: Callable[[], Any] | None) -> Any:
    """The value of ``closure()`` with gradients recorded; None without a closure."""
    if closure is None:
        return None
    with enable_grad():
        return closure()


class Optimizer:
    """The base of all optimizers: groups of parameters with options, and state per parameter.

    `params` is an iterable of leaf tensors, of ``(name, tensor)`` pairs, or of dicts that hold them
    under ``"params"`` beside options of their own; `defaults` holds the options of groups that do
    not set them. A subclass defines ``step``.

    Raises TypeError for parameters of another kind, ValueError for none at all, for a non-leaf, or
    for a parameter in two groups.
    """

    defaults: dict[str, Any]
    state: defaultdict[Any, Any]
    param_groups: list[dict[str, Any]]
    _repeats = False  # whether some group holds a parameter twice
    _opt_called: bool | None = None  # None until a scheduler asks whether step() has run
    _own_step: Callable[..., Any] | None = None  # a `step` set on the instance before that

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._make_hook_tables_()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got {params.type()}"
            )
        self.state = defaultdict(dict)
        self.param_groups = []
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            setattr(cls, "step", Optimizer.profile_hook_step(cls.__dict__["step"]))  # noqa: B010

    def _make_hook_tables_(self) -> None:
        self._optimizer_step_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_step_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_load_state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_load_state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {
            "defaults": self.defaults,
            "state": self.state,
            "param_groups": self.param_groups,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_optimizer_step_pre_hooks" not in self.__dict__:
            self._make_hook_tables_()
        for group in self.param_groups:
            self._repeats |= len(set(map(id, group["params"]))) < len(group["params"])
            for name, value in self.defaults.items():
                group.setdefault(name, value)
            for p in group["params"]:
                self._mend_state_(self.state.get(p, {}))

    @staticmethod
    def _mend_state_(state: dict[str, Any]) -> None:
        """Turn the plain number that old checkpoints keep as the step into a tensor."""
        step = state.get("step")
        if step is not None and not isinstance(step, Tensor):
            state["step"] = scalar_state(float(step))

    def __repr__(self) -> str:
        groups = []
        for i, group in enumerate(self.param_groups):
            lines = [f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params"]
            groups.append(f"\nParameter Group {i}\n{''.join(lines)}")
        return f"{type(self).__name__} ({''.join(groups)})"

    # -- hooks

    OptimizerPreHook: TypeAlias = Callable[..., Any]
    OptimizerPostHook: TypeAlias = Callable[..., None]

    @staticmethod
    def profile_hook_step(func: Callable[..., Any]) -> Callable[..., Any]:
        """`func`, a ``step`` method, with the step hooks around it; free while there are none."""
        if getattr(func, "hooked", False):
            return func

        @functools.wraps(func)
        def step(*args: Any, **kwargs: Any) -> Any:
            self = args[0]
            if type(self).step is not step:  # called by a subclass's step, which runs the hooks
                return func(*args, **kwargs)
            before, after = self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks
            if before or after or _pre_hooks_of_all or _post_hooks_of_all:
                for hook in (*_pre_hooks_of_all.values(), *before.values()):
                    args, kwargs = _replaced(hook(self, args, kwargs), func, args, kwargs)
                result = func(*args, **kwargs)
                for hook in (*after.values(), *_post_hooks_of_all.values()):
                    hook(self, args, kwargs)
            else:
                result = func(*args, **kwargs)
            if self._opt_called is False:
                self._opt_called = True
            return result

        step.hooked = True
        return step

    def register_step_pre_hook(self, hook: OptimizerPreHook) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step.

        `args` starts with the optimizer. The hook may return ``(args, kwargs)`` to change the
        arguments of ``step``.
        """
        return _add_hook(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: OptimizerPostHook) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return _add_hook(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[[Optimizer], None], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` before `state_dict` is put together."""
        return _add_hook(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[[Optimizer, StateDict], StateDict | None], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` on the result; a returned dict replaces it."""
        return _add_hook(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[[Optimizer, StateDict], StateDict | None], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; a returned dict replaces it."""
        return _add_hook(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[[Optimizer], None], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` after loading."""
        return _add_hook(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # -- checkpoints

    def state_dict(self) -> StateDict:
        """The optimizer's state: ``{"state": {index: {...}}, "param_groups": [{...}]}``.

        Parameters are numbered through all groups in order. The tensors are the optimizer's own:
        copy them to keep them.
        """
        for before in self._optimizer_state_dict_pre_hooks.values():
            before(self)
        index: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                index.setdefault(id(p), len(index))
            packed = {k: v for k, v in group.items() if k != "params"}
            packed["params"] = [index[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {(index[id(k)] if isinstance(k, Tensor) else k): v for k, v in self.state.items()}
        result: StateDict = {"state": state, "param_groups": groups}
        for after in self._optimizer_state_dict_post_hooks.values():
            replaced = after(self, result)
            result = result if replaced is None else replaced
        return result

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take over what `state_dict` returned, here or in PyTorch.

        State tensors take the dtype and device of their parameter, except ``"step"``. Raises
        ValueError when the groups differ in number or size.
        """
        state_dict = state_dict.copy()
        for before in self._optimizer_load_state_dict_pre_hooks.values():
            replaced = before(self, state_dict)
            state_dict = state_dict if replaced is None else replaced
        groups = deepcopy(state_dict["param_groups"])
        self._check_groups(groups)
        saved_ids = chain.from_iterable(g["params"] for g in groups)
        own = chain.from_iterable(g["params"] for g in self.param_groups)
        parameter_of = dict(zip(saved_ids, own, strict=True))
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            p = parameter_of.get(key)
            state[key if p is None else p] = value if p is None else _fit_state(p, value)
        for mine, new in zip(self.param_groups, groups, strict=True):
            new["params"] = mine["params"]
            if "param_names" in mine:
                new.setdefault("param_names", mine["param_names"])
        self.__setstate__({"state": state, "param_groups": groups})
        for after in self._optimizer_load_state_dict_post_hooks.values():
            after(self)

    def _check_groups(self, saved: list[dict[str, Any]]) -> None:
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        for mine, theirs in zip(self.param_groups, saved, strict=True):
            if len(mine["params"]) != len(theirs["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size "
                    "of optimizer's group"
                )

    # -- work

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or set those that exist to zero in place."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = p.grad.detach()
                    p.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once by their gradients; returns ``closure()`` if that is given."""
        raise NotImplementedError(f"{type(self).__name__} does not define step()")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: a dict with ``"params"`` and any options that differ from the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        names = [entry[0] for entry in params if isinstance(entry, tuple)]
        params = [entry[1] if isinstance(entry, tuple) else entry for entry in params]
        self._check_params(params, names)
        param_group["params"] = params
        if names:
            param_group["param_names"] = names
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    "parameter group didn't specify a value of required optimization parameter "
                    f"{name}"
                )
            param_group.setdefault(name, default)
        self.param_groups.append(param_group)

    def _check_params(self, params: list[Any], names: list[str]) -> None:
        """Raise unless `params` may become the next group."""
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {_kind(p)}"
                )
            if not self.defaults.get("differentiable") and not (p.is_leaf or p.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        if names and len(names) != len(params):
            raise ValueError(
                "all optimizer params should be with/without names. Some param names are missing"
            )
        if self.param_groups and ("param_names" in self.param_groups[0]) != bool(names):
            which = "with" if names else "without"
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{which} names to the optimizer"
            )
        ids = {id(p) for p in params}
        if len(ids) != len(params):
            self._repeats = True
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this "
                "will cause an error",
                stacklevel=4,
            )
        if any(id(p) in ids for group in self.param_groups for p in group["params"]):
            raise ValueError("some parameters appear in more than one parameter group")


def _kind(value: Any) -> str:
    kind = type(value)
    builtin = kind.__module__ == "builtins"
    return kind.__name__ if builtin else f"{kind.__module__}.{kind.__qualname__}"


def _replaced(answer: Any, func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments of a step after a pre-hook gave `answer`."""
    if answer is None:
        return args, kwargs
    if isinstance(answer, tuple) and len(answer) == 2:
        return answer
    raise RuntimeError(
        f"{func} must return None or a tuple of (new_args, new_kwargs), but got {answer}."
    )


def _fit_state(p: Tensor, value: Any, key: Hashable = None) -> Any:
    """A loaded state `value` of the parameter `p` in that parameter's dtype and on its device."""
    if isinstance(value, Tensor):
        if key == "step":
            return value
        if p.is_floating_point():
            return value.to(dtype=p.dtype, device=p.device)
        return value.to(device=p.device)
    if isinstance(value, dict):
        return {k: _fit_state(p, v, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_fit_state(p, v) for v in value)
    return value
