"""Measures what pruning bought."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgex.bench import Ratio
from edgex.cpu import read_cpu
from edgex.dataset import Dataset
from edgex.errors import DataError
from edgex.json_record import Record, read_record, to_json
from edgex.manifest import LIBRARIES, library_versions
from edgex.output import replace_files
from edgex.pipeline.artifacts import ArtifactWriter, deflated_bytes
from edgex.pipeline.calibration import ModelFile, ptq_options
from edgex.pipeline.latency import few_images, stopwatch
from edgex.pipeline.options import PruneOptions, QuantizeOptions
from edgex.pipeline.progress import Progress
from edgex.pipeline.pruning import Pruned
from edgex.pipeline.stages import key_of
from edgex.prune.gain import CompressedSize, PrunedLatency
from edgex.quantize.ptq import quantize_ptq
from edgex.records import Artifact, ArtifactKind
from edgex.runtime import physical_cores
from edgex.target import TargetProfile, not_its_latency

LATENCIES_NAME = "latencies.json"
LATENCIES_SCHEMA = "edgex.latencies/1"


class _Kept(Record):
    key: str
    latencies: tuple[PrunedLatency, ...]


def time_pruned(
    source: ModelFile,
    pruned: Pruned,
    dataset: Dataset,
    target: TargetProfile | None,
    options: QuantizeOptions,
    folder: Path,
    progress: Progress,
) -> tuple[PrunedLatency, ...]:
    """Time a network beside the one it was pruned from, where the method takes work away.

    What was measured is kept in ``folder``, and is not measured again while all that it follows from is the same.
    Errors as of :func:`edgex.bench.bench`.
    """
    if pruned.record.method != "channels":
        return ()
    threads = options.threads or physical_cores()
    key = key_of(
        pruned=pruned.record.key,
        target=None if target is None else target.model_dump(mode="json"),
        threads=threads,
        cpu=read_cpu().name,
        versions=library_versions(LIBRARIES),
    )
    file = folder / LATENCIES_NAME
    try:
        kept = read_record(file, LATENCIES_SCHEMA, _Kept, fix="")
        if kept.key == key:
            return kept.latencies
    except DataError:  # it only saves time
        pass
    with stopwatch(source, dataset, target, threads) as watch:
        found: list[PrunedLatency] = []
        progress("time", 0, len(watch.kinds))
        for ratio in watch.ratios(pruned.graph, watch.kinds):
            found.append(_latency(ratio))
            progress("time", len(found), len(watch.kinds))
    latencies = tuple(found)
    with replace_files([file]) as (work,):
        work.write_text(to_json(LATENCIES_SCHEMA, _Kept(key=key, latencies=latencies)), encoding="utf-8")
    return latencies


def _latency(ratio: Ratio) -> PrunedLatency:
    return PrunedLatency(
        format=ratio.a.path.suffix[1:],
        runtime=ratio.a.runtime,
        before=ratio.b.median_ms,
        after=ratio.a.median_ms,
        ratio=ratio.ratio,
        low=ratio.interval.low,
        high=ratio.interval.high,
    )


def compressed_sizes(
    artifacts: Mapping[ArtifactKind, Artifact],
    source: ModelFile,
    dataset: Dataset,
    target: TargetProfile,
    options: QuantizeOptions,
) -> tuple[CompressedSize, ...]:
    """Of the artifacts of a pruned network, beside the same of the original. Those in fp32 are of the original itself.

    Args:
        artifacts: as they lie on the disk.
        source: the original.
        dataset: has images for ranges; a few, for what the ranges are changes a size by little.
        target, options: that the artifacts were made for and by.
    """
    kinds = [kind for kind in target.artifacts if kind.precision != "fp32"]
    ptq = replace(ptq_options(target, options), method="minmax", rounding="nearest", correct_bias=False)
    plain = quantize_ptq(source.graph, few_images(source, dataset), ptq)
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        writer = ArtifactWriter(Path(folder), "original", target)
        for kind in kinds:
            original = (
                writer.int8(kind, plain.graph, plain.plan, integer_io=ptq.integer_io)
                if kind.precision == "int8"
                else writer.float(kind, source.graph)
            )
            before, after = (deflated_bytes(each.path) for each in (original, artifacts[kind]))
            sizes.append(CompressedSize(kind=f"{artifacts[kind].precision}.{kind.format}", before=before, after=after))
    return tuple(sizes)


def latency_warnings(
    latencies: Sequence[PrunedLatency], options: PruneOptions, target: TargetProfile | None
) -> list[str]:
    """Sentences about latencies that say nothing of the target's hardware, or not what was asked for.

    Channels go until the main artifact is fast enough, before the last fine-tuning and with noise in what is measured.
    """
    if not latencies:
        return []
    warnings = [] if target is None else not_its_latency(target.name)
    main = latencies[0]
    if options.latency is not None and main.low > options.latency:
        warnings.append(
            f"{options.latency:g} of the latency was asked for, and {main.format} in {main.runtime} takes "
            f"{main.ratio:.2f} of it ({main.low:.2f} – {main.high:.2f})."
        )
    return warnings
