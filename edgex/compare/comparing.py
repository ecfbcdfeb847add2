"""From models to a comparison: each is counted, quantized and, side by side with the others, timed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edgex.bench import BenchOptions, BenchReport, bench
from edgex.compare.costs import int8_costs
from edgex.compare.records import ComparedModel, CompareReport, Int8Artifact, ModelLatency, ModelRatio
from edgex.dataset import Dataset, open_dataset
from edgex.errors import ModelError, UsageError
from edgex.evaluate import check_output
from edgex.gate import AnyComparison, chance_doubt
from edgex.graph.ir import Graph
from edgex.inspection import inspect_graph
from edgex.networks import model_file, of_zoo, read_network
from edgex.pipeline import (
    Progress,
    QuantizeOptions,
    WrittenDirectory,
    origin_of,
    own_preprocessing,
    preprocessing_of,
    quantize,
    silent,
)
from edgex.preprocess import Resize, Scale
from edgex.records import Artifact, ArtifactKind
from edgex.runtime import RUNTIMES
from edgex.target import TargetProfile, load_target, not_its_latency
from edgex.write.keras import keras_file

CHANNELS = (1, 3)
"""Of images."""

RANDOM_IMAGES = 8
"""To calibrate with where no images are given: ranges change no latency and no size."""


@dataclass(frozen=True)
class CompareOptions:
    """How models are compared.

    Attributes:
        target: whose INT8 files are made; None for the CPU's.
        input_size: height and width for all; None for each model's own.
        latency: whether to time the files. Without that and without ``calib``, nothing is quantized and no runtime
            starts.
        runtimes: to time by; all that can, if none is given.
        threads: None for the physical cores.
        seconds: about how long each file is timed in each runtime.
        calib: images to calibrate with; None for random ones, of which no accuracy can be claimed.
        data: images with labels, or with masks for networks that label pixels, that INT8's cost is measured on; not
            without ``calib``.
        preprocess: how pixels are scaled for models whose file does not tell, see
            :func:`edgex.pipeline.own_preprocessing`; None for ``xception``.
        resize: how images are brought to the input size, likewise; None for ``stretch``.

    Raises:
        UsageError: options that do not go together, or a runtime that is not known.
    """

    target: TargetProfile | None = None
    input_size: int | None = None
    latency: bool = True
    runtimes: tuple[str, ...] = ()
    threads: int | None = None
    seconds: float = 3.0
    calib: str | Path | None = None
    data: str | Path | None = None
    preprocess: Scale | None = None
    resize: Resize | None = None

    def __post_init__(self) -> None:
        if self.data is not None and self.calib is None:
            raise UsageError(
                f"--data {self.data} measures what INT8 costs, and ranges of random images say nothing about that.",
                fix="Give images to calibrate with as well: --calib.",
            )
        for name in self.runtimes:
            if name not in RUNTIMES:
                raise UsageError(f"There is no runtime {name!r}.", fix=f"Choose one of {', '.join(RUNTIMES)}.")
        if self.latency and self.target is not None and all(kind.precision != "int8" for kind in self.target.artifacts):
            raise UsageError(
                f"The target {self.target.name} has no INT8 artifacts, whose latency could be compared.",
                fix="Compare without latency, with --no-latency, or choose another target.",
            )
        self.bench_options  # noqa: B018  raises before any work if a number is none

    @property
    def bench_options(self) -> BenchOptions:
        """How files are timed."""
        return BenchOptions(runtimes=self.runtimes, threads=self.threads, seconds=self.seconds)

    @property
    def quantizes(self) -> bool:
        """Whether INT8 files are made."""
        return self.latency or self.calib is not None


def compare_models(
    models: Sequence[str | Path], options: CompareOptions | None = None, progress: Progress = silent
) -> CompareReport:
    """Compare models: parameters, multiply-accumulates and sizes, latency in INT8, and what INT8 costs.

    Args:
        models: files or names of the zoo, see :mod:`edgex.networks`.
        options: see there.
        progress: see there.

    Raises:
        UsageError: no model; one that is neither a file nor in the zoo; images that are labelled otherwise than a
            model of a file labels them, see :func:`edgex.evaluate.check_output`. Other EdgexErrors as
            :func:`edgex.networks.read_network`, :func:`edgex.pipeline.quantize`, :func:`edgex.bench.bench` and
            :func:`edgex.measure.evaluate_artifacts`.
    """
    options = options or CompareOptions()
    if not models:
        raise UsageError("There is no model to compare.", fix="Give model files, or names of the zoo like xception.")
    labelled = None if options.data is None else open_dataset(options.data, role="evaluation")
    contestants = []
    for done, model in enumerate(models):
        progress("read", done, len(models))
        contestants.append(_contestant(Path(model), options, labelled))
    progress("read", len(models), len(models))
    if not options.quantizes:
        return CompareReport(tuple(each.counted for each in contestants))
    with TemporaryDirectory(prefix="edgex-") as folder:
        entries = [
            _quantized(each, Path(folder) / str(place), options, progress) for place, each in enumerate(contestants)
        ]
        costs = [_costs(entry, labelled, options, progress) for entry in entries]
        timed = _timed(entries, options, progress)
    report = _report(entries, costs, timed, labelled)
    return replace(report, warnings=tuple(_warnings(entries, costs, options)))


@dataclass(frozen=True)
class _Contestant:
    """A model as read. The graph of a file is read again when it is needed, and not kept."""

    path: Path
    counted: ComparedModel
    image: tuple[int, ...]
    graph: Graph | None


@dataclass(frozen=True)
class _Entry:
    """A model and what was written of it."""

    contestant: _Contestant
    written: WrittenDirectory

    @property
    def int8(self) -> list[Artifact]:
        return [artifact for artifact in self.written.artifacts if artifact.precision == "int8"]


def _contestant(model: Path, options: CompareOptions, labelled: Dataset | None) -> _Contestant:
    fresh = of_zoo(model)
    graph = read_network(model, input_size=options.input_size)
    measured = None if fresh else labelled
    if measured is not None:
        check_output(model, graph.shapes[graph.outputs[0]], measured)
    image = graph.shapes[graph.inputs[0].name]
    if options.quantizes and (len(graph.inputs) != 1 or len(image) != 3 or image[2] not in CHANNELS):
        shapes = {node.name: graph.shapes[node.name] for node in graph.inputs}
        raise ModelError(
            f"{model} does not read one image of 1 or 3 channels: its inputs are {shapes}.",
            fix="Compare its counts alone, with --no-latency.",
        )
    preprocessing = None
    if options.quantizes:
        # Models differ in what they were trained with, so what is given for all gives way to what a file tells
        origin = None if fresh else origin_of(model_file(model))
        scale, resize = own_preprocessing(graph, origin)
        preprocessing = preprocessing_of(graph, origin, scale or options.preprocess, resize or options.resize)
        if measured is not None:
            measured.check_resize(preprocessing)
    counted = ComparedModel(str(model), fresh, inspect_graph(graph), preprocessing=preprocessing)
    return _Contestant(model, counted, image, graph if fresh else None)


def _quantized(contestant: _Contestant, folder: Path, options: CompareOptions, progress: Progress) -> _Entry:
    """Its artifacts, written into a folder of its own."""
    folder.mkdir()
    path, name = model_file(contestant.path), contestant.counted.name
    if contestant.graph is not None:
        path = folder / f"{path.name}.keras"
        path.write_bytes(keras_file(contestant.graph))
    calib = options.calib
    if calib is None:
        calib = folder / "random.npz"
        images = np.random.default_rng(0).integers(0, 256, (RANDOM_IMAGES, *contestant.image), np.uint8)
        np.savez(calib, x=images)
    preprocessing = contestant.counted.preprocessing
    assert preprocessing is not None  # for it is quantized
    how = QuantizeOptions(
        preprocess=preprocessing.scale,
        resize=preprocessing.resize,
        input_size=options.input_size,
        threads=options.threads,
    )
    target = options.target or load_target("cpu")

    def of_this(what: str, done: int, total: int) -> None:
        progress(f"{what} {name}", done, total)

    return _Entry(contestant, quantize(path, target, calib, folder / "out", how, of_this))


def _costs(
    entry: _Entry, labelled: Dataset | None, options: CompareOptions, progress: Progress
) -> Mapping[ArtifactKind, AnyComparison]:
    """What each INT8 file loses, of models that were trained."""
    if labelled is None or options.data is None or entry.contestant.counted.fresh:
        return {}
    (baseline,) = (each for each in entry.written.artifacts if _kind(each) == ArtifactKind("fp32", "onnx"))
    costs = int8_costs(
        baseline.path,
        [each.path for each in entry.int8],
        options.data,
        labelled,
        threads=options.threads,
        progress=partial(progress, f"evaluate {entry.contestant.counted.name}"),
    )
    return {_kind(artifact): cost for artifact, cost in zip(entry.int8, costs, strict=True)}


def _timed(entries: Sequence[_Entry], options: CompareOptions, progress: Progress) -> BenchReport | None:
    """All INT8 files of all models, interleaved."""
    if not options.latency:
        return None
    paths = [each.path for entry in entries for each in entry.int8 if _runs(each.path, options.runtimes)]
    if not paths:
        raise UsageError(
            f"No INT8 file of the target runs by {' or '.join(options.runtimes)}.", fix="Leave out --runtime."
        )
    return bench(paths, options.bench_options, progress=partial(progress, "bench"))


def _runs(path: Path, runtimes: Sequence[str]) -> bool:
    return not runtimes or any(path.suffix in RUNTIMES[name].suffixes for name in runtimes)


def _report(
    entries: Sequence[_Entry],
    costs: Sequence[Mapping[ArtifactKind, AnyComparison]],
    timed: BenchReport | None,
    labelled: Dataset | None,
) -> CompareReport:
    places = {each.path: (place, _kind(each)) for place, entry in enumerate(entries) for each in entry.int8}
    models = []
    for place, (entry, cost) in enumerate(zip(entries, costs, strict=True)):
        int8 = [Int8Artifact(_kind(each), each.bytes, cost.get(_kind(each))) for each in entry.int8]
        results = () if timed is None else timed.results
        latencies = [ModelLatency(places[each.path][1], each) for each in results if places[each.path][0] == place]
        models.append(replace(entry.contestant.counted, int8=tuple(int8), latencies=tuple(latencies)))
    return CompareReport(
        models=tuple(models),
        ratios=() if timed is None else tuple(_ratios(timed, places)),
        images=len(labelled) if labelled is not None and any(costs) else 0,
        notes=() if timed is None else tuple(_by_name(note, entries) for note in timed.notes),
    )


def _by_name(note: str, entries: Sequence[_Entry]) -> str:
    """A sentence about files with the models' names in place of the folders, which are gone."""
    for entry in entries:
        note = note.replace(f"{entry.written.directory}/", f"{entry.contestant.counted.name}: ")
    return note


