"""A run as Markdown: what the terminal shows as it goes on, and the documentation keeps."""

from __future__ import annotations

import statistics
from itertools import groupby
from typing import Any

Result = dict[str, Any]

DISTURBED = 0.05  # share of the machine used by others, from which a figure is not to be trusted
SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
WIDTH = 53
RULE = ("-" * WIDTH, *["-" * 9 + ":"] * 4)


def line(*cells: str) -> str:
    """Return a row of a table."""
    first, *rest = cells
    return "| " + " | ".join([f"{first:<{WIDTH}}", *(f"{cell:>10}" for cell in rest)]) + " |"


def amount(value: float, unit: str) -> str:
    """Write seconds in a unit that suits them, anything else as it is."""
    if unit != "s":
        return f"{value:.1f} {unit}"
    scale, unit = next((scale for scale in SCALES if value >= scale[0]), SCALES[-1])
    return f"{value / scale:.3g} {unit}"


def head(group: str) -> str:
    """Return the title and the first rows of a group's table."""
    return f"\n**{group}**\n\n{line('case', 'flambeau', 'torch', 'ratio', 'spread')}\n{line(*RULE)}"


def row(result: Result) -> str:
    """Return a case's row; a star marks a figure that other processes disturbed."""
    if "error" in result:
        return line(result["name"], "-", "-", "-", result["error"].splitlines()[0])
    cells = (amount(result[library], result["unit"]) for library in ("flambeau", "torch"))
    spread = f"{result['spread']:.2f}{'*' * is_disturbed(result)}"
    last = spread if result["agrees"] else "RESULTS DIFFER"
    return line(result["name"], *cells, f"{result['ratio']:.2f}", last)


def is_valid(result: Result) -> bool:
    """Tell whether both libraries computed something, and the same."""
    return "error" not in result and result["agrees"]


def is_disturbed(result: Result) -> bool:
    """Tell whether other processes worked while a case was timed."""
    return result["unit"] == "s" and (result["others"] or 0.0) > DISTURBED


def by_group(results: list[Result]) -> dict[str, list[Result]]:
    """Return the results of each group, in the order they were measured in."""
    return {name: list(found) for name, found in groupby(results, lambda result: result["group"])}


def summary(results: list[Result]) -> str:
    """Return a table of the geometric mean and the range of each group's undisturbed ratios."""
    lines = [line("group", "mean ratio", "best", "worst", "at most 1"), line(*RULE)]
    sound = [result for result in results if is_valid(result) and not is_disturbed(result)]
    for group, members in by_group(sound).items():
        ratios = [result["ratio"] for result in members]
        figures = (statistics.geometric_mean(ratios), min(ratios), max(ratios))
        won = f"{sum(ratio <= 1 for ratio in ratios)} of {len(ratios)}"
        lines.append(line(group, *(f"{figure:.2f}" for figure in figures), won))
    return "\n".join(lines)


def verdict(results: list[Result]) -> str:
    """Say which figures are not to be trusted."""
    known = [result for result in results if result.get("others") is not None]
    disturbed = [result["others"] for result in known if is_disturbed(result)]
    text = "No other process disturbed the run." if known else "Nobody watched other processes."
    if disturbed:
        text = (
            f"DISTURBED: other processes used up to {max(disturbed):.0%} of the machine. "
            f"{len(disturbed)} of {len(results)} cases (*) are in no mean: measure them again."
        )
    invalid = [result["name"] for result in results if not is_valid(result)]
    return f"{text} INVALID, and in no mean: {'; '.join(invalid)}." if invalid else text


def origin(run: dict[str, Any]) -> str:
    """Say where, with what and how a run was measured."""
    host, method = run["machine"], run["method"]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return (
        f"{run['date']}: {host['cpu']} (LLVM: {host['llvm_cpu']}), {host['cores']} cores, "
        f"{method['threads']} threads, {host['system']}; {versions}; "
        f"{method['rounds']} rounds of {method['seconds']:g} s for each case and library."
    )


def render(run: dict[str, Any]) -> str:
    """Return the whole of a run: origin, verdict, means, and a table for each group."""
    results = run["results"]
    parts = [origin(run), "", verdict(results), "", summary(results)]
    for group, members in by_group(results).items():
        parts += [head(group), *map(row, members)]
    return "\n".join(parts) + "\n"
