"""The record of pruning that a model file carries, which anybody may have written."""

from pathlib import Path
from typing import Any

import pytest
from graphs import tiny_xception

from edgex.errors import ModelError
from edgex.graph.keras_record import read_record
from edgex.json_record import to_document
from edgex.prune.record import PRUNING_SCHEMA, PruningRecord, parsed_record
from edgex.render.text import pruning_sentence
from edgex.write.keras import keras_file

RECORD = PruningRecord(
    key="k",
    source={"name": "model.keras", "sha256": "00"},
    method="channels",
    sparsity=0.5,
    macs=(4, 2),
    parameters=(3, 1),
    zeros=0.0,
    losses=(2.0, 1.0),
    accuracies=(0.5, 0.75),
    best_epoch=1,
    options={"steps": 2},
    versions={"tensorflow": "2"},
    images=("aa", "bb"),
)
DOCUMENT = to_document(PRUNING_SCHEMA, RECORD)


def in_file(folder: Path, document: dict[str, Any] | None) -> Path:
    file = folder / "pruned.keras"
    file.write_bytes(keras_file(tiny_xception(), document))
    return file


def test_it_comes_back(tmp_path: Path) -> None:
    file = in_file(tmp_path, DOCUMENT)
    assert parsed_record(read_record(file), file) == RECORD


def test_a_model_without_one(tmp_path: Path) -> None:
    file = in_file(tmp_path, None)
    assert parsed_record(read_record(file), file) is None


def test_a_sentence_names_what_was_measured() -> None:
    said = pruning_sentence(RECORD.model_copy(update={"measure": "agreement"}))
    assert "fine-tuning took agreement on the images held out from 50.00 to 75.00 %" in said
    older = {key: value for key, value in DOCUMENT.items() if key != "measure"}
    assert parsed_record(older, Path("pruned.keras")) == RECORD


@pytest.mark.parametrize(
    "changes", [{"schema": "edgex.pruning/9"}, {"method": "lottery"}, {"macs": [1]}, {"zeros": float("inf")}]
)
def test_a_damaged_one_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"pruned\.keras: its record of how it was pruned is damaged"):
        parsed_record({**DOCUMENT, **changes}, tmp_path / "pruned.keras")
