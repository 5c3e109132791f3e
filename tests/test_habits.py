"""What programs written for PyTorch do by habit, tried on both libraries."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import flambeau
from tests.oracle import Scripts, agree, observe

scripts = Scripts()


def series(L, *shape):
    count = int(np.prod(shape))
    return (L.arange(count).float() * 0.37).sin().reshape(shape)


def leaf(L, *shape):
    return series(L, *shape).requires_grad_()


def gradients(result, *leaves):
    result.sum().backward()
    return [result, *(t.grad for t in leaves)]


# ---------------------------------------------------------------- in place after an op
@scripts
def relu_in_place_after_max_pooling(L):
    x = leaf(L, 2, 3, 8, 8)
    pooled = L.nn.functional.max_pool2d(x * 1, 2)
    return gradients(L.nn.functional.relu_(pooled), x)


@scripts
def pooled_values_changed_then_differentiated_twice(L):
    x = leaf(L, 1, 2, 9)
    pooled = L.nn.functional.max_pool1d(x * x, 3, stride=2)
    pooled.mul_(2)
    (g,) = L.autograd.grad((pooled**2).sum(), x, create_graph=True)
    return gradients(g, x)


@scripts
def views_of_pooled_values_follow(L):
    x = leaf(L, 1, 1, 6, 6)
    pooled = L.nn.functional.max_pool2d(x * 1, 2)
    row = pooled[0, 0]
    cell = row[1]
    pooled.mul_(2)
    results = [row, cell, *L.autograd.grad(cell.sum(), x, retain_graph=True)]
    row.add_(1)
    return [*results, *L.autograd.grad((pooled**2).sum() + cell.sum(), x)]


@scripts
def pooled_volume_changed(L):
    x = leaf(L, 1, 1, 4, 4, 4)
    return gradients(L.nn.functional.max_pool3d(x.exp(), 2).add_(1), x)


@scripts.raises
def input_of_max_pooling_changed(L):
    x = leaf(L, 1, 1, 4, 4)
    image = x * 1
    pooled = L.nn.functional.max_pool2d(image, 2)
    image.add_(1)
    pooled.sum().backward()


@scripts
def repeated_rows_are_new(L):
    x = series(L, 1, 3)
    several = x.repeat_interleave(2, dim=0)
    several[0] = 9
    once = x.repeat_interleave(1)
    once.mul_(0)
    return several, once, x


@scripts
def unfolded_windows_are_new(L):
    x = series(L, 1, 1, 1, 6)
    windows = L.nn.functional.unfold(x, (1, 3))
    windows -= windows.mean(1, keepdim=True)
    same = L.nn.functional.unfold(x, 1)
    same.zero_()
    return windows, windows.stride(), same, x


@scripts
def parts_of_tensor_split_changed(L):
    x = leaf(L, 6)
    whole = x * 1
    first, *_ = L.tensor_split(whole, 2)
    first.mul_(3)
    return gradients(whole, x)


@scripts
def index_fill_of_a_single_element(L):
    x = leaf(L)
    y = L.index_fill(x * 2, 0, L.tensor([0]), L.tensor(1.0))
    return gradients(y.mul_(3), x)


# ---------------------------------------------------------------- numbers that do not fit
OVERFLOWING = {
    "a list": lambda L: L.tensor([300], dtype=L.int8),
    "nested": lambda L: L.tensor([[1, -300]], dtype=L.uint8),
    "large": lambda L: L.tensor([2**40], dtype=L.int32),
    "real": lambda L: L.tensor([300.5], dtype=L.int8),
    "NaN": lambda L: L.tensor([float("nan")], dtype=L.int32),
    "as_tensor": lambda L: L.as_tensor([300], dtype=L.int8),
    "full": lambda L: L.full((2,), 300, dtype=L.int8),
    "fill_": lambda L: L.zeros(2, dtype=L.int8).fill_(300),
    "fill_ half": lambda L: L.zeros(2, dtype=L.float16).fill_(1e9),
    "set": lambda L: L.zeros(2, dtype=L.int8).__setitem__(0, 300),
    "masked_fill": lambda L: L.zeros(2, dtype=L.float16).masked_fill(L.tensor([True, False]), -1e9),
}


@pytest.mark.parametrize("name", OVERFLOWING)
def test_what_a_dtype_cannot_hold_is_refused(name):
    with pytest.raises(RuntimeError, match="without overflow"):
        OVERFLOWING[name](flambeau)
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError, match="without overflow"):
        OVERFLOWING[name](torch)


@scripts
def numbers_that_fit(L):
    half, inf = L.float16, float("inf")
    return (
        [L.tensor(v, dtype=L.uint8) for v in ([-1], -1, [255], [3.7])],
        [L.tensor([v], dtype=half) for v in (70000.0, 65504.0)],
        L.zeros(2, dtype=half).fill_(-inf),
        L.tensor([1e300]),
        L.full((2,), 127, dtype=L.int8),
        L.zeros(2, dtype=L.int8).fill_(-128),
        L.tensor([300], dtype=L.bool),
        L.tensor(np.array([300]), dtype=L.int8),
        L.zeros(1, dtype=L.complex64).fill_(1e3),
    )


# ---------------------------------------------------------------- old spellings
@scripts
def type_by_constructor(L):
    x = series(L, 3)
    return (
        x.type(L.DoubleTensor),
        x.type(L.LongTensor),
        x.double().type(L.Tensor),
        x.type("torch.IntTensor"),
    )


@scripts
def new_from_a_tensor(L):
    x = series(L, 2).double()
    return x.new([1, 2]), x.new(2, 3).shape, x.new(2, 3).dtype, x.new().shape, x.new(x.shape).shape


@scripts.raises
def type_by_a_number(L):
    series(L, 3).type(3)


@scripts
def collections_of_tensors_to_differentiate(L):
    layer = L.nn.Linear(2, 1)
    x = series(L, 2)
    named = dict(layer.named_parameters())
    by_values = L.autograd.grad(layer(x).sum(), named.values())
    by_iterator = L.autograd.grad((layer(x).sum() for _ in range(2)), layer.parameters())
    L.autograd.backward([layer(x).sum()], inputs=layer.parameters())
    return by_values, by_iterator, layer.weight.grad


@scripts
def results_with_names(L):
    x = L.tensor([[3.0, 1.0, 2.0]])
    return [repr(r) for r in (x.max(1), x.sort(), x.topk(2), L.linalg.slogdet(L.eye(2)))]


@scripts
def deep_copy_of_a_module_has_no_gradients(L):
    layer = L.nn.Linear(2, 2)
    layer(L.ones(1, 2)).sum().backward()
    plain = L.ones(2, requires_grad=True)
    plain.sum().backward()
    return copy.deepcopy(layer).weight.grad is None, copy.deepcopy(plain).grad


@scripts
def arrays_may_be_reshaped(L):
    x = L.zeros(2, 3)
    array = x.numpy()
    array.shape = (6,)
    array[0] = 5
    source = np.zeros((2, 3), np.float32)
    y = L.from_numpy(source)
    source.shape = (3, 2)
    source[0] = 1
    return x, y


@scripts
def chained_streams_without_a_length(L):
    class Stream(L.utils.data.IterableDataset):
        def __iter__(self):
            return iter(range(3))

    chained = L.utils.data.ChainDataset([Stream(), Stream()])
    return [batch.tolist() for batch in L.utils.data.DataLoader(chained, 4)]


# ---------------------------------------------------------------- mistakes
@scripts.raises
def logistic_loss_of_whole_numbers(L):
    L.nn.functional.binary_cross_entropy_with_logits(series(L, 2), L.ones(2).long())


@scripts.raises
def logistic_loss_of_truth_values(L):
    L.nn.functional.binary_cross_entropy_with_logits(series(L, 2), L.tensor([True, False]))


@scripts.raises
def divergence_of_whole_numbers(L):
    L.nn.functional.kl_div(series(L, 2), L.ones(2).long(), reduction="sum")


@scripts.raises
def custom_backward_that_returns_a_number(L):
    class Wrong(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return 3

    Wrong.apply(leaf(L, 2)).sum().backward()


@scripts
def custom_nodes_have_their_function_s_name(L):
    class Double(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    node = Double.apply(leaf(L, 2)).grad_fn
    return type(node).__name__, node.name()


# ---------------------------------------------------------------- devices
@scripts
def the_device_of_the_tutorials(L):
    device = L.accelerator.current_accelerator() if L.accelerator.is_available() else "cpu"
    return L.ones(1, device=device).device.type, L.accelerator.device_count() * 0


@pytest.mark.parametrize("name", ["synchronize", "current_device_index", "empty_cache"])
def test_what_needs_an_accelerator_is_refused_without_one(name):
    def script(L):
        return getattr(L.accelerator, name)()

    ours, _ = observe(script, flambeau)
    assert isinstance(ours, RuntimeError)
    torch = pytest.importorskip("torch")
    if not torch.accelerator.is_available():
        assert str(observe(script, torch)[0]) == str(ours)


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)
