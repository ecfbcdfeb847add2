"""How fast ``edgex eval`` gets through labelled images, and whether its memory grows with them.

As a program (``python -m benchmarks.throughput FILE IMAGES THREADS``) it prints the seconds of a bare loop.
"""

import sys
import zipfile
from pathlib import Path
from time import perf_counter

from benchmarks.inputs import REAL_SIZE, Workplace, preprocessed
from benchmarks.processes import edgex, run
from benchmarks.report import Section, Table, interleave, ratio

THREADS = 2


def measure(workplace: Workplace) -> Section:
    """Whole commands against a loop over images that are decoded already, and against themselves on one core."""
    model, calib = workplace.real_model(), workplace.real("data/cifar10-calib.zip")
    images = workplace.real("data/cifar10-val.zip")
    folder = workplace.folder
    directory = folder / f"edgex-cpu-{REAL_SIZE}"
    edgex("quantize", model, "--target", "cpu", "--calib", calib, "-o", directory, folder=folder)
    some = part_of(images, folder / "tenth.zip", 10)
    if workplace.quick:
        images, some = some, part_of(images, folder / "hundredth.zip", 100)
    rounds = 1 if workplace.quick else 3
    file = directory / f"{model.stem}.fp32.onnx"

    def evaluated(data: Path, threads: int) -> float:
        return edgex("eval", file, "--data", data, "--threads", str(threads), folder=folder).seconds

    def each() -> float:
        """Seconds an image, of those after the first tenth: what starting costs is in both."""
        return (evaluated(images, THREADS) - evaluated(some, THREADS)) / (count(images) - count(some))

    def bare() -> float:
        program = (sys.executable, "-m", "benchmarks.throughput", file, images, str(THREADS))
        return float(run(*program, folder=folder).stdout) / count(images)

    def peak(data: Path) -> float:
        return edgex("eval", file, "--data", data, folder=folder).peak_bytes / 1e6

    alone = interleave(rounds, each, bare)
    workers = interleave(rounds, lambda: evaluated(images, 2), lambda: evaluated(images, 1))
    peaks = interleave(rounds, lambda: peak(images), lambda: peak(some))
    figures = (
        ratio(f"an image in edgex eval / in a bare loop over decoded ones, {THREADS} threads", alone, 1 / 0.9),
        ratio("edgex eval with two workers / with one", workers, 1 / 1.8),
        ratio(f"peak memory of edgex eval, {count(images):,} images / a tenth", peaks, 1.1),
    )
    rows = tuple(
        (name, len(values), min(values), max(values))
        for name, values in {"edgex eval, s an image": alone[0], "bare loop": alone[1], "peak, MB": peaks[0]}.items()
    )
    return Section("throughput", figures, Table((f"at {REAL_SIZE}×{REAL_SIZE}", "runs", "least", "most"), rows))


def count(images: Path) -> int:
    with zipfile.ZipFile(images) as archive:
        return len(archive.namelist())


def part_of(images: Path, part: Path, step: int) -> Path:
    """A zip of every so many-th image."""
    with zipfile.ZipFile(images) as whole, zipfile.ZipFile(part, "w") as archive:
        for name in sorted(whole.namelist())[::step]:
            archive.writestr(name, whole.read(name))
    return part


def bare_loop(file: Path, images: Path, threads: int) -> float:
    """Seconds for all images, one by one, through ONNX Runtime."""
    import onnxruntime

    arrays = preprocessed(images, REAL_SIZE)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options)
    name = session.get_inputs()[0].name
    session.run(None, {name: arrays[:1]})  # the first allocates
    start = perf_counter()
    for index in range(len(arrays)):
        session.run(None, {name: arrays[index : index + 1]})
    return perf_counter() - start


if __name__ == "__main__":
    print(bare_loop(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
