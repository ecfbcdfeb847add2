"""What pruning buys: the latency of a pruned network in INT8 over that of the original, measured on this machine."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgex.bench import BenchOptions, Ratio, bench
from edgex.dataset import Dataset
from edgex.errors import UsageError
from edgex.graph.ir import Array, Graph
from edgex.graph.passes import prepare
from edgex.pipeline.artifacts import ArtifactWriter
from edgex.pipeline.calibration import ModelFile
from edgex.quantize.ptq import PtqOptions, PtqResult, quantize_ptq
from edgex.records import ArtifactKind
from edgex.runtime import installed_runtimes, runtimes_for
from edgex.target import TargetProfile, load_target

MOST_SPARSITY = 0.95
"""Beyond which a search for a latency does not go."""

TRIALS = 6
"""Halvings of the interval that a search looks in: it ends within 0.015 of the sparsity that is wanted."""

SECONDS = 2.0
"""For which each file is timed."""

IMAGES = 8
"""To calibrate with."""

Images = Sequence[tuple[str, Array]]
"""Each as a batch of one, (1, height, width, channels), with a name."""


@dataclass(frozen=True)
class Stopwatch:
    """Times networks beside the one they were pruned from.

    Attributes:
        original: prepared.
        images: by name, few: ranges do not change latencies.
        target: whose INT8 artifacts are timed.
        folder: to write them into.
        threads: of the runtimes.
    """

    original: Graph
    images: Images
    target: TargetProfile
    folder: Path
    threads: int

    @property
    def kinds(self) -> Sequence[ArtifactKind]:
        return int8_kinds(self.target)

    def ratio(self, pruned: Graph, kind: ArtifactKind) -> Ratio:
        """Of a network in pruning form, in the usual runtime of the kind."""
        return next(self.ratios(pruned, [kind]))

    def ratios(self, pruned: Graph, kinds: Sequence[ArtifactKind]) -> Iterator[Ratio]:
        """The same of several kinds, for which it is quantized once."""
        quantized = self._quantized(prepare(pruned))
        for kind in kinds:
            original = self.folder / f"original.{kind}"
            if not original.exists():
                self._write("original", self._quantized_original, kind)
            file = self._write("pruned", quantized, kind)
            usual, *_ = runtimes_for(file, installed_runtimes())
            options = BenchOptions(runtimes=(usual,), threads=self.threads, seconds=SECONDS)
            (ratio,) = bench([file, original], options).ratios
            yield ratio

    @cached_property
    def _quantized_original(self) -> PtqResult:
        return self._quantized(self.original)

    def _quantized(self, graph: Graph) -> PtqResult:
        return quantize_ptq(graph, self.images, PtqOptions(self.target.activations, "minmax", workers=self.threads))

    def _write(self, stem: str, quantized: PtqResult, kind: ArtifactKind) -> Path:
        writer = ArtifactWriter(self.folder, stem, self.target)
        return writer.int8(kind, quantized.graph, quantized.plan, integer_io=False).path


def int8_kinds(target: TargetProfile) -> Sequence[ArtifactKind]:
    """A target's INT8 artifacts, the main one first."""
    return [kind for kind in target.artifacts if kind.precision == "int8"]


@contextmanager
def stopwatch(source: ModelFile, dataset: Dataset, target: TargetProfile | None, threads: int) -> Iterator[Stopwatch]:
    """One that times what is pruned of a model; ``dataset`` has the images."""
    with tempfile.TemporaryDirectory() as folder:
        # What a device makes of it, this machine cannot tell: it times what a processor runs
        images = few_images(source, dataset)
        yield Stopwatch(source.graph, images, target or load_target("cpu"), Path(folder), threads)


def few_images(source: ModelFile, dataset: Dataset) -> Images:
    """Enough of a dataset for ranges of which nothing but a latency or a size follows."""
    batches = dataset.sample(IMAGES).batches(source.preprocessing)
    return [(str(number), image) for number, (_, image) in enumerate(batches)]


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
