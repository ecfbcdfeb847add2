"""Pruning: importance, cuts and fine-tuning in turn, resumable over runs."""

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from edgex.dataset import Dataset
from edgex.errors import EdgexError, UsageError
from edgex.graph.ir import Graph
from edgex.graph.passes.simplify import drop_identities, split_separable
from edgex.graph.read import read_model
from edgex.inspection import inspect_graph
from edgex.json_record import to_document
from edgex.manifest import file_record, library_versions
from edgex.output import replace_files
from edgex.pipeline.calibration import ModelFile
from edgex.pipeline.latency import int8_kinds, sparsity_for, stopwatch
from edgex.pipeline.options import PruneOptions, QuantizeOptions
from edgex.pipeline.origin import origin_of
from edgex.pipeline.progress import Progress
from edgex.pipeline.stages import digest, key_of
from edgex.pipeline.training import TRAINING_LIBRARIES, training_key
from edgex.prune.allotment import choose
from edgex.prune.channels import Coupling, couple, remove
from edgex.prune.importance import Importance, batch_norm_scale, gate_tensors, taylor, weight_norm
from edgex.prune.methods import FALLBACK_MULTIPLE, refuse_what_buys_nothing, sparsity_of
from edgex.prune.record import PRUNING_SCHEMA, PruningRecord
from edgex.runtime import physical_cores
from edgex.target import TargetProfile
from edgex.train.batches import Batches, what_is_taught
from edgex.train.gates import gate_gradients
from edgex.train.loop import TrainResult, train
from edgex.train.sparsity import Sparsity
from edgex.write.keras import keras_file

BETWEEN_STEPS = 0.25
"""Of the images that are fine-tuned on between two cuts, for one epoch."""

IMAGES_FOR_IMPORTANCE = 512


@dataclass(frozen=True)
class Pruned:
    """A pruned network.

    Attributes:
        graph: in pruning form: separable convolutions in two, batch norm in place.
        found: whether an earlier run had done it.
    """

    graph: Graph
    record: PruningRecord
    found: bool = False


def prune_model(
    source: ModelFile,
    dataset: Dataset,
    target: TargetProfile | None,
    options: QuantizeOptions,
    folder: Path,
    progress: Progress,
) -> Pruned:
    """Prune and fine-tune; what is done already lies in ``folder``. Errors as of :func:`prune`."""
    assert options.prune is not None
    folder.mkdir(exist_ok=True)
    job = _Job(source, dataset, target, options, options.prune, folder, progress)
    done = job.kept("pruned")
    if done is not None:
        return done
    pruned = _without_channels(job) if options.prune.method == "channels" else _with_zeros(job)
    job.keep("pruned", pruned)
    return pruned


def check_prunable(source: ModelFile, target: TargetProfile | None, options: PruneOptions) -> None:
    """Refuse what cannot be, or buys nothing, before anything takes its time.

    Raises:
        UsageError: the target gains nothing by the method, or has nothing to time where a latency is asked for, or the
            model has not so much to take out.
    """
    if target is not None and not options.force:
        refuse_what_buys_nothing(options.method, target)
    if target is not None and options.latency is not None and not int8_kinds(target):
        raise UsageError(
            f"The target {target.name} has no INT8 artifacts, whose latency could be measured.",
            fix="Say with --sparsity how much is to go.",
        )
    if options.method == "channels" and options.latency is None:
        form = pruning_form(source.as_read)
        coupling = couple(form)
        # How much there is does not depend on what goes first
        _cut(form, coupling, weight_norm(form, coupling), sparsity_of("channels", options.sparsity), _multiple(target))


def _multiple(target: TargetProfile | None) -> int:
    return FALLBACK_MULTIPLE if target is None else target.channel_multiple


def pruning_form(graph: Graph) -> Graph:
    """A graph as read, its separable convolutions in two, without what only training has."""
    return split_separable(drop_identities(graph).graph).graph


