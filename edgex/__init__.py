"""edgex: a trained Keras classifier in, proven INT8 TFLite and ONNX out."""

__version__ = "0.1.0"
