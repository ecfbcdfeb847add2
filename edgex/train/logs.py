"""Logs that TensorBoard shows: what training saw, step by step.

=======================  ======================================================================
``train/loss``           of the batch, before its step; without weight decay
``train/learning_rate``  of the step
``held_out/loss``        of the images held out: before training, and after each epoch
``held_out/…``           top-1, or what else :attr:`edgex.train.checkpoint.History.measure` says
=======================  ======================================================================
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgex.errors import OutputError
from edgex.train.checkpoint import History


class Log:
    """Writes event files, or nothing."""

    def __init__(self, writer: Any = None) -> None:
        self._writer = writer

    def step(self, step: int, loss: float, rate: float) -> None:
        """A step, the first of which is 0."""
        self._scalars(step, {"train/loss": loss, "train/learning_rate": rate})

    def held_out(self, step: int, history: History) -> None:
        """What the images held out gave last, after so many steps."""
        measure = history.measure.replace(" ", "_")
        self._scalars(step, {"held_out/loss": history.losses[-1], f"held_out/{measure}": history.accuracies[-1]})

    def _scalars(self, step: int, values: dict[str, float]) -> None:
        if self._writer is None:
            return
        import tensorflow as tf

        # As tf.summary.scalar does it, which wants TensorBoard installed
        about = tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_SCALAR")
        about.plugin_data.plugin_name = "scalars"
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.write(name, tf.constant(value, tf.float32), step, about)


@contextmanager
def opened_log(folder: Path | None) -> Iterator[Log]:
    """A log in a folder, which is made; an earlier one there stays. Without a folder, one that writes nothing.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    if folder is None:
        yield Log()
        return
    import tensorflow as tf

    try:
        folder.mkdir(parents=True, exist_ok=True)
        writer = tf.summary.create_file_writer(str(folder))
    except (OSError, tf.errors.OpError) as error:
        raise OutputError(f"{folder} cannot hold logs: {error}.", fix="Give another folder with --logs.") from error
    try:
        yield Log(writer)
    finally:
        writer.close()
