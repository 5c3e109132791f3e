"""The command ``flambeau demo``: train, evaluate, save, load back, report."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import flambeau as torch

from .data import find_digits, read_digits, split
from .errors import DemoError
from .model import DigitNet, summarise
from .report import Outcome, render_report
from .training import Evaluation, Plan, Run, predict, read_checkpoint, resume

QUICK_DIGITS = 1000
QUICK_EPOCHS = 2


class Terminated(KeyboardInterrupt):
    """SIGTERM, taken along the same way out as Ctrl-C."""


@dataclass(frozen=True)
class Folder:
    """The files of a run."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def model(self) -> Path:
        return self.path / "model.pt"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def prepare(self) -> None:
        """Create the folder, and find out now rather than after training whether it is writable."""
        probe = self.path / ".writable"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            reason = error.strerror or error
            raise DemoError(f"cannot write to the folder {self.path}: {reason}") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--epochs", type=_positive, help=f"default {Plan.epochs}")
    parser.add_argument("--batch-size", type=_positive, help=f"default {Plan.batch_size}")
    parser.add_argument("--seed", type=int, help=f"default {Plan.seed}")
    parser.add_argument("--threads", type=_positive, help="default: all cores")
    parser.add_argument(
        "--out", type=Path, default=Path("flambeau-demo"), help="folder for results (%(default)s)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        default=None,
        help=f"a look at the mechanics: {QUICK_DIGITS:,} digits, {QUICK_EPOCHS} epochs",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue the run whose checkpoint is in the folder"
    )


def _positive(text: str) -> int:
    value = int(text) if text.strip().isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, got {text!r}")
    return value


def run(options: argparse.Namespace) -> int:
    """Carry the command out; returns the exit code."""
    folder = Folder(options.out)
    try:
        with _sigterm_as_interrupt():
            return _run(options, folder)
    except DemoError as error:
        print(f"flambeau demo: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"flambeau demo: {error.filename or folder.path}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        if folder.checkpoint.is_file():
            print(f"\nstopped; {folder.checkpoint} keeps the finished epochs")
            print("continue with: flambeau demo --resume" + _out_option(folder), flush=True)
        return 143 if isinstance(interrupt, Terminated) else 130


def _out_option(folder: Folder) -> str:
    return "" if folder.path == Path("flambeau-demo") else f" --out {folder.path}"


def _run(options: argparse.Namespace, folder: Folder) -> int:
    check_extra()
    source = find_digits()
    folder.prepare()
    print(f"flambeau {torch.__version__}: learning to read handwritten digits")
    print(f"writing to {folder.path.resolve()}: checkpoint.pt, model.pt, report.html", flush=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    state = read_checkpoint(folder.checkpoint) if options.resume else None
    plan = settle_plan(options, state, folder)
    images, labels = read_digits(source)
    digits = split(images, labels, limit=QUICK_DIGITS if plan.quick else None)
    run = Run(plan, digits) if state is None else resume(state, plan, digits, folder.checkpoint)
    print(
        f"{len(digits.labels):,} digits to learn from, {len(digits.held_out_labels):,} held out, "
        f"{torch.get_num_threads()} threads",
        flush=True,
    )
    train(run, folder)
    evaluation = run.evaluate()
    save_and_verify(run, evaluation, folder)
    outcome = describe(run, evaluation)
    folder.report.write_text(render_report(outcome), encoding="utf-8")
    print(f"report: {folder.report.resolve()}")
    print(f"held-out accuracy {100 * outcome.accuracy:.2f} %", flush=True)
    return 0


def check_extra() -> None:
    """Raise DemoError, naming the extra, if a package that only the demo needs is missing."""
    missing = [
        name for name, module in (("rich", "rich"), ("Pillow", "PIL")) if not find_spec(module)
    ]
    if missing:
        raise DemoError(f'the demo needs {" and ".join(missing)}: pip install "flambeau[demo]"')


def settle_plan(options: argparse.Namespace, state: dict[str, Any] | None, folder: Folder) -> Plan:
    """Combine the options with the plan in a checkpoint; only the epochs may differ from it."""
    asked = {
        name: value
        for name in ("epochs", "batch_size", "seed", "quick")
        if (value := getattr(options, name)) is not None
    }
    if state is None:
        if asked.get("quick"):
            asked.setdefault("epochs", QUICK_EPOCHS)
        return Plan(**asked)
    try:
        plan, done = Plan(**state["plan"]), len(state["history"])
    except (KeyError, TypeError) as error:
        raise DemoError(f"cannot resume: {folder.checkpoint} lacks its plan") from error
    for name, value in asked.items():
        was = getattr(plan, name)
        if name != "epochs" and value != was:
            option = "--" + name.replace("_", "-")
            raise DemoError(f"cannot resume with {option} {value}: the run began with {was}")
    plan.epochs = asked.get("epochs", plan.epochs)
    if plan.epochs < done:
        raise DemoError(f"cannot resume to --epochs {plan.epochs}: {done} are already done")
    print(f"resuming {folder.checkpoint}: {done} of {plan.epochs} epochs are done")
    return plan


def train(run: Run, folder: Folder) -> None:
    """Train the epochs that are left, with a checkpoint before the first and after each."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    torch.save(run.state_dict(), folder.checkpoint)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    epochs, batches = run.plan.epochs, len(run.loader)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        for epoch in range(len(run.history) + 1, epochs + 1):
            bar = progress.add_task(f"epoch {epoch}/{epochs}", total=batches, loss=0.0)
            start = time.perf_counter()
            record = run.train_epoch(
                lambda loss, bar=bar: progress.update(bar, advance=1, loss=loss)
            )
            record.seconds = time.perf_counter() - start
            torch.save(run.state_dict(), folder.checkpoint)
            progress.remove_task(bar)
            print(f"epoch {epoch:2d}/{epochs}  {record}", flush=True)


def save_and_verify(run: Run, evaluation: Evaluation, folder: Folder) -> None:
    """Save the model, load it into a fresh one, and raise unless that one answers the same."""
    torch.save(run.model.state_dict(), folder.model)
    copy = DigitNet()
    copy.load_state_dict(torch.load(folder.model))
    if not torch.equal(predict(copy, run.held_out), evaluation.logits):
        raise DemoError(f"{folder.model} was loaded back and answers differently than it did")
    count = len(run.held_out_target)
    print(f"model: {folder.model.resolve()}, loaded back, same answers to {count:,} digits")


def describe(run: Run, evaluation: Evaluation) -> Outcome:
    """Gather what the report tells."""
    return Outcome(
        plan=run.plan,
        history=run.history,
        images=run.digits.held_out_images,
        labels=run.digits.held_out_labels,
        probabilities=np.asarray(torch.softmax(evaluation.logits, 1).numpy()),
        training_digits=len(run.digits.labels),
        layers=summarise(run.model),
    )


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the stack like Ctrl-C does, so that nothing is left half done."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: signals are somebody else's
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
