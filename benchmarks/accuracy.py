"""What INT8 costs in accuracy: our files for every target and the oracles', on the real model and images."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.inputs import REAL_SIZE, Workplace
from benchmarks.oracles import NNCF, ORACLES, Job, run_oracles
from benchmarks.processes import edgex
from benchmarks.report import Figure, Section, Table
from edgex.dataset import open_dataset
from edgex.evaluate import EvalResult, evaluate
from edgex.preprocess import Preprocessing
from edgex.target import target_names

MOST_POINTS = 0.5


@dataclass(frozen=True)
class Candidate:
    """A file to evaluate; ``sha256`` where it is known, since targets can share a file."""

    maker: str
    path: Path
    runtime: str | None = None
    sha256: str = ""


def measure(workplace: Workplace) -> Section:
    """Top-1 of each INT8 file against the float file, and how often our two formats disagree."""
    job = Job(
        model=workplace.real_model(),
        calib=workplace.real("data/cifar10-calib.zip"),
        size=REAL_SIZE,
        folder=workplace.subfolder(f"oracles-{REAL_SIZE}"),
        count=16 if workplace.quick else None,
        nncf_python=workplace.nncf_python,
    )
    ours = [candidate for target in target_names() for candidate in _quantized(job, target, workplace)]
    theirs = list(_oracles(job))
    float_file = next(candidate for candidate in ours if candidate.path.name.endswith("fp32.onnx"))
    int8 = [candidate for candidate in (*ours, *theirs) if ".int8." in candidate.path.name]
    results = _evaluate([float_file, *int8], workplace)
    reference = results[float_file]
    figures = [
        Figure(
            f"top-1 lost, {candidate.maker} {_kind(candidate)}",
            _lost(results[candidate], reference),
            MOST_POINTS,
            "points",
        )
        for candidate in int8
        if candidate in ours
    ]
    onnx, tflite = (results[candidate] for candidate in int8 if candidate.maker == "edgex cpu")
    apart = max(_differing(onnx, reference), _differing(tflite, reference))
    figures.append(Figure("cpu: int8.onnx and int8.tflite differ", _differing(onnx, tflite), apart, "images"))
    rows = [
        (
            candidate.maker,
            _kind(candidate),
            result.runtime,
            result.images,
            100 * result.top1,
            _lost(result, reference),
            _differing(result, reference),
        )
        for candidate, result in results.items()
    ]
    columns = ("made by", "file", "runtime", "images", "top-1 %", "points lost", "other class than float")
    missing = () if workplace.nncf_python else (f"{NNCF}; name a Python that has it with --nncf-python.",)
    return Section("accuracy", tuple(figures), Table(columns, tuple(rows)), missing)


def _quantized(job: Job, target: str, workplace: Workplace) -> Iterator[Candidate]:
    """Our files for a target, with no option but what and for what."""
    output = workplace.folder / f"edgex-{target}-{REAL_SIZE}"
    count = () if job.count is None else ("--calib-count", str(job.count))
    arguments = ("--target", target, "--calib", job.calib, *count, "-o", output, "--json")
    document = json.loads(edgex("quantize", job.model, *arguments, folder=workplace.folder).stdout)
    for artifact in document["artifacts"]:
        yield Candidate(f"edgex {target}", Path(artifact["path"]), sha256=artifact["sha256"])


def _oracles(job: Job) -> Iterator[Candidate]:
    names = [name for name in ORACLES if name != NNCF or job.nncf_python]
    absent = [name for name in names if not (job.folder / ORACLES[name].file).exists()]
    if absent:
        run_oracles(absent, job)
    for name in names:
        # ONNX Runtime refuses a zero point per channel on an activation, which NNCF writes
        yield Candidate(name, job.folder / ORACLES[name].file, "openvino" if name == NNCF else None)


def _evaluate(candidates: list[Candidate], workplace: Workplace) -> dict[Candidate, EvalResult]:
    """Each file's result, in order; files of the same content are run once."""
    dataset = open_dataset(workplace.real("data/cifar10-val.zip"), role="evaluation")
    dataset = dataset.sample(100) if workplace.quick else dataset
    preprocessing = Preprocessing(size=(REAL_SIZE, REAL_SIZE))
    distinct = {candidate.sha256 or str(candidate.path): candidate for candidate in reversed(candidates)}
    results: dict[Path, EvalResult] = {}
    for runtime in {candidate.runtime for candidate in distinct.values()}:
        paths = [candidate.path for candidate in distinct.values() if candidate.runtime == runtime]
        evaluated = evaluate(paths, dataset, preprocessing, runtime=runtime)
        results |= {result.path: result for result in evaluated}
    return {candidate: results[distinct[candidate.sha256 or str(candidate.path)].path] for candidate in candidates}


def _kind(candidate: Candidate) -> str:
    """Such as ``int8.onnx``."""
    return ".".join(candidate.path.name.rsplit(".", 2)[1:])


def _lost(result: EvalResult, reference: EvalResult) -> float:
    """Percentage points of top-1."""
    return 100 * (reference.top1 - result.top1)


def _differing(a: EvalResult, b: EvalResult) -> int:
    """Images that two files take for different classes."""
    return int((a.predictions != b.predictions).sum())
