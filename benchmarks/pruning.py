"""What pruning costs and buys: accuracy beside a float control, latency and size beside the unpruned INT8.

All on the real model, fine-tuned on its training images. Models that are there already are used again: to make them
takes two hours.
"""

import json
from pathlib import Path

import numpy as np

from benchmarks.drops import COLUMNS, paired, row
from benchmarks.inputs import FULL_SIZE, REAL_SIZE, Workplace, some_training_images
from benchmarks.processes import edgex
from benchmarks.report import Figure, Section, Table
from edgex.console import silent_imports
from edgex.dataset import open_dataset
from edgex.evaluate import evaluate
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.lint.onnx_file import read_onnx_file
from edgex.lint.sparsity import dense_kernels
from edgex.pipeline.artifacts import deflated_bytes
from edgex.pipeline.options import PRUNE_EPOCHS
from edgex.pipeline.pruning import pruning_form
from edgex.preprocess import Preprocessing
from edgex.runtime import physical_cores
from edgex.train.loop import TrainOptions, train
from edgex.write.onnx import onnx_model

PREPROCESSING = Preprocessing(size=(REAL_SIZE, REAL_SIZE))
METHODS = {"channels": "cpu", "2:4": "jetson", "magnitude": "cpu"}
"""And the target that each is for."""

LATENCIES = {"onnxruntime": ("int8.onnx", 0.65), "openvino": ("int8.onnx", 0.65), "litert": ("int8.tflite", 0.75)}
BATCH = 32
IMAGES = 100
"""To compare with Keras on."""


def measure(workplace: Workplace) -> Section:
    """Prune by each method, quantize, and compare with the original and its INT8."""
    model = workplace.real_model()
    folder = workplace.subfolder("pruning")
    pruned = {method: _pruned(method, workplace, folder) for method in METHODS}
    directories = {method: _quantized(file, METHODS[method], workplace, folder) for method, file in pruned.items()}
    unpruned = _quantized(model, "cpu", workplace, folder)
    control = folder / "control.fp32.onnx"
    if not control.exists():
        control.write_bytes(_control(model, workplace, folder))
    images = open_dataset(workplace.real("data/cifar10-val.zip"), role="evaluation")
    images = images.sample(100) if workplace.quick else images
    main = {"channels": "int8.onnx", "2:4": "int8.onnx", "magnitude": "int8.tflite"}
    files = {
        "float": _file(unpruned, "fp32.onnx"),
        "float, fine-tuned on as long (control)": control,
        "INT8, not pruned": _file(unpruned, "int8.onnx"),
        **{f"{method}, INT8 for {METHODS[method]}": _file(directories[method], main[method]) for method in METHODS},
    }
    found = {result.path: result for result in evaluate([*files.values()], images, PREPROCESSING)}
    reference = found[files["float"]]
    figures = [
        Figure(
            f"{method}, then INT8: top-1 lost",
            100 * paired(reference, found[_file(directories[method], main[method])], images).drop,
            1.0,
            "points",
        )
        for method in METHODS
    ]
    figures += _latencies(pruned["channels"], workplace, folder)
    dense = dense_kernels(read_onnx_file(_file(directories["2:4"], "int8.onnx")))
    figures.append(Figure("2:4: convolutions that could have the pattern and have not", len(dense), 0, "layers"))
    sizes = [deflated_bytes(_file(where, "int8.tflite")) for where in (directories["magnitude"], unpruned)]
    figures.append(Figure("magnitude: compressed size of INT8 / not pruned", sizes[0] / sizes[1], 0.5, "×"))
    figures.append(Figure("pruned .keras in Keras / our graph: error", _keras_error(pruned["channels"]), 1e-4, "×"))
    rows = [row(name, found[file], reference, images) for name, file in files.items()]
    return Section("pruning", tuple(figures), Table(COLUMNS, tuple(rows)))


def _training_images(workplace: Workplace) -> Path:
    return some_training_images(workplace, BATCH) if workplace.quick else workplace.real("data/cifar10-train.zip")


def _pruned(method: str, workplace: Workplace, folder: Path) -> Path:
    file = folder / f"{method.replace(':', '-')}.keras"
    if not file.exists():
        images = ("--train", _training_images(workplace), "--target", METHODS[method])
        epochs = ("--epochs", "1") if workplace.quick else ()
        edgex("prune", workplace.real_model(), "--method", method, *images, *epochs, "-o", file, folder=folder)
    return file


def _quantized(model: Path, target: str, workplace: Workplace, folder: Path, size: int = REAL_SIZE) -> Path:
    directory = folder / f"{model.stem}-{target}-{size}"
    if not directory.exists():
        images = ("--calib", workplace.real("data/cifar10-calib.zip"), "--input-size", str(size))
        edgex(
            "quantize",
            model,
            "--target",
            target,
            *images,
            "--baseline",
            workplace.real_model(),
            "-o",
            directory,
            folder=folder,
        )
    return directory


def _file(directory: Path, kind: str) -> Path:
    (file,) = directory.glob(f"*.{kind}")
    return file


def _control(model: Path, workplace: Workplace, folder: Path) -> bytes:
    """The float model, not pruned, fine-tuned on the same images for as many steps."""
    graph = read_model(model)
    result = train(
        pruning_form(graph),
        None,
        open_dataset(_training_images(workplace), role="training"),
        PREPROCESSING,
        TrainOptions(epochs=1 if workplace.quick else PRUNE_EPOCHS, batch=BATCH),
        teacher=prepare(graph),
        checkpoint=folder / "control.checkpoint.npz",
        key="control",
        threads=physical_cores(),
        earliest=1,
    )
    return bytes(onnx_model(prepare(result.graph)).SerializeToString())


def _latencies(pruned: Path, workplace: Workplace, folder: Path) -> list[Figure]:
    """Of the pruned INT8 over the unpruned, at the model's size and at full size."""
    figures = []
    for size in (REAL_SIZE, FULL_SIZE):
        ours, theirs = (_quantized(file, "cpu", workplace, folder, size) for file in (pruned, workplace.real_model()))
        for runtime, (kind, limit) in LATENCIES.items():
            seconds = "1" if workplace.quick else "10"
            options = ("--runtime", runtime, "--seconds", seconds, "--json")
            document = edgex("bench", _file(ours, kind), _file(theirs, kind), *options, folder=folder).stdout
            (ratio,) = json.loads(document)["ratios"]
            measure = f"channels: latency of INT8 at {size} / not pruned, in {runtime}"
            figures.append(Figure(measure, ratio["ratio"], limit, "×", ratio["low"], ratio["high"]))
    return figures


def _keras_error(file: Path) -> float:
    """Largest difference of the answers, over the largest answer."""
    import onnxruntime

    with silent_imports():
        import keras

    draw = np.random.default_rng(0)
    images = draw.uniform(-1, 1, (IMAGES, REAL_SIZE, REAL_SIZE, 3)).astype(np.float32)
    of_keras = keras.saving.load_model(file, compile=False)(images, training=False).numpy()
    session = onnxruntime.InferenceSession(onnx_model(prepare(read_model(file))).SerializeToString())
    (name,) = (entry.name for entry in session.get_inputs())
    ours = np.concatenate([session.run(None, {name: image[np.newaxis]})[0] for image in images])
    return float(np.abs(of_keras - ours).max() / np.abs(of_keras).max())
