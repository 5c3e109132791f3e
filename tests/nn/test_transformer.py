"""Attention and the Transformer against PyTorch with the same weights."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(6)

# PyTorch warns of its own shortcuts, and of masks of two types.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def attempt(*actions):
    seen = []
    for action in actions:
        try:
            seen.append(action())
        except Exception as error:
            seen.append((type(error).__name__, str(error)))
    return seen


def pair_of(name, *args, **kwargs):
    theirs = getattr(torch.nn, name)(*args, **kwargs).double()
    ours = getattr(flambeau.nn, name)(*args, **kwargs).double()
    assert repr(ours) == repr(theirs)
    with torch.no_grad():
        for param in theirs.parameters():
            param.copy_(torch.from_numpy(RNG.normal(0, 0.5, param.shape)))
    state = {k: flambeau.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    return ours, theirs


def compare(ours, theirs, call, *arrays):
    results = []
    for library, layer in ((flambeau, ours), (torch, theirs)):
        library.manual_seed(4)
        layer.zero_grad()
        leaves = [library.from_numpy(a.copy()).requires_grad_() for a in arrays]
        out = call(library, layer, *leaves)
        outputs = [t for t in (out if isinstance(out, tuple) else (out,)) if t is not None]
        total = sum((o * o * (i + 1)).sum() + o.sum() for i, o in enumerate(outputs))
        total.backward()
        grads = [t.grad for t in [*leaves, *layer.parameters()]]
        results.append([*(o.detach() for o in outputs), *grads])
    assert len(results[0]) == len(results[1])
    for a, b in zip(*results, strict=True):
        if b is None:
            assert a is None
            continue
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"bias": False, "batch_first": True},
        {"add_bias_kv": True, "add_zero_attn": True},
        {"kdim": 3, "vdim": 5},
    ],
)
def test_attention(config, need_weights):
    ours, theirs = pair_of("MultiheadAttention", 6, 2, **config)
    first = config.get("batch_first", False)
    q = RNG.normal(0, 1, (4, 3, 6))
    k = RNG.normal(0, 1, (4, 2, 6) if first else (5, 3, config.get("kdim", 6)))
    v = RNG.normal(0, 1, (4, 2, 6) if first else (5, 3, config.get("vdim", 6)))

    def call(library, layer, q, k, v):
        return layer(q, k, v, need_weights=need_weights)

    compare(ours, theirs, call, q, k, v)
    compare(ours, theirs, call, q[:, 0], k[:, 0], v[:, 0])
    if "kdim" not in config:
        compare(ours, theirs, lambda t, layer, x: layer(x, x, x, need_weights=need_weights), q)
        compare(
            ours,
            theirs,
            lambda t, layer, q, k: layer(q, k, k, average_attn_weights=False),
            q,
            k,
        )


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("mask", ["bool", "float", "heads", "padding", "both"])
@pytest.mark.parametrize("extra", [False, True])
def test_masks(mask, need_weights, extra):
    ours, theirs = pair_of("MultiheadAttention", 6, 2, add_bias_kv=extra, add_zero_attn=extra)
    above = np.triu(np.ones((4, 4), bool), 1)
    padding = np.array([[False, False, False, True], [False] * 4, [False, False, True, True]])

    def call(library, layer, x):
        masks = {}
        if mask in ("bool", "both"):
            masks["attn_mask"] = library.from_numpy(above)
        if mask == "float":
            masks["attn_mask"] = library.from_numpy(np.where(above, -2.0, 0.5))
        if mask == "heads":
            masks["attn_mask"] = library.from_numpy(np.stack([above] * 6))
        if mask in ("padding", "both"):
            masks["key_padding_mask"] = library.from_numpy(padding)
        return layer(x, x, x, need_weights=need_weights, **masks)

    compare(ours, theirs, call, RNG.normal(0, 1, (4, 3, 6)))


def test_dropout_in_attention():
    ours, theirs = pair_of("MultiheadAttention", 6, 2, dropout=0.4)
    x = RNG.normal(0, 1, (4, 3, 6))
    compare(ours, theirs, lambda t, layer, x: layer(x, x, x), x)
    compare(ours.eval(), theirs.eval(), lambda t, layer, x: layer(x, x, x), x)


def test_wrong_attention(same):
    def case(t):
        m = t.nn.MultiheadAttention(4, 2)
        z = t.zeros
        return attempt(
            lambda: t.nn.MultiheadAttention(5, 2),
            lambda: t.nn.MultiheadAttention(0, 2),
            lambda: m(z(3, 2, 5), z(3, 2, 4), z(3, 2, 4)),
            lambda: m(z(3), z(3, 2, 4), z(3, 2, 4)),
            lambda: m(z(3, 2, 4), z(2, 4), z(3, 2, 4)),
            lambda: m(z(3, 4), z(2, 1, 4), z(3, 2, 4)),
            lambda: m(z(3, 2, 4), z(5, 2, 4), z(4, 2, 4)),
            lambda: m(z(3, 2, 4), z(5, 2, 4), z(5, 2, 4), attn_mask=z(3, 4)),
            lambda: m(z(3, 2, 4), z(5, 2, 4), z(5, 2, 4), attn_mask=z(3, 3, 5)),
            lambda: m(z(3, 2, 4), z(5, 2, 4), z(5, 2, 4), attn_mask=z(5)),
            lambda: m(z(3, 2, 4), z(5, 2, 4), z(5, 2, 4), key_padding_mask=z(2, 4).bool()),
            lambda: m(z(3, 2, 4), z(5, 2, 4), z(5, 2, 4), key_padding_mask=z(5).bool()),
            lambda: m(z(3, 2, 4), z(5, 2, 4), z(5, 2, 4), key_padding_mask=z(2, 5).long()),
            lambda: m(z(3, 2, 4), z(3, 2, 4), z(3, 2, 4), is_causal=True),
            lambda: t.nn.TransformerEncoderLayer(4, 2, 8, activation="x"),
        )

    same(case)


CONFIGS = [
    {"dropout": 0.0},
    {"dropout": 0.3},
    {"dropout": 0.0, "norm_first": True, "activation": "gelu", "bias": False},
    {"dropout": 0.0, "batch_first": True},
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", ["TransformerEncoderLayer", "TransformerDecoderLayer"])
def test_layers(name, config):
    ours, theirs = pair_of(name, 6, 2, 8, **config)
    x, memory = RNG.normal(0, 1, (4, 3, 6)), RNG.normal(0, 1, (4, 3, 6))
    above = np.triu(np.ones((3, 3) if config.get("batch_first") else (4, 4), bool), 1)
    if "Encoder" in name:
        compare(ours, theirs, lambda t, layer, x: layer(x), x)
        compare(ours, theirs, lambda t, layer, x: layer(x, t.from_numpy(above)), x)
    else:
        compare(ours, theirs, lambda t, layer, x, m: layer(x, m), x, memory)
        compare(ours, theirs, lambda t, layer, x, m: layer(x, m, t.from_numpy(above)), x, memory)


def test_whole_transformer():
    ours, theirs = pair_of("Transformer", 6, 2, 2, 2, 8, dropout=0.2)
    src, tgt = RNG.normal(0, 1, (5, 3, 6)), RNG.normal(0, 1, (4, 3, 6))
    padding = np.array([[False] * 5, [False, False, False, True, True], [False] * 5])

    def call(library, layer, src, tgt):
        mask = layer.generate_square_subsequent_mask(4).double()
        pads = library.from_numpy(np.where(padding, -np.inf, 0.0))
        return layer(
            src,
            tgt,
            tgt_mask=mask,
            src_key_padding_mask=pads,
            memory_key_padding_mask=pads,
            tgt_is_causal=True,
        )

    compare(ours, theirs, call, src, tgt)
    compare(ours, theirs, lambda t, layer, s, x: layer(s, x), src[:, 0], tgt[:, 0])


def test_stacks_with_a_norm(same):
    def case(t):
        t.manual_seed(0)
        layer = t.nn.TransformerEncoderLayer(4, 2, 8)
        stack = t.nn.TransformerEncoder(layer, 2, t.nn.LayerNorm(4), enable_nested_tensor=False)
        first, second = stack.layers
        return [
            stack,
            first.linear1.weight is not second.linear1.weight,
            bool((first.linear1.weight == second.linear1.weight).all()),
            t.nn.TransformerDecoder(t.nn.TransformerDecoderLayer(4, 2, 8), 1),
            list(stack.state_dict())[-2:],
        ]

    same(case)


def test_initial_weights():
    states = []
    for library in (flambeau, torch):
        library.manual_seed(2)
        model = library.nn.Transformer(4, 2, 1, 1, 8)
        attention = library.nn.MultiheadAttention(4, 2, kdim=3, add_bias_kv=True)
        states.append({**model.state_dict(), **attention.state_dict()})
    for key, value in states[1].items():
        np.testing.assert_allclose(
            states[0][key].numpy(), value.numpy(), rtol=2e-6, atol=1e-6, err_msg=key
        )


def test_wrong_transformer(same):
    def case(t):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = t.nn.Transformer(4, 2, 1, 1, 8)
        z = t.zeros
        return [
            t.nn.Transformer.generate_square_subsequent_mask(3),
            attempt(
                lambda: model(z(3, 2, 4), z(3, 3, 4)),
                lambda: model(z(3, 2, 4), z(3, 2, 5)),
                lambda: model(z(3, 5), z(3, 5)),
            ),
        ]

    same(case)


PADDING = [[False, False, False, True], [False, False, True, True]]


@pytest.mark.parametrize("case", ["cleared", "gradients", "training", "gap", "mask", "odd", "norm"])
def test_evaluation_clears_padding_where_torch_does(case):
    layer = ("TransformerEncoderLayer", 6, 3 if case == "odd" else 2, 8)
    theirs_layer = getattr(torch.nn, layer[0])(*layer[1:], dropout=0.0, batch_first=True)
    ours_layer = getattr(flambeau.nn, layer[0])(*layer[1:], dropout=0.0, batch_first=True)
    options = {"norm": True} if case == "norm" else {}
    theirs = torch.nn.TransformerEncoder(
        theirs_layer, 2, **({"norm": torch.nn.LayerNorm(6)} if options else {})
    ).double()
    ours = flambeau.nn.TransformerEncoder(
        ours_layer, 2, **({"norm": flambeau.nn.LayerNorm(6)} if options else {})
    ).double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.from_numpy(RNG.normal(0, 0.5, parameter.shape)))
    ours.load_state_dict(
        {k: flambeau.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    )
    x = RNG.normal(size=(2, 4, 6))
    padding = [[True, False, False, False], PADDING[1]] if case == "gap" else PADDING

    def run(L, encoder):
        encoder.train(case == "training")
        mask = L.zeros(4, 4).bool() if case == "mask" else None
        with L.set_grad_enabled(case == "gradients"):
            out = encoder(L.tensor(x), mask=mask, src_key_padding_mask=L.tensor(padding))
        return out.detach().numpy()

    found, expected = run(flambeau, ours), run(torch, theirs)
    kept = ~np.array(padding)
    np.testing.assert_allclose(found[kept], expected[kept], rtol=1e-9, atol=1e-9)
    if case in ("cleared", "norm"):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert (found[~kept] == 0).all() == (case == "cleared") == (expected[~kept] == 0).all()