def _warnings(
    entries: Sequence[_Entry], costs: Sequence[Mapping[ArtifactKind, AnyComparison]], options: CompareOptions
) -> list[str]:
    warnings = []
    for entry, cost in zip(entries, costs, strict=True):
        said = list(entry.written.warnings) if options.calib is not None else []
        # The float model is the same beside each of its files
        said += [chance_doubt(each, "The float model") for each in [*cost.values()][:1]]
        warnings += [f"{entry.contestant.counted.name}: {sentence}" for sentence in said if sentence]
    if options.latency and options.target is not None:
        warnings += not_its_latency(options.target.name)
    return warnings


def _ratios(timed: BenchReport, places: Mapping[Path, tuple[int, ArtifactKind]]) -> list[ModelRatio]:
    """Of different models, in what else is the same."""
    found = {(id(ratio.a), id(ratio.b)): ratio for ratio in timed.ratios}
    ratios = []
    for a, b in combinations(timed.results, 2):
        (one, kind), (other, of_other) = places[a.path], places[b.path]
        if one != other and (kind, a.runtime) == (of_other, b.runtime):
            ratios.append(ModelRatio(one, other, kind, found[id(a), id(b)]))
    return ratios


def _kind(artifact: Artifact) -> ArtifactKind:
    return ArtifactKind(artifact.precision, artifact.format)
