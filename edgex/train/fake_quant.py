"""Fake quantization that follows the plan: what training simulates is what the writers write.

TensorFlow Model Optimization wraps each layer (``quantize_annotate`` and ``quantize_apply``) and asks our
:class:`NodeQuantization` which of its weights to quantize, and how its output. Its own quantizers would not do: they
start activations at ±6, average the extremes of whole batches, which one odd image drives, and take the last axis of a
depthwise kernel, the multiplier, for its output channels.

Gradients pass straight through a rounding and stop where a value is clipped (Jacob et al. 2018, arXiv:1712.05877).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgex.graph.ir import Array, AveragePool2D, DepthwiseConv2D, Graph, Op, Resize
from edgex.plan import SMALLEST_SCALE, TIED_OPS, QuantizationPlan, Range, Scheme, WeightBits, weight_levels
from edgex.quantize.observers import ODD_FACTOR
from edgex.train.network import ATTRIBUTES, CUSTOM_FUNCTIONS, layer_name

if TYPE_CHECKING:
    import tf_keras

AVERAGE_OF = 100
"""Batches, about, whose images a range is the average of."""

PREFIX = "quantized."
"""What the name of a wrapped layer begins with."""


class KernelQuantizer:
    """Symmetric, narrow, per output channel, as :func:`edgex.plan.quantize_kernel`; the scale is the kernel's own."""

    def __init__(self, bits: WeightBits, *, depthwise: bool) -> None:
        self.bits = bits
        self.depthwise = depthwise

    def build(self, _shape: Any, _name: str, _layer: Any) -> dict[str, Any]:
        """No variables."""
        return {}

    def __call__(self, kernel: Any, _training: bool, **_variables: Any) -> Any:
        import tensorflow as tf

        kernel = tf.convert_to_tensor(kernel)
        values = tf.cast(kernel, tf.float32)
        if self.depthwise:  # which counts its output channels on its last two axes
            values = tf.reshape(values, [*kernel.shape[:2], -1])
        largest = tf.reduce_max(tf.abs(values), axis=list(range(values.shape.rank - 1)))
        largest = tf.maximum(largest, float(SMALLEST_SCALE) * weight_levels(self.bits))

        def rounded(values: Any) -> Any:
            return tf.quantization.fake_quant_with_min_max_vars_per_channel(
                values, -largest, largest, num_bits=self.bits, narrow_range=True
            )

        # Nothing is clipped, but TensorFlow would take some of the largest weights for it
        straight_through = tf.grad_pass_through(rounded)
        return tf.cast(tf.reshape(straight_through(values), kernel.shape), kernel.dtype)


