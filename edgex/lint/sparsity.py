"""2:4 sparsity, the pattern of zeros that NVIDIA's GPUs skip, from Ampere on.

Of every four consecutive input channels of a kernel at most two have a weight, for each output channel and at each
position (Mishra et al. 2021, https://arxiv.org/abs/2104.08378).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.lint.onnx_file import OnnxFile


def is_two_four_sparse(kernel: NDArray[Any]) -> bool:
    """Whether a kernel (output channels, input channels, height, width) has the pattern.

    Never where the input channels make no whole groups of four, as those of a depthwise kernel.
    """
    outputs, inputs = kernel.shape[:2]
    if inputs % 4:
        return False
    groups = kernel.reshape(outputs, inputs // 4, 4, -1)
    return bool((np.count_nonzero(groups, axis=2) <= 2).all())


def has_two_four_sparsity(file: OnnxFile) -> bool:
    """Whether some convolution's kernel has the pattern. Not all need to: a stem that reads three channels cannot."""
    kernels = (_kernel(file, node.input[1]) for node in file.nodes if node.op_type == "Conv")
    return any(kernel is not None and is_two_four_sparse(kernel) for kernel in kernels)


def dense_kernels(file: OnnxFile) -> list[str]:
    """Convolutions that could have the pattern and have not, by name: those that read whole groups of four channels."""
    found = []
    for node in file.nodes:
        kernel = _kernel(file, node.input[1]) if node.op_type == "Conv" else None
        if kernel is not None and kernel.shape[1] % 4 == 0 and not is_two_four_sparse(kernel):
            found.append(node.name)
    return found


def _kernel(file: OnnxFile, value: str) -> NDArray[Any] | None:
    """A kernel as the file stores it, quantized or not; None if it is computed, or is none."""
    while (quantizer := file.quantizers.get(value)) is not None:
        value = quantizer.node.input[0]
    kernel = file.array(value)
    return kernel if kernel is not None and kernel.ndim > 2 and kernel.size else None