@dataclass(frozen=True)
class _Job:
    """One model to prune, and what for."""

    source: ModelFile
    dataset: Dataset
    target: TargetProfile | None
    whole: QuantizeOptions
    options: PruneOptions
    folder: Path
    progress: Progress

    @cached_property
    def form(self) -> Graph:
        return pruning_form(self.source.as_read)

    @cached_property
    def ranking(self) -> tuple[Coupling, Importance]:
        """Of the channels of the model as it is, which a search for a latency and the first cut both want."""
        return _ranked(self, self.form)

    @property
    def threads(self) -> int:
        return self.whole.threads or physical_cores()

    @property
    def multiple(self) -> int:
        return _multiple(self.target)

    @cached_property
    def key(self) -> str:
        """What must be the same for work to be of this job."""
        return training_key(
            model=file_record(self.source.path).sha256,
            images=self.dataset.fingerprint,
            preprocessing=self.source.preprocessing.to_json(),
            options={key: value for key, value in asdict(self.options).items() if key != "force"},
            multiple=self.multiple,
            timed=None if self.options.latency is None or self.target is None else self.target.model_dump(mode="json"),
            threads=self.threads,
        )

    def kept(self, name: str) -> Pruned | None:
        """What an earlier run of the same job has kept under a name; a damaged file is none."""
        file = self.folder / f"{name}.keras"
        try:
            record = record_of(file)
            if record is None or record.key != self.key:
                return None
            return Pruned(pruning_form(read_model(file)), record, found=True)
        except EdgexError:
            return None

    def keep(self, name: str, pruned: Pruned) -> None:
        with replace_files([self.folder / f"{name}.keras"]) as (work,):
            work.write_bytes(keras_file(pruned.graph, to_document(PRUNING_SCHEMA, pruned.record)))

    def record(self, result: TrainResult, sparsity: float) -> PruningRecord:
        before, after = inspect_graph(self.form), inspect_graph(result.graph)
        kernels = [node.params["kernel"] for node in result.graph.nodes if "kernel" in node.params]
        earlier = self.source.origin
        seen = {content for content in self.dataset.content_hashes if content}.union(earlier.images if earlier else ())
        return PruningRecord(
            key=self.key,
            source={"name": self.source.path.name, "sha256": file_record(self.source.path).sha256},
            method=self.options.method,
            sparsity=sparsity,
            macs=(before.macs, after.macs),
            parameters=(before.parameters, after.parameters),
            zeros=sum(int((kernel == 0).sum()) for kernel in kernels) / sum(kernel.size for kernel in kernels),
            losses=result.history.finite_losses,
            accuracies=result.history.accuracies,
            best_epoch=result.history.best,
            options=json.loads(json.dumps(asdict(self.options))),
            versions=library_versions(TRAINING_LIBRARIES),
            images=tuple(sorted(seen)),
            measure=result.history.measure,
            preprocessing=self.source.preprocessing.to_json(),
        )

    def fine_tuned(
        self, graph: Graph, stage: str, *, last: bool = True, sparsity: Sparsity | None = None
    ) -> TrainResult:
        """Train ``graph`` to answer as the original does; between two cuts, for a short time."""
        options, dataset = self.options.train, self.dataset
        if not last:
            few = dataset.sample(max(int(BETWEEN_STEPS * len(dataset)), 2 * options.batch), options.seed)
            options, dataset = replace(options, epochs=1), few
        return train(
            graph,
            None,
            dataset,
            self.source.preprocessing,
            options,
            teacher=self.source.graph,
            checkpoint=self.folder / "pruning.npz",
            key=key_of(job=self.key, stage=stage, graph=digest(graph)),
            threads=self.threads,
            progress=lambda what, done, total: self.progress(f"{stage}, {what}", done, total),
            sparsity=sparsity,
        )


def _with_zeros(job: _Job) -> Pruned:
    """Zeros among the weights, where the method wants them."""
    share = sparsity_of(job.options.method, job.options.sparsity)
    assert job.options.method != "channels"
    result = job.fine_tuned(job.form, "prune", sparsity=Sparsity(job.options.method, share))
    return Pruned(result.graph, job.record(result, share))


def _without_channels(job: _Job) -> Pruned:
    """The channels that matter least gone, in steps of equal shares of what was left."""
    whole = inspect_graph(job.form).macs
    steps = job.options.steps
    pruned, done = _last_step(job)
    sparsity = pruned.record.sparsity if pruned is not None else _sparsity(job)
    graph = job.form if pruned is None else pruned.graph
    for number in range(done + 1, steps + 1):
        left, last = (1 - sparsity) ** (number / steps) * whole, number == steps
        share = 1 - left / inspect_graph(graph).macs
        if share > 0:
            ranking = job.ranking if graph is job.form else _ranked(job, graph)
            graph = _cut(graph, *ranking, share, job.multiple)
        elif not last:  # the step before took more than it had to, since widths go by whole multiples
            continue
        result = job.fine_tuned(graph, f"prune {number} of {steps}", last=last)
        pruned = Pruned(result.graph, job.record(result, sparsity))
        graph = pruned.graph
        job.keep(f"step-{number}", pruned)
    assert pruned is not None
    return pruned


def _last_step(job: _Job) -> tuple[Pruned | None, int]:
    """The furthest step that an earlier run has kept, and its number."""
    for number in range(job.options.steps, 0, -1):
        pruned = job.kept(f"step-{number}")
        if pruned is not None:
            return pruned, number
    return None, 0


def _sparsity(job: _Job) -> float:
    """Of the multiply-accumulates: as asked for, or as a latency that is asked for wants it."""
    if job.options.latency is None:
        return sparsity_of("channels", job.options.sparsity)
    form, (coupling, importance) = job.form, job.ranking
    with stopwatch(job.source, job.dataset, job.target, job.threads) as watch:
        return sparsity_for(
            job.options.latency,
            lambda share: _cut(form, coupling, importance, share, job.multiple),
            watch,
            job.progress,
        )


def _ranked(job: _Job, graph: Graph) -> tuple[Coupling, Importance]:
    """Which channels hang together, and how important each is."""
    coupling = couple(graph)
    if job.options.importance == "norm":
        return coupling, weight_norm(graph, coupling)
    if job.options.importance == "batch-norm":
        return coupling, batch_norm_scale(graph, coupling)
    few = job.dataset.sample(IMAGES_FOR_IMPORTANCE, job.options.train.seed)
    labelled, answers = what_is_taught(graph, few)
    gradients = gate_gradients(
        graph,
        gate_tensors(graph, coupling),
        Batches(few, job.source.preprocessing, job.options.train.batch, workers=job.threads, answers=answers),
        job.source.graph,
        labelled=labelled,
        threads=job.threads,
        progress=job.progress,
    )
    return coupling, taylor(gradients, coupling)


def _cut(graph: Graph, coupling: Coupling, importance: Importance, share: float, multiple: int) -> Graph:
    return remove(graph, coupling, choose(graph, coupling, importance, share, multiple))


def record_of(model: Path) -> PruningRecord | None:
    """How a model file says that it was pruned."""
    origin = origin_of(model)
    return origin if isinstance(origin, PruningRecord) else None


def has_zeros(record: PruningRecord | None) -> bool:
    """Whether there are zeros among the weights that training has to leave where they are."""
    return record is not None and record.method != "channels"
