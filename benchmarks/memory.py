"""Whether the memory of ``edgex quantize`` grows with the images."""

from benchmarks.inputs import REAL_SIZE, Workplace
from benchmarks.processes import edgex
from benchmarks.report import Section, Table, interleave, ratio


def measure(workplace: Workplace) -> Section:
    """Peak memory with 1,024 calibration images against 64, on the real model."""
    model, images = workplace.real_model(), workplace.real("data/cifar10-train.zip")
    many, few = (64, 16) if workplace.quick else (1024, 64)

    def peak(count: int) -> float:
        output = workplace.folder / "memory"
        arguments = ("--target", "cpu", "--calib", images, "--calib-count", str(count), "-o", output)
        return edgex("quantize", model, *arguments, folder=workplace.folder).peak_bytes / 1e6

    peaks = interleave(1 if workplace.quick else 2, lambda: peak(many), lambda: peak(few))
    measure = f"peak memory of edgex quantize at {REAL_SIZE}×{REAL_SIZE}, {many:,} images / {few}"
    rows = tuple(
        (f"{count:,}", min(of_count), max(of_count)) for count, of_count in zip((many, few), peaks, strict=True)
    )
    return Section("memory", (ratio(measure, peaks, limit=1.1),), Table(("images", "least MB", "most MB"), rows))
