"""Inner values of an ONNX file, read by running a copy of it that gives them as its outputs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from edgex.graph.ir import Array
from edgex.lint.onnx_file import OnnxFile
from edgex.runtime import Worker, open_runner

RUNTIME = "onnxruntime"


@contextmanager
def exposed(file: OnnxFile, names: Sequence[str], threads: int) -> Iterator[Callable[[Array], list[Array]]]:
    """A function from images (n, height, width, channels) to the values ``names``, in a process of its own.

    The file's record of its outputs is changed. ModelError if ONNX Runtime refuses the file.
    """
    from onnx import TensorProto, helper

    with open_runner(file.path, runtime=RUNTIME, threads=threads) as runner:
        to_input = runner.to_input
    outputs = file.model.graph.output
    del outputs[:]
    outputs.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    with TemporaryDirectory(prefix="edgex-") as folder, Worker() as worker:
        copy = Path(folder) / file.path.name
        copy.write_bytes(file.model.SerializeToString())
        worker.open(copy, RUNTIME, threads)

        def run(images: Array) -> list[Array]:
            _, values = worker.ask("run", worker.limits.run_seconds * len(images), [to_input(images)])
            return values

        yield run
