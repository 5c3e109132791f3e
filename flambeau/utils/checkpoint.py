"""Checkpoints: a function's intermediate values are computed again in backward, not kept.

Two ways, as in PyTorch. With ``use_reentrant=True`` an operation of its own runs the function
without recording, and a second backward inside the first; only tensor arguments get gradients
through it, and parameters used inside. With ``use_reentrant=False`` whatever the function uses is
followed, keyword arguments and nested containers too.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from .. import autograd
from ..autograd.recomputation import CheckpointError, recomputed
from ..tensor import Tensor
from ..tensor import functions as fl
from ..tensor.random import fork_rng

__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "DefaultDeviceType",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "detach_variable",
    "get_device_states",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
    "set_device_states",
]


class DefaultDeviceType:
    """The kind of device whose random state a checkpoint keeps beside the CPU's."""

    _device_type = "cpu"

    @staticmethod
    def set_device_type(device: str = "cpu") -> None:
        """Set the kind of device."""
        DefaultDeviceType._device_type = device

    @staticmethod
    def get_device_type() -> str:
        """The kind of device."""
        return DefaultDeviceType._device_type


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with each tensor cut off from its history, requiring a gradient as before."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(
            "Only tuple of tensors is supported. Got Unsupported input type: "
            f"{type(inputs).__name__}"
        )
    detached = []
    for x in inputs:
        if isinstance(x, Tensor):
            needed, x = x.requires_grad, x.detach()
            x.requires_grad = needed
        detached.append(x)
    return tuple(detached)


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn where no tensor among `inputs` requires a gradient."""
    if not any(x.requires_grad for x in inputs if isinstance(x, Tensor)):
        warnings.warn(
            "None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2
        )


def get_device_states(*args: Any) -> tuple[list[int], list[Any]]:
    """Numbers and random states of the accelerators that hold `args`: none on the CPU."""
    return [], []


def set_device_states(
    devices: Sequence[int], states: Sequence[Any], *, device_type: str | None = None
) -> None:
    """Restore what `get_device_states` gave; RuntimeError for devices that are not there."""
    if len(devices):
        raise RuntimeError(f"there is no accelerator whose random state could be set: {devices}")


def noop_context_fn() -> tuple[Any, Any]:
    """Two contexts that do nothing, for forward and for recomputation."""
    return contextlib.nullcontext(), contextlib.nullcontext()


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Accepted for its name: recomputation always runs the whole function."""
    yield


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Accepted for its name: errors always say what differs."""
    yield


@contextlib.contextmanager
def _random_state(state: Any) -> Iterator[None]:
    """Inside, the default generator continues from `state` (None: nothing is changed)."""
    if state is None:
        yield
        return
    with fork_rng():
        fl.set_rng_state(state)
        yield


class CheckpointFunction(autograd.Function):
    """The operation behind ``use_reentrant=True``: (function, keep the random state, *args)."""

    @staticmethod
    def forward(ctx: Any, run_function: Any, preserve_rng_state: bool, *args: Any) -> Any:
        """Run the function without recording."""
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.state = fl.get_rng_state() if preserve_rng_state else None
        tensors = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.places = tensors
        ctx.args = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*(args[i] for i in tensors))
        return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Run the function again, recorded, and a backward through it."""
        args = list(ctx.args)
        for i, t in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[i] = t
        inputs = detach_variable(tuple(args))
        with _random_state(ctx.state), autograd.enable_grad():
            outputs = ctx.run_function(*inputs)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        pairs = [
            (out, g)
            for out, g in zip(outputs, grad_outputs, strict=True)
            if isinstance(out, Tensor) and out.requires_grad
        ]
        if not pairs:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        autograd.backward([out for out, _ in pairs], [g for _, g in pairs])
        grads = [x.grad if isinstance(x, Tensor) else None for x in inputs]
        return (None, None, *grads)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, computed a second time in backward to save memory.

    Args:
        use_reentrant: which of the module's two ways; to be given.
        context_fn: makes the contexts in which forward and recomputation run (not reentrant).
        determinism_check: "none" leaves out the comparison of the two runs' shapes and dtypes.
        preserve_rng_state: whether the second run draws the first one's random numbers.

    Raises ValueError for arguments that the chosen way does not take, and in backward
    CheckpointError where the two runs differ.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly; "
            "use_reentrant=True is assumed. use_reentrant=False is recommended.",
            stacklevel=2,
        )
        use_reentrant = True
    if use_reentrant:
        if kwargs:
            raise ValueError(f"Unexpected keyword arguments: {','.join(kwargs)}")
        if context_fn is not noop_context_fn or debug:
            raise ValueError(
                "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
            )
        return CheckpointFunction.apply(function, preserve_rng_state, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"determinism_check should be one of ['default', 'none'], but got {determinism_check}"
        )
    first, second = context_fn()
    state = fl.get_rng_state() if preserve_rng_state else None

    def run() -> Any:
        with first:
            return function(*args, **kwargs)

    def again() -> Any:
        with _random_state(state), second:
            return function(*args, **kwargs)

    if not autograd.is_grad_enabled():
        return run()
    return recomputed(run, again, determinism_check == "default")


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    *,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """`functions` (a `Sequential` or a list) one after the other, in `segments` checkpoints.

    The last segment is not checkpointed. ValueError for other keyword arguments.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be "
            "passed explicitly; use_reentrant=True is assumed. use_reentrant=False is recommended.",
            stacklevel=2,
        )
        use_reentrant = True
    if kwargs:
        raise ValueError(f"Unexpected keyword arguments: {','.join(kwargs)}")
    steps = list(functions.children()) if hasattr(functions, "children") else list(functions)
    size = len(steps) // segments

    def piece(part: list[Any]) -> Callable[[Any], Any]:
        def forward(x: Any) -> Any:
            for step in part:
                x = step(x)
            return x

        return forward

    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(
            piece(steps[start:end]),
            input,
            use_reentrant=use_reentrant,
            preserve_rng_state=preserve_rng_state,
        )
    return piece(steps[end:])(input)
