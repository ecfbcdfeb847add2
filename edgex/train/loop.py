"""The training loop: checkpoints, the best epoch, the same weights for the same seed.

A quantized or pruned network is trained to answer as the float one does (Hinton et al. 2015, arXiv:1503.02531), which
needs no labels; where there are labels they count as much. The float network itself may be trained the same way, as a
control: what it gains is due to the data and the steps, and not to quantization or pruning.

By a recipe a network is trained from labels alone. Such training may begin at random weights, and is not the short
touch at the end that the others are: its rate falls as its recipe says, so a loss that rises for an epoch or two is no
reason to stop; and nothing is frozen, since weights that still move far need batches to normalize by.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgex.dataset import Dataset
from edgex.graph.ir import Graph
from edgex.plan import QuantizationPlan
from edgex.preprocess import Preprocessing
from edgex.train.batches import Augment, Batches, hold_out, what_is_taught
from edgex.train.checkpoint import Checkpoint, History, load_checkpoint
from edgex.train.fake_quant import learned_plan, read_weights
from edgex.train.logs import opened_log
from edgex.train.network import logits_graph, require_tensorflow, trained_graph
from edgex.train.recipes import Recipe, Run
from edgex.train.sparsity import Sparsity
from edgex.train.student import Student

LEARNING_RATES = {8: 1e-5, 4: 1e-4}
"""At the start of the cosine, by the bits of a weight: coarse grids lie far from where the float weights are."""

FLOAT_LEARNING_RATE = 1e-4
"""At the start of the cosine in float: what was pruned takes longer steps to make up for than a rounding."""

PATIENCE = 2
"""Epochs without a better loss on the held-out images before training stops."""

FROZEN_FROM = 0.75
"""Of all steps: from here on what training follows stays, so that weights settle on what will be written.

