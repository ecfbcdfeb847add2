"""A network that is trained to answer as its float teacher does, or as labels say, on all devices that there are.

The loss is the divergence of the student's answer from the teacher's (Hinton et al. 2015, arXiv:1503.02531), where
there is one, and where there are labels the cross-entropy besides. Of an answer for each pixel it is their mean.
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
from edgex.train.head import head
from edgex.train.losses import counts, cross_entropy, divergence
from edgex.train.network import configure_tensorflow, keras_model, layer_name
from edgex.train.optimizers import coupled_decay, make_optimizer
from edgex.train.recipes import Recipe
from edgex.train.sparsity import Sparsity, masked_kernels, sparse_network

LEAST_ZEROS = 0.1
"""Share of a kernel's weights that are zero, from which on it counts as pruned."""

MOST_REPLICAS = 1 << 16
"""Of a model, so that each has a number of its own at each step."""


class Student:
    """A model, its optimizer, and its teacher if it has one.

    Attributes:
        model: the ``tf_keras`` model that is trained; it gives logits.
    """

    def __init__(
        self,
        graph: Graph,
        plan: QuantizationPlan | None,
        teacher: Graph | None,
        schedule: tuple[float, int] | Recipe,
        *,
        labelled: bool,
        threads: int,
        devices: Sequence[str] | None = None,
        half_precision: bool | None = None,
        sparsity: Sparsity | None = None,
        keep_zeros: bool = False,
        seed: int = 0,
    ) -> None:
        """Build it.

        Args:
            graph: as :func:`edgex.train.network.keras_model` takes it, ends at the logits.
            plan: what to quantize of a prepared graph; None trains in float, and no layer gains a bias.
            teacher: likewise, in float; None where labels say all.
            schedule: learning rate at the start of its cosine, and steps to its end; or a recipe, whose rate
                :meth:`set_learning_rate` sets before each step.
            labelled: whether labels count.
            threads: of TensorFlow, unless it runs already.
            devices: those to share each batch, as TensorFlow calls them; None for all GPUs, or else the CPU.
            half_precision: whether to compute in float16; None for where there are GPUs. With a sparsity never.
            sparsity: what to prune while training in float.
            keep_zeros: whether the zeros of a kernel that was pruned before stay.
            seed: of what a dropout leaves out.

        Raises:
            ValueError: both a plan and a sparsity, one of them and a recipe, or neither teacher nor labels.
        """
        import tensorflow as tf
        import tf_keras

        if plan is not None and sparsity is not None:
            raise ValueError("weights are pruned in float, before they are quantized")
        recipe = schedule if isinstance(schedule, Recipe) else None
        if recipe is not None and (plan is not None or sparsity is not None):
            raise ValueError("recipes are for whole networks in float")
        if teacher is None and not labelled:
            raise ValueError("neither a teacher nor labels say what to learn")
        configure_tensorflow(threads)
        gpus = tf.config.list_physical_devices("GPU")
        wanted = bool(gpus) if half_precision is None else half_precision
        half = wanted and sparsity is None  # the wrappers would round the variables too, each time they mask them
        self._labelled = labelled
        several = devices is not None or len(gpus) > 1
        self._strategy = _mirrored(devices and tuple(devices)) if several else tf.distribute.get_strategy()
        with self._strategy.scope(), _half_precision(half):
            self._teacher = None if teacher is None else keras_model(teacher, biases=False)
            self.model = keras_model(graph, biases=plan is not None)
            if plan is not None:
                self.model = quantize_network(self.model, graph, plan)
            if sparsity is not None and not isinstance(schedule, Recipe):
                self.model = sparse_network(self.model, graph, sparsity, schedule[1])
            kernels = _kernels(self.model, graph)
            if isinstance(schedule, Recipe):
                self._optimizer = make_optimizer(schedule, kernels, self.model.trainable_variables)
            else:
                self._optimizer = tf_keras.optimizers.Adam(tf_keras.optimizers.schedules.CosineDecay(*schedule))
            if half:
                self._optimizer = tf_keras.mixed_precision.LossScaleOptimizer(self._optimizer)
            self._optimizer.build(self.model.trainable_variables)
        self._masked = masked_kernels(self.model)
        self._pruned = [kernel for kernel in kernels if _has_zeros(kernel)] if keep_zeros else []
        self._decaying = {kernel.ref() for kernel in kernels}
        self._decay = 0.0 if recipe is None else coupled_decay(recipe)
        self._smoothing = 0.0 if recipe is None else recipe.label_smoothing
        self._forward = self.model if recipe is None else self._with_dropout(graph, recipe.dropout, seed)
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

    def set_learning_rate(self, rate: float) -> None:
        """Of the steps from now on, where a recipe trains."""
        self._optimizer.learning_rate = rate

    def step(self, batch: Batch, *, follow: bool) -> float:
        """Take one step; returns the loss of the batch before it.

        With ``follow`` ranges and the running statistics of batch norm follow what they see, masks of a sparsity move
        when it is their turn, and batch norm normalizes by the batch. Without, they all stay, and batch norm normalizes
        by its running statistics, as it will when it is folded.
        """
        return float(self._compiled[follow](batch))

    def evaluate(self, batches: Iterable[Batch]) -> tuple[float, float]:
        """Mean loss of an image, and the share of images, or of pixels that are not void, that are classified right.

        What is right the labels say, or the teacher where there are none.
        """
        sums = np.zeros(4)
        for batch in batches:
            sums += self._judge(batch)
        loss, images, right, counted = sums
        return float(loss / images), float(right / max(counted, 1))

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

    def _with_dropout(self, graph: Graph, share: float, seed: int) -> Callable[..., Any]:
        """The model with a dropout before the layer of its logits, which draws anew at each step."""
        import tensorflow as tf
        import tf_keras

        if not share:
            return self.model  # type: ignore[no-any-return]  # tf_keras has no types
        features = self.model.get_layer(layer_name(head(graph).name)).input
        before, after = tf_keras.Model(self.model.input, features), tf_keras.Model(features, self.model.output)

        def forward(images: Any, training: bool) -> Any:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            drawn = [tf.cast(seed, tf.int64), self._optimizer.iterations * MOST_REPLICAS + tf.cast(replica, tf.int64)]
            values = before(images, training=training)
            kept = tf.nn.experimental.stateless_dropout(values, share, drawn, rng_alg="philox")
            return after(kept, training=training)

        return forward

    def _losses(self, images: Any, labels: Any, logits: Any, smoothing: float) -> tuple[Any, Any]:
        """Loss of each image (n,), and log-probabilities of the teacher, if any, of the shape of the logits."""
        import tensorflow as tf

        if self._teacher is None:
            return cross_entropy(labels, logits, smoothing), None
        taught = tf.nn.log_softmax(tf.cast(self._teacher(images, training=False), tf.float32))
        losses = divergence(taught, logits)
        if self._labelled:
            losses += cross_entropy(labels, logits, smoothing)
        return losses, taught

    def _train(self, images: Any, labels: Any, count: Any, follow: bool) -> Any:
        import tensorflow as tf

        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = tf.cast(self._forward(images, training=follow), tf.float32)
            losses, _ = self._losses(images, labels, logits, self._smoothing)
            loss = tf.reduce_sum(losses) / count  # of all devices, whose gradients are summed
            scaled = self._scaled(loss)
        gradients = self._unscaled(tape.gradient(scaled, variables))
        if self._decay:
            share = self._decay / self._strategy.num_replicas_in_sync
            gradients = [
                gradient + share * variable if variable.ref() in self._decaying else gradient
                for gradient, variable in zip(gradients, variables, strict=True)
            ]
        masks = [
            *self._masked,
            *((kernel, tf.cast(tf.not_equal(kernel, 0.0), tf.float32)) for kernel in self._pruned),
        ]
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for kernel, mask in masks:
            kernel.assign(kernel * mask)
        return loss

    def _score(self, images: Any, labels: Any, _count: Any, _follow: bool) -> Any:
        """Of all images together: their losses, how many they are, what was classified right, and of how many."""
        import tensorflow as tf

        logits = tf.cast(self.model(images, training=False), tf.float32)
        losses, taught = self._losses(images, labels, logits, 0.0)
        truth = labels if self._labelled else tf.argmax(taught, axis=-1)
        counted = counts(truth)
        right = tf.logical_and(tf.argmax(logits, axis=-1) == truth, counted)
        sums = [losses, tf.ones_like(losses), tf.cast(right, tf.float32), tf.cast(counted, tf.float32)]
        return tf.stack([tf.reduce_sum(each) for each in sums])

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


def _kernels(model: Any, graph: Graph) -> list[Any]:
    """The variables of all kernels."""
    return [variables["kernel"] for variables in weight_variables(model, graph).values() if "kernel" in variables]


def _has_zeros(kernel: Any) -> bool:
    """Whether enough of it is zero; all others pay nothing."""
    return bool(np.mean(kernel.numpy() == 0) >= LEAST_ZEROS)


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
