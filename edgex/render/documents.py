"""Results as JSON documents, versioned. Commands compute; this shows."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgex.bench import BenchReport, OperationProfile, OperationReport, Ratio
    from edgex.compile import Compiled
    from edgex.demo.run import DemoReport
    from edgex.doctor import Diagnosis
    from edgex.evaluate import MapResult
    from edgex.graph.separable import Separable
    from edgex.inspection import Inspection
    from edgex.lint import Finding
    from edgex.manifest import Problem
    from edgex.measure import Evaluation
    from edgex.pipeline import Reproduction
    from edgex.records import Artifact
    from edgex.target import TargetProfile


def print_json(schema: str, **content: Any) -> None:
    """Print one versioned document on stdout."""
    print(json.dumps({"schema": f"edgex.{schema}/1", **content}, indent=2, default=str))  # noqa: T201  this is stdout


def artifact_document(artifact: "Artifact") -> dict[str, Any]:
    return {key: getattr(artifact, key) for key in ("path", "format", "precision", "bytes", "sha256")}


def eval_document(evaluation: "Evaluation") -> dict[str, Any]:
    from edgex.evaluate import MapResult

    keys = ("path", "runtime", "images", "top1", "top5", "low", "high", "output")
    results = [
        _map_document(result) if isinstance(result, MapResult) else {key: getattr(result, key) for key in keys}
        for result in evaluation.results
    ]
    return {"results": results, "warnings": list(evaluation.warnings)}


def _map_document(result: "MapResult") -> dict[str, Any]:
    (miou_low, miou_high), (accuracy_low, accuracy_high) = result.miou_interval, result.pixel_accuracy_interval
    return {
        "path": result.path,
        "runtime": result.runtime,
        "images": result.images,
        "miou": result.miou,
        "miou_low": miou_low,
        "miou_high": miou_high,
        "pixel_accuracy": result.pixel_accuracy,
        "pixel_accuracy_low": accuracy_low,
        "pixel_accuracy_high": accuracy_high,
        "output": result.output,
        "classes": [{"name": name, "iou": share} for name, share in result.classes],
    }


def bench_document(report: "BenchReport", operations: "OperationReport | None" = None) -> dict[str, Any]:
    keys = ("path", "runtime", "threads", "runs", "init_ms", "first_ms", "median_ms", "p90_ms", "p99_ms")
    document: dict[str, Any] = {
        "results": [
            {
                **{key: getattr(result, key) for key in keys},
                "low_ms": result.interval.low,
                "high_ms": result.interval.high,
            }
            for result in report.results
        ],
        "ratios": [_ratio_document(ratio) for ratio in report.ratios],
        "fastest": {"path": report.fastest.path, "runtime": report.fastest.runtime},
        "notes": list(report.notes),
    }
    if report.noisy is not None:
        document["noisy"] = report.noisy
    if operations is not None:
        document["operations"] = [_profile_document(profile) for profile in operations.profiles]
        document["notes"] += operations.notes
    return document


def _profile_document(profile: "OperationProfile") -> dict[str, Any]:
    return {
        "path": profile.path,
        "runtime": profile.runtime,
        "total_ms": profile.total_ms,
        "operations": [asdict(operation) for operation in profile.operations],
        "in_float": list(profile.in_float),
    }


def _ratio_document(ratio: "Ratio") -> dict[str, Any]:
    return {
        "a": ratio.a.path,
        "b": ratio.b.path,
        "a_runtime": ratio.a.runtime,
        "b_runtime": ratio.b.runtime,
        "ratio": ratio.ratio,
        "low": ratio.interval.low,
        "high": ratio.interval.high,
    }


def compile_document(compiled: "Compiled") -> dict[str, Any]:
    artifacts = [
        {
            "path": file.path,
            "runtime": file.runtime,
            "bytes": file.bytes,
            "init_ms": file.ratio.a.init_ms,
            "plain_init_ms": file.ratio.b.init_ms,
            **_ratio_document(file.ratio),
        }
        for file in compiled.files
    ]
    return {
        "directory": compiled.directory,
        "artifacts": artifacts,
        "script": compiled.script,
        "warnings": list(compiled.warnings),
    }


def inspect_document(inspection: "Inspection") -> dict[str, Any]:
    layers = [
        {
            "name": layer.name,
            "op": layer.op,
            "shape": list(layer.shape),
            "parameters": layer.parameters,
            "macs": layer.macs,
            **({} if layer.separable is None else {"separable": _separable_document(layer.separable)}),
        }
        for layer in inspection.layers
    ]
    keys = ("parameters", "trainable_parameters", "macs", "regular_macs", "bytes", "largest_tensor")
    return {**{key: getattr(inspection, key) for key in keys}, "layers": layers}


def _separable_document(separable: "Separable") -> dict[str, Any]:
    return {**asdict(separable), "ratio": separable.ratio}


def doctor_document(diagnosis: "Diagnosis") -> dict[str, Any]:
    return asdict(diagnosis)


def target_document(target: "TargetProfile") -> dict[str, Any]:
    return {**target.model_dump(mode="json"), "artifacts": [str(kind) for kind in target.artifacts]}


def findings_document(path: Path, findings: Sequence["Finding"]) -> dict[str, Any]:
    return {
        "path": path,
        "clean": not findings,
        "findings": [{"rule": f.rule, "where": f.where, "message": f.message} for f in findings],
    }


def verify_document(directory: Path, problems: Sequence["Problem"]) -> dict[str, Any]:
    return {
        "directory": directory,
        "intact": not problems,
        "problems": [asdict(problem) for problem in problems],
    }


def reproduce_document(found: "Reproduction") -> dict[str, Any]:
    return {
        "directory": found.directory,
        "identical": not found.problems,
        "problems": [asdict(problem) for problem in found.problems],
        "changed": [{"name": name, "then": then, "now": now} for name, (then, now) in found.changed.items()],
    }


def demo_document(report: "DemoReport") -> dict[str, Any]:
    rows = [
        {
            "path": row.artifact.path,
            "precision": row.artifact.precision,
            "bytes": row.artifact.bytes,
            "runtime": row.runtime,
            "top1": row.top1,
            "median_ms": row.median_ms,
        }
        for row in report.rows
    ]
    return {"directory": report.directory, "images": report.images, "threads": report.threads, "results": rows}
