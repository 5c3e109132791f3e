"""What is measured: programs as one would type them, run with `torch` bound to either library.

A case sets up once and times one expression. Both libraries draw the same random numbers from the
same seed, so they start from the same weights and must come to the same result.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from . import networks


@dataclass(frozen=True)
class Case:
    """An expression to time after `setup`; its time is shared among `count` operations.

    With another unit than seconds, the figure is the expression's value and not its time.
    """

    group: str
    name: str
    setup: str
    timed: str
    count: int = 1
    unit: str = "s"


OVERHEAD = """
x, y, row, square, bias = (torch.randn(*s) for s in [(10,), (10,), (1, 8), (8, 8), (8,)])
p, one = torch.randn(10, requires_grad=True), torch.tensor(1.5)
layer, linear = nn.Linear(8, 8), F.linear

def chain(t):
    for _ in range(10):
        t = torch.tanh(t * y + x) - y
    return t

def backward(loss, **options):
    p.grad = None
    loss.backward(**options)
    return p.grad

loss = chain(p).sum()
"""
OVERHEAD_CASES = {
    "add": "x + y",
    "mul": "x * y",
    "add, recording": "p + y",
    "add a number": "x + 1.5",
    "functional linear, 1x8 by 8x8": "linear(row, square, bias)",
    "module Linear(8, 8), recording": "layer(row)",
    "index x[3]": "x[3]",
    "view and transpose": "x.view(2, 5).t()",
    "item": "one.item()",
    "tensor([1.0, 2.0, 3.0])": "torch.tensor([1.0, 2.0, 3.0])",
    "zeros(10)": "torch.zeros(10)",
    "chain of 40, forward, per op": "chain(x)",
    "chain of 40, forward and backward, per op": "backward(chain(p).sum())",
    "chain of 40, backward alone, per node": "backward(loss, retain_graph=True)",
}

MILLION = """
x, y, row = torch.randn(1000, 1000), torch.randn(1000, 1000), torch.randn(1000)
inplace, wide, target = x.clone(), x.double(), torch.randint(0, 1000, (1000,))
p, g = torch.randn(1000, 1000, requires_grad=True), torch.randn(1000, 1000)

def both(f):
    p.grad = None
    out = f(p)
    out.backward(g if out.dim() else None)
    return p.grad
"""
ELEMENTWISE_CASES = {
    "add": "x + y",
    "add, float64": "wide + wide",
    "add a number": "x + 1.5",
    "add a row": "x + row",
    "add a transpose": "x.t() + y",
    "clamp in place": "inplace.clamp_(-1.0, 1.0)",
    "compare": "x > y",
    "where": "torch.where(x > 0, x, y)",
    "copy a transpose": "x.t().contiguous()",
    "exp": "x.exp()",
    "sin": "x.sin()",
    "tanh": "x.tanh()",
    "relu": "x.relu()",
    "gelu": "F.gelu(x)",
    "chain of five": "torch.tanh(x * y + row) * 0.5 + 0.5",
    "tanh, forward and backward": "both(torch.tanh)",
    "gelu, forward and backward": "both(F.gelu)",
}
REDUCTION_CASES = {
    "sum": "x.sum()",
    "sum of rows": "x.sum(1)",
    "sum of columns": "x.sum(0)",
    "maximum of rows and where": "x.max(1)",
    "softmax": "x.softmax(1)",
    "layer norm": "F.layer_norm(x, (1000,))",
    "softmax, forward and backward": "both(lambda t: t.softmax(1))",
    "layer norm, forward and backward": "both(lambda t: F.layer_norm(t, (1000,)))",
    "cross entropy, forward and backward": "both(lambda t: F.cross_entropy(t, target))",
}

# Name, arguments of randn for both operands, what is computed.
PRODUCTS = [
    *((f"{n}x{n}", f"{n}, {n}", f"{n}, {n}", "a @ b") for n in (64, 128, 256, 512, 1024, 2048)),
    ("512x512, transposed on the left", "512, 512", "512, 512", "a.t() @ b"),
    ("512x512, transposed on the right", "512, 512", "512, 512", "a @ b.t()"),
    ("512x512, float64", "512, 512, dtype=torch.float64", "512, 512, dtype=torch.float64", "a @ b"),
    ("batch of 64, 64x64", "64, 64, 64", "64, 64, 64", "a.bmm(b)"),
    ("batch of 16, 128x64 by 64x128", "16, 128, 64", "16, 64, 128", "a.bmm(b)"),
    ("skinny, 8x1024 by 1024x1024", "8, 1024", "1024, 1024", "a @ b"),
    ("skinny, 1024x16 by 16x1024", "1024, 16", "16, 1024", "a @ b"),
    ("skinny, 1024x1024 by 1024x16", "1024, 1024", "1024, 16", "a @ b"),
    ("matrix by vector, 1024x1024", "1024, 1024", "1024", "a @ b"),
]

CONVOLUTION = """
x, layer = torch.randn(4, {shape}), nn.Conv2d({arguments}, bias=False)
g = torch.randn_like(layer(x))
# An image, unlike what a layer puts out, needs no gradient.
leaves = [layer.weight] if x.shape[1] == 3 else [layer.weight, x.requires_grad_()]

