"""Measure flambeau and PyTorch in turns; a ratio below 1 means that flambeau is faster."""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import re
import statistics
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from flambeau import settings

from . import machine, report
from .cases import Case, cases
from .rivals import Rival, agree

LIBRARIES = ("flambeau", "torch")
PAUSE = 0.01  # seconds before a turn, in which the other library's threads fall asleep
THREADS = ("FLAMBEAU_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def measure(case: Case, rivals: dict[str, Rival], rounds: int, seconds: float) -> report.Result:
    """Measure one case in rounds, in which each library has a turn."""
    answers = [rivals[library].ask("prepare", case) for library in LIBRARIES]
    figures: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    lasted = others = 0.0
    for number in range(rounds):
        for library in LIBRARIES if number % 2 else reversed(LIBRARIES):
            time.sleep(PAUSE)
            before, began = machine.busy_seconds(), time.perf_counter()
            figure, worked = rivals[library].ask("measure", seconds)
            lasted += time.perf_counter() - began
            others += machine.busy_seconds() - before - worked
            figures[library].append(figure)
    # Rounds are paired: what changes slowly on a machine changes both sides of a ratio.
    ratios = [ours / theirs for ours, theirs in zip(*figures.values(), strict=True)]
    return {
        **{library: statistics.median(found) for library, found in figures.items()},
        "ratio": statistics.median(ratios),
        "spread": max(ratios) / min(ratios),
        "agrees": agree(*(result for _, result in answers)),
        "first_call": [taken for taken, _ in answers],
        "others": None if math.isnan(others) else max(0.0, others / lasted / (os.cpu_count() or 1)),
    }


def run(options: argparse.Namespace) -> Iterator[report.Result]:
    """Measure every chosen case."""
    chosen = [case for case in cases() if re.search(options.only, f"{case.group}: {case.name}")]
    rivals = {library: Rival(library) for library in LIBRARIES}
    for case in chosen:
        result = {"group": case.group, "name": case.name, "unit": case.unit}
        try:
            yield result | measure(case, rivals, options.rounds, options.seconds)
        except RuntimeError as error:
            yield result | {"error": str(error)}
    for rival in rivals.values():
        rival.stop()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--only", default="", metavar="REGEX", help="cases whose 'group: name' matches")
    add("--quick", action="store_true", help="short rounds and few: a look, not a measurement")
    add("--threads", type=int, default=settings.usable_cpus(), help="for each (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the run there")
    add("--show", type=Path, metavar="FILE", help="print a run that was written, measure nothing")
    options = parser.parse_args(arguments)
    options.rounds, options.seconds = (3, 0.05) if options.quick else (7, 0.2)
    if not options.show and importlib.util.find_spec("torch") is None:
        parser.error("there is nothing to compare with: pip install torch==2.13.0")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 1 if a case failed or the results of one differ."""
    options = parse(arguments)
    if options.show:
        print(report.render(json.loads(options.show.read_text(encoding="utf-8"))), end="")
        return 0
    os.environ.update(dict.fromkeys(THREADS, str(options.threads)))  # for the processes to come
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
    results: list[report.Result] = []
    record: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "method": {name: getattr(options, name) for name in ("threads", "rounds", "seconds")},
        "results": results,
    }
    print(report.origin(record))
    for group, members in groupby(run(options), lambda result: result["group"]):
        print(report.head(group))
        for result in members:
            print(report.row(result), flush=True)
            results.append(result)
    print(f"\n{report.summary(results)}\n\n{report.verdict(results)}")
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(not all(map(report.is_valid, results)))


if __name__ == "__main__":
    raise SystemExit(main())
