"""Every layer against PyTorch's with the same weights: values, gradients, looks, state keys.

A line gives the class, its arguments and its inputs. An input is a shape (standard normal), or an
array made by one of the functions below. All is compared in float64.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau
from flambeau import nn

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)


class Fixed(np.ndarray):
    """An input of which no gradient is asked."""


def ints(high, *shape):
    return RNG.integers(0, high, shape)


def unit(*shape):
    """Between 0 and 1, both excluded."""
    return RNG.uniform(0.05, 0.95, shape)


def signs(*shape):
    return np.asarray(RNG.choice([-1.0, 1.0], shape)).view(Fixed)


def shares(*shape):
    """Probabilities along dimension 1."""
    raw = RNG.uniform(0.1, 1, shape)
    return raw / raw.sum(1, keepdims=True)


def weights(count):
    return torch.linspace(0.5, 2, count, dtype=torch.float64)


IN_PLACE = [
    "CELU",
    "ELU",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "Mish",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
]
ACTIVATIONS = [
    *IN_PLACE,
    "GELU",
    "Hardshrink",
    "LogSigmoid",
    "PReLU",
    "Sigmoid",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
]
LAYERS = [
    ("Identity", (1,), {"a": 2}, (2, 3)),
    ("Linear", (3, 4), {}, (5, 3)),
    ("Linear", (3, 4), {"bias": False}, (3,)),
    ("Linear", (3, 4), {}, (2, 5, 3)),
    ("Bilinear", (3, 4, 2), {}, (5, 3), (5, 4)),
    ("Bilinear", (3, 4, 2), {"bias": False}, (2, 5, 3), (2, 5, 4)),
    ("Flatten", (), {}, (2, 3, 4)),
    ("Flatten", (0, 1), {}, (2, 3, 4)),
    ("Unflatten", (1, (2, 3)), {}, (4, 6)),
    ("Unflatten", (-1, (2, -1)), {}, (4, 6)),
    # convolutions
    ("Conv1d", (4, 6, 3), {"padding": 1, "stride": 2}, (2, 4, 9)),
    ("Conv1d", (4, 6, 3), {"padding": "same", "dilation": 2, "groups": 2}, (2, 4, 9)),
    ("Conv2d", (2, 3, (3, 2)), {"padding": (1, 0), "stride": (1, 2)}, (2, 2, 6, 7)),
    ("Conv2d", (2, 3, 3), {"padding": 1, "padding_mode": "reflect"}, (2, 2, 6, 7)),
    ("Conv2d", (2, 3, 3), {"padding": 2, "padding_mode": "replicate"}, (2, 2, 6, 7)),
    ("Conv2d", (2, 3, 4), {"padding": "same", "padding_mode": "circular"}, (2, 2, 6, 7)),
    ("Conv2d", (2, 3, 4), {"padding": "same"}, (2, 2, 6, 7)),
    ("Conv2d", (2, 3, 3), {"padding": "valid", "bias": False}, (2, 6, 7)),
    ("Conv3d", (2, 3, 2), {"padding": (1, 0, 1)}, (1, 2, 4, 5, 3)),
    ("ConvTranspose1d", (4, 2, 3), {"stride": 2, "output_padding": 1}, (2, 4, 5)),
    ("ConvTranspose2d", (4, 2, 3), {"stride": 2, "padding": 1, "groups": 2}, (2, 4, 5, 3)),
    ("ConvTranspose2d", (4, 2, 3), {"dilation": 2, "bias": False}, (4, 5, 3)),
    ("ConvTranspose3d", (2, 3, 2), {"stride": (1, 2, 1)}, (1, 2, 3, 2, 4)),
    # pooling
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1}, (2, 3, 9)),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 9, 8)),
    ("MaxPool2d", ((2, 3),), {"dilation": (2, 1)}, (3, 9, 8)),
    ("MaxPool3d", (2,), {}, (1, 2, 4, 5, 6)),
    ("AvgPool1d", (3,), {"stride": 2, "padding": 1}, (2, 3, 9)),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, (2, 3, 9, 8)),
    ("AvgPool2d", (3,), {"divisor_override": 5, "ceil_mode": True}, (2, 3, 10, 8)),
    ("AvgPool3d", (2,), {}, (1, 2, 4, 5, 6)),
    ("LPPool1d", (2, 3), {"stride": 2}, (2, 3, 9)),
    ("LPPool2d", (3, 2), {}, unit(2, 3, 6, 6)),
    ("LPPool2d", (1.5, (2, 3)), {"ceil_mode": True}, unit(2, 3, 7, 7)),
    ("LPPool3d", (2, 2), {}, (1, 2, 4, 4, 4)),
    ("AdaptiveAvgPool1d", (4,), {}, (2, 3, 10)),
    ("AdaptiveAvgPool2d", ((3, None),), {}, (2, 3, 7, 5)),
    ("AdaptiveAvgPool2d", (1,), {}, (3, 7, 5)),
    ("AdaptiveAvgPool3d", (2,), {}, (1, 2, 5, 4, 3)),
    ("AdaptiveMaxPool1d", (4,), {}, (2, 3, 10)),
    ("AdaptiveMaxPool2d", ((3, None),), {}, (2, 3, 7, 5)),
    ("AdaptiveMaxPool3d", (2,), {}, (1, 2, 5, 4, 3)),
    # normalization
    ("BatchNorm1d", (3,), {}, (6, 3)),
    ("BatchNorm1d", (3,), {"affine": False, "momentum": None}, (6, 3, 4)),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, (4, 3, 2, 5)),
    ("BatchNorm2d", (3,), {"momentum": 0.3, "eps": 1e-3}, (4, 3, 2, 5)),
    ("BatchNorm3d", (2,), {"bias": False}, (3, 2, 2, 3, 2)),
    ("InstanceNorm1d", (3,), {}, (2, 3, 7)),
    ("InstanceNorm2d", (3,), {"affine": True, "track_running_stats": True}, (2, 3, 4, 5)),
    ("InstanceNorm2d", (3,), {"affine": True}, (3, 4, 5)),
    ("InstanceNorm3d", (2,), {}, (2, 2, 2, 3, 2)),
    ("LayerNorm", (5,), {}, (2, 3, 5)),
    ("LayerNorm", ([3, 5],), {"bias": False, "eps": 1e-2}, (2, 3, 5)),
    ("LayerNorm", (5,), {"elementwise_affine": False}, (4, 5)),
    ("GroupNorm", (2, 4), {}, (3, 4, 5)),
    ("GroupNorm", (4, 4), {"affine": False}, (3, 4, 2, 5)),
    ("GroupNorm", (1, 4), {"bias": False}, (3, 4, 2, 5)),
    ("RMSNorm", (5,), {}, (2, 3, 5)),
    ("RMSNorm", ((3, 5),), {"eps": 1e-2, "elementwise_affine": False}, (2, 3, 5)),
    ("LocalResponseNorm", (3,), {"alpha": 0.5}, (2, 5, 4)),
    ("LocalResponseNorm", (2,), {"alpha": 0.5, "k": 2.0}, (2, 5, 4, 3)),
    # activations
    *((name, (), {}, (4, 5)) for name in ACTIVATIONS),
    *((name, (), {"inplace": True}, (4, 5)) for name in IN_PLACE),
    ("GLU", (), {}, (4, 6)),
    ("GLU", (0,), {}, (4, 6)),
    ("GELU", (), {"approximate": "tanh"}, (4, 5)),
    ("ELU", (0.5,), {}, (4, 5)),
    ("CELU", (0.5,), {}, (4, 5)),
    ("LeakyReLU", (0.3,), {}, (4, 5)),
    ("Hardtanh", (-0.5, 0.3), {}, (4, 5)),
    ("Threshold", (0.1, -3.0), {}, (4, 5)),
    ("Threshold", (0.1, -3.0), {"inplace": True}, (4, 5)),
    ("Softplus", (2.0, 1.0), {}, (4, 5)),
    ("PReLU", (3, 0.1), {}, (4, 3, 2)),
    ("Softmax", (1,), {}, (4, 5)),
    ("Softmax", (), {}, (4, 5)),
    ("Softmin", (0,), {}, (4, 5)),
    ("LogSoftmax", (-1,), {}, (4, 5)),
    ("Softmax2d", (), {}, (2, 3, 4, 5)),
    ("Softmax2d", (), {}, (3, 4, 5)),
    # dropout
    ("Dropout", (0.3,), {}, (8, 9)),
    ("Dropout", (0.3,), {"inplace": True}, (8, 9)),
    ("Dropout", (1.0,), {}, (3, 4)),
    ("Dropout", (0.0,), {}, (3, 4)),
    ("Dropout1d", (0.4,), {}, (4, 5, 3)),
    ("Dropout1d", (0.4,), {}, (5, 3)),
    ("Dropout2d", (0.4,), {}, (2, 5, 3, 2)),
    ("Dropout2d", (0.4,), {"inplace": True}, (2, 5, 3)),
    ("Dropout3d", (0.4,), {}, (2, 5, 3, 2, 2)),
    ("Dropout3d", (0.4,), {}, (5, 3, 2, 2)),
    ("AlphaDropout", (0.4,), {}, (8, 9)),
    ("AlphaDropout", (0.4,), {"inplace": True}, (8, 9)),
    ("FeatureAlphaDropout", (0.4,), {}, (4, 5, 3)),
    # tables
    ("Embedding", (7, 3), {}, ints(7, 4, 2)),
    ("Embedding", (7, 3), {"padding_idx": -2}, ints(7, 9)),
    ("Embedding", (7, 3), {"max_norm": 1.0}, ints(7, 9)),
    ("Embedding", (7, 3), {"scale_grad_by_freq": True}, ints(4, 9)),
    ("EmbeddingBag", (7, 3), {}, ints(7, 4, 2)),
    ("EmbeddingBag", (7, 3), {"mode": "sum", "padding_idx": 1}, ints(4, 5, 3)),
    ("EmbeddingBag", (7, 3), {"mode": "max"}, ints(7, 9), np.array([0, 2, 2, 5])),
    ("EmbeddingBag", (7, 3), {"mode": "sum"}, ints(7, 6), np.array([0, 4]), (6,)),
    (
        "EmbeddingBag",
        (7, 3),
        {"include_last_offset": True, "max_norm": 1.5},
        ints(7, 9),
        np.array([0, 2, 5, 9]),
    ),
    # shapes
    ("PixelShuffle", (2,), {}, (2, 8, 3, 4)),
    ("PixelUnshuffle", (2,), {}, (2, 4, 6)),
    ("ChannelShuffle", (3,), {}, (2, 6, 4)),
    ("Unfold", ((2, 3),), {"dilation": 2, "padding": 1, "stride": (1, 2)}, (2, 3, 6, 7)),
    ("Unfold", (2,), {}, (3, 4, 5)),
    ("Fold", ((4, 5), (2, 2)), {}, (2, 12, 12)),
    ("Fold", ((4, 5), 2), {"padding": 1, "stride": 2, "dilation": 1}, (8, 9)),
    *(
        (f"{kind}Pad{n}d", (1,), {}, (2, 3, 4, 5, 3)[: n + 2])
        for kind in ("Zero", "Reflection", "Replication", "Circular")
        for n in (1, 2, 3)
    ),
    *((f"ConstantPad{n}d", (2, 1.5), {}, (2, 3, 4, 5, 3)[: n + 2]) for n in (1, 2, 3)),
    ("ReflectionPad2d", ((1, 2, 0, 3),), {}, (3, 4, 5)),
    ("ReplicationPad1d", ((4, 0),), {}, (3, 4)),
    ("ZeroPad2d", ((1, -1, 0, 2),), {}, (1, 3, 4, 5)),
    ("CircularPad2d", ((1, 2, 0, 3),), {}, (2, 3, 4, 5)),
    ("CosineSimilarity", (), {}, (4, 5), (4, 5)),
    ("CosineSimilarity", (0,), {}, (4, 5), (4, 1)),
    ("PairwiseDistance", (), {}, (4, 5), (4, 5)),
    ("PairwiseDistance", (1.0,), {"keepdim": True}, (4, 5), (5,)),
    # losses
    *(
        (name, (), {"reduction": reduction}, (4, 5), (4, 5))
        for name in ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss")
        for reduction in ("none", "mean", "sum")
    ),
    ("SmoothL1Loss", (), {"beta": 0.3}, (4, 5), (4, 5)),
    ("SmoothL1Loss", (), {"beta": 0.0}, (4, 5), (4, 5)),
    ("HuberLoss", (), {"delta": 0.3}, (4, 5), (4, 5)),
    ("KLDivLoss", (), {"reduction": "batchmean"}, (4, 5), shares(4, 5)),
    ("KLDivLoss", (), {"reduction": "sum", "log_target": True}, (4, 5), (4, 5)),
    ("PoissonNLLLoss", (), {"full": True}, (4, 5), ints(5, 4, 5).astype(float)),
    ("PoissonNLLLoss", (False,), {}, unit(4, 5), ints(5, 4, 5).astype(float)),
    ("GaussianNLLLoss", (), {"full": True}, (4, 5), (4, 5), unit(4, 5)),
    ("GaussianNLLLoss", (), {"reduction": "none"}, (4, 5), (4, 5), unit(4)),
    ("NLLLoss", (), {}, (4, 5), ints(5, 4)),
    ("NLLLoss", (), {"weight": weights(5), "ignore_index": 1}, (4, 5, 3), ints(5, 4, 3)),
    ("NLLLoss", (), {"reduction": "none", "weight": weights(5)}, (4, 5, 3, 2), ints(5, 4, 3, 2)),
    ("NLLLoss", (), {"reduction": "sum"}, (5,), ints(5)),
    ("CrossEntropyLoss", (), {}, (4, 5), ints(5, 4)),
    ("CrossEntropyLoss", (), {"reduction": "none"}, (4, 5), ints(5, 4)),
    ("CrossEntropyLoss", (), {"ignore_index": 2}, (6, 5), ints(4, 6)),
    ("CrossEntropyLoss", (), {"weight": weights(5)}, (4, 5, 3), ints(5, 4, 3)),
    ("CrossEntropyLoss", (), {"label_smoothing": 0.2}, (4, 5), ints(5, 4)),
    (
        "CrossEntropyLoss",
        (),
        {"label_smoothing": 0.2, "weight": weights(5), "ignore_index": 0},
        (6, 5, 2),
        ints(3, 6, 2),
    ),
    ("CrossEntropyLoss", (), {"label_smoothing": 0.2, "reduction": "sum"}, (4, 5), ints(5, 4)),
    ("CrossEntropyLoss", (), {}, (4, 5), shares(4, 5)),
    (
        "CrossEntropyLoss",
        (),
        {"weight": weights(5), "label_smoothing": 0.1},
        (4, 5, 2),
        shares(4, 5, 2),
    ),
    ("CrossEntropyLoss", (), {"reduction": "none"}, (4, 5, 2), shares(4, 5, 2)),
    ("CrossEntropyLoss", (), {}, (5,), ints(5)),
    ("BCELoss", (), {}, unit(4, 5), unit(4, 5)),
    ("BCELoss", (), {"weight": weights(5), "reduction": "sum"}, unit(4, 5), unit(4, 5)),
    ("BCEWithLogitsLoss", (), {}, (4, 5), unit(4, 5)),
    (
        "BCEWithLogitsLoss",
        (),
        {"weight": weights(5), "pos_weight": weights(5), "reduction": "none"},
        (4, 5),
        unit(4, 5),
    ),
    ("SoftMarginLoss", (), {}, (4, 5), signs(4, 5)),
    ("MultiLabelSoftMarginLoss", (), {"weight": weights(5)}, (4, 5), unit(4, 5)),
    ("MultiLabelMarginLoss", (), {}, (2, 4), np.array([[3, 0, -1, 1], [2, 2, 1, -1]])),
    ("MultiLabelMarginLoss", (), {"reduction": "none"}, (4,), np.array([3, 0, -1, 1])),
    ("MultiMarginLoss", (), {}, (4, 5), ints(5, 4)),
    ("MultiMarginLoss", (2, 0.5), {"weight": weights(5), "reduction": "none"}, (4, 5), ints(5, 4)),
    ("MultiMarginLoss", (), {}, (5,), ints(5)),
    ("HingeEmbeddingLoss", (0.3,), {}, (4, 5), signs(4, 5)),
    ("CosineEmbeddingLoss", (0.3,), {}, (4, 5), (4, 5), signs(4)),
    ("CosineEmbeddingLoss", (), {}, (5,), (5,), signs()),
    ("MarginRankingLoss", (0.3,), {"reduction": "sum"}, (4, 5), (4, 5), signs(4, 5)),
    ("TripletMarginLoss", (), {}, (4, 5), (4, 5), (4, 5)),
    ("TripletMarginLoss", (2.0, 1.0), {"swap": True, "reduction": "none"}, (4, 5), (4, 5), (4, 5)),
    ("TripletMarginWithDistanceLoss", (), {"swap": True}, (4, 5), (4, 5), (4, 5)),
]


def names():
    seen = {}
    for line in LAYERS:
        seen[line[0]] = seen.get(line[0], -1) + 1
        yield f"{line[0]}-{seen[line[0]]}"


def our_kwargs(kwargs):
    return {
        k: flambeau.from_numpy(v.numpy().copy()) if isinstance(v, torch.Tensor) else v
        for k, v in kwargs.items()
    }


def build(name, args, kwargs):
    """A layer of each library with the same weights, in float64."""
    theirs = getattr(torch.nn, name)(*args, **kwargs).double()
    ours = getattr(nn, name)(*args, **our_kwargs(kwargs)).double()
    with torch.no_grad():
        for param in theirs.parameters():
            param.copy_(torch.from_numpy(RNG.normal(0, 1, param.shape)))
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict({k: flambeau.from_numpy(v.numpy().copy()) for k, v in state.items()})
    return ours, theirs


def run(layer, library, arrays, training):
    """Output, and gradients of the inputs and parameters for an upstream gradient of cosines."""
    layer.train(training)
    leaves, inputs = [], []
    for array in arrays:
        tensor = library.from_numpy(np.array(array))
        if array.dtype == np.float64 and not isinstance(array, Fixed):
            leaves.append(tensor.requires_grad_())
            tensor = tensor * 1.0  # in-place layers must not touch a leaf
        inputs.append(tensor)
    library.manual_seed(5)
    out = layer(*inputs)
    result = [out.detach().numpy()]
    if out.requires_grad:
        upstream = np.cos(np.arange(out.numel(), dtype=np.float64)).reshape(tuple(out.shape))
        out.backward(library.from_numpy(upstream))
        grads = [t.grad for t in [*leaves, *layer.parameters()]]
        result += [None if g is None else g.numpy() for g in grads]
    result += [b.numpy() for b in layer.buffers()]
    return result


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("line", LAYERS, ids=list(names()))
def test_layer(line, training):
    name, args, kwargs, *inputs = line
    arrays = [i if isinstance(i, np.ndarray) else RNG.normal(0, 1, i) for i in inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = build(name, args, kwargs)
        assert repr(ours) == repr(theirs)
        got = run(ours, flambeau, arrays, training)
        expected = run(theirs, torch, arrays, training)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        if b is None:
            assert a is None or not a.any()
        else:
            # PyTorch multiplies by a sixth in single precision whatever the input's type.
            rtol = 1e-7 if name == "Hardsigmoid" else 1e-9
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-11)


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_cross_map_lrn(size):
    # PyTorch's backward of this layer is not the derivative of its forward, so only values.
    ours, theirs = build("CrossMapLRN2d", (size,), {"alpha": 0.5})
    x = RNG.normal(0, 1, (2, 6, 4, 3))
    assert repr(ours) == repr(theirs)
    got = ours(flambeau.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, theirs(torch.from_numpy(x)).numpy(), rtol=1e-10)


def test_max_unpool_inverts_max_pool():
    for n in (1, 2, 3):
        x = RNG.normal(0, 1, (2, 3, 6, 4, 8)[: n + 2])
        results = []
        for library in (flambeau, torch):
            pool = getattr(library.nn, f"MaxPool{n}d")(2, return_indices=True)
            unpool = getattr(library.nn, f"MaxUnpool{n}d")(2)
            values, places = pool(library.from_numpy(x))
            size = [s + 1 for s in x.shape]
            results.append(
                [
                    repr(unpool),
                    places.tolist(),
                    unpool(values, places).tolist(),
                    unpool(values, places, output_size=size[2:]).tolist(),
                    unpool(values, places, output_size=size).tolist(),
                ]
            )
        assert results[0] == results[1]


def test_transposed_convolution_to_a_size():
    x = RNG.normal(0, 1, (1, 2, 4, 5))
    ours, theirs = build("ConvTranspose2d", (2, 3, 3), {"stride": 3})
    for size in [(12, 15), (14, 17), (1, 3, 13, 16)]:
        a = ours(flambeau.from_numpy(x), output_size=size)
        b = theirs(torch.from_numpy(x), output_size=size)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10)


def test_tables_from_vectors():
    table = RNG.normal(0, 1, (5, 3))
    for name in ("Embedding", "EmbeddingBag"):
        kind = getattr(nn, name)
        frozen = kind.from_pretrained(flambeau.from_numpy(table))
        assert not frozen.weight.requires_grad
        trained = kind.from_pretrained(flambeau.from_numpy(table), freeze=False, padding_idx=0)
        assert trained.weight.requires_grad
        assert trained.weight.tolist() == table.tolist()
