"""Where the derived tests of `vmap` do not apply, op by op, and why."""

from __future__ import annotations

Excuses = dict[str, str]


def _all(names: str, reason: str) -> Excuses:
    return dict.fromkeys(names.split(), reason)


NO_VMAP: Excuses = {
    **_all("allclose equal", "the answer is a Python bool, for which examples may differ"),
    **_all(
        "as_strided as_strided_copy as_strided_back",
        "an offset into the memory is not one into an example's part of it",
    ),
    **_all(
        "_standard_gamma _sample_dirichlet",
        "there are no same numbers of different distributions",
    ),
}
