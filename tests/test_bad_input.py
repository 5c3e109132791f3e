"""Mistakes of shape, dtype, index and device: PyTorch's exception, and a message that helps.

Each case is a call that must fail, and the words that flambeau's message must hold: the op and the
shapes (or types) that do not fit.
"""

from __future__ import annotations

import pytest

import flambeau
from tests.oracle import check_error

CASES = {
    # ------------------------------------------------------------ shapes
    "add": (lambda L: L.ones(2, 3) + L.ones(4), ["add", "[2, 3]", "[4]", "3", "4"]),
    "add far apart": (
        lambda L: L.ones(2, 3, 4) * L.ones(5, 1, 4),
        ["mul", "[2, 3, 4]", "[5, 1, 4]"],
    ),
    "pow": (lambda L: L.ones(2) ** L.ones(3), ["pow", "[2]", "[3]"]),
    "compare": (lambda L: L.ones(2) > L.ones(3), ["gt", "[2]", "[3]"]),
    "where": (lambda L: L.where(L.ones(2) > 0, L.ones(3), L.ones(3)), ["[2]", "[3]"]),
    "lerp": (lambda L: L.lerp(L.ones(2), L.ones(3), 0.5), ["lerp", "[2]", "[3]"]),
    "matmul": (lambda L: L.ones(2, 3) @ L.ones(4, 5), ["matmul", "[2, 3]|2x3", "[4, 5]|4x5"]),
    "matmul of vectors": (lambda L: L.ones(2) @ L.ones(3), ["matmul", "[2]", "[3]"]),
    "matmul of a number": (lambda L: L.matmul(L.tensor(1.0), L.ones(2)), ["matmul"]),
    "batched matmul": (lambda L: L.ones(2, 3, 4) @ L.ones(5, 4, 3), ["matmul", "[2, 3, 4]"]),
    "mm": (lambda L: L.mm(L.ones(2, 3), L.ones(2, 3)), ["mm", "[2, 3]|2x3"]),
    "mm of 3-d": (lambda L: L.mm(L.ones(1, 2, 3), L.ones(3, 2)), ["mm", "[1, 2, 3]"]),
    "bmm": (lambda L: L.bmm(L.ones(2, 3, 4), L.ones(2, 3, 4)), ["bmm", "[2, 3, 4]"]),
    "mv": (lambda L: L.mv(L.ones(2, 3), L.ones(2)), ["mv", "[2, 3]|2x3", "[2]|(2)"]),
    "dot": (lambda L: L.dot(L.ones(2), L.ones(3)), ["dot", "[2]", "[3]"]),
    "outer": (lambda L: L.outer(L.ones(2, 2), L.ones(3)), ["outer", "[2, 2]|2-D"]),
    "addmm": (lambda L: L.addmm(L.ones(9), L.ones(2, 3), L.ones(3, 4)), ["addmm", "[9]"]),
    "linear": (
        lambda L: L.nn.functional.linear(L.ones(2, 3), L.ones(5, 4)),
        ["linear", "[2, 3]|2x3", "[5, 4]|5x4"],
    ),
    "conv2d channels": (
        lambda L: L.nn.functional.conv2d(L.ones(1, 3, 8, 8), L.ones(4, 2, 3, 3)),
        ["conv2d", "[1, 3, 8, 8]|input[1, 3, 8, 8]", "[4, 2, 3, 3]"],
    ),
    "conv2d kernel too large": (
        lambda L: L.nn.functional.conv2d(L.ones(1, 1, 2, 2), L.ones(1, 1, 3, 3)),
        ["conv2d", "3"],
    ),
    "conv2d dimensions": (
        lambda L: L.nn.functional.conv2d(L.ones(8, 8), L.ones(1, 1, 3, 3)),
        ["conv2d", "[8, 8]"],
    ),
    "conv2d groups": (
        lambda L: L.nn.functional.conv2d(L.ones(1, 4, 8, 8), L.ones(3, 2, 3, 3), groups=2),
        ["conv2d", "groups"],
    ),
    "max_pool2d": (lambda L: L.nn.functional.max_pool2d(L.ones(2, 2), 3), ["max_pool2d"]),
    "layer_norm": (
        lambda L: L.nn.functional.layer_norm(L.ones(2, 3), [4]),
        ["layer_norm", "[2, 3]", "[4]"],
    ),
    "batch_norm": (
        lambda L: L.nn.functional.batch_norm(L.ones(2, 3), L.ones(4), L.ones(4)),
        ["batch_norm", "3", "4"],
    ),
    "cross_entropy": (
        lambda L: L.nn.functional.cross_entropy(L.ones(2, 3), L.tensor([0, 1, 2])),
        ["cross_entropy", "[2, 3]", "[3]"],
    ),
    "nll_loss": (
        lambda L: L.nn.functional.nll_loss(L.ones(2, 3), L.tensor([0])),
        ["nll_loss", "[2, 3]", "[1]"],
    ),
    "embedding": (
        lambda L: L.nn.functional.embedding(L.tensor([5]), L.ones(3, 2)),
        ["embedding", "5", "[3, 2]"],
    ),
    "cat": (lambda L: L.cat([L.ones(2, 3), L.ones(2, 4)]), ["cat", "[2, 3]", "[2, 4]"]),
    "cat of other dims": (lambda L: L.cat([L.ones(2, 3), L.ones(2)]), ["cat", "[2, 3]", "[2]"]),
    "cat of nothing": (lambda L: L.cat([]), ["cat"]),
    "cat of numbers": (lambda L: L.cat([L.tensor(1.0), L.tensor(2.0)]), ["cat"]),
    "stack": (lambda L: L.stack([L.ones(2), L.ones(3)]), ["stack", "[2]", "[3]"]),
    "stack of nothing": (lambda L: L.stack([]), ["stack"]),
    "view": (lambda L: L.ones(2, 3).view(4, 2), ["view", "[4, 2]", "6|[2, 3]"]),
    "reshape": (lambda L: L.ones(2, 3).reshape(5), ["reshape|shape", "[5]", "6|[2, 3]"]),
    "expand": (lambda L: L.ones(2, 3).expand(4, 3), ["expand", "[4, 3]", "[2, 3]"]),
    "permute": (lambda L: L.ones(2, 3).permute(0, 1, 2), ["permute", "[2, 3]"]),
    "transpose": (lambda L: L.ones(2, 3).transpose(0, 5), ["5", "[-2, 1]"]),
    "t of 3-d": (lambda L: L.ones(2, 3, 4).t(), ["t", "3"]),
    "squeeze": (lambda L: L.ones(2, 3).squeeze(4), ["4", "[-2, 1]"]),
    "unsqueeze": (lambda L: L.ones(2, 3).unsqueeze(4), ["4", "[-3, 2]"]),
    "unfold": (lambda L: L.ones(3).unfold(0, 5, 1), ["unfold", "5", "3"]),
    "split": (lambda L: L.ones(5).split([2, 2]), ["split", "5", "[2, 2]"]),
    "chunk": (lambda L: L.ones(5).chunk(0), ["chunk", "0"]),
    "narrow": (lambda L: L.ones(3).narrow(0, 2, 2), ["narrow", "2", "3"]),
    "diagonal": (lambda L: L.ones(3, 3).diagonal(0, 1, 1), ["diagonal"]),
    "sum": (lambda L: L.ones(2, 3).sum(2), ["2", "[-2, 1]"]),
    "sum twice": (lambda L: L.ones(2, 3).sum((0, 0)), ["sum", "0"]),
    "max of nothing": (lambda L: L.zeros(0).max(), ["max", "[0]"]),
    "argmax of nothing": (lambda L: L.zeros(0).argmax(), ["argmax", "numel() == 0"]),
    "topk": (lambda L: L.ones(3).topk(5), ["topk", "5", "[3]"]),
    "softmax": (lambda L: L.ones(2).softmax(3), ["3", "[-1, 0]"]),
    "gather": (
        lambda L: L.ones(2, 3).gather(0, L.tensor([0, 1])),
        ["gather", "[2, 3]|2", "[2]|1"],
    ),
    "in place": (lambda L: L.ones(3).add_(L.ones(2, 3)), ["add_", "[3]", "[2, 3]"]),
    "copy_": (lambda L: L.ones(3).copy_(L.ones(4)), ["copy", "[3]|3", "[4]|4"]),
    "setitem": (lambda L: L.ones(2, 3).__setitem__(0, L.ones(4)), ["[4]|4", "[3]|3"]),
    "tril": (lambda L: L.ones(3).tril(), ["tril", "[3]|2"]),
    "trace": (lambda L: L.ones(3).trace(), ["trace", "[3]|1"]),
    "cumsum": (lambda L: L.ones(3).cumsum(1), ["1", "[-1, 0]"]),
    "index_select dims": (
        lambda L: L.ones(2, 3).index_select(0, L.tensor([[0]])),
        ["index_select", "[1, 1]|2"],
    ),
    "masked_select": (
        lambda L: L.ones(2, 3).masked_select(L.ones(2, dtype=L.bool)),
        ["masked_select", "[2, 3]", "[2]"],
    ),
    "masked_fill": (
        lambda L: L.ones(2, 3).masked_fill(L.ones(4, dtype=L.bool), 0),
        ["masked_fill", "[2, 3]", "[4]"],
    ),
    "bincount": (lambda L: L.bincount(L.tensor([-1])), ["bincount"]),
    "einsum": (lambda L: L.einsum("ij,jk->ik", L.ones(2, 3), L.ones(4, 5)), ["einsum", "3", "4"]),
    "one_hot": (lambda L: L.nn.functional.one_hot(L.tensor([3]), 2), ["num_classes"]),
    "pad": (lambda L: L.nn.functional.pad(L.ones(2), (1, 1, 1, 1)), ["pad", "[2]|1", "4"]),
    "interpolate": (
        lambda L: L.nn.functional.interpolate(L.ones(2, 3), scale_factor=2),
        ["2D", "nearest"],
    ),
    # ------------------------------------------------------------ indices
    "index": (lambda L: L.ones(2, 3)[5], ["5", "2"]),
    "index in a list": (lambda L: L.ones(2, 3)[[0, 7]], ["7", "2"]),
    "too many indices": (lambda L: L.ones(2, 3)[0, 0, 0], ["too many", "2"]),
    "select": (lambda L: L.ones(2, 3).select(1, 3), ["select", "3"]),
    "gather index": (lambda L: L.ones(2).gather(0, L.tensor([5])), ["gather|index", "5"]),
    "scatter index": (
        lambda L: L.zeros(2).scatter(0, L.tensor([9]), L.ones(1)),
        ["scatter|index", "9"],
    ),
    "index_select": (lambda L: L.ones(2).index_select(0, L.tensor([2])), ["index", "2"]),
    "index_add": (
        lambda L: L.zeros(2).index_add(0, L.tensor([4]), L.ones(1)),
        ["index_add|index", "4|2"],
    ),
    "take": (lambda L: L.ones(2).take(L.tensor([4])), ["take|index", "4"]),
    "cross_entropy target": (
        lambda L: L.nn.functional.cross_entropy(L.ones(1, 3), L.tensor([3])),
        ["3"],
    ),
    # ------------------------------------------------------------ types
    "float index": (lambda L: L.ones(2)[L.tensor([0.5])], ["long", "float32"]),
    "gather float": (lambda L: L.ones(2).gather(0, L.ones(1)), ["gather", "int64"]),
    "embedding float": (
        lambda L: L.nn.functional.embedding(L.ones(1), L.ones(3, 2)),
        ["embedding", "float32|Float|int|Long"],
    ),
    "mean of integers": (lambda L: L.tensor([1, 2]).mean(), ["mean", "Long|int64"]),
    "softmax of integers": (lambda L: L.tensor([1, 2]).softmax(0), ["softmax", "Long|int64"]),
    "matmul of two types": (
        lambda L: L.ones(2, 2) @ L.ones(2, 2).double(),
        ["matmul", "float|Float"],
    ),
    "bitwise of floats": (lambda L: L.ones(2) & L.ones(2), ["bitwise_and", "Float"]),
    "minus of bools": (lambda L: L.ones(2, dtype=L.bool) - 1, ["sub", "bool"]),
    "in place cast": (lambda L: L.tensor([1]).add_(0.5), ["add_", "Float", "Long"]),
    "where of a number": (lambda L: L.where(1, L.ones(1), L.ones(1)), ["where|condition", "int"]),
    "masked_fill of floats": (
        lambda L: L.ones(2).masked_fill(L.ones(2), 0),
        ["masked_fill|mask", "bool|Bool"],
    ),
    "no tensor": (lambda L: L.exp("a"), ["exp", "str"]),
    "no tensor in a sum": (lambda L: L.add(L.ones(1), "a"), ["add", "str"]),
    "none": (lambda L: L.sum(None), ["sum", "NoneType|None"]),
    "a list": (lambda L: L.sin([1.0]), ["sin", "list"]),
    "a tensor in a list of strings": (lambda L: L.cat(["a"]), ["cat", "str"]),
    "cat of a tensor": (lambda L: L.cat(L.tensor(1.0)), ["cat"]),
    "size of strings": (lambda L: L.zeros("ab"), ["size", "('a', 'b')|str"]),
    "dtype of strings": (lambda L: L.ones(1).to("float99"), ["float99"]),
    "a missing argument": (lambda L: L.add(L.ones(1)), ["add"]),
    "an unknown argument": (lambda L: L.add(L.ones(1), L.ones(1), beta=2), ["add", "beta"]),
    "too many arguments": (lambda L: L.exp(L.ones(1), 2, 3), ["exp"]),
    "backward of integers": (lambda L: L.ones(1, dtype=L.int64).requires_grad_(), ["int64"]),
    # ------------------------------------------------------------ devices
    "a device that is none": (lambda L: L.ones(1, device="abacus"), ["abacus"]),
    "two devices": (lambda L: L.ones(2) + L.ones(2, device="meta"), ["cpu", "meta"]),
    # ------------------------------------------------------------ modules
    "a linear layer": (
        lambda L: L.nn.Linear(3, 2)(L.ones(1, 4)),
        ["linear", "[1, 4]|1x4", "[2, 3]|2x3|3x2"],
    ),
    "a convolution": (
        lambda L: L.nn.Conv2d(3, 4, 3)(L.ones(1, 2, 8, 8)),
        ["conv2d", "[1, 2, 8, 8]|input[1, 2, 8, 8]", "[4, 3, 3, 3]"],
    ),
    "reduction": (
        lambda L: L.nn.functional.mse_loss(L.ones(2), L.ones(2), reduction="most"),
        ["most"],
    ),
    "a negative size": (lambda L: L.zeros(-1), ["-1"]),
    "a negative dropout": (lambda L: L.nn.functional.dropout(L.ones(1), -0.5), ["-0.5"]),
}


def outcome(call, library):
    try:
        return call(library)
    except Exception as error:
        return error


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_the_kind_of_exception_is_torchs(name):
    torch = pytest.importorskip("torch")
    theirs = outcome(CASES[name][0], torch)
    assert isinstance(theirs, Exception), f"torch returns {theirs!r}: not a mistake"
    check_error(outcome(CASES[name][0], flambeau), theirs)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_the_message_names_the_op_and_what_does_not_fit(name):
    call, words = CASES[name]
    error = outcome(call, flambeau)
    assert isinstance(error, Exception), "no error"
    text = str(error)
    for choice in words:
        assert any(w in text for w in choice.split("|")), f"{choice!r} is missing in {text!r}"


@pytest.mark.parametrize("name", [n for n in CASES if "module" not in n])
@pytest.mark.filterwarnings("ignore")
def test_a_mistake_does_no_harm(name):
    """After the error the library computes as before, and the error holds no frames of the user's."""
    outcome(CASES[name][0], flambeau)
    a = flambeau.tensor([1.0, 2.0], requires_grad=True)
    (a * a).sum().backward()
    assert a.grad.tolist() == [2.0, 4.0]
    assert flambeau.is_grad_enabled()