class ActivationQuantizer:
    """Per tensor, by a range that starts where calibration put it.

    In training it follows the average of the images' own extremes, odd images left out, as calibration's does;
    called without training, it stays.
    """

    def __init__(self, span: Range, scheme: Scheme, *, follows: bool) -> None:
        self.span = span
        self.scheme = scheme
        self.follows = follows

    def build(self, _shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """The two ends of the range, float32 scalars."""
        import tensorflow as tf

        self.ends = [
            layer.add_weight(
                f"{name}_{end}",
                dtype=tf.float32,
                initializer=tf.constant_initializer(value),
                trainable=False,
                experimental_autocast=False,
                aggregation=tf.VariableAggregation.MEAN,  # over replicas, each of which sees images of its own
            )
            for end, value in zip(("low", "high"), self.span, strict=True)
        ]
        return {"ends": self.ends}

    def __call__(self, tensor: Any, training: bool, weights: Mapping[str, Any]) -> Any:
        import tensorflow as tf

        values = tf.cast(tensor, tf.float32)
        low, high = weights["ends"]
        if training and self.follows:
            low, high = _follow(values, low, high)
        if self.scheme == "symmetric":
            high = tf.maximum(-low, high)
            low = -high
        rounded = tf.quantization.fake_quant_with_min_max_vars(
            values, low, high, num_bits=8, narrow_range=self.scheme == "symmetric"
        )
        return tf.cast(rounded, tensor.dtype)

    @property
    def learned(self) -> Range:
        """The range as it is now."""
        return Range(*(float(end.numpy()) for end in self.ends))


def _follow(values: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """Move the ends of a range a little towards the mean extremes of these images (n, …); returns their new values."""
    import tensorflow as tf

    values = tf.stop_gradient(values)
    axes = list(range(1, values.shape.rank))
    lows, highs = tf.reduce_min(values, axes), tf.reduce_max(values, axes)
    usual = tf.maximum(-lows, highs) <= ODD_FACTOR * tf.maximum(-low, high)
    count = tf.reduce_sum(tf.cast(usual, tf.float32))
    share = tf.math.divide_no_nan(count, tf.cast(tf.size(usual), tf.float32))

    def moved(end: Any, extremes: Any) -> Any:
        mean = tf.math.divide_no_nan(tf.reduce_sum(tf.where(usual, extremes, 0.0)), count)
        return end.assign_add(share / AVERAGE_OF * (mean - end))

    return moved(low, tf.minimum(lows, 0.0)), moved(high, tf.maximum(highs, 0.0))


class NodeQuantization:
    """TensorFlow Model Optimization's ``QuantizeConfig`` of one node, as the plan has it.

    It is registered as one, and not derived from it, so that this file imports without TensorFlow.

    Attributes:
        kernel: how the kernel is quantized; None leaves it in float.
        output: how the tensor that the node makes is; None where it is not stored, or lies on its input's grid.
        variable: the kernel, once the layer is built; Keras' own attribute then holds the quantized one.
    """

    def __init__(self, kernel: KernelQuantizer | None, output: ActivationQuantizer | None, attribute: str) -> None:
        self.kernel = kernel
        self.output = output
        self.attribute = attribute
        self.variable: Any = None

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, KernelQuantizer]]:
        if self.kernel is None:
            return []
        self.variable = getattr(layer, self.attribute)
        return [(self.variable, self.kernel)]

    def set_quantize_weights(self, layer: Any, quantized: Iterable[Any]) -> None:
        for kernel in quantized:
            setattr(layer, self.attribute, kernel)

    def get_activations_and_quantizers(self, _layer: Any) -> list[Any]:
        return []

    def set_quantize_activations(self, _layer: Any, _activations: Any) -> None:
        pass

    def get_output_quantizers(self, _layer: Any) -> list[ActivationQuantizer]:
        return [] if self.output is None else [self.output]

    def get_config(self) -> dict[str, Any]:
        kernel, output = self.kernel, self.output
        return {
            "kernel": kernel and {"bits": kernel.bits, "depthwise": kernel.depthwise},
            "output": output and {"span": list(output.span), "scheme": output.scheme, "follows": output.follows},
            "attribute": self.attribute,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "NodeQuantization":
        kernel, output = config["kernel"], config["output"]
        return cls(
            kernel and KernelQuantizer(**kernel),
            output and ActivationQuantizer(**{**output, "span": Range(*output["span"])}),
            config["attribute"],
        )


class PlanScheme:
    """TensorFlow Model Optimization's ``QuantizeScheme`` that adds nothing to what is annotated."""

    def get_layout_transformer(self) -> "PlanScheme":
        return self

    def apply(self, model: Any, annotated: Any) -> tuple[Any, Any]:
        return model, annotated

    def get_quantize_registry(self) -> "PlanScheme":
        return self

    def supports(self, _layer: Any) -> bool:
        return False


def node_quantizations(graph: Graph, plan: QuantizationPlan) -> dict[str, NodeQuantization]:
    """What to quantize of each node, by name; nodes of which nothing is are missing."""
    on_grid = _on_their_inputs_grid(graph, plan)
    together = {name for group in plan.ties for name in group if set(group) - on_grid != {name}}
    found = {}
    for node in graph.nodes:
        kernel = output = None
        if "kernel" in node.params and plan.is_int8(node.name):
            kernel = KernelQuantizer(plan.weight_bits, depthwise=isinstance(node.op, DepthwiseConv2D))
        if node.name in plan.ranges and node.name not in on_grid:
            # Tensors that share a range with one computed elsewhere cannot follow what they see alone
            follows = node.name not in together
            output = ActivationQuantizer(plan.ranges[node.name], plan.scheme, follows=follows)
        if kernel is not None or output is not None:
            attribute = ATTRIBUTES.get(type(node.op), {}).get("kernel", "")
            found[node.name] = NodeQuantization(kernel, output, attribute)
    return found


def _on_their_inputs_grid(graph: Graph, plan: QuantizationPlan) -> set[str]:
    """Tensors made by moving or comparing bytes of one stored tensor: rounding them again would change nothing."""
    return {
        node.name
        for node in graph.nodes
        if isinstance(node.op, TIED_OPS)
        and not _averages(node.op)
        and len(node.inputs) == 1
        and plan.is_int8(node.name)
    }


def _averages(op: Op) -> bool:
    return isinstance(op, AveragePool2D) or (isinstance(op, Resize) and op.method == "bilinear")


def quantize_network(model: "tf_keras.Model", graph: Graph, plan: QuantizationPlan) -> "tf_keras.Model":
    """Wrap the layers of :func:`edgex.train.network.keras_model`, so that they compute what the artifacts will.

    Called with ``training=True`` the model also moves its ranges.
    """
    import tf_keras
    from tensorflow_model_optimization.quantization import keras as tfmot

    tfmot.QuantizeConfig.register(NodeQuantization)
    of_layers = {layer_name(node): quantization for node, quantization in node_quantizations(graph, plan).items()}

    def annotated(layer: Any) -> Any:
        quantization = of_layers.get(layer.name)
        return layer if quantization is None else tfmot.quantize_annotate_layer(layer, quantization)

    with tf_keras.utils.custom_object_scope({"NodeQuantization": NodeQuantization, **CUSTOM_FUNCTIONS}):
        return tfmot.quantize_apply(
            tf_keras.models.clone_model(model, clone_function=annotated),
            scheme=PlanScheme(),
            quantized_layer_name_prefix=PREFIX,
        )


def weight_variables(model: "tf_keras.Model", graph: Graph) -> dict[str, dict[str, Any]]:
    """The variables of each node that has some to train, by the names of the node's ``params``.

    The model may have wrapped layers, of whatever wrapper.
    """
    layers = {_unwrapped(layer).name: layer for layer in model.layers}
    found = {}
    for node in graph.nodes:
        if attributes := ATTRIBUTES.get(type(node.op)):
            layer = layers[layer_name(node.name)]
            variables = {param: getattr(_unwrapped(layer), attribute) for param, attribute in attributes.items()}
            quantization = getattr(layer, "quantize_config", None)
            if quantization is not None and quantization.variable is not None:
                variables["kernel"] = quantization.variable
            found[node.name] = {param: variable for param, variable in variables.items() if variable is not None}
    return found


def read_weights(model: "tf_keras.Model", graph: Graph) -> dict[str, dict[str, Array]]:
    """The values of :func:`weight_variables`."""
    return {
        name: {param: variable.numpy() for param, variable in variables.items()}
        for name, variables in weight_variables(model, graph).items()
    }


def _unwrapped(layer: Any) -> Any:
    return getattr(layer, "layer", layer)


def learned_plan(model: "tf_keras.Model", graph: Graph, plan: QuantizationPlan) -> QuantizationPlan:
    """``plan`` with the ranges that the wrapped model has now; tied tensors stay tied."""
    ranges = dict(plan.ranges)
    layers = {layer.name.removeprefix(PREFIX): layer for layer in model.layers}
    on_grid = _on_their_inputs_grid(graph, plan)
    for node in graph.nodes:
        quantization = getattr(layers.get(layer_name(node.name)), "quantize_config", None)
        output = getattr(quantization, "output", None)
        if output is not None:
            ranges[node.name] = output.learned
        elif node.name in on_grid:
            ranges[node.name] = ranges[node.inputs[0]]
    return replace(plan, ranges=ranges)
