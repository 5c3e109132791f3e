"""The network: two convolution blocks and two linear layers."""

from __future__ import annotations

from dataclasses import dataclass

import flambeau as torch
from flambeau import Tensor, nn


class DigitNet(nn.Module):
    """Score the ten classes of images (N, 1, 28, 28); returns logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 16, 14, 14)
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 32, 7, 7)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, 128),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(128, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))


@dataclass(frozen=True)
class LayerRow:
    """One line of the model's summary."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


def summarise(model: nn.Module) -> list[LayerRow]:
    """List the layers in the order they ran for one blank image, with their output shapes."""
    rows: list[LayerRow] = []
    handles = []
    for name, layer in model.named_modules():
        if any(True for _ in layer.children()):
            continue

        def note(layer: nn.Module, _inputs: object, output: Tensor, name: str = name) -> None:
            count = sum(p.numel() for p in layer.parameters())
            rows.append(LayerRow(name, str(layer), tuple(output.shape[1:]), count))

        handles.append(layer.register_forward_hook(note))
    was_training = model.training
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 1, 28, 28))
    model.train(was_training)
    for handle in handles:
        handle.remove()
    return rows
