"""What a run of training needs to go on where it stopped: one file of plain arrays, whole or not there at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.npz_file import read_npz
from edgex.output import replace_files

Arrays = tuple[NDArray[Any], ...]

MOST_BYTES = 16 << 30
"""Of a checkpoint; that of Xception has 0.4 GB."""


@dataclass(frozen=True)
class History:
    """How training has gone.

    Attributes:
        losses: on the held-out images: before training, and after each epoch.
        accuracies: top-1 there, or the share of pixels, as fractions; agreement with the float model where there are no
            labels.
        earliest: epoch that can be the best: a network that is pruned as it trains is not what it is to be before.
        measure: what the accuracies are called.
    """

    losses: tuple[float, ...] = ()
    accuracies: tuple[float, ...] = ()
    earliest: int = 0
    measure: str = "top-1"

    def with_epoch(self, loss: float, accuracy: float) -> "History":
        return replace(self, losses=(*self.losses, loss), accuracies=(*self.accuracies, accuracy))

    def stale(self, patience: int) -> bool:
        """Whether so many epochs have not improved on the best."""
        return len(self.losses) - 1 - self.best >= patience

    @property
    def best(self) -> int:
        """The epoch with the least loss; 0 is before training. One that overflowed is none."""

        def loss(epoch: int) -> float:
            value = self.losses[epoch]
            return float("inf") if np.isnan(value) else value

        return min(range(self.earliest, len(self.losses)), key=loss, default=self.earliest)

    @property
    def finite_losses(self) -> tuple[float | None, ...]:
        """The losses as JSON can hold them: None for one that overflowed."""
        return tuple(loss if np.isfinite(loss) else None for loss in self.losses)

    def __str__(self) -> str:
        """A sentence."""
        before, after = (f"{value:.4f}" for value in (self.losses[0], self.losses[self.best]))
        first, last = (f"{100 * value:.1f}" for value in (self.accuracies[0], self.accuracies[self.best]))
        return (
            f"the loss on the images held out went from {before} to {after}, {self.measure} there from {first} to "
            f"{last} %; best after {self.best} of {len(self.losses) - 1} epochs."
        )


@dataclass(frozen=True)
class Checkpoint:
    """The state after ``step`` steps.

    Attributes:
        key: of the run: what was trained, on what, how.
        state: all variables, the optimizer's too.
        best: the model's variables after the best epoch.
    """

    key: str
    step: int
    history: History
    state: Arrays
    best: Arrays

    def save(self, file: Path) -> None:
        """Write it in place of the one before. OutputError if the disk refuses."""
        counts = {"state": len(self.state), "best": len(self.best)}
        about = json.dumps({"key": self.key, "step": self.step, "history": asdict(self.history), **counts})
        arrays = {"about": np.array(about), **_named("state", self.state), **_named("best", self.best)}
        with replace_files([file]) as (work,), work.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)


def load_checkpoint(file: Path, key: str) -> Checkpoint | None:
    """The checkpoint of the run ``key``; None if there is none, it is another run's, or it is damaged."""
    try:
        arrays = read_npz(file, MOST_BYTES)
        about = json.loads(str(arrays["about"]))
        if about["key"] != key:
            return None
        said = about["history"]
        history = History(tuple(said["losses"]), tuple(said["accuracies"]), said["earliest"], said["measure"])
        state, best = (_numbered(arrays, kind, about[kind]) for kind in ("state", "best"))
        return Checkpoint(key, about["step"], history, state, best)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # it only saves time
        return None


def _named(kind: str, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{kind}.{index}": array for index, array in enumerate(arrays)}


def _numbered(arrays: Mapping[str, NDArray[Any]], kind: str, count: int) -> Arrays:
    return tuple(arrays[f"{kind}.{index}"] for index in range(count))
