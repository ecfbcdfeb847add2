"""A network that is trained to answer as its float teacher does, on all devices that there are.

The loss is the divergence of the student's answer from the teacher's (Hinton et al. 2015, arXiv:1503.02531), and where
there are labels the cross-entropy besides.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.graph.ir import Graph
from edgex.plan import QuantizationPlan
from edgex.train.batches import Batch
from edgex.train.checkpoint import Arrays
from edgex.train.fake_quant import quantize_network, weight_variables
from edgex.train.network import configure_tensorflow, keras_model
from edgex.train.sparsity import Sparsity, masked_kernels, sparse_network

LEAST_ZEROS = 0.1
"""Share of a kernel's weights that are zero, from which on it counts as pruned."""


class Student:
    """A model, its teacher, and its optimizer.

    Attributes:
        model: the ``tf_keras`` model that is trained; it gives logits.
    """

    def __init__(
        self,
        graph: Graph,
        plan: QuantizationPlan | None,
        teacher: Graph,
        schedule: tuple[float, int],
        *,
        labelled: bool,
        threads: int,
        devices: Sequence[str] | None = None,
        half_precision: bool | None = None,
        sparsity: Sparsity | None = None,
        keep_zeros: bool = False,
    ) -> None:
        """Build it.

        Args:
            graph: as :func:`edgex.train.network.keras_model` takes it, ends at the logits.
            plan: what to quantize of a prepared graph; None trains in float, and no layer gains a bias.
            teacher: likewise, in float.
            schedule: learning rate at the start of its cosine, and steps to its end.
            labelled: whether labels count.
            threads: of TensorFlow, unless it runs already.
            devices: those to share each batch, as TensorFlow calls them; None for all GPUs, or else the CPU.
            half_precision: whether to compute in float16; None for where there are GPUs. With a sparsity never.
            sparsity: what to prune while training in float.
            keep_zeros: whether the zeros of a kernel that was pruned before stay.

        Raises:
            ValueError: both a plan and a sparsity.
        """
        import tensorflow as tf
        import tf_keras

        if plan is not None and sparsity is not None:
            raise ValueError("weights are pruned in float, before they are quantized")
        configure_tensorflow(threads)
        gpus = tf.config.list_physical_devices("GPU")
        wanted = bool(gpus) if half_precision is None else half_precision
        half = wanted and sparsity is None  # the wrappers would round the variables too, each time they mask them
        self._labelled = labelled
        several = devices is not None or len(gpus) > 1
        self._strategy = _mirrored(devices and tuple(devices)) if several else tf.distribute.get_strategy()
        with self._strategy.scope(), _half_precision(half):
            self._teacher = keras_model(teacher, biases=False)
            self.model = keras_model(graph, biases=plan is not None)
            if plan is not None:
                self.model = quantize_network(self.model, graph, plan)
            if sparsity is not None:
                self.model = sparse_network(self.model, graph, sparsity, schedule[1])
            self._optimizer = tf_keras.optimizers.Adam(tf_keras.optimizers.schedules.CosineDecay(*schedule))
            if half:
                self._optimizer = tf_keras.mixed_precision.LossScaleOptimizer(self._optimizer)
            self._optimizer.build(self.model.trainable_variables)
        self._masked = masked_kernels(self.model)
        self._pruned = _kernels_with_zeros(self.model, graph) if keep_zeros else []
        self._compiled = {follow: self._on_devices(self._train, follow) for follow in (True, False)}
        self._judge = self._on_devices(self._score, False)

    @property
    def weights(self) -> Arrays:
        """The model's variables."""
        return tuple(variable.numpy() for variable in self.model.variables)

    @property
    def state(self) -> Arrays:
        """The model's variables and the optimizer's."""
        return tuple(variable.numpy() for variable in self._variables)

    @property
    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self._optimizer.variables]

    def restore(self, state: Arrays) -> None:
        """The inverse of :attr:`state`, or of :attr:`weights`, which is its head."""
        for variable, array in zip(self._variables, state, strict=False):
            variable.assign(array)

    def step(self, batch: Batch, *, follow: bool) -> None:
        """Take one step.

        With ``follow`` ranges and the running statistics of batch norm follow what they see, masks of a sparsity move
        when it is their turn, and batch norm normalizes by the batch. Without, they all stay, and batch norm normalizes
        by its running statistics, as it will when it is folded.
        """
        self._compiled[follow](batch)

    def evaluate(self, batches: Iterable[Batch]) -> tuple[float, float]:
        """Mean loss, and top-1 as a fraction: by labels, or by what the teacher says where there are none."""
        sums = np.zeros(3)
        for batch in batches:
            sums += self._judge(batch)
        loss, right, images = sums
        return float(loss / images), float(right / images)

    def _on_devices(self, function: Callable[..., Any], follow: bool) -> Callable[[Batch], NDArray[np.float64]]:
        """``function`` compiled, of a batch that is shared out among the devices; returns the sum of its results."""
        import tensorflow as tf

        strategy = self._strategy
        replicas = strategy.num_replicas_in_sync

        def on_devices(images: Any, labels: Any, count: Any) -> Any:
            results = strategy.run(function, (images, labels, count, follow))
            return strategy.reduce(tf.distribute.ReduceOp.SUM, results, axis=None)

        compiled = tf.function(on_devices, autograph=False, reduce_retracing=True)

        def shared_out(array: NDArray[Any]) -> Any:
            if replicas == 1:
                return tf.constant(array)
            parts = np.array_split(array, replicas)
            return strategy.experimental_distribute_values_from_function(
                lambda context: tf.constant(parts[context.replica_id_in_sync_group])
            )

        def on_batch(batch: Batch) -> NDArray[np.float64]:
            # Not all kernels can do without an image, so each device gets the whole of a batch that is too small
            copies = replicas if len(batch.images) < replicas else 1
            images, labels = (np.repeat(array, copies, axis=0) for array in batch)
            count = tf.constant(len(images), tf.float32)
            summed: NDArray[np.float64] = compiled(shared_out(images), shared_out(labels), count).numpy()
            return summed / copies

        return on_batch

    def _losses(self, images: Any, labels: Any, training: bool) -> tuple[Any, Any]:
        """Loss of each image (n,), and logits (n, classes)."""
        import tensorflow as tf

        taught = tf.nn.log_softmax(tf.cast(self._teacher(images, training=False), tf.float32))
        logits = tf.cast(self.model(images, training=training), tf.float32)
        losses = divergence(taught, logits)
        if self._labelled:
            losses += tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return losses, (taught, logits)

    def _train(self, images: Any, labels: Any, count: Any, follow: bool) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            losses, _ = self._losses(images, labels, follow)
            loss = tf.reduce_sum(losses) / count  # of all devices, whose gradients are summed
            scaled = self._scaled(loss)
        gradients = tape.gradient(scaled, self.model.trainable_variables)
        masks = [
            *self._masked,
            *((kernel, tf.cast(tf.not_equal(kernel, 0.0), tf.float32)) for kernel in self._pruned),
        ]
        self._optimizer.apply_gradients(zip(self._unscaled(gradients), self.model.trainable_variables, strict=True))
        for kernel, mask in masks:
            kernel.assign(kernel * mask)
        return loss

    def _score(self, images: Any, labels: Any, _count: Any, _follow: bool) -> Any:
        import tensorflow as tf

        losses, (taught, logits) = self._losses(images, labels, False)
        truth = labels if self._labelled else tf.argmax(taught, axis=1)
        right = tf.cast(tf.argmax(logits, axis=1) == truth, tf.float32)
        return tf.stack([tf.reduce_sum(losses), tf.reduce_sum(right), tf.cast(tf.shape(losses)[0], tf.float32)])

    def _scaled(self, loss: Any) -> Any:
        scale = getattr(self._optimizer, "get_scaled_loss", None)
        return loss if scale is None else scale(loss)

    def _unscaled(self, gradients: Any) -> Any:
        unscale = getattr(self._optimizer, "get_unscaled_gradients", None)
        return gradients if unscale is None else unscale(gradients)


@cache
def _mirrored(devices: tuple[str, ...] | None) -> Any:
    """The one strategy of a process for some devices: TensorFlow mixes up what two of them sum over devices."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


def divergence(taught: Any, logits: Any) -> Any:
    """Of each answer from the teacher's (n,): log-probabilities and logits (n, classes), by Kullback and Leibler."""
    import tensorflow as tf

    return tf.reduce_sum(tf.exp(taught) * (taught - tf.nn.log_softmax(logits)), axis=1)


def _kernels_with_zeros(model: Any, graph: Graph) -> list[Any]:
    """The variables of those of which enough is zero; all others pay nothing."""
    kernels = [variables["kernel"] for variables in weight_variables(model, graph).values() if "kernel" in variables]
    return [kernel for kernel in kernels if np.mean(kernel.numpy() == 0) >= LEAST_ZEROS]


@contextmanager
def _half_precision(wanted: bool) -> Iterator[None]:
    """Compute in float16, keep variables in float32, in layers made meanwhile: where the hardware has it, it pays."""
    import tf_keras

    before = tf_keras.mixed_precision.global_policy()
    if wanted:
        tf_keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
