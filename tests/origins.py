"""Records of how edgex made a model, as they lie in its file."""

from typing import Any

from edgex.json_record import to_document
from edgex.preprocess import Preprocessing
from edgex.prune.record import PRUNING_SCHEMA, PruningRecord
from edgex.train.record import TRAINED_SCHEMA, TrainedRecord

MADE: dict[str, Any] = {
    "key": "k",
    "source": {"name": "xception"},
    "losses": (1.0,),
    "accuracies": (0.5,),
    "best_epoch": 0,
    "options": {},
    "versions": {},
    "images": (),
    "preprocessing": Preprocessing(size=(64, 64), scale="imagenet", resize="crop").to_json(),
}
TRAINED = TrainedRecord(
    **MADE, weights={}, recipe="modern", measure="top-1", steps=1, classes=tuple(map(str, range(10)))
)
PRUNED = PruningRecord(**MADE, method="channels", sparsity=0.5, macs=(4, 2), parameters=(3, 1), zeros=0.0)
DOCUMENTS = {"trained": to_document(TRAINED_SCHEMA, TRAINED), "pruned": to_document(PRUNING_SCHEMA, PRUNED)}
