"""`vmap` of every op equals a loop over the examples: derived from the ops' samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flambeau.autograd.levels import level_of
from flambeau.func import grad, vmap
from flambeau.ops.record import REGISTRY
from tests.func.excuses import NO_VMAP
from tests.ops.calls import Sample, graded, gradients, outputs, project, tensor
from tests.ops.samples import SAMPLES

pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")
OPS = sorted(set(REGISTRY) & set(SAMPLES))
COUNT = 2


def another(array: np.ndarray) -> np.ndarray:
    """An example that the op takes as well as `array`: its values in part another order."""
    if array.dtype.kind in "fc":
        return array * 0.97
    return array


class Batch:
    """The sample's arrays as `COUNT` examples each, some along the last dimension or shared."""

    def __init__(self, sample: Sample, mix: int) -> None:
        self.sample = sample
        self.rows: list[list[np.ndarray]] = []
        self.dims: list[int | None] = []
        for number, array in enumerate(sample.arrays()):
            shared = mix == 2 and number % 2 == 1
            self.rows.append([array] * COUNT if shared else [array, another(array)])
            self.dims.append(None if shared else -1 if mix == 1 else 0)

    def one(self, example: int) -> Any:
        """The op for one example."""
        turn = iter(self.rows)
        return self.sample.run(lambda _: tensor(next(turn)[example]))

    def all(self) -> Any:
        """The op for all of them."""
        made = []
        for rows, dim in zip(self.rows, self.dims, strict=True):
            made.append(tensor(rows[0] if dim is None else np.stack(rows, dim)))

        def call(*given: Any) -> Any:
            turn = iter(given)
            return tuple(outputs(self.sample.run(lambda _: next(turn))))

        return vmap(call, in_dims=tuple(self.dims), randomness="same")(*made)


@pytest.mark.parametrize("mix", [0, 1, 2], ids=["first", "last", "some"])
@pytest.mark.parametrize("name", OPS)
def test_vmap_is_a_loop(name: str, mix: int) -> None:
    if name in NO_VMAP:
        pytest.skip(NO_VMAP[name])
    for index, (args, kwargs) in enumerate(SAMPLES[name][: 2 if mix else None]):
        sample = Sample(REGISTRY[name], args, kwargs)
        if not sample.arrays():
            continue
        batch = Batch(sample, mix)
        try:
            expected = [outputs(batch.one(i)) for i in range(COUNT)]
            found = batch.all()
        except Exception as error:
            error.add_note(f"in SAMPLES[{name!r}][{index}]: {args!r} {kwargs!r}")
            raise
        assert len(found) == len(expected[0])
        for number, out in enumerate(found):
            assert not level_of(out)
            for example in range(COUNT):
                one = expected[example][number]
                assert out[example].dtype is one.dtype, (index, example)
                assert tuple(out[example].shape) == tuple(one.shape), (index, example)
                np.testing.assert_allclose(
                    np.asarray(out[example].tolist()), np.asarray(one.tolist()), 1e-9, 1e-11,
                    err_msg=f"SAMPLES[{name!r}][{index}], example {example}",
                )  # fmt: skip


@pytest.mark.parametrize("name", OPS)
def test_gradients_per_example_are_a_loop(name: str) -> None:
    """What `vmap` of `grad` gives is what ordinary backward gives, example by example."""
    op = REGISTRY[name]
    if name in NO_VMAP:
        pytest.skip(NO_VMAP[name])
    for index, (args, kwargs) in enumerate(SAMPLES[name][:3]):
        sample = Sample(op, args, kwargs)
        arrays = sample.arrays()
        inexact = [i for i, a in enumerate(arrays) if a.dtype.kind in "fc"]
        if not inexact:
            continue
        expected = []
        for example in range(COUNT):
            rows = iter([[a, another(a)][example] for a in arrays])
            expected.append(gradients(sample, lambda _, r=rows: graded(next(r)))[1])
        wanted = [i for i in inexact if i < len(expected[0]) and expected[0][i] is not None]
        if not wanted:
            continue
        stacked = [tensor(np.stack([a, another(a)])) for a in arrays]

        def loss(*given: Any, sample: Sample = sample) -> Any:
            turn = iter(given)
            return project(sample.run(lambda _: next(turn)), 1)

        try:
            found = vmap(grad(loss, argnums=tuple(wanted)), randomness="same")(*stacked)
        except Exception as error:
            error.add_note(f"in SAMPLES[{name!r}][{index}]: {args!r} {kwargs!r}")
            raise
        for i, g in zip(wanted, found, strict=True):
            for example in range(COUNT):
                np.testing.assert_allclose(
                    np.asarray(g[example].tolist()), np.asarray(expected[example][i].tolist()),
                    1e-8, 1e-10, err_msg=f"SAMPLES[{name!r}][{index}], argument {i}",
                )  # fmt: skip


def test_no_excuse_is_out_of_date() -> None:
    assert not sorted(set(NO_VMAP) - set(REGISTRY))
    assert all(len(reason) > 10 for reason in NO_VMAP.values())
