"""Climb: try ways of quantizing, from the plainest to the most thorough, until one keeps the predictions.

Each rung is a whole post-training quantization. What it makes runs beside the float network on the calibration images,
as the target's ONNX artifact would, and the climb ends with the first rung whose loss is within the budget. The images
that judge are those that the ranges come from, so this chooses a way and proves nothing; for that there is the gate.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgex.errors import ModelError
from edgex.execute import Logits, gives_scores, logits_name, open_network
from edgex.graph.ir import Array, Graph
from edgex.logits import paired_hits, scored, snr_db
from edgex.parallel import ahead
from edgex.quantize.ptq import PtqOptions, PtqResult, quantize_ptq
from edgex.quantize.statistics import NamedImages, Progress
from edgex.write.onnx_form import OnnxForm

BUDGET = 0.5
"""Points that a rung may lose."""


@dataclass(frozen=True)
class Rung:
    """One way of quantizing, and what it costs on the calibration images.

    Attributes:
        name: for people.
        method: how images became ranges.
        images: how many were compared.
        changed: images, or pixels of a segmenter, that are put into another class than by the float network.
        points: of top-1 accuracy that are lost, in percent of the images; negative if some are won. Without labels the
            share of the images or pixels that changed, which no loss of accuracy exceeds.
        labelled: whether labels told the points.
        snr_db: of the logits, see :func:`edgex.logits.snr_db`.
        gain: points lost fewer than by the best rung before; None for the first.
        over: name of that rung.
    """

    name: str
    method: str
    images: int
    changed: int
    points: float
    labelled: bool
    snr_db: float | None
    gain: float | None = None
    over: str | None = None

    @property
    def cost(self) -> tuple[float, float]:
        """The better the smaller: points lost, and then noise."""
        return self.points, -math.inf if self.snr_db is None else -self.snr_db

    def __str__(self) -> str:
        """For example: mse: 0.4 points lost, 0.8 fewer than average; 21.3 dB."""
        said = f"{abs(self.points):.1f} points {'won' if self.points < 0 else 'lost'}"
        if not self.labelled:
            said = f"at most {said}"
        if self.gain is not None:
            change = f"{abs(self.gain):.1f} {'more' if self.gain < 0 else 'fewer'} than"
            said += f", {change if round(self.gain, 1) else 'as many as'} {self.over}"
        noise = "no noise" if self.snr_db is None else f"{self.snr_db:.1f} dB"
        return f"{self.name}: {said}; {noise}."


@dataclass(frozen=True)
class ClimbResult:
    """The best of the rungs that were tried, in order."""

    ptq: PtqResult
    rungs: tuple[Rung, ...]


LADDER: Mapping[str, Callable[[PtqOptions, PtqOptions], PtqOptions]] = {
    "minmax": lambda plain, _: replace(plain, method="minmax", equalize=False),
    "average": lambda plain, _: replace(plain, method="average"),
    "mse": lambda plain, _: replace(plain, method="mse"),
    "percentile": lambda plain, _: replace(plain, method="percentile"),
    "equalize and correct": lambda plain, _: replace(plain, method="average", cross_layer=True, correct_bias=True),
    "learned rounding": lambda _, best: replace(best, rounding="learned", correct_bias=True),
}
"""Name of each rung → its options, from plain ones and those of the best rung before it."""


def climb(
    graph: Graph,
    images: NamedImages,
    labels: Mapping[str, int] | None,
    options: PtqOptions,
    form: OnnxForm,
    budget: float = BUDGET,
    progress: Progress = lambda *_: None,
) -> ClimbResult:
    """Quantize a prepared graph in one way after another until one is good enough; otherwise take the best.

    The best loses the fewest points, and of those that lose equally many it has the clearest logits.

    Args:
        graph: a classifier or a segmenter; see :func:`edgex.graph.passes.prepare`.
        images: as for :func:`edgex.quantize.ptq.quantize_ptq`; they are gone through several times for each rung.
        labels: image name → class index; None if they are unknown, or the network is a segmenter.
        options: for all rungs, in what these do not choose themselves.
        form: of the target's INT8 ONNX files.
        budget: points of top-1 or pixel accuracy that may be lost.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        ModelError: as :func:`edgex.quantize.ptq.quantize_ptq`, or the model gives no scores of classes.
        ValueError: there are no images.
    """
    if not gives_scores(graph):
        shape = graph.shapes[logits_name(graph)]
        raise ModelError(f"The model's output has the shape {shape}.", fix="Choose a method for its ranges yourself.")
    form = replace(form, integer_io=False)
    plain = replace(options, equalize=True, cross_layer=False, rounding="nearest", correct_bias=False)
    judge = _Judge.of(open_network(graph, None, form), images, labels, options.workers, progress)
    rungs: list[Rung] = []
    best: _Trial | None = None
    for name, step in LADDER.items():
        chosen = step(plain, best.options if best else plain)
        report = _named(name, progress)
        ptq = quantize_ptq(graph, images, chosen, report)
        network = open_network(ptq.graph, ptq.plan, form)
        rung = judge.rung(name, chosen, network, best.rung if best else None, report)
        rungs.append(rung)
        if best is None or rung.cost < best.rung.cost:
            best = _Trial(rung, chosen, ptq)
        if rung.points <= budget:
            break
    assert best is not None
    record = {**best.ptq.plan.calibration, "rung": best.rung.name, "rungs": [asdict(rung) for rung in rungs]}
    plan = replace(best.ptq.plan, calibration=record)
    return ClimbResult(replace(best.ptq, plan=plan), tuple(rungs))


@dataclass(frozen=True)
class _Trial:
    rung: Rung
    options: PtqOptions
    ptq: PtqResult


@dataclass(frozen=True)
class _Judge:
    """Compares networks with the float one.

    Attributes:
        images: to run them on.
        answers: of the float network.
        labels: class indices (images,), if known.
        workers: images at a time.
    """

    images: NamedImages
    answers: "_Answers"
    labels: NDArray[np.int64] | None
    workers: int

    @classmethod
    def of(
        cls,
        network: Logits,
        images: NamedImages,
        labels: Mapping[str, int] | None,
        workers: int,
        progress: Progress,
    ) -> "_Judge":
        """Run the float network. ValueError if there are no images."""
        answers = _run(network, images, workers, _named("float", progress))
        known = None if labels is None else np.array([labels[name] for name in answers.names])
        return cls(images, answers, known, workers)

    def rung(self, name: str, options: PtqOptions, network: Logits, best: Rung | None, progress: Progress) -> Rung:
        """What a network costs, and how that compares with the best before."""
        found = _run(network, self.images, self.workers, progress)
        moved = found.classes != self.answers.classes
        lost = moved.mean() if self.labels is None else paired_hits(self.labels, self.answers.scores, found.scores).drop
        points = 100 * float(lost)
        return Rung(
            name=name,
            method=options.method,
            images=len(found.names),
            changed=int(moved.sum()),
            points=points,
            labelled=self.labels is not None,
            snr_db=snr_db(self.answers.scores, found.scores),
            gain=best.points - points if best else None,
            over=best.name if best else None,
        )


class _Answers(NamedTuple):
    """What a network says of images.

    Attributes:
        names: of the images.
        classes: index of the likeliest class, uint16 (images, …), of the image or of each pixel.
        scores: see :func:`edgex.logits.scored`.
    """

    names: list[str]
    classes: NDArray[np.uint16]
    scores: Array


def _run(network: Logits, images: NamedImages, workers: int, progress: Progress) -> _Answers:
    names, classes, scores = [], [], []
    for name, logits in ahead(lambda image: (image[0], network(image[1])), images, workers):
        names.append(name)
        classes.append(logits.argmax(axis=-1).astype(np.uint16))
        scores.append(scored(logits))
        progress("compare", len(names), len(images))
    if not names:
        raise ValueError("no calibration images")
    return _Answers(names, np.concatenate(classes), np.concatenate(scores))


def _named(rung: str, progress: Progress) -> Progress:
    return lambda what, done, total: progress(f"{rung}: {what}", done, total)
