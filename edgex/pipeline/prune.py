"""``prune``: a model in, a pruned ``.keras`` file out."""

from dataclasses import dataclass
from pathlib import Path

from edgex.json_record import to_document
from edgex.manifest import artifact_record
from edgex.output import locked, replace_files
from edgex.pipeline.artifacts import deflated_bytes
from edgex.pipeline.calibration import data_warnings, read_model_file
from edgex.pipeline.gain import latency_warnings, time_pruned
from edgex.pipeline.options import QuantizeOptions
from edgex.pipeline.origin import refuse_to_replace
from edgex.pipeline.progress import Progress, silent
from edgex.pipeline.pruning import check_prunable, has_zeros, prune_model
from edgex.pipeline.stages import unfinished
from edgex.pipeline.training import training_images
from edgex.prune.gain import CompressedSize, Gain
from edgex.prune.record import PRUNING_SCHEMA, PruningRecord
from edgex.records import Artifact, ArtifactKind
from edgex.target import TargetProfile
from edgex.write.keras import keras_file


@dataclass(frozen=True)
class PruneReport:
    """What ``prune`` hands back.

    Attributes:
        artifact: the ``.keras`` file.
        gain: what that bought.
        warnings: sentences about what is odd but usable.
    """

    artifact: Artifact
    record: PruningRecord
    gain: Gain
    warnings: tuple[str, ...]


def prune(
    model: Path,
    images: str | Path,
    output: Path,
    options: QuantizeOptions,
    progress: Progress = silent,
    *,
    target: TargetProfile | None = None,
) -> PruneReport:
    """Prune a model and write it as a ``.keras`` file, which Keras opens.

    Interrupted, it goes on where it stopped when the same is called again.

    Args:
        model: a ``.keras``, ``.h5`` or float ``.onnx`` file.
        images: for fine-tuning; labels help, and are not needed.
        output: the file to write.
        options: its ``prune``, and what concerns images.
        target: what the model is for; None leaves open what its kernels like.

    Raises:
        EdgexError: as the stages raise it. UsageError if the target gains nothing by the method.
    """
    assert options.prune is not None
    refuse_to_replace(output, PruningRecord, "prune", model)
    with locked(output), unfinished(output) as folder, replace_files([output]) as (work,):
        source = read_model_file(model, options)
        check_prunable(source, target, options.prune)
        dataset = training_images(source, images, options)
        pruned = prune_model(source, dataset, target, options, folder, progress)
        work.write_bytes(keras_file(pruned.graph, to_document(PRUNING_SCHEMA, pruned.record)))
        latencies = time_pruned(source, pruned, dataset, target, options, folder, progress)
    artifact = artifact_record(output, ArtifactKind("fp32", "keras"))
    compressed: tuple[CompressedSize, ...] = ()
    if has_zeros(pruned.record):
        compressed = (CompressedSize(kind="keras", before=deflated_bytes(model), after=deflated_bytes(output)),)
    gain = Gain(latencies=latencies, compressed=compressed)
    warnings = (*source.notes, *data_warnings(dataset), *latency_warnings(latencies, options.prune, target))
    return PruneReport(artifact, pruned.record, gain, warnings)
