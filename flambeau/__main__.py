"""The command line: ``flambeau COMMAND`` or ``python -m flambeau COMMAND``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Commands = argparse._SubParsersAction  # the class has no public name


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in ``argv`` (by default the process's arguments); returns the exit code."""
    options = parse(argv)
    return int(options.carry_out(options))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; ``carry_out`` of the result is the function to call with it."""
    parser = argparse.ArgumentParser(prog="flambeau", description="PyTorch's API in Python.")
    parser.add_argument("--version", action="version", version=f"flambeau {installed_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_demo(commands)
    add_run(commands)
    add_warm_up(commands)
    return parser.parse_args(argv)


def add_demo(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare ``flambeau demo``."""
    from flambeau.examples.digits import command

    about = "train a small network on real handwritten digits and write a report"
    demo = commands.add_parser("demo", help=about, description=about.capitalize() + ".")
    command.add_arguments(demo)
    demo.set_defaults(carry_out=command.run)


def add_run(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare ``flambeau run``."""
    about = "run a program that says `import torch` on flambeau, unchanged"
    run = commands.add_parser("run", help=about, description=about.capitalize() + ".")
    run.add_argument("script", type=Path, help="the program's file")
    run.add_argument("arguments", nargs=argparse.REMAINDER, help="what the program is given")
    run.set_defaults(carry_out=run_script)


def add_warm_up(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare ``flambeau warm-up``."""
    from flambeau.examples import warm_up

    about = "compile the kernels in common use now, so that programs start fast"
    command = commands.add_parser("warm-up", help=about, description=about.capitalize() + ".")
    warm_up.add_arguments(command)
    command.set_defaults(carry_out=warm_up.run)


def run_script(options: argparse.Namespace) -> int:
    """Carry ``flambeau run`` out; what the program raises is the program's affair."""
    from flambeau.compat import alias

    if not options.script.is_file():
        print(f"flambeau run: there is no file {options.script}", file=sys.stderr)
        return 2
    alias.run_script(str(options.script), options.arguments)
    return 0


def installed_version() -> str:
    """Return the installed package's version, or say that it runs from a source tree."""
    try:
        return version("flambeau")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
