"""Bias correction: take out of each layer's output the mean error that its quantized weights make.

Rounded weights shift the mean of an output channel, the same way for every image, and such shifts add up from layer to
layer. The mean of what the layer reads tells how far, and the bias takes it back (Nagel et al. 2019, arXiv:1906.04721,
section 4.2; with the mean measured on images in place of derived from batch norm).
"""

from collections.abc import Mapping

import numpy as np

from edgex.graph.ir import Graph, Node
from edgex.graph.passes.result import PassResult
from edgex.plan import QuantizationPlan, quantize_kernel
from edgex.quantize.statistics import InputStatistics, grouped_kernel


def correct_biases(
    graph: Graph, plan: QuantizationPlan, statistics: Mapping[str, InputStatistics], reference: Graph
) -> PassResult:
    """Give each INT8 layer the bias with which its quantized weights make no mean error on the images.

    Args:
        graph: its kernels are what the writer will quantize, whether still float or on their grids.
        plan: for this graph.
        statistics: of :func:`edgex.quantize.statistics.layer_statistics`.
        reference: the graph to be like, with float kernels and the biases that belong to them; ``graph`` itself
            if nothing has changed its kernels yet.
    """
    corrected = {name: [_corrected(graph[name], reference[name], plan, read)] for name, read in statistics.items()}
    return PassResult(graph.rewrite(corrected), tuple(corrected))


def _corrected(node: Node, reference: Node, plan: QuantizationPlan, read: InputStatistics) -> Node:
    bias = reference.params.get("bias")
    kernel = grouped_kernel(node)
    quantized = quantize_kernel(kernel, (0, 2), bias, plan.parameters(node.inputs[0]).scale, plan.weight_bits)
    error = quantized.values * quantized.scales.reshape(len(kernel), 1, -1) - grouped_kernel(reference)
    shift = (read.mean[:, np.newaxis] @ error).reshape(-1)
    return node.with_params(bias=-shift if bias is None else bias - shift)