def forward():
    with torch.no_grad():
        return layer(x)

def both():
    for leaf in leaves:
        leaf.grad = None
    layer(x).backward(g)
    return [leaf.grad for leaf in leaves]
"""
# Name, shape of an image, arguments of Conv2d: the layers of ResNet, and one of MobileNet.
LAYERS = [
    ("3x3, 64 channels, 56x56", "64, 56, 56", "64, 64, 3, padding=1"),
    ("3x3, 128 channels, 28x28", "128, 28, 28", "128, 128, 3, padding=1"),
    ("3x3, 256 channels, 14x14", "256, 14, 14", "256, 256, 3, padding=1"),
    ("3x3, 512 channels, 7x7", "512, 7, 7", "512, 512, 3, padding=1"),
    ("3x3 stride 2, 64 to 128, 56x56", "64, 56, 56", "64, 128, 3, stride=2, padding=1"),
    ("7x7 stride 2, 3 to 64, 224x224", "3, 224, 224", "3, 64, 7, stride=2, padding=3"),
    ("1x1, 256 to 64, 56x56", "256, 56, 56", "256, 64, 1"),
    ("depthwise 3x3, 128, 28x28", "128, 28, 28", "128, 128, 3, padding=1, groups=128"),
]

TRAINING = """
model = nn.Sequential({layers})
optimizer = torch.optim.{optimizer}
x, target = torch.randn(64, {shape}), torch.randint(0, 10, (64,))
weights = list(model.parameters())

def step():
    loss = F.cross_entropy(model(x), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return [loss, *weights]
"""
MLP = "nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)"
LENET = """
    nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
    nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
    nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)
"""
CNN = """
    nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(4096, 10)
"""
SGD = "SGD(model.parameters(), lr=0.01, momentum=0.9)"
MODELS = [
    ("MLP 784-512-256-10, SGD", MLP, "784", SGD),
    ("LeNet, 28x28, SGD", LENET, "1, 28, 28", SGD),
    ("CNN with batch norm, 32x32, SGD", CNN, "3, 32, 32", SGD),
]

# A fresh process. flambeau fetches its parts when they are first used, so that its import alone
# would flatter it: the second program uses some.
START = """
import subprocess, sys

def start(*lines):
    program = "\\n".join([f"import {torch.__name__} as torch", *lines])
    done = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE)
    return float(done.stdout or 0)

gradient = "torch.nn.Linear(2, 2)(torch.ones(1, 2)).sum().backward()"
resident = "import os; pages = int(open('/proc/self/statm').read().split()[1])"
resident += "; print(pages * os.sysconf('SC_PAGE_SIZE') / 1e6)"
"""
STARTS = [
    ("start of a process", "import", "start()", "s"),
    ("start of a process", "import and a first gradient", "start(gradient)", "s"),
    ("memory of a process", "import", "start(resident)", "MB"),
    ("memory of a process", "import and a first gradient", "start(gradient, resident)", "MB"),
]


def cases() -> Iterator[Case]:
    """Yield every case, group by group."""
    for name, timed in OVERHEAD_CASES.items():
        yield Case("overhead, 10 elements", name, OVERHEAD, timed, 40 if "of 40" in name else 1)
    for name, timed in ELEMENTWISE_CASES.items():
        yield Case("elementwise, 1e6 elements", name, MILLION, timed)
    for name, timed in REDUCTION_CASES.items():
        yield Case("reductions, 1e6 elements", name, MILLION, timed)
    for name, a, b, timed in PRODUCTS:
        yield Case("matmul", name, f"a, b = torch.randn({a}), torch.randn({b})", timed)
    for name, shape, arguments in LAYERS:
        setup = CONVOLUTION.format(shape=shape, arguments=arguments)
        yield Case("convolution, batch 4", f"{name}, forward", setup, "forward()")
        yield Case("convolution, batch 4", f"{name}, forward and backward", setup, "both()")
    for group, setup, timed_cases in networks.LAYER_CASES:
        for name, timed in timed_cases.items():
            yield Case(group, name, setup, timed)
    for optimizer, rest in networks.OPTIMIZERS:
        setup = networks.OPTIMIZER.format(name=optimizer, rest=rest)
        yield Case("optimizer step, 2e6 weights", optimizer + rest, setup, "step()")
    for name, layers, shape, optimizer in MODELS:
        setup = TRAINING.format(layers=layers, shape=shape, optimizer=optimizer)
        yield Case("training step, batch 64", name, setup, "step()")
    for name, *parts in networks.NETWORKS:
        yield Case("training step, networks", name, networks.network_setup(*parts), "step()")
    for group, name, timed, unit in STARTS:
        if unit == "s" or os.path.exists("/proc/self/statm"):
            yield Case(group, name, START, timed, unit=unit)
