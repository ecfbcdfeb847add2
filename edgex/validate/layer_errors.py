"""How the error grows from layer to layer of an INT8 file.

Both ONNX files of a directory run with the layers' outputs exposed. In the INT8 file these are the dequantized
tensors, which have the names that they have in the float file (see :mod:`edgex.write.onnx`), so a layer whose
activation runs inside it appears under the name of the activation.

Equalization gives depthwise outputs another scale per channel, in the INT8 file alone. The plan lists these layers;
they are left out.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgex.exposed import exposed
from edgex.graph.ir import Array
from edgex.lint.onnx_file import OnnxFile, read_onnx_file
from edgex.pipeline import PLAN_NAME
from edgex.plan import read_plan
from edgex.report import LayerError
from edgex.runtime import physical_cores


def layer_errors(fp32: Path, int8: Path, images: Iterable[Array], threads: int | None = None) -> tuple[LayerError, ...]:
    """Signal-to-noise ratio of each layer's output in an INT8 file, to that in its float twin.

    Args:
        fp32: the float ONNX file.
        int8: the INT8 one, with its plan beside it.
        images: batches (n, height, width, channels), preprocessed.
        threads: that one inference may use; None for the physical cores.

    Returns:
        In the order of the network. Tensors that are equal in both files, or zero throughout, have no ratio and are
        missing. Empty for files that edgex did not write.

    Raises:
        ModelError: a file is damaged, or ONNX Runtime refuses it.
        UsageError: the plan is damaged.
    """
    plan = int8.with_name(PLAN_NAME)
    if not plan.is_file():
        return ()
    equalized = read_plan(plan).calibration.get("equalized", ())
    float_file, int8_file = read_onnx_file(fp32), read_onnx_file(int8)
    names = [name for name in _dequantized(int8_file) if name in float_file.producers and name not in equalized]
    if not names:
        return ()
    threads = physical_cores() if threads is None else threads
    signal, noise = np.zeros((2, len(names)))
    with exposed(float_file, names, threads) as run_float, exposed(int8_file, names, threads) as run_int8:
        for batch in images:
            for number, (expected, found) in enumerate(zip(run_float(batch), run_int8(batch), strict=True)):
                if found.shape == expected.shape:  # a pruned network has fewer channels
                    signal[number] += np.square(expected, dtype=np.float64).sum()
                    noise[number] += np.square(found - expected, dtype=np.float64).sum()
    return tuple(
        LayerError(layer=name.removesuffix(".body"), snr_db=10 * float(np.log10(power / error)))
        for name, power, error in zip(names, signal, noise, strict=True)
        if power and error
    )


def _dequantized(file: OnnxFile) -> list[str]:
    """The activations, as they are read after being stored in 8 bits."""
    return [name for name, each in file.quantizers.items() if each.is_dequantizer and not each.of_constant]
