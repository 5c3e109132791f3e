"""``flambeau warm-up``: compile the kernels in common use before a program needs them.

Machine code is kept on disk between runs (see `flambeau.settings`), so what is compiled here is
compiled once for this machine and version. Each workload below is a small program of one field; the
kernels that it runs are the list of what to compile, and no other list can fall behind. Workloads
run in processes of their own, as many at once as there are CPUs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import flambeau as torch
from flambeau import nn, settings
from flambeau.compiler import jit
from flambeau.nn import functional as F

LARGE = (256, 256)  # the shape of what is large enough for a kernel
_BAR = 24


def train(model: Any, loss: Callable[[], Any], optimizer: Any = None) -> None:
    """Take two steps: the second runs what the first has only prepared."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def arithmetic() -> None:
    """Element-wise ops and their derivatives."""
    names = """exp log tanh sigmoid relu sqrt rsqrt sin cos square abs neg erf log1p expm1
    reciprocal"""
    for dtype in (torch.float32, torch.float64):
        x = torch.rand(LARGE, dtype=dtype).add_(0.5).requires_grad_()
        y, row = torch.rand(LARGE, dtype=dtype) + 0.5, torch.rand(LARGE[1], dtype=dtype)
        for name in names.split():
            getattr(torch, name)(x).sum().backward()
        for f in (F.gelu, F.silu, F.leaky_relu, F.elu, F.softplus):
            f(x).sum().backward()
        for out in (x + y, x - y, x * y, x / y, x + row, x * row, x * 2.0 + 1.0, x**2, -x):
            out.sum().backward()
        torch.where(x > y, x, y).sum().backward()
        x.clamp(0.6, 0.9).sum().backward()
        F.dropout(x, 0.1).sum().backward()


def reductions() -> None:
    """Sums, extrema, softmax, norms and losses."""
    x = torch.randn(LARGE, requires_grad=True)
    target = torch.randint(0, LARGE[1], LARGE[:1])
    for dim in (0, 1):
        for out in (x.sum(dim), x.mean(dim), x.var(dim), x.max(dim).values, x.amax(dim)):
            out.sum().backward()
    for out in (x.softmax(1), x.log_softmax(1), F.layer_norm(x, LARGE[1:]), x.norm(), x.mean()):
        out.sum().backward()
    F.cross_entropy(x, target).backward()
    F.mse_loss(x, torch.zeros(LARGE)).backward()
    F.binary_cross_entropy_with_logits(x, torch.zeros(LARGE)).backward()
    x.argmax(1), x.cumsum(1), x.sort(1), x.topk(5)


def products() -> None:
    """Products of matrices of several forms, and linear layers."""
    for dtype in (torch.float32, torch.float64):
        for m, k, n in ((8, 8, 8), (64, 64, 64), (256, 256, 256), (1, 512, 512), (512, 16, 512)):
            a, b = torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype)
            a @ b, b.t() @ a.t(), a.expand(4, m, k) @ b
            a @ b[:, 0], a @ b.t().contiguous().t()
    x = torch.randn(64, 784)
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    train(model, lambda: F.cross_entropy(model(x), torch.zeros(64, dtype=torch.long)))


