"""What edgex notes in the ``.keras`` files that it writes: how it made the model."""

import json
from pathlib import Path
from typing import Any

from edgex.graph.keras_archive import RECORD, naming, read_text


def read_record(path: Path) -> dict[str, Any] | None:
    """The record that :func:`edgex.write.keras.keras_file` left in a model file; None if there is none.

    Raises:
        UsageError: there is no such file.
        ModelError: not a Keras model, damaged, or unsafe.
        OutputError: the file cannot be opened.
    """
    with naming(path):
        text = read_text(path, RECORD)
        if text is None:
            return None
        record = json.loads(text)
        if not isinstance(record, dict):
            raise ValueError(f"{RECORD} is not a JSON object")
        return record
