"""A few extreme eigenpairs of large symmetric matrices, by products with them alone.

Knyazev, "Toward the optimal preconditioned eigensolver: locally optimal block preconditioned
conjugate gradient method" (2001). The basis of each step is made orthonormal as in Stathopoulos and
Wu, "A block orthogonalization procedure with constant synchronization requirements" (2002).
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from .. import dtypes
from ..autograd.grad_mode import FAST, is_grad_enabled, no_grad
from .functions import publish


@publish
def lobpcg(
    A: Any,
    k: int | None = None,
    B: Any = None,
    X: Any = None,
    n: int | None = None,
    iK: Any = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    tracker: Callable[[Any], None] | None = None,
    ortho_iparams: dict[str, int] | None = None,
    ortho_fparams: dict[str, float] | None = None,
    ortho_bparams: dict[str, bool] | None = None,
) -> tuple[Any, Any]:
    """The `k` largest (or smallest) eigenvalues (*, k) and eigenvectors (*, M, k) of A v = e B v.

    A (*, M, M) is symmetric or Hermitian, dense or sparse, B the same and positive definite (None:
    the identity); `X` (*, M, n) are first guesses and `iK` is a preconditioner. It ends after
    `niter` steps (-1: no limit), when the residuals are below `tol`, or when `tracker` sets
    ``bvars["force_stop"]`` of the state that it is called with. Both methods, "basic" and "ortho",
    are this one, which needs none of the ``ortho_`` parameters. ValueError if M < 3 n, and for
    derivatives with B.
    """
    f = FAST["F"]
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise AssertionError(f"A must be square, got shape {tuple(A.shape)}")
    graded = is_grad_enabled() and (A.requires_grad or (B is not None and B.requires_grad))
    if graded and B is not None:
        raise ValueError("lobpcg does not support derivatives with B != I")
    if graded and A.is_sparse:
        raise ValueError("lobpcg does not support derivatives for a sparse A")
    k = (1 if X is None else X.shape[-1]) if k is None else k
    n = (k if X is None else X.shape[-1]) if n is None else n
    if A.shape[-1] < 3 * n:
        raise ValueError(
            f"LOBPCG algorithm is not applicable when the number of A rows (={A.shape[-1]}) is "
            f"smaller than 3 x the number of requested eigenpairs (={n})"
        )
    params = {
        "k": k, "n": n, "niter": 1000 if niter is None else niter, "tracker": tracker,
        "tol": dtypes.finfo(A.dtype).eps ** 0.5 if tol is None else tol,
        "largest": largest is not False, "method": method or "ortho",
    }  # fmt: skip
    with no_grad():
        pairs = _of_batch(f, A, B, X, iK, params)
    return _followed(f, A, *pairs, params["largest"]) if graded else pairs


def _of_batch(f: Any, a: Any, b: Any, x: Any, preconditioner: Any, params: Any) -> tuple[Any, Any]:
    """The eigenpairs of every matrix of a batch, one after the other."""
    if a.ndim == 2:
        return _Search(f, a, b, x, preconditioner, params).run()
    lead = tuple(a.shape[:-2])

    def flat(t: Any) -> list[Any]:
        if t is None:
            return [None] * a.reshape(-1, *a.shape[-2:]).shape[0]
        return list(t.expand(*lead, *t.shape[-2:]).reshape(-1, *t.shape[-2:]).unbind(0))

    quads = zip(flat(a), flat(b), flat(x), flat(preconditioner), strict=True)
    found = [_Search(f, *quad, params).run() for quad in quads]
    values, vectors = (f.stack(parts) for parts in zip(*found, strict=True))
    return values.reshape(*lead, -1), vectors.reshape(*lead, *vectors.shape[-2:])


def _followed(f: Any, a: Any, values: Any, vectors: Any, largest: bool) -> tuple[Any, Any]:
    """The eigenpairs found, with the derivatives of the exact ones."""
    exact, turned = f.linalg_eigh(a)
    k = values.shape[-1]
    if largest:
        exact, turned = f.flip(exact, (-1,)), f.flip(turned, (-1,))
    exact, turned = exact[..., :k], turned[..., :k]
    phase = (turned.detach().conj() * vectors).sum(-2, keepdim=True)
    turned = turned * f.sgn(phase)
    return exact + (values - exact).detach(), turned + (vectors - turned).detach()


class _Search:
    """One run of the method for one matrix; its state is what a tracker sees."""

    def __init__(self, f: Any, a: Any, b: Any, x: Any, preconditioner: Any, params: Any) -> None:
        self.f, self.params = f, params
        if x is None:
            x = f.randn((a.shape[-1], params["n"]), dtype=a.dtype)
        sizes = {"m": a.shape[-1], "n": params["n"], "k": params["k"], "niter": params["niter"]}
        self.state = SimpleNamespace(
            A=a, B=b, iK=preconditioner, X=x, E=None, R=None, S=None, method=params["method"],
            iparams=sizes, fparams={"tol": params["tol"]}, bparams={"largest": params["largest"]},
            ivars={"istep": 0, "iterations_left": params["niter"], "converged_count": 0},
            tvars={}, fvars={}, bvars={},
        )  # fmt: skip

    def run(self) -> tuple[Any, Any]:
        """The eigenvalues and eigenvectors once they are good enough."""
        state, f = self.state, self.f
        basis = self._orthonormal(state.X)
        if basis.shape[1] < state.X.shape[1]:
            raise ValueError("the columns of X depend on each other")
        self._rotate(basis)
        direction = None
        while not self._report():
            new = state.R if state.iK is None else state.iK @ state.R
            joined = new if direction is None else f.cat([new, direction], 1)
            rest = self._orthonormal(joined, state.X)
            if not rest.shape[1]:
                break  # nothing is left to search in
            turn = self._rotate(f.cat([state.X, rest], 1))
            direction = rest @ turn[basis.shape[1] :]
            state.ivars["istep"] += 1
            state.ivars["iterations_left"] -= 1
        k = self.params["k"]
        return state.E[:k], state.X[:, :k]

    def _weighted(self, x: Any) -> Any:
        return x if self.state.B is None else self.state.B @ x

    def _orthonormal(self, x: Any, against: Any = None) -> Any:
        """An orthonormal basis of the columns of `x`, less those that depend on others."""
        f = self.f
        for _ in range(2):  # rounding leaves much of what is cancelled; the second time, nothing
            if against is not None:
                x = x - against @ (against.mH @ self._weighted(x))
            length = (x.conj() * self._weighted(x)).real.sum(0).clamp_min(0).sqrt()
            x = x[:, length > 0] / length[length > 0]
            if not x.shape[1]:
                return x
            values, turn = f.linalg_eigh(x.mH @ self._weighted(x))
            keep = values > 4 * x.shape[1] * dtypes.finfo(x.dtype).eps * values.max()
            x = x @ (turn[:, keep] / values[keep].sqrt())
        return x

    def _rotate(self, basis: Any) -> Any:
        """Take the best eigenpairs within an orthonormal basis; returns how they are made of it."""
        state, f, n = self.state, self.f, self.params["n"]
        image = state.A @ basis
        values, turn = f.linalg_eigh(basis.mH @ image)
        if self.params["largest"]:
            values, turn = f.flip(values, (0,)), f.flip(turn, (1,))
        values, turn = values[:n], turn[:, :n]
        state.S, state.E, state.X = basis, values, basis @ turn
        state.R = image @ turn - self._weighted(state.X) * values
        return turn

    def _report(self) -> bool:
        """Measure the residuals and tell the tracker; whether the search is over."""
        state, f = self.state, self.f
        images = self._weighted(state.X) * state.E
        scale = f.linalg_vector_norm(state.R + images, 2, 0) + f.linalg_vector_norm(images, 2, 0)
        error = f.linalg_vector_norm(state.R, 2, 0) / scale.clamp_min(
            dtypes.finfo(scale.dtype).tiny
        )
        state.tvars["rerr"] = error
        good = (error < self.params["tol"]).tolist()
        state.ivars["converged_count"] = good.index(False) if False in good else len(good)
        if self.params["tracker"] is not None:
            self.params["tracker"](state)
        done = state.ivars["converged_count"] >= self.params["k"]
        stopped = state.bvars.get("force_stop", False) or state.ivars["iterations_left"] == 0
        return bool(done or stopped)
