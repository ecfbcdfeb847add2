"""Latency that can be trusted: interleaved blocks in fresh processes, and intervals over blocks."""

from edgex.bench.interleaved import BenchOptions, BenchReport, BenchResult, Ratio, bench, save_samples, self_check
from edgex.bench.operations import Operation, OperationProfile, OperationReport, profile_report

__all__ = [
    "BenchOptions",
    "BenchReport",
    "BenchResult",
    "Operation",
    "OperationProfile",
    "OperationReport",
    "Ratio",
    "bench",
    "profile_report",
    "save_samples",
    "self_check",
]
