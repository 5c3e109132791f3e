"""Training, evaluation, and the checkpoint from which an interrupted run goes on unharmed.

Everything random draws from one of two streams, and both are in the checkpoint: the run's own
generator (the order of the samples and the shifts) and the library's (dropout).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import Tensor
from flambeau.utils.data import DataLoader, TensorDataset

from .data import Digits, as_input, as_target, shift
from .errors import DemoError
from .model import DigitNet

FORMAT = "flambeau digits demo 1"
LEARNING_RATE = 2e-3
DECAY_PER_EPOCH = 0.85


@dataclass
class Plan:
    """What a run was asked to do."""

    epochs: int = 12
    batch_size: int = 64
    seed: int = 0
    quick: bool = False


@dataclass
class EpochRecord:
    """How one epoch went: mean losses, accuracies in 0..1, seconds."""

    loss: float
    accuracy: float
    held_out_loss: float
    held_out_accuracy: float
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"loss {self.loss:.4f}  accuracy {100 * self.accuracy:5.2f} %  "
            f"held-out loss {self.held_out_loss:.4f}  "
            f"held-out accuracy {100 * self.held_out_accuracy:5.2f} %  {self.seconds:.1f} s"
        )


@dataclass(frozen=True)
class Evaluation:
    """The model's view of the held-out digits: mean loss, accuracy in 0..1, logits (N, 10)."""

    loss: float
    accuracy: float
    logits: Tensor


@dataclass
class Run:
    """A training run between two epochs: all that the next epoch depends on."""

    plan: Plan
    digits: Digits
    history: list[EpochRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(self.plan.seed)
        self.generator = torch.Generator().manual_seed(self.plan.seed)
        self.model = DigitNet()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE)
        # The rate depends on the epoch alone, not on how many are planned: stopping early and
        # going on later gives the same curve as one long run.
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, DECAY_PER_EPOCH)
        samples = TensorDataset(as_input(self.digits.images), as_target(self.digits.labels))
        self.loader = DataLoader(
            samples, batch_size=self.plan.batch_size, shuffle=True, generator=self.generator
        )
        self.held_out = as_input(self.digits.held_out_images)
        self.held_out_target = as_target(self.digits.held_out_labels)

    def train_epoch(self, on_batch: Callable[[float], None]) -> EpochRecord:
        """Go through the training digits once; ``on_batch`` hears each batch's mean loss."""
        self.model.train()
        total, right, seen = 0.0, 0, 0
        for images, target in self.loader:
            logits = self.model(shift(images, self.generator))
            loss = F.cross_entropy(logits, target)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            count = len(target)
            total += loss.item() * count
            right += int((logits.argmax(1) == target).sum())
            seen += count
            on_batch(loss.item())
        self.scheduler.step()
        held_out = self.evaluate()
        record = EpochRecord(total / seen, right / seen, held_out.loss, held_out.accuracy)
        self.history.append(record)
        return record

    def evaluate(self) -> Evaluation:
        """Score the held-out digits with the model as it is."""
        logits = predict(self.model, self.held_out)
        loss = F.cross_entropy(logits, self.held_out_target).item()
        right = int((logits.argmax(1) == self.held_out_target).sum())
        return Evaluation(loss, right / len(self.held_out_target), logits)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that :meth:`load_state_dict` needs, in plain types and tensors."""
        return {
            "format": FORMAT,
            "plan": asdict(self.plan),
            "history": [asdict(record) for record in self.history],
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "generator": self.generator.get_state(),
            "rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from where ``state`` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["rng"])
        self.history = [EpochRecord(**record) for record in state["history"]]


@torch.no_grad()
def predict(model: torch.nn.Module, images: Tensor, batch_size: int = 250) -> Tensor:
    """Return the logits (N, 10) of images (N, 1, 28, 28)."""
    model.eval()
    return torch.cat([model(batch) for batch in images.split(batch_size)])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint; anything but a whole one of ours is a DemoError."""
    if not path.is_file():
        raise DemoError(f"nothing to resume: there is no checkpoint {path}")
    try:
        state = torch.load(path)
    # A damaged file may fail in the archive, the unpickler or a tensor's bytes: all mean the same.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DemoError(f"cannot resume: {path} is damaged or no checkpoint ({reason})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DemoError(f"cannot resume: {path} is not a checkpoint of this demo")
    return state


def resume(state: dict[str, Any], plan: Plan, digits: Digits, path: Path) -> Run:
    """Build the run that ``state`` (from ``path``) is a checkpoint of."""
    run = Run(plan, digits)
    try:
        run.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DemoError(f"cannot resume: {path} does not fit this model ({reason})") from error
    return run
