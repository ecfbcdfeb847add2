"""Quantizes an ONNX model by NNCF, in an environment that has it: ``python nncf_program.py FLOAT IMAGES.npy INT8``."""

import sys

import nncf
import numpy as np
import onnx


def main(float_onnx: str, images: str, path: str) -> None:
    model = onnx.load(float_onnx)
    name = model.graph.input[0].name
    data = nncf.Dataset(np.load(images, mmap_mode="r"), lambda image: {name: image[np.newaxis]})
    onnx.save(nncf.quantize(model, data), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
