"""Cases with layers and whole networks: more of what programs do than single ops show."""

from __future__ import annotations

LAYER = """
def both(f, *leaves):
    for leaf in leaves:
        leaf.grad = None
    f().sum().backward()
    return [leaf.grad for leaf in leaves]
"""
POOLING = (
    LAYER
    + """
x = torch.randn(8, 64, 56, 56)
p = torch.randn(8, 64, 56, 56, requires_grad=True)
"""
)
POOLING_CASES = {
    "max 2x2": "F.max_pool2d(x, 2)",
    "max 3x3 stride 2, forward and backward": "both(lambda: F.max_pool2d(p, 3, 2, 1), p)",
    "mean 2x2": "F.avg_pool2d(x, 2)",
    "mean 2x2, forward and backward": "both(lambda: F.avg_pool2d(p, 2), p)",
    "mean of the image": "F.adaptive_avg_pool2d(x, 1)",
    "nearest, twice as large": "F.interpolate(x, scale_factor=2)",
}

ATTENTION = (
    LAYER
    + """
q, k, v = (torch.randn(4, 8, 128, 32) for _ in range(3))
qg, kg, vg = (torch.randn(4, 8, 128, 32, requires_grad=True) for _ in range(3))
x, row = torch.randn(4, 128, 256), torch.zeros(1, 128, 256)
layer = nn.MultiheadAttention(256, 8, batch_first=True)
attend = F.scaled_dot_product_attention
"""
)
ATTENTION_CASES = {
    "4x8 heads, 128x32": "attend(q, k, v)",
    "4x8 heads, 128x32, causal": "attend(q, k, v, is_causal=True)",
    "4x8 heads, forward and backward": "both(lambda: attend(qg, kg, vg), qg, kg, vg)",
    "layer of 8 heads, width 256": "layer(x, x, x, need_weights=False)[0]",
}

RECURRENT = (
    LAYER
    + """
x = torch.randn(16, 35, 128)
lstm, gru = nn.LSTM(128, 256, 2, batch_first=True), nn.GRU(128, 256, batch_first=True)
first = lstm.weight_ih_l0, gru.weight_hh_l0

def infer(layer):
    with torch.no_grad():
        return layer(x)[0]
"""
)
RECURRENT_CASES = {
    "LSTM, two layers of 256": "infer(lstm)",
    "LSTM, forward and backward": "both(lambda: lstm(x)[0], first[0])",
    "GRU of 256": "infer(gru)",
    "GRU, forward and backward": "both(lambda: gru(x)[0], first[1])",
}

INDEXING = (
    LAYER
    + """
table = torch.randn(10000, 128, requires_grad=True)
words = torch.randint(0, 10000, (64, 50))
x, rows = torch.randn(1000, 1000), torch.randint(0, 1000, (1000,))
columns, out = torch.randint(0, 1000, (1000, 1000)), torch.zeros(1000, 1000)
line = torch.randn(1000000)
"""
)
INDEXING_CASES = {
    "embedding": "F.embedding(words, table.detach())",
    "embedding, forward and backward": "both(lambda: F.embedding(words, table), table)",
    "rows by index": "x[rows]",
    "index_select of columns": "x.index_select(1, rows)",
    "gather": "x.gather(1, columns)",
    "scatter_add": "out.scatter_add(1, columns, x)",
    "boolean mask": "x[x > 0]",
    "sort": "line.sort().values",
    "sort rows": "x.sort(1).values",
    "topk of rows": "x.topk(10).values",
    "cumsum of rows": "x.cumsum(1)",
    "cat of columns": "torch.cat([x, x], 1)",
}

OPTIMIZER = """
weights = [torch.randn(s, requires_grad=True) for s in [(512, 512), (512,)] * 8]
for w in weights:
    w.grad = torch.randn(w.shape) * 1e-3
optimizer = torch.optim.{name}(weights, lr=1e-5{rest})

def step():
    optimizer.step()
    return weights[:2]
"""
OPTIMIZERS = [
    ("SGD", ""),
    ("SGD", ", momentum=0.9"),
    ("Adam", ""),
    ("AdamW", ""),
    ("RMSprop", ""),
    ("Adagrad", ""),
]

