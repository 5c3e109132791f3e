"""flambeau against PyTorch, on the machine at hand: `python -m benchmarks` from a checkout."""
