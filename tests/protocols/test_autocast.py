"""Autocast casts what PyTorch's casts on the CPU, and gradients come back in the weights' type."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

import flambeau as fl

torch = pytest.importorskip("torch")


def matrix(lib, *shape, dtype="float32"):
    values = np.random.default_rng(0).random(shape)
    return lib.from_numpy(values).to(getattr(lib, dtype))


def square(lib, dtype):
    return matrix(lib, 3, 3, dtype=dtype)


CALLS = {
    "matmul": lambda L, t: square(L, t) @ square(L, t),
    "mm": lambda L, t: L.mm(square(L, t), square(L, t)),
    "mv": lambda L, t: L.mv(L.ones(3, 3), L.ones(3)),
    "linear": lambda L, t: L.nn.functional.linear(square(L, t), square(L, t)),
    "bmm": lambda L, t: L.bmm(matrix(L, 2, 3, 3, dtype=t), matrix(L, 2, 3, 3, dtype=t)),
    "addmm": lambda L, t: L.addmm(L.ones(3), square(L, t), square(L, t)),
    "conv2d": lambda L, t: L.nn.functional.conv2d(L.ones(1, 1, 4, 4), L.ones(2, 1, 2, 2)),
    "conv_transpose1d": lambda L, t: L.conv_transpose1d(L.ones(1, 1, 4), L.ones(1, 1, 2)),
    "prelu": lambda L, t: L.nn.functional.prelu(L.ones(2, 2), L.ones(1)),
    "sdpa": lambda L, t: L.nn.functional.scaled_dot_product_attention(*[L.ones(1, 2, 2)] * 3),
    "einsum": lambda L, t: L.einsum("ij,jk->ik", square(L, t), square(L, t)),
    "tensordot": lambda L, t: L.tensordot(L.ones(2, 2), L.ones(2, 2), 1),
    "tensordot_all": lambda L, t: L.tensordot(L.ones(2, 2), L.ones(2, 2), 2),
    "inner": lambda L, t: L.inner(L.ones(2, 2), L.ones(2, 2)),
    "inner_vectors": lambda L, t: L.inner(L.ones(2), L.ones(2)),
    "multi_dot": lambda L, t: L.linalg.multi_dot([L.ones(2, 2)] * 3),
    "matrix_power": lambda L, t: L.linalg.matrix_power(L.eye(2), 3),
    "matrix_power_1": lambda L, t: L.linalg.matrix_power(L.eye(2), 1),
    "cov": lambda L, t: L.cov(L.ones(2, 3)),
    "add": lambda L, t: square(L, t) + L.ones(3, 3),
    "softmax": lambda L, t: L.softmax(square(L, t), 0),
    "cat": lambda L, t: L.cat([square(L, t), L.ones(3, 3)]),
    "cat_same": lambda L, t: L.cat([square(L, t), square(L, t)]),
    "stack": lambda L, t: L.stack([square(L, t), L.ones(3, 3)]),
    "prod": lambda L, t: square(L, t).prod(),
    "trace": lambda L, t: L.trace(square(L, t)),
    "quantile": lambda L, t: L.quantile(square(L, t), 0.5),
    "cdist": lambda L, t: L.cdist(square(L, t), square(L, t)),
    "fft": lambda L, t: L.fft.fft(square(L, t)),
    "inv": lambda L, t: L.linalg.inv(square(L, t)),
    "svdvals": lambda L, t: L.linalg.svdvals(square(L, t)),
    "cholesky": lambda L, t: L.linalg.cholesky(L.eye(3).to(getattr(L, t))),
    "mse": lambda L, t: L.nn.functional.mse_loss(square(L, t), square(L, t)),
    "l1": lambda L, t: L.nn.functional.l1_loss(square(L, t), square(L, t)),
    "cross_entropy": lambda L, t: L.nn.functional.cross_entropy(square(L, t), L.tensor([0, 1, 2])),
    "nll": lambda L, t: L.nn.functional.nll_loss(square(L, t), L.tensor([0, 1, 2])),
    "bce": lambda L, t: L.nn.functional.binary_cross_entropy(square(L, t), square(L, t)),
    "kl": lambda L, t: L.nn.functional.kl_div(square(L, t), square(L, t), reduction="sum"),
    "max_pool3d": lambda L, t: L.nn.functional.max_pool3d(matrix(L, 1, 2, 2, 2, dtype=t), 2),
    "pad": lambda L, t: L.nn.functional.pad(matrix(L, 1, 1, 3, dtype=t), (1, 1), mode="reflect"),
    "pad_constant": lambda L, t: L.nn.functional.pad(square(L, t), (1, 1)),
    "grid": lambda L, t: L.nn.functional.grid_sample(
        matrix(L, 1, 1, 2, 2, dtype=t), matrix(L, 1, 2, 2, 2, dtype=t), align_corners=False
    ),
    "float64": lambda L, t: matrix(L, 2, 2, dtype="float64") @ matrix(L, 2, 2, dtype="float64"),
    "integers": lambda L, t: L.ones(2, 2, dtype=L.int64) @ L.ones(2, 2, dtype=L.int64),
    "lstm": lambda L, t: L.nn.LSTM(3, 4)(L.ones(2, 1, 3))[0].detach() * 0,
    "attention": lambda L, t: L.nn.MultiheadAttention(4, 2)(*[L.ones(2, 1, 4)] * 3)[0] * 0,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("half", ["bfloat16", "float16"])
@pytest.mark.parametrize("given", ["float32", "half"])
@pytest.mark.parametrize("name", CALLS)
def test_results_have_pytorchs_type_and_values(name, given, half):
    if name == "lstm" and half == "float16":
        pytest.skip("torch has no LSTM in float16 on the CPU")
    found = []
    for lib in (fl, torch):
        with lib.autocast("cpu", dtype=getattr(lib, half)):
            result = CALLS[name](lib, half if given == "half" else given)
        found.append((str(result.dtype), result.detach().to(lib.complex128).numpy()))
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=0.03, atol=0.03)


def dtypes_inside(lib):
    one = lib.ones(2, 2)
    found = []
    with lib.autocast("cpu"):
        found.append(one @ one)
        with lib.autocast("cpu", enabled=False):
            found.append(one @ one)
        with lib.autocast("cpu", dtype=lib.float16):
            found.append(one @ one)
        found.append(one @ one)
        state = lib.is_autocast_enabled("cpu"), str(lib.get_autocast_dtype("cpu"))
    found.append(one @ one)
    return [str(t.dtype) for t in found], state, lib.is_autocast_enabled("cpu")


def test_contexts_are_nested():
    assert dtypes_inside(fl) == dtypes_inside(torch)


def test_autocast_decorates():
    @fl.autocast("cpu")
    def product(a):
        return a @ a

    assert product(fl.ones(2, 2)).dtype is fl.bfloat16
    assert product.__name__ == "product"
    assert (fl.ones(2, 2) @ fl.ones(2, 2)).dtype is fl.float32


def test_autocast_belongs_to_its_thread():
    found = []
    with fl.autocast("cpu"):
        thread = threading.Thread(
            target=lambda: found.append((fl.ones(2, 2) @ fl.ones(2, 2)).dtype)
        )
        thread.start()
        thread.join()
    assert found == [fl.float32]


def gradients(lib):
    w = matrix(lib, 3, 3).requires_grad_()
    x = matrix(lib, 4, 3)
    with lib.autocast("cpu"):
        loss = lib.nn.functional.mse_loss(lib.relu(x @ w) @ w, x)
    loss.backward()
    return str(loss.dtype), str(w.grad.dtype), w.grad.numpy()


def test_gradients_are_pytorchs():
    ours, theirs = gradients(fl), gradients(torch)
    assert ours[:2] == theirs[:2]
    np.testing.assert_allclose(ours[2], theirs[2], rtol=0.02, atol=1e-3)


def casts_of_a_weight(lib, cached):
    w, x = lib.ones(2, 2, requires_grad=True), lib.ones(2, 2)
    with lib.autocast("cpu", cache_enabled=cached):
        first, second = x @ w, x @ w
    nodes = [next(n for n, _ in t.grad_fn.next_functions if n is not None) for t in (first, second)]
    return nodes[0] is nodes[1]


def test_a_weight_is_cast_once():
    assert casts_of_a_weight(fl, True)
    assert casts_of_a_weight(torch, True)
    assert not casts_of_a_weight(fl, False)


def test_the_kept_casts_follow_a_change_of_the_weight():
    w = fl.ones(2, 2, requires_grad=True)
    for value in (1.0, 3.0):
        with fl.no_grad():
            w.fill_(value)
        with fl.autocast("cpu"):
            assert (fl.ones(1, 2) @ w).tolist() == [[2 * value] * 2]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("cuda",), {}),
        (("cpu", "float64"), {}),
        (("cpu", "float32"), {}),
        (("mps",), {}),
        (("cpu:0",), {}),
        ((3,), {}),
        (("bogus",), {}),
        (("cpu",), {"enabled": False}),
    ],
)
def test_what_autocast_is_asked_for(arguments, options):
    found = []
    for lib in (fl, torch):
        given = [getattr(lib, a, a) if a in ("float64", "float32") else a for a in arguments]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                made = lib.autocast(*given, **options)
                facts = made._enabled, str(made.fast_dtype), made.device
            except (RuntimeError, ValueError) as error:
                facts = type(error)
        found.append((facts, [str(w.message) for w in caught if w.category is UserWarning]))
    assert found[0] == found[1]


def test_switches():
    for lib in (fl, torch):
        lib.set_autocast_enabled("cpu", True)
        lib.set_autocast_dtype("cpu", lib.float16)
        assert (lib.ones(2, 2) @ lib.ones(2, 2)).dtype is lib.float16
        lib.set_autocast_enabled("cpu", False)
        lib.set_autocast_dtype("cpu", lib.bfloat16)
        assert (lib.ones(2, 2) @ lib.ones(2, 2)).dtype is lib.float32
        assert lib.amp.is_autocast_available("cpu")
        assert not lib.amp.is_autocast_available("meta")
        assert lib.is_autocast_cache_enabled()
        assert lib.autocast_increment_nesting() == 1
        assert lib.autocast_decrement_nesting() == 0
        with pytest.warns(DeprecationWarning, match="is_autocast_enabled"):
            assert lib.is_autocast_cpu_enabled() is False
        with pytest.warns(FutureWarning):
            assert lib.cpu.amp.autocast().device == "cpu"


def custom(lib):
    class Product(lib.autograd.Function):
        @staticmethod
        @lib.amp.custom_fwd(device_type="cpu", cast_inputs=lib.float32)
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x @ w

        @staticmethod
        @lib.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return g @ w.t(), x.t() @ g

    a = lib.ones(2, 2, dtype=lib.bfloat16, requires_grad=True)
    with lib.autocast("cpu"):
        out = Product.apply(a, a)
    out.sum().backward()
    return str(out.dtype), str(a.grad.dtype), a.grad.tolist()


def test_custom_functions_say_what_they_take():
    assert custom(fl) == custom(torch)


def test_functions_of_a_package_imported_later_are_cast_too():
    program = (
        "import sys, flambeau as fl\n"
        "with fl.autocast('cpu'):\n"
        "    assert 'flambeau.nn' not in sys.modules\n"
        "    x = fl.ones(2, 3, dtype=fl.bfloat16)\n"
        "    assert fl.nn.functional.cross_entropy(x, fl.tensor([0, 1])).dtype is fl.float32\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# ---------------------------------------------------------------- GradScaler
def training(lib):
    log = []
    w = lib.tensor([1.0, 2.0], requires_grad=True)
    optimizer = lib.optim.SGD([w], lr=0.125)
    scaler = lib.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
    for step in range(8):
        optimizer.zero_grad()
        loss = (w * w).sum() * (float("inf") if step == 3 else 1.0)
        scaler.scale(loss).backward()
        if step == 5:
            scaler.unscale_(optimizer)
            log.append(w.grad.tolist())
        scaler.step(optimizer)
        if step == 6:
            scaler.update(16.0)
        else:
            scaler.update()
        log.append((w.tolist(), scaler.get_scale(), scaler._get_growth_tracker()))
    return [*log, scaler.state_dict()]


def test_the_scale_follows_the_gradients():
    assert training(fl) == training(torch)


def mistakes(lib):
    w = lib.ones(2, requires_grad=True)
    optimizer = lib.optim.SGD([w], lr=0.1)
    scaler = lib.amp.GradScaler("cpu")
    found = []

    def attempt(call):
        try:
            call()
            found.append("fine")
        except (AssertionError, RuntimeError, ValueError) as error:
            found.append(type(error))

    attempt(lambda: scaler.step(optimizer))
    attempt(lambda: scaler.update())
    scaler.scale(w.sum()).backward()
    attempt(lambda: scaler.unscale_(optimizer))
    attempt(lambda: scaler.unscale_(optimizer))
    attempt(lambda: scaler.step(optimizer, closure=print))
    attempt(lambda: scaler.step(optimizer))
    attempt(lambda: scaler.step(optimizer))
    attempt(lambda: scaler.unscale_(optimizer))
    attempt(lambda: scaler.update())
    attempt(lambda: scaler.update())
    attempt(lambda: scaler.load_state_dict({}))
    attempt(lambda: lib.amp.GradScaler("cpu", growth_factor=1.0))
    attempt(lambda: lib.amp.GradScaler("cpu", backoff_factor=1.0))
    attempt(lambda: scaler.scale(3))
    return found


def test_mistakes_are_refused():
    assert mistakes(fl) == mistakes(torch)


def test_a_disabled_scaler_does_nothing():
    scaler = fl.amp.GradScaler("cpu", enabled=False)
    w = fl.ones(1, requires_grad=True)
    assert scaler.scale(w) is w
    assert scaler.get_scale() == 1.0
    assert scaler.state_dict() == {}
    with pytest.warns(UserWarning, match="CUDA is not available"):
        assert not fl.amp.GradScaler().is_enabled()


def test_a_scaler_is_restored_from_its_state():
    scaler = fl.amp.GradScaler("cpu", init_scale=8.0)
    other = fl.amp.GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert other.state_dict() == scaler.state_dict()
    scaled = other.scale([fl.ones(1), (fl.ones(1),)])
    assert scaled[0].item() == scaled[1][0].item() == 8.0


@pytest.mark.parametrize("state", [None, "float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "RNNCell", "GRU", "RNN"])
def test_recurrence_runs_its_products_in_half_precision(name, kind, state):
    found = []
    for L in (fl, torch):
        L.manual_seed(0)
        cell = getattr(L.nn, name)(3, 2)
        x = matrix(L, *((2, 3) if name.endswith("Cell") else (4, 2, 3)), dtype=kind)
        h = None
        if state is not None and name.endswith("Cell"):
            h = matrix(L, 2, 2, dtype=state)
            h = (h, h) if name == "LSTMCell" else h
        with L.autocast("cpu", dtype=L.bfloat16):
            out = cell(x, h)
        found.append(out if isinstance(out, tuple) else (out,))
    for ours, theirs in zip(*found, strict=True):
        assert str(ours.dtype) == str(theirs.dtype)
        np.testing.assert_allclose(ours.detach().float().numpy(), theirs.detach().float(), 1e-6)
