"""Batches of sequences of different lengths: padded, and packed without the padding."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ...dtypes import int64
from ...tensor import Tensor
from ...tensor import functions as fl

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


_Fields.__name__ = "PackedSequence"


class PackedSequence(_Fields):
    """Sequences interleaved step by step, longest first; made by `pack_padded_sequence`.

    ``data`` (total length, *) holds all first elements, then all second ones, and so on;
    ``batch_sizes`` (T,) how many sequences have each step; ``sorted_indices`` and
    ``unsorted_indices`` the permutation to the order of lengths and back, or None.
    """

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None and isinstance(data, (list, tuple)):
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with ``data.to(...)``; itself if nothing changes."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._replace(data=data)

    def _cast(self, name: str) -> PackedSequence:
        return self._replace(data=getattr(self.data, name)())

    def pin_memory(self) -> PackedSequence:
        """The same in page-locked memory."""
        return self._cast("pin_memory")

    def cpu(self) -> PackedSequence:
        """The same on the CPU."""
        return self.to("cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same on a CUDA device."""
        return self.to(*(args or ("cuda",)), **kwargs)

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self._cast("double")

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self._cast("float")

    def half(self) -> PackedSequence:
        """The same in float16."""
        return self._cast("half")

    def long(self) -> PackedSequence:
        """The same in int64."""
        return self._cast("long")

    def int(self) -> PackedSequence:
        """The same in int32."""
        return self._cast("int")

    def short(self) -> PackedSequence:
        """The same in int16."""
        return self._cast("short")

    def char(self) -> PackedSequence:
        """The same in int8."""
        return self._cast("char")

    def byte(self) -> PackedSequence:
        """The same in uint8."""
        return self._cast("byte")

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a CUDA device."""
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether the data is in page-locked memory."""
        return self.data.is_pinned()


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation (N,) that undoes ``permutation``; None for None."""
    if permutation is None:
        return None
    order = fl.arange(permutation.numel(), dtype=permutation.dtype, device=permutation.device)
    return fl.empty_like(permutation).scatter_(0, permutation, order)


def _places(sizes: list[int], batch: int, device: Any) -> Tensor:
    """Where the packed elements lie in a padded (T, batch) array, flattened."""
    flat = [t * batch + row for t, size in enumerate(sizes) for row in range(size)]
    return fl.tensor(flat, dtype=int64, device=device)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Packs padded sequences (T, B, *), or (B, T, *) with ``batch_first``, of given lengths.

    Raises RuntimeError for lengths that are not positive, or, with ``enforce_sorted``, not in
    decreasing order.
    """
    given = lengths if isinstance(lengths, Tensor) else fl.tensor(list(lengths), dtype=int64)
    given = given.to(int64)
    order = None
    if not enforce_sorted:
        given, order = given.sort(descending=True, stable=True)
        order = order.to(input.device)
        input = input.index_select(0 if batch_first else 1, order)
    steps = input.transpose(0, 1) if batch_first else input
    counts = given.tolist()
    batch = steps.size(1)
    _check_lengths(counts, batch)
    sizes = [sum(1 for n in counts if n > t) for t in range(counts[0])]
    flat = steps.reshape([-1, *steps.shape[2:]])
    data = flat.index_select(0, _places(sizes, batch, input.device))
    return PackedSequence(data, fl.tensor(sizes, dtype=int64), order)


def _check_lengths(lengths: list[int], batch: int) -> None:
    if len(lengths) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} "
            f"(batch_size={batch})"
        )
    if not lengths:
        raise RuntimeError("Cannot pack empty tensors.")
    if min(lengths) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if any(a < b for a, b in pairwise(lengths)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. "
            "You can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Sequences padded to the longest, or to ``total_length``, and their lengths (B,).

    The result is (T, B, *), or (B, T, *) with ``batch_first``; ValueError for a length that is
    too small.
    """
    sizes = sequence.batch_sizes.tolist()
    steps, batch = len(sizes), sizes[0]
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in "
                f"input, but got total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    data = sequence.data
    rest = list(data.shape[1:])
    padded = fl.full([steps * batch, *rest], padding_value, dtype=data.dtype, device=data.device)
    padded = padded.index_copy(0, _places(sizes, batch, data.device), data)
    padded = padded.reshape([steps, batch, *rest])
    lengths = fl.tensor([sum(1 for s in sizes if s > row) for row in range(batch)], dtype=int64)
    if batch_first:
        padded = padded.transpose(0, 1)
    order = sequence.unsorted_indices
    if order is not None:
        return padded.index_select(0 if batch_first else 1, order), lengths[order.cpu()]
    return padded, lengths


def pad_sequence(
    sequences: Tensor | Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (L_i, *) padded to the longest: (T, B, *), or (B, T, *) with ``batch_first``.

    >>> pad_sequence([fl.ones(1), fl.ones(2)], batch_first=True).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    listed = list(sequences.unbind(0) if isinstance(sequences, Tensor) else sequences)
    if not listed:
        raise RuntimeError("received an empty list of sequences")
    longest = max(s.size(0) for s in listed)
    padded = []
    for sequence in listed:
        missing = longest - sequence.size(0)
        ends = (missing, 0) if padding_side == "left" else (0, missing)
        # The first dimension is the last pair of the padding.
        sides = [0, 0] * (sequence.dim() - 1) + list(ends)
        padded.append(fl.pad(sequence, sides, "constant", padding_value) if missing else sequence)
    return fl.stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The sequences, without padding, of a padded batch."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: int(n)] for row, n in zip(rows, lengths, strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs sequences (L_i, *)."""
    lengths = [s.size(0) for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch, in the order they were given."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
