"""How large a model may be.

A file can ask for any size in a few bytes: these say where edgex stops, far above what classifiers of images need.
"""

WEIGHTS_LIMIT = 2_000_000_000
"""Bytes of all weights in float32, those of a shared layer counted at each call. ONNX and TFLite files end at 2 GiB
(protobuf, flatbuffers); VGG19, the largest in ``keras.applications`` that edgex reads, takes 0.6 GB."""

TENSOR_LIMIT = 1 << 28
"""Values of one tensor for one image. The largest in EfficientNetB7, at 600×600 pixels, has 1/15 of that."""

EXTENT_LIMIT = 1 << 14
"""Pixels of a window, a stride, a dilation or a border. Their products must fit the 32-bit integers of TFLite."""

LAYER_LIMIT = 10_000
"""Layers and the tensors that they read, counted again at each call of the model that they are in; Xception has 280.
Models within models, each called twice, could ask for any number of them."""

NAME_LIMIT = 1000
"""Characters of the name of a layer or model."""