RESNET = """
class Block(nn.Module):
    def __init__(self, entering, leaving, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(entering, leaving, 3, stride, 1, bias=False), nn.BatchNorm2d(leaving),
            nn.ReLU(), nn.Conv2d(leaving, leaving, 3, 1, 1, bias=False), nn.BatchNorm2d(leaving),
        )
        self.shortcut = nn.Identity() if stride == 1 and entering == leaving else nn.Sequential(
            nn.Conv2d(entering, leaving, 1, stride, bias=False), nn.BatchNorm2d(leaving)
        )

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))

widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1),
          (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
model = nn.Sequential(
    nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
    *[Block(*width) for width in widths], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10),
)
"""
GPT = """
class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.first, self.second = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.enter, self.leave = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.body = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        size, length, width = x.shape
        shape = size, length, 3 * self.heads, width // self.heads
        q, k, v = self.enter(self.first(x)).view(shape).transpose(1, 2).chunk(3, 1)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.leave(seen.transpose(1, 2).reshape(size, length, width))
        return x + self.body(self.second(x))

class Model(nn.Module):
    def __init__(self, words, width, length, layers):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, 4) for _ in range(layers)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, words))

    def forward(self, x):
        return self.head(self.blocks(self.words(x) + self.places.weight)).transpose(1, 2)

model = Model(1000, 128, 64, 2)
"""
VAE = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.leave = nn.Linear(784, 400), nn.Linear(400, 784)
        self.mean, self.spread, self.back = (nn.Linear(*s) for s in [(400, 20)] * 2 + [(20, 400)])

    def forward(self, x):
        h = self.enter(x).relu()
        mean, spread = self.mean(h), self.spread(h)
        z = mean + noise * (0.5 * spread).exp()
        image = self.leave(self.back(z).relu())
        rest = 1 + spread - mean**2 - spread.exp()
        likeness = F.binary_cross_entropy_with_logits(image, x, reduction="sum")
        return (likeness - 0.5 * rest.sum()) / 128

model, noise = Model(), torch.randn(128, 20)
"""
WORDS = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.rnn = nn.Embedding(1000, 64), nn.LSTM(64, 128, batch_first=True)
        self.head = nn.Linear(128, 1000)

    def forward(self, x):
        return self.head(self.rnn(self.words(x))[0]).transpose(1, 2)

model = Model()
"""
STEP = """
optimizer = torch.optim.{optimizer}(model.parameters(), lr=1e-4)

def step():
    loss = {loss}
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return [loss]
"""
LABELS = "F.cross_entropy(model(x), target)"
# Name, network, inputs, optimizer, loss.
NETWORKS = [
    (
        "ResNet-18, 8 images of 64x64, SGD",
        RESNET,
        "x, target = torch.randn(8, 3, 64, 64), torch.randint(0, 10, (8,))",
        "SGD",
        LABELS,
    ),
    (
        "GPT, 2 layers of 128, 4 texts of 64, AdamW",
        GPT,
        "x = torch.randint(0, 1000, (4, 64)); target = torch.randint(0, 1000, (4, 64))",
        "AdamW",
        LABELS,
    ),
    ("VAE 784-400-20, batch 128, Adam", VAE, "x = torch.rand(128, 784)", "Adam", "model(x)"),
    (
        "LSTM language model, 16 texts of 35, Adam",
        WORDS,
        "x = torch.randint(0, 1000, (16, 35)); target = torch.randint(0, 1000, (16, 35))",
        "Adam",
        LABELS,
    ),
]


def network_setup(network: str, inputs: str, optimizer: str, loss: str) -> str:
    """Return the program that makes a network, its inputs and its training step."""
    return network + inputs + STEP.format(optimizer=optimizer, loss=loss)


# Group, setup, expressions by name.
LAYER_CASES = [
    ("pooling, 8x64x56x56", POOLING, POOLING_CASES),
    ("attention", ATTENTION, ATTENTION_CASES),
    ("recurrent layers, 16x35x128", RECURRENT, RECURRENT_CASES),
    ("indexing and sorting", INDEXING, INDEXING_CASES),
]
