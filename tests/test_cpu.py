"""`flambeau.cpu`: PyTorch's names, true counts, and an error before the machine is full."""

from __future__ import annotations

import gc

import pytest

import flambeau
from flambeau import cpu
from flambeau.compiler import allocator, jit

needs_allocator = pytest.mark.skipif(not jit.available(), reason="the allocator is compiled")
MB = 1 << 20


@pytest.fixture
def memory():
    if not allocator.install():
        pytest.skip("the allocator is off")
    gc.collect()
    cpu.empty_cache()
    yield
    cpu.set_memory_limit(None)
    cpu.empty_cache()


def test_the_names_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    names = set(torch.cpu.__all__) - {"StreamContext", "get_capabilities"}
    assert names <= set(cpu.__all__)
    memory = {name for name in cpu.__all__ if "mem" in name or "cache" in name}
    assert memory - set(dir(torch.cuda)) == {"set_memory_limit"}
    for name in ("is_available", "is_initialized", "device_count", "current_device"):
        assert getattr(cpu, name)() == getattr(torch.cpu, name)()
    assert cpu.set_device("cpu") is cpu.synchronize() is None


def test_streams_and_events_do_what_is_left_of_them():
    with cpu.stream(cpu.Stream()) as nothing:
        assert nothing is None
        event = cpu.current_stream().record_event()
    event.record()
    event.wait(cpu.Stream())
    event.synchronize()
    cpu.Stream().wait_event(event)
    cpu.Stream().wait_stream(cpu.current_stream())
    assert event.query()


def test_the_error_is_a_runtime_error():
    assert issubclass(flambeau.OutOfMemoryError, RuntimeError)
    assert cpu.OutOfMemoryError is flambeau.OutOfMemoryError


@needs_allocator
def test_a_tensor_is_counted(memory):
    before = cpu.memory_allocated()
    cpu.reset_peak_memory_stats()
    x = flambeau.ones(3 * MB)
    assert cpu.memory_allocated() - before == 12 * MB
    assert cpu.max_memory_allocated() - before >= 12 * MB
    assert cpu.memory_reserved() >= cpu.memory_allocated()
    del x
    assert cpu.memory_allocated() == before
    assert cpu.max_memory_allocated() - before >= 12 * MB
    assert cpu.max_memory_reserved() >= cpu.max_memory_allocated()
    cached = cpu.memory_reserved()
    cpu.empty_cache()
    assert cpu.memory_reserved() <= cached - 12 * MB


@needs_allocator
def test_the_stats_agree_with_each_other(memory):
    kept = [flambeau.ones(n) for n in (10, 1000, MB, 3 * MB)]
    del kept[2]
    stats = cpu.memory_stats()
    for name in ("allocated_bytes.all", "reserved_bytes.all", "allocation.all"):
        ever, freed = stats[f"{name}.allocated"], stats[f"{name}.freed"]
        assert ever - freed == stats[f"{name}.current"] >= 0
    parts = ("allocated_bytes", "cached_bytes", "inactive_split_bytes")
    total = sum(stats[f"{part}.all.current"] for part in parts)
    assert total == stats["reserved_bytes.all.current"]
    small, large = (stats[f"block.{pool}_pool.current"] for pool in ("small", "large"))
    assert small + large == stats["allocation.all.current"]
    assert large >= 1
    assert stats["block.4194304.cached"] >= 1


@needs_allocator
def test_the_summary_tells_the_counts(memory):
    x = flambeau.ones(8 * MB)
    text = cpu.memory_summary()
    assert "32.00 MiB" in text
    assert "blocks of" in text
    assert "blocks of" not in cpu.memory_summary(abbreviated=True)
    assert x.numel() == 8 * MB


def refuse_all():
    """A limit at what is reserved already: nothing large can be had any more."""
    cpu.empty_cache()
    cpu.set_memory_limit(cpu.memory_reserved() + 20 * MB)


@needs_allocator
@pytest.mark.parametrize(
    "work",
    [
        lambda x: flambeau.zeros(30 * MB),
        lambda x: x + 1,
        lambda x: x + x,
        lambda x: x.exp(),
        lambda x: x > 0.5,
        lambda x: x.contiguous(),
        lambda x: x.repeat(2, 1),
        lambda x: flambeau.nn.functional.gelu(x),
        lambda x: flambeau.cat([x, x]),
        lambda x: flambeau.full_like(x, 2.0),
        lambda x: x.double(),
    ],
)
def test_ops_raise_pytorchs_error(memory, work):
    x = flambeau.ones(1024).expand(64 * 1024, 1024)
    refuse_all()
    ooms = cpu.memory_stats()["num_ooms"]
    with pytest.raises(flambeau.OutOfMemoryError, match=r"MiB are in arrays|reserved, of at most"):
        work(x)
    assert cpu.memory_stats()["num_ooms"] > ooms
    cpu.set_memory_limit(None)
    assert flambeau.ones(16 * MB).sum() == 16 * MB


@needs_allocator
def test_backward_raises_it_too(memory):
    x = flambeau.ones(16 * MB, requires_grad=True)
    y = x.sin().cos().sum()
    refuse_all()
    with pytest.raises(flambeau.OutOfMemoryError, match="backward"):
        y.backward()


@needs_allocator
def test_a_fraction_is_a_limit(memory):
    total = cpu.mem_get_info()[1]
    cpu.set_per_process_memory_fraction(0.5)
    assert cpu.get_per_process_memory_fraction() == pytest.approx(0.5)
    free, limit = cpu.mem_get_info()
    assert limit == total // 2
    assert free == limit - cpu.memory_reserved()
    cpu.set_memory_limit(None)
    assert cpu.get_per_process_memory_fraction() == 1.0


@needs_allocator
@pytest.mark.parametrize(
    ("fraction", "error"), [(-0.1, ValueError), (1.5, ValueError), (1, TypeError), ("1", TypeError)]
)
def test_senseless_fractions_are_refused(memory, fraction, error):
    with pytest.raises(error, match="fraction"):
        cpu.set_per_process_memory_fraction(fraction)
    with pytest.raises(ValueError, match="must not be negative"):
        cpu.set_memory_limit(-1)


@pytest.mark.skipif(jit.available(), reason="without the allocator")
def test_without_the_allocator_all_counts_are_zero():
    assert set(cpu.memory_stats().values()) == {0}
    assert cpu.memory_summary().startswith("memory")
    cpu.empty_cache()
    with pytest.raises(RuntimeError, match="cannot be limited"):
        cpu.set_memory_limit(MB)
