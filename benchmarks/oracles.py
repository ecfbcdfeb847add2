"""What edgex is compared to: the converters and quantizers that people use today, as their manuals show them.

As a program, ``python -m benchmarks.oracles ORACLE… --model M --calib D --size N --folder F``, it runs some of them in
one process, as ``edgex quantize`` makes its files in one.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs import preprocessed
from benchmarks.processes import Run, run

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """What an oracle is given.

    Attributes:
        model: a ``.keras`` file.
        calib: images, see :mod:`edgex.dataset`.
        size: height and width that the model reads.
        folder: to write into.
        count: images at most; None for all.
        nncf_python: Python of an environment with nncf and onnx, for the oracle of that name.
    """

    model: Path
    calib: Path
    size: int
    folder: Path
    count: int | None = None
    nncf_python: Path | None = None

    @cached_property
    def keras_model(self) -> Any:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        import keras

        return keras.saving.load_model(self.model)

    @cached_property
    def images(self) -> Images:
        """(images, size, size, 3)"""
        return preprocessed(self.calib, self.size, self.count)


def tensorflow(job: Job, path: Path) -> None:
    """TensorFlow's converter, full integer quantization after training; float at the ends."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(job.keras_model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in job.images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    path.write_bytes(converter.convert())


def onnxruntime(job: Job, path: Path) -> None:
    """ONNX Runtime's ``quantize_static`` on Keras' export: weights per channel, its default ranges (min-max), U8S8."""
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    float_onnx = _keras_onnx(job)
    name = ort.InferenceSession(float_onnx).get_inputs()[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # it has no types
        def __init__(self) -> None:
            self._images = iter(job.images)

        def get_next(self) -> dict[str, Images] | None:
            image = next(self._images, None)
            return None if image is None else {name: image[np.newaxis]}

    quantize_static(
        float_onnx,
        path,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def ai_edge_quantizer(job: Job, path: Path) -> None:
    """ai-edge-quantizer on TensorFlow's float file: weights and activations in 8 bits, its default ranges."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    float_tflite = tf.lite.TFLiteConverter.from_keras_model(job.keras_model).convert()
    ((signature, ends),) = Interpreter(model_content=float_tflite).get_signature_list().items()

    samples = [{ends["inputs"][0]: image[np.newaxis]} for image in job.images]
    tool = quantizer.Quantizer(float_tflite, recipe.static_wi8_ai8())
    tool.quantize(tool.calibrate({signature: samples})).export_model(path, overwrite=True)


def nncf(job: Job, path: Path) -> None:
    """NNCF's quantization after training on Keras' export, in the environment that has it."""
    assert job.nncf_python is not None
    images = job.folder / "images.npy"
    np.save(images, job.images)
    program = Path(__file__).with_name("nncf_program.py")
    subprocess.run([job.nncf_python, program, _keras_onnx(job), images, path], check=True)
    images.unlink()


def _keras_onnx(job: Job) -> Path:
    """The ONNX export of Keras, through tf2onnx."""
    from keras import InputSpec

    path = job.folder / "keras.fp32.onnx"
    images = InputSpec(shape=(None, job.size, job.size, 3), dtype="float32")
    job.keras_model.export(path, format="onnx", verbose=False, input_signature=[images])
    return path


class Oracle(NamedTuple):
    """The name of the file that an oracle writes, and how it writes it."""

    file: str
    write: Callable[[Job, Path], None]


ORACLES = {
    "TensorFlow's converter": Oracle("tensorflow.int8.tflite", tensorflow),
    "ORT quantize_static": Oracle("onnxruntime.int8.onnx", onnxruntime),
    "ai-edge-quantizer": Oracle("ai-edge-quantizer.int8.tflite", ai_edge_quantizer),
    "NNCF": Oracle("nncf.int8.onnx", nncf),
}

TENSORFLOW, ONNXRUNTIME, AI_EDGE_QUANTIZER, NNCF = ORACLES


def run_oracles(names: Sequence[str], job: Job) -> Run:
    """Run oracles, of ``ORACLES``, in one process of their own."""
    what: list[str | Path] = ["--model", job.model, "--calib", job.calib, "--size", str(job.size)]
    if job.count is not None:
        what += ["--count", str(job.count)]
    if job.nncf_python is not None:
        what += ["--nncf-python", job.nncf_python]
    command = [sys.executable, "-m", "benchmarks.oracles", *names, *what, "--folder", job.folder]
    return run(*command, folder=job.folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("oracles", nargs="+", choices=ORACLES)
    for name in ("--model", "--calib", "--folder", "--nncf-python"):
        parser.add_argument(name, type=Path)
    for name in ("--size", "--count"):
        parser.add_argument(name, type=int)
    given = vars(parser.parse_args())
    names = given.pop("oracles")
    job = Job(**given)
    for name in names:
        oracle = ORACLES[name]
        oracle.write(job, job.folder / oracle.file)


if __name__ == "__main__":
    main()
