"""What training and learned rounding win back: QAT beside a float control, 4-bit weights, and the price of a step.

All on the real model, with a fifth of the training images: they do, and two cores need not take hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.drops import COLUMNS, paired, row
from benchmarks.inputs import REAL_SIZE, Workplace, some_training_images
from benchmarks.processes import edgex
from benchmarks.report import Figure, Section, Table, interleave, ratio
from edgex.dataset import Dataset, open_dataset
from edgex.evaluate import evaluate
from edgex.graph.ir import Array, DepthwiseConv2D, Graph, Node
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.pipeline import PLAN_NAME
from edgex.plan import QuantizationPlan
from edgex.preprocess import Preprocessing
from edgex.runtime import physical_cores
from edgex.train.batches import Batch
from edgex.train.fake_quant import quantize_network
from edgex.train.loop import LEARNING_RATES, TrainOptions, train
from edgex.train.network import keras_model, logits_graph, trained_graph
from edgex.train.student import Student
from edgex.write.onnx import onnx_model

PREPROCESSING = Preprocessing(size=(REAL_SIZE, REAL_SIZE))
TARGET = "jetson"
EPOCHS = 1
BATCH = 32
STEPS_TIMED = 8


@dataclass(frozen=True)
class Way:
    """A way to quantize, by the command line."""

    name: str
    folder: str
    arguments: tuple[str, ...]


PTQ = Way("8 bits, calibrated", "ptq-8", ())
QAT = Way("8 bits, trained", "qat-8", ("--mode", "qat"))
FOUR_BITS = (
    Way("4-bit weights, calibrated", "ptq-4", ("--weight-bits", "4")),
    Way(
        "4-bit weights, learned rounding",
        "learned-4",
        ("--weight-bits", "4", "--rounding", "learned", "--correct-bias"),
    ),
    Way("4-bit weights, trained", "qat-4", ("--weight-bits", "4", "--mode", "qat")),
)


def measure(workplace: Workplace) -> Section:
    """Quantize in each way, and compare all with the float model on the same images."""
    model = workplace.real_model()
    folder = workplace.subfolder("training")
    images = open_dataset(workplace.real("data/cifar10-val.zip"), role="evaluation")
    images = images.sample(100) if workplace.quick else images
    made = {way: _quantized(way, workplace, folder) for way in (PTQ, QAT, *FOUR_BITS)}
    control = folder / "control.fp32.onnx"
    if not control.exists():
        control.write_bytes(onnx_model(_control(model, workplace, folder)).SerializeToString())
    float_file = made[PTQ] / f"{model.stem}.fp32.onnx"
    files = {way: directory / f"{model.stem}.int8.onnx" for way, directory in made.items()}
    results = {
        result.path: result for result in evaluate([float_file, control, *files.values()], images, PREPROCESSING)
    }
    reference = results[float_file]
    of_qat = paired(reference, results[files[QAT]], images)
    of_four_bits = paired(reference, results[files[FOUR_BITS[-1]]], images)
    simulation = _simulation_apart(model, made[QAT], files[QAT], images)
    figures = (
        Figure("QAT, jetson: top-1 lost, at most (95 %)", 100 * of_qat.upper_bound(), 0.5, "points"),
        Figure("QAT, 4-bit weights: top-1 lost", 100 * of_four_bits.drop, 1.5, "points"),
        ratio("a QAT step, with its teacher / a plain float step", _steps(model, made[QAT], workplace), 2.5),
        Figure("QAT: simulation and artifact in ONNX Runtime differ", simulation.differ, simulation.runtimes, "images"),
    )
    rows = [
        row(name, results[path], reference, images)
        for name, path in (
            ("float", float_file),
            ("float, trained on as long (control)", control),
            *((way.name, files[way]) for way in files),
        )
    ]
    return Section("training", figures, Table(COLUMNS, tuple(rows)))


def _quantized(way: Way, workplace: Workplace, folder: Path) -> Path:
    """The directory of a way, made unless it is there: training takes long."""
    directory = folder / way.folder
    if not directory.exists():
        images = ("--target", TARGET, "--calib", workplace.real("data/cifar10-calib.zip"))
        training = ("--train", some_training_images(workplace, BATCH), "--epochs", str(EPOCHS), "--batch", str(BATCH))
        arguments = (*images, *way.arguments, *(training if "qat" in way.arguments else ()), "-o", directory)
        edgex("quantize", workplace.real_model(), *arguments, folder=folder)
    return directory


def _control(model: Path, workplace: Workplace, folder: Path) -> Graph:
    """The float model, trained on the same images for as many steps."""
    dataset = open_dataset(some_training_images(workplace, BATCH), role="training")
    result = train(
        prepare(read_model(model)),
        None,
        dataset,
        PREPROCESSING,
        TrainOptions(epochs=EPOCHS, batch=BATCH, learning_rate=LEARNING_RATES[8]),
        checkpoint=folder / "control.checkpoint.npz",
        key="control",
        threads=physical_cores(),
    )
    return result.graph


@dataclass(frozen=True)
class Apart:
    """Images on which two networks differ: the simulation and its artifact, and the artifact in two runtimes."""

    differ: int
    runtimes: int


def _simulation_apart(model: Path, directory: Path, artifact: Path, images: Dataset) -> Apart:
    plan = QuantizationPlan.from_json((directory / PLAN_NAME).read_text(encoding="utf-8"))
    graph = logits_graph(_with_weights_of(artifact, prepare(read_model(model))))
    simulated = quantize_network(keras_model(graph), graph, plan)
    of_simulation = np.concatenate(
        [simulated(batch, training=False).numpy().argmax(axis=1) for _, batch in images.batches(PREPROCESSING, 32)]
    )
    ort, other = (
        evaluate([artifact], images, PREPROCESSING, runtime=runtime)[0].predictions
        for runtime in ("onnxruntime", "openvino")
    )
    return Apart(int((of_simulation != ort).sum()), int((ort != other).sum()))


def _with_weights_of(artifact: Path, graph: Graph) -> Graph:
    """A prepared graph with the weights that a written INT8 ONNX file with float biases holds."""
    from onnx import load, numpy_helper

    stored = {constant.name: numpy_helper.to_array(constant) for constant in load(artifact).graph.initializer}
    weights = {}
    for node in graph.nodes:
        quantized = stored.get(f"{node.name}.kernel.quantized")
        if quantized is not None:
            scales = stored[f"{node.name}.kernel.scale"].reshape(-1, *[1] * (quantized.ndim - 1))
            kernel = _keras_layout(node, quantized * scales)
            weights[node.name] = {"kernel": kernel, "bias": stored[f"{node.name}.bias"]}
    return trained_graph(graph, weights)


def _keras_layout(node: Node, kernel: Array) -> Array:
    """The inverse of what :mod:`edgex.write.onnx` does to a kernel."""
    if kernel.ndim == 2:
        return kernel.T
    if isinstance(node.op, DepthwiseConv2D):
        *_, channels, multiplier = node.params["kernel"].shape
        return kernel.reshape(channels, multiplier, *kernel.shape[2:]).transpose(2, 3, 0, 1)
    return kernel.transpose(2, 3, 1, 0)


def _steps(model: Path, directory: Path, workplace: Workplace) -> Sequence[Sequence[float]]:
    """Seconds of a step of quantization-aware training, and of one that only fits a float model to labels."""
    import tensorflow as tf
    import tf_keras

    graph = logits_graph(prepare(read_model(model)))
    plan = QuantizationPlan.from_json((directory / PLAN_NAME).read_text(encoding="utf-8"))
    dataset = open_dataset(workplace.real("data/cifar10-train.zip"), role="training").sample(BATCH)
    (images,) = (images for _, images in dataset.batches(PREPROCESSING, BATCH))
    assert dataset.labels is not None
    batch = Batch(images, dataset.labels)
    student = Student(graph, plan, graph, (1e-5, 1000), labelled=True, threads=physical_cores())
    plain = keras_model(graph)
    plain.compile(tf_keras.optimizers.Adam(1e-5), tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    tensors = tf.constant(images), tf.constant(dataset.labels)

    def trained() -> float:
        start = perf_counter()
        student.step(batch, follow=True)
        return perf_counter() - start

    def fitted() -> float:
        start = perf_counter()
        plain.train_on_batch(*tensors)
        return perf_counter() - start

    interleave(2, trained, fitted)  # the first compile
    return interleave(2 if workplace.quick else STEPS_TIMED, trained, fitted)