Ranges stay where they are, and with them the grids. Batch norm normalizes by its running statistics, which folding
will take: on the statistics of a batch weights would settle for what no artifact computes. Masks have long stayed.
"""

CHECKPOINT_SECONDS = 120.0
"""Of work that a kill loses."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
        epochs: passes over the images at most.
        batch: images in a step, over all devices.
        learning_rate: at the start of its cosine; None for one by the bits of a weight, or for float. Of a recipe the
            highest; None for its own.
        augment: see :class:`edgex.train.batches.Batches`.
        seed: of the order of images, of augmentation, of dropout, and of what is held out.
    """

    epochs: int = 2
    batch: int = 32
    learning_rate: float | None = None
    augment: Augment = "shift"
    seed: int = 0


@dataclass(frozen=True)
class TrainResult:
    """What training made.

    Attributes:
        graph: with the weights of the best epoch.
        plan: with the ranges of that epoch; None where float was trained.
        history: on the held-out images.
        steps: done.
        resumed: the step that a checkpoint let it begin from.
        labelled: whether there were labels.
    """

    graph: Graph
    plan: QuantizationPlan | None
    history: History
    steps: int
    resumed: int
    labelled: bool


def train(
    graph: Graph,
    plan: QuantizationPlan | None,
    dataset: Dataset,
    preprocessing: Preprocessing,
    options: TrainOptions,
    *,
    teacher: Graph | None = None,
    checkpoint: Path,
    key: str,
    threads: int,
    progress: Progress = lambda _what, _done, _total: None,
    sparsity: Sparsity | None = None,
    keep_zeros: bool = False,
    recipe: Recipe | None = None,
    logs: Path | None = None,
    earliest: int = 0,
) -> TrainResult:
    """Train a graph as the plan quantizes it; without a plan in float, as it is or pruning it, or by a recipe.

    The same arguments give the same bits, on one kind of CPU with as many threads; interrupted in between or not.

    Args:
        graph: prepared, and equalized as the plan wants it; without a plan also one with batch norm in place, see
            :func:`edgex.train.network.keras_model`. Then no node gains a bias.
        plan: where ranges start; not together with a sparsity.
        dataset: images; without labels the float network alone is the teacher.
        preprocessing: what each image goes through.
        options: see there.
        teacher: the float network to answer as; None for ``graph`` itself, where its weights are still float, and for
            labels alone with a recipe.
        checkpoint: file to go on from, and to keep the state in; the caller removes it when all is done.
        key: of this run; a checkpoint of another is begun anew.
        threads: that train.
        progress: called with what is being done, steps done, and steps in all.
        sparsity: what to prune meanwhile; weights of an epoch before masks have settled are never the best.
        keep_zeros: whether the zeros of kernels that were pruned before stay; see
            :data:`edgex.train.student.LEAST_ZEROS`.
        recipe: how to train from labels; not together with a plan or a sparsity.
        logs: a folder for what TensorBoard shows.
        earliest: epoch that can be the best; 0 is before training. A control must have been trained.

    Raises:
        RuntimeMissingError: the train extra is not installed.
        ModelError: a node cannot be trained.
        ValueError: a recipe and no labels, or a recipe and something else to train for.
        UsageError: there are fewer images than a batch. DataError: too many images cannot be read.
        KeyboardInterrupt: after the checkpoint is written.
    """
    require_tensorflow()
    train_images, held_out = hold_out(dataset, options.seed, options.batch)
    taught = what_is_taught(graph, dataset)
    labelled, answers = taught
    batches = Batches(train_images, preprocessing, options.batch, options.augment, options.seed, threads, answers)
    run = Run(options.epochs * batches.per_epoch, batches.per_epoch, options.batch)
    total = run.steps
    if recipe is not None and options.learning_rate is not None:
        recipe = replace(recipe, learning_rate=options.learning_rate)
    rate = _learning_rate(plan) if options.learning_rate is None else options.learning_rate
    adviser = teacher if recipe is not None else teacher or graph
    student = Student(
        logits_graph(graph),
        plan,
        None if adviser is None else logits_graph(adviser),
        (rate, total) if recipe is None else recipe,
        labelled=labelled,
        threads=threads,
        sparsity=sparsity,
        keep_zeros=keep_zeros,
        seed=options.seed,
    )
    judge = Batches(held_out, preprocessing, options.batch, workers=threads, answers=answers)

    def judged() -> tuple[float, float]:
        return student.evaluate(judge)

    found = load_checkpoint(checkpoint, key)
    if found is not None:
        student.restore(found.state)
        state = found
    else:
        settled = 0 if sparsity is None else sparsity.settled_after(total)
        earliest = max(earliest, -(-settled // batches.per_epoch))
        before = History(earliest=earliest, measure=taught.measure).with_epoch(*judged())
        state = Checkpoint(key, 0, before, student.state, student.weights)
    resumed = step = state.step
    history, best = state.history, state.best
    saved = time.monotonic()
    with opened_log(logs) as log, _asked_to_stop() as asked:
        if step == 0:
            log.held_out(0, history)
        for batch in batches.from_step(step, total):
            if recipe is None and history.stale(PATIENCE):
                break
            epoch = step // batches.per_epoch + 1
            progress(_headline(epoch, options.epochs, history), step, total)
            if recipe is not None:
                rate = recipe.rate(step, run)
                student.set_learning_rate(rate)
            if len(batch.images):
                loss = student.step(batch, follow=recipe is not None or step < FROZEN_FROM * total)
                if recipe is not None:
                    log.step(step, loss, rate)
            step += 1
            if step % batches.per_epoch == 0:
                history = history.with_epoch(*judged())
                log.held_out(step, history)
                if history.best == epoch:
                    best = student.weights
            elif not asked.is_set() and time.monotonic() - saved < CHECKPOINT_SECONDS:
                continue
            Checkpoint(key, step, history, student.state, best).save(checkpoint)
            saved = time.monotonic()
            if asked.is_set():
                raise KeyboardInterrupt(f"The same command goes on from step {step:,} of {total:,}.")
    progress(_headline(options.epochs, options.epochs, history), total, total)
    student.restore(best)
    weights = read_weights(student.model, graph)
    learned = None if plan is None else learned_plan(student.model, graph, plan)
    return TrainResult(trained_graph(graph, weights), learned, history, step, resumed, labelled)


def _learning_rate(plan: QuantizationPlan | None) -> float:
    return FLOAT_LEARNING_RATE if plan is None else LEARNING_RATES[plan.weight_bits]


def _headline(epoch: int, epochs: int, history: History) -> str:
    loss, accuracy = history.losses[-1], history.accuracies[-1]
    return f"epoch {epoch} of {epochs}, held out: loss {loss:.4f}, {history.measure} {accuracy:.1%}"


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that a step ends before training does."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(_number: int, _frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)  # who asks twice does not want to wait

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
