"""A network that takes more memory than there is: said, in a child that may not have more."""

import subprocess
import sys

import pytest

RUN = """
import resource
import numpy as np
from edgex.errors import ModelError
from edgex.execute import channel_extremes, open_network, tensor_values
from edgex.graph.ir import Graph, Input, Node, Pad
from edgex.write.onnx_form import OnnxForm

nodes = (Node("image", Input((8, 8, 64))), Node("padded", Pad(((2000, 2000), (2000, 2000))), ("image",)))
graph = Graph("spacious", nodes, ("padded",))
image = np.ones((1, 8, 8, 64), np.float32)
runs = tensor_values(graph, ["padded"]), channel_extremes(graph, ["padded"]), open_network(graph, None, OnnxForm())
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)
for run in runs:
    try:
        run(image)
    except ModelError as error:
        assert error.fix
        print(error.message)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep a process to its limit")
def test_a_network_larger_than_memory() -> None:
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=True)
    messages = done.stdout.splitlines()
    assert len(messages) == 3, done.stdout
    assert all(message.startswith("ONNX Runtime cannot compute spacious: ") for message in messages)
