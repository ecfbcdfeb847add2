"""What pruning buys: the latency of a pruned network in INT8 over that of the original, measured on this machine."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgex.bench import BenchOptions, Ratio, bench
from edgex.dataset import Dataset
from edgex.errors import UsageError
from edgex.graph.ir import Array, Graph
from edgex.graph.passes import prepare
from edgex.pipeline.artifacts import ArtifactWriter
from edgex.pipeline.calibration import ModelFile
from edgex.quantize.ptq import PtqOptions, quantize_ptq
from edgex.records import ArtifactKind
from edgex.runtime import installed_runtimes, runtimes_for
from edgex.target import TargetProfile, load_target

MOST_SPARSITY = 0.95
"""Beyond which a search for a latency does not go."""

TRIALS = 6
"""Halvings of the interval that a search looks in: it ends within 0.015 of the sparsity that is wanted."""

SECONDS = 2.0
"""For which each file is timed."""

ORIGINAL = "original"

IMAGES = 8
"""To calibrate with."""


@dataclass(frozen=True)
class Stopwatch:
    """Times networks beside the one they were pruned from.

    Attributes:
        original: prepared.
        images: (n, height, width, channels), few: ranges do not change latencies.
        target: whose INT8 artifacts are timed.
        folder: to write them into.
        threads: of the runtimes.
    """

    original: Graph
    images: Array
    target: TargetProfile
    folder: Path
    threads: int

    @property
    def kinds(self) -> Sequence[ArtifactKind]:
        return int8_kinds(self.target)

    def ratio(self, pruned: Graph, kind: ArtifactKind) -> Ratio:
        """Of a network in pruning form, in the usual runtime of the kind."""
        original = self.folder / f"{ORIGINAL}.{kind}"
        if not original.exists():
            self._write(ORIGINAL, self.original, kind)
        file = self._write("pruned", prepare(pruned), kind)
        usual, *_ = runtimes_for(file, installed_runtimes())
        (ratio,) = bench(
            [file, original], BenchOptions(runtimes=(usual,), threads=self.threads, seconds=SECONDS)
        ).ratios
        return ratio

    def _write(self, stem: str, graph: Graph, kind: ArtifactKind) -> Path:
        writer = ArtifactWriter(self.folder, stem, self.target)
        named = [(str(number), image[None]) for number, image in enumerate(self.images)]
        quantized = quantize_ptq(graph, named, PtqOptions(self.target.activations, "minmax", workers=self.threads))
        return writer.int8(kind, quantized.graph, quantized.plan, integer_io=False).path


def int8_kinds(target: TargetProfile) -> Sequence[ArtifactKind]:
    """A target's INT8 artifacts, the main one first."""
    return [kind for kind in target.artifacts if kind.precision == "int8"]


@contextmanager
def stopwatch(source: ModelFile, dataset: Dataset, target: TargetProfile | None, threads: int) -> Iterator[Stopwatch]:
    """One that times what is pruned of a model; ``dataset`` has the images."""
    few = dataset.sample(IMAGES)
    images = np.concatenate([image for _, image in few.batches(source.preprocessing)])
    with tempfile.TemporaryDirectory() as folder:
        # What a device makes of it, this machine cannot tell: it times what a processor runs
        yield Stopwatch(source.graph, images, target or load_target("cpu"), Path(folder), threads)


def sparsity_for(
    latency: float,
    pruned: Callable[[float], Graph],
    watch: Stopwatch,
    progress: Callable[[str, int, int], None],
) -> float:
    """The least share of multiply-accumulates without which a network is measured to be as fast as asked.

    Args:
        latency: ratio to the original's.
        pruned: the network without a share.

    Raises:
        UsageError: nothing that can be taken out makes it as fast.
    """
    kind = watch.kinds[0]
    low, high = 0.0, MOST_SPARSITY
    fast_enough = None
    for trial in range(TRIALS):
        progress("find the sparsity", trial, TRIALS)
        share = (low + high) / 2
        try:
            ratio = watch.ratio(pruned(share), kind).ratio
        except UsageError:  # the network has not so much to take out
            high = share
            continue
        if ratio <= latency:
            high = fast_enough = share
        else:
            low = share
    progress("find the sparsity", TRIALS, TRIALS)
    if fast_enough is None:
        raise UsageError(
            f"No pruning of {watch.original.name} was measured at {latency} of its latency.",
            fix="Ask for less, or measure on a machine that is quiet: edgex bench --self-check.",
        )
    return fast_enough