def convolutions() -> None:
    """The layers of residual networks, small and large images, and their neighbours."""
    for channels, size in ((16, 28), (64, 14), (128, 7)):
        model = nn.Sequential(
            nn.Conv2d(3, channels, 7, 2, 3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(channels, 2 * channels, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(2 * channels, channels, 1, 2),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, 10),
        )
        x, target = torch.randn(4, 3, 4 * size, 4 * size), torch.zeros(4, dtype=torch.long)
        train(model, lambda: F.cross_entropy(model(x), target))  # noqa: B023
        with torch.no_grad():
            model.eval()(x[:1])


def residual_network() -> None:
    """The 3x3 layers of a ResNet-18 at 64x64, forward and backward."""
    for channels, size in ((64, 16), (128, 8), (256, 4), (512, 2)):
        x = torch.randn(8, channels, size, size, requires_grad=True)
        for stride in (1, 2):
            layer = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
            layer(x).sum().backward()


def transformer() -> None:
    """A block of a language model."""
    block = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True, activation="gelu")
    embed, head = nn.Embedding(500, 128), nn.Linear(128, 500)
    model = nn.Sequential(embed, block, nn.LayerNorm(128), head)
    x = torch.randint(0, 500, (4, 64))
    q = torch.randn(2, 4, 64, 32, requires_grad=True)
    F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()
    loss = lambda: F.cross_entropy(model(x).flatten(0, 1), x.flatten())  # noqa: E731
    train(model, loss, torch.optim.AdamW(model.parameters()))


def recurrent() -> None:
    """LSTM and GRU layers."""
    x = torch.randn(16, 20, 64)
    for kind in (nn.LSTM, nn.GRU):
        layer = kind(64, 128, 2, batch_first=True)
        train(layer, lambda: layer(x)[0].sum(), torch.optim.Adam(layer.parameters()))  # noqa: B023


def updates() -> None:
    """Every optimizer's step."""
    for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad"):
        layer = nn.Linear(128, 128)
        optimizer = getattr(torch.optim, name)(layer.parameters(), lr=0.01)
        train(layer, lambda: layer(torch.ones(4, 128)).sum(), optimizer)  # noqa: B023


WORKLOADS: dict[str, Callable[[], None]] = {
    f.__name__.replace("_", "-"): f
    for f in (
        *(convolutions, residual_network, transformer, products, arithmetic, reductions),
        *(recurrent, updates),
    )
}


def run_workload(name: str) -> int:
    """Run one workload here; return how many kernels were compiled for it."""
    torch.set_num_threads(1)  # processes share the CPUs
    before = jit.statistics.compiled
    WORKLOADS[name]()
    return jit.statistics.compiled - before


def run_all(names: list[str]) -> Iterator[tuple[str, int]]:
    """Run workloads in other processes; yield each as it ends, with what it compiled.

    Raises RuntimeError with the process's own words if one fails.
    """

    def start(name: str) -> tuple[str, int]:
        command = [sys.executable, "-m", "flambeau.examples.warm_up", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the workload {name} failed:\n{done.stderr}")
        return name, int(done.stdout.split()[-1])

    with ThreadPoolExecutor(settings.usable_cpus()) as pool:
        for future in as_completed([pool.submit(start, name) for name in names]):
            yield future.result()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("workload", nargs="*", help=f"of {', '.join(WORKLOADS)}; by default all")


def run(options: argparse.Namespace) -> int:
    """Carry the command out; return its exit code."""
    names = options.workload or list(WORKLOADS)
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        print(f"flambeau warm-up: there is no workload {unknown[0]}", file=sys.stderr)
        return 2
    if not jit.available() or not settings.cache:
        print("flambeau warm-up: compiled kernels, or their cache, are off", file=sys.stderr)
        return 1
    begin, compiled = time.perf_counter(), 0
    show(0, len(names), "")
    for number, (name, count) in enumerate(run_all(names), 1):
        compiled += count
        show(number, len(names), f"{name}: {count} kernels")
    seconds = time.perf_counter() - begin
    print(f"\n{compiled} kernels compiled in {seconds:.1f} s, kept in {settings.cache_dir()}")
    return 0


def show(done: int, of: int, text: str) -> None:
    """Draw the progress bar, over the last one on a terminal."""
    filled = _BAR * done // of
    end = "\r" if sys.stdout.isatty() else "\n"
    bar = "#" * filled + "." * (_BAR - filled)
    print(f"[{bar}] {done}/{of}  {text:40}", end=end, flush=True)


if __name__ == "__main__":
    print(run_workload(sys.argv[1]))
