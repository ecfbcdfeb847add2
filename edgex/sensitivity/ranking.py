"""What the quantization of each layer alone costs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from edgex.execute import Logits, open_network
from edgex.graph.ir import Add, Node
from edgex.parallel import ahead
from edgex.quantize.layout import WEIGHTED_OPS
from edgex.report import LayerSensitivity
from edgex.sensitivity.simulation import Probe, cost, plan_of_one
from edgex.sensitivity.subject import Subject

RANKED_OPS = (*WEIGHTED_OPS, Add)
"""What computes; between them, these read or make every tensor that is stored."""


@dataclass(frozen=True)
class Probes:
    """``noise`` tells what signal-to-noise ratio is left, ``labelled`` which predictions change."""

    noise: Probe
    labelled: Probe | None


def rank_layers(subject: Subject, probes: Probes, progress: Callable[[int, int], None]) -> tuple[LayerSensitivity, ...]:
    """Quantize one layer at a time, worst first.

    The next network is written and loaded while one runs, so three are in memory at most.
    """
    graph, plan, form = subject.graph, subject.plan, subject.form
    nodes = [node for node in graph.nodes if isinstance(node.op, RANKED_OPS) and plan.is_int8(node.name)]

    def opened(node: Node) -> Logits:
        return open_network(graph, plan_of_one(graph, plan, node.name), form)

    rows = []
    for node, network in zip(nodes, ahead(opened, nodes, workers=1), strict=True):
        found = cost(network, probes.noise, probes.labelled)
        rows.append(LayerSensitivity(layer=node.name, operation=type(node.op).__name__, **found.model_dump()))
        progress(len(rows), len(nodes))
    return tuple(sorted(rows, key=lambda row: math.inf if row.snr_db is None else row.snr_db))
