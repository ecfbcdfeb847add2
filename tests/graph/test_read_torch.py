"""What PyTorch computes, the graph computes that is read from its exports, in both formats that edgex writes."""

import subprocess
from pathlib import Path

import numpy as np
import onnx_support
import pytest
import tflite_support
from torch_environment import PROGRAMS, run_torch

from edgex.errors import ModelError
from edgex.graph.ir import Conv2D, DepthwiseConv2D, Graph, MaxPool2D
from edgex.graph.passes import prepare
from edgex.graph.read_onnx import read_onnx
from edgex.write.onnx import onnx_model
from edgex.write.tflite import tflite_model
