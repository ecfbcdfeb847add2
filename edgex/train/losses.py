"""What training brings down: a loss for each image, of its class or of the classes of its pixels."""

from typing import Any

from edgex.dataset import VOID


def divergence(taught: Any, logits: Any) -> Any:
    """Of each answer from the teacher's (n,), by Kullback and Leibler: the mean over its pixels where it has any.

    Args:
        taught: the teacher's log-probabilities (n, classes) or (n, height, width, classes).
        logits: of the same shape.
    """
    import tensorflow as tf

    return _mean_of_pixels(tf.reduce_sum(tf.exp(taught) * (taught - tf.nn.log_softmax(logits)), axis=-1))


def cross_entropy(labels: Any, logits: Any, smoothing: float = 0.0) -> Any:
    """Of each answer with the truth (n,): the mean over its pixels that are not void, where it has any.

    Args:
        labels: class indices (n,), or (n, height, width) with :data:`edgex.dataset.VOID`; an image of nothing
            else has no loss.
        logits: (n, classes) or (n, height, width, classes).
        smoothing: share of the truth that is spread over all classes.
    """
    import tensorflow as tf

    counted = counts(labels)
    known = labels if labels.shape.rank == 1 else tf.where(counted, labels, tf.zeros_like(labels))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(known, logits)
    if smoothing:
        losses = (1 - smoothing) * losses - smoothing * tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
    if labels.shape.rank == 1:
        return losses
    weights = tf.cast(counted, losses.dtype)
    axes = list(range(1, labels.shape.rank))
    return tf.math.divide_no_nan(tf.reduce_sum(losses * weights, axes), tf.reduce_sum(weights, axes))


def counts(labels: Any) -> Any:
    """Which labels are of a class: all of images, and of pixels those that are not void. bool of the same shape."""
    import tensorflow as tf

    return tf.ones_like(labels, tf.bool) if labels.shape.rank == 1 else tf.not_equal(labels, VOID)


def _mean_of_pixels(values: Any) -> Any:
    import tensorflow as tf

    axes = list(range(1, values.shape.rank))
    return tf.reduce_mean(values, axes) if axes else values
