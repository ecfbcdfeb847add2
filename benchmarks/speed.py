"""How long ``edgex quantize`` takes at 299×299, from a ``.keras`` file to INT8 TFLite and ONNX, as a whole process.

As a program (``python -m benchmarks.speed FLOAT_ONNX FOLDER``) it prints the seconds of the bare float inference.
"""

import sys
from pathlib import Path
from time import perf_counter

from benchmarks.full_size import FullSize
from benchmarks.inputs import FULL_SIZE, Workplace, preprocessed
from benchmarks.processes import run
from benchmarks.report import Section, Table, interleave, ratio


def measure(workplace: Workplace) -> Section:
    """Against the oracles, which do the same work, and against nothing but the inference of the same images."""
    subject = FullSize(workplace)

    def ours() -> float:
        return subject.run_ours().seconds

    def theirs() -> float:
        return subject.run_theirs().seconds

    def bare() -> float:
        arguments = (subject.our_file("fp32.onnx"), workplace.photos())
        return float(run(sys.executable, "-m", "benchmarks.speed", *arguments, folder=workplace.folder).stdout)

    ours()  # the first start compiles, fills the disk's cache, and writes the float file
    against_bare = interleave(1 if workplace.quick else 4, ours, bare)
    against_theirs = interleave(1 if workplace.quick else 2, ours, theirs)
    images = len(list(workplace.photos().iterdir()))
    figures = (
        ratio("edgex quantize / TensorFlow's converter + Keras' export + quantize_static", against_theirs, limit=0.33),
        ratio(f"edgex quantize / bare float inference of its {images} images", against_bare, limit=3),
    )
    named = {
        "edgex quantize": [*against_bare[0], *against_theirs[0]],
        "oracles": against_theirs[1],
        "bare": against_bare[1],
    }
    rows = tuple((name, len(seconds), min(seconds), max(seconds)) for name, seconds in named.items())
    return Section("speed", figures, Table((f"at {FULL_SIZE}×{FULL_SIZE}", "runs", "least s", "most s"), rows))


def bare_inference(float_onnx: Path, folder: Path) -> float:
    """Seconds for decoded images one by one through ONNX Runtime, on the physical cores."""
    import onnxruntime

    from edgex.runtime import physical_cores

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = physical_cores()
    session = onnxruntime.InferenceSession(float_onnx, options)
    images = preprocessed(folder, FULL_SIZE)
    name = session.get_inputs()[0].name
    session.run(None, {name: images[:1]})  # the first allocates
    start = perf_counter()
    for index in range(len(images)):
        session.run(None, {name: images[index : index + 1]})
    return perf_counter() - start


if __name__ == "__main__":
    print(bare_inference(Path(sys.argv[1]), Path(sys.argv[2])))
