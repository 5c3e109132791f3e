"""Functions of functions: derivatives, and one function over many examples.

They nest in any order: ``vmap(grad(f))`` has the gradients per example, ``jacfwd(jacrev(f))`` the
Hessian.
"""

from __future__ import annotations

from .derivatives import grad, grad_and_value, jvp, linearize, vjp
from .jacobians import hessian, jacfwd, jacrev
from .modules import functional_call, replace_all_batch_norm_modules_, stack_module_state
from .mutations import debug_unwrap, functionalize
from .rearranging import rearrange
from .vmapping import vmap

__all__ = [
    "debug_unwrap",
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "rearrange",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]
