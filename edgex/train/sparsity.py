"""Pruning of single weights while a network trains, by the wrappers of TensorFlow Model Optimization.

A wrapped layer has a mask of its kernel, zero where a weight went. Masks are set in steps that the wrapper counts, and
it does so only when it is called with ``training=True``.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgex.graph.ir import Conv2D, Dense, Graph, Node
from edgex.prune.layer_shares import lamp_shares
from edgex.train.network import layer_name

if TYPE_CHECKING:
    import tf_keras

MOVES = 20
"""Times that the masks of a schedule move, at most. Each sorts all weights, which is seconds in a large network."""

SETTLED_FROM = 0.25
"""Of all steps: masks of ``magnitude`` move no more from here on.

The rate falls along a cosine: of all that weights move, 18 % is left at half of the steps to make up for what has gone,
and 52 % at a quarter.
"""


@dataclass(frozen=True)
class Sparsity:
    """Which weights go.

    Attributes:
        method: ``2:4``, of every four along the input channels of a convolution the smaller two, before training
            begins (Mishra et al. 2021, arXiv:2104.08378); ``magnitude``, the smallest of each kernel, more and more of
            them over the first quarter of training (Zhu & Gupta 2017, arXiv:1710.01878). Depthwise kernels keep theirs:
            they are few, and have no input channels to choose from. So do grouped ones.
        share: of the weights of all those kernels that go; 0.5 for ``2:4``. How many of each go by magnitude is as
            :func:`edgex.prune.layer_shares.lamp_shares` has it.
    """

    method: Literal["2:4", "magnitude"]
    share: float

    def settled_after(self, steps: int) -> int:
        """The step, of so many in all, from which on masks stay as they are."""
        return 0 if self.method == "2:4" else max(1, int(steps * SETTLED_FROM))

    def applies_to(self, node: Node) -> bool:
        """Whether the node's kernel is pruned."""
        if self.method == "2:4":
            return isinstance(node.op, Conv2D) and node.op.groups == 1 and node.params["kernel"].shape[2] % 4 == 0
        return isinstance(node.op, Dense) or (isinstance(node.op, Conv2D) and node.op.groups == 1)


def sparse_network(model: "tf_keras.Model", graph: Graph, sparsity: Sparsity, steps: int) -> "tf_keras.Model":
    """Wrap the layers of :func:`edgex.train.network.keras_model`, so that they are pruned while they train.

    Args:
        model: its layers become those of the new one.
        graph: that it was made of.
        sparsity: see there.
        steps: of training.
    """
    import tf_keras
    from tensorflow_model_optimization.sparsity import keras as tfmot

    kernels = {layer_name(node.name): node.params["kernel"] for node in graph.nodes if sparsity.applies_to(node)}
    if sparsity.method == "2:4":
        shares = dict.fromkeys(kernels, sparsity.share)
    else:
        shares = lamp_shares(kernels, sparsity.share)

    def wrapped(layer: Any) -> Any:
        if not shares.get(layer.name):
            return layer
        return tfmot.prune_low_magnitude(layer, **_settings(sparsity, shares[layer.name], steps))

    network = tf_keras.models.clone_model(model, clone_function=wrapped)
    for layer in _wrappers(network):
        if sparsity.method == "2:4":
            layer.pruning_step.assign(1)  # the only one at which the wrapper sets such masks
            layer.pruning_obj.conditional_mask_update()
            layer.pruning_obj.weight_mask_op()
        else:
            layer.pruning_step.assign(0)
    return network


def masked_kernels(model: "tf_keras.Model") -> list[tuple[Any, Any]]:
    """The variable of each kernel that is pruned, and that of its mask.

    The optimizer moves what is masked too, so after a step kernels are to be multiplied by their masks.
    """
    return [(kernel, mask) for layer in _wrappers(model) for kernel, mask, _ in layer.pruning_vars]


def _wrappers(model: "tf_keras.Model") -> list[Any]:
    return [layer for layer in model.layers if hasattr(layer, "pruning_vars")]


def _settings(sparsity: Sparsity, share: float, steps: int) -> dict[str, Any]:
    """Of a layer, ``share`` of whose weights go."""
    from tensorflow_model_optimization.sparsity import keras as tfmot

    if sparsity.method == "2:4":
        return {"pruning_schedule": tfmot.ConstantSparsity(share, 0), "sparsity_m_by_n": (2, 4)}
    end = sparsity.settled_after(steps)
    moves = min(MOVES, end)
    frequency = end // moves
    # The last move is at the end, or the share would not be reached
    schedule = tfmot.PolynomialDecay(0.0, share, end - moves * frequency, end, frequency=frequency)
    return {"pruning_schedule": schedule}
