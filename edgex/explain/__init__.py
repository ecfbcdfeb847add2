"""Does it still look at the same thing? Heat maps of a float model and its artifacts, and how far they agree.

Grad-CAM (R. Selvaraju et al. 2017, arXiv:1610.02391) weighs the maps of the last convolutional layer by the gradient
of a class' score. Artifacts have no gradients, but in a network that ends in global average pooling and one dense
layer that gradient is the dense layer's weight over the number of positions (there Grad-CAM is the older CAM: B. Zhou
et al. 2016, arXiv:1512.04150). So the map is ``relu(sum over k of w[k, class] * A[k]) / positions`` and takes nothing
but the values ``A``, which an ONNX file gives: :mod:`.grad_cam`.

Where that cannot be had (TFLite files, other ends, a last layer of hardly any positions) a gray patch slides over the
image, and the map is how far the probability of the class drops (M. Zeiler and R. Fergus 2014, arXiv:1311.2901):
:mod:`.occlusion`. The baseline's map beside an artifact's is always made by the same method.
"""

from edgex.explain.explaining import FLIPPED, OTHERS, Subject, explain

__all__ = ["FLIPPED", "OTHERS", "Subject", "explain"]
