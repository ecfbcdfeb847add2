"""Each limit against what was measured of an artifact. What is missing never passes."""

from collections.abc import Iterator
from statistics import NormalDist

from edgex.comparison import Comparison
from edgex.gate.chance import chance_doubt
from edgex.gate.maps import map_checks
from edgex.gate.records import AnyComparison, Check, ClassCheck, Limits, Verdict, beside, list_names, settling, worst
from edgex.proportions import ERROR, Z_ONE_SIDED_95, Paired, images_to_settle_share, wilson_interval
from edgex.report import AnyReport, ArtifactFigures, FileFigures, MapArtifactFigures, MapReport, Report

AnyArtifact = ArtifactFigures | MapArtifactFigures


def checks(
    report: AnyReport, artifact: AnyArtifact, comparison: AnyComparison | None, limits: Limits
) -> tuple[Check, ...]:
    """Of one artifact; ``comparison`` is None where there is nothing to compare with."""
    if comparison is None:
        kept = _nothing_to_compare(limits)
    elif isinstance(comparison, Comparison):
        assert isinstance(report, Report)
        kept = _class_checks(report, comparison, limits)
    else:
        assert isinstance(report, MapReport)
        kept = map_checks(report.baseline, comparison, limits)
    return (*kept, *_cost_checks(report, artifact, limits))


def _class_checks(report: Report, comparison: Comparison, limits: Limits) -> Iterator[Check]:
    """Of the accuracy of a classifier."""
    doubt = _doubt(report.baseline, limits.baseline_accuracy, comparison)
    yield _max_drop(comparison, limits.max_drop, doubt)
    if limits.max_class_drop is not None:
        yield _max_class_drop(comparison, limits.max_class_drop, doubt)
    if limits.min_agreement is not None:
        yield _min_agreement(comparison, limits.min_agreement)


def _cost_checks(report: AnyReport, artifact: AnyArtifact, limits: Limits) -> Iterator[Check]:
    """Of time and size."""
    if limits.max_latency_ms is not None:
        yield _max_latency(report, artifact, limits.max_latency_ms)
    if limits.min_speedup is not None:
        yield _min_speedup(report, artifact, limits.min_speedup)
    if limits.max_size_mb is not None:
        yield _max_size(artifact, limits.max_size_mb)


def _nothing_to_compare(limits: Limits) -> Iterator[Check]:
    """The limits on accuracy, of which nothing can be said."""
    for name, limit in (
        ("max-drop", limits.max_drop),
        ("max-class-drop", limits.max_class_drop),
        ("max-pixel-drop", limits.max_pixel_drop),
        ("min-agreement", limits.min_agreement),
    ):
        if limit is not None:
            why = "The earlier report has no such artifact, or several, to compare with."
            yield Check(name, "inconclusive", why)


def _max_drop(comparison: Comparison, margin: float, doubt: str) -> Check:
    name = "max-drop"
    if doubt:
        return Check(name, "inconclusive", doubt)
    paired = comparison.paired
    verdict = non_inferior(paired, margin)
    images = paired.images_to_settle(margin / 100) if verdict == "inconclusive" else None
    return Check(name, verdict, f"The drop is {_found(paired, margin, verdict)}.{settling(verdict, images)}", images)


def _doubt(baseline: FileFigures, known: float | None, comparison: Comparison) -> str:
    """Why a drop says nothing, for a float model of which ``known`` percent are known; empty if it does."""
    low, high = (100 * bound for bound in baseline.top1_interval)
    if known is not None and not low <= known <= high:
        return (
            f"The float model is right on {100 * baseline.top1:.1f} % of {baseline.images:,} images "
            f"({beside(low, known)} to {beside(high, known)}), and is known for {known:g} %: labels or preprocessing "
            "do not fit it, or the images are of another kind."
        )
    return chance_doubt(comparison)


def non_inferior(paired: Paired, margin: float, error: float = ERROR) -> Verdict:
    """Whether the drop is under ``margin`` points, at 95 %; a failure is said with a chance of error of ``error``."""
    if paired.surely_under(margin / 100):
        return "pass"
    return "fail" if paired.surely_over(margin / 100, _z(error)) else "inconclusive"


def _z(error: float) -> float:
    return NormalDist().inv_cdf(1 - error)


def _found(paired: Paired, margin: float, verdict: Verdict, error: float = ERROR) -> str:
    points = f"{100 * paired.drop:.2f} points"
    low = beside(100 * paired.lower_bound(_z(error)), margin)
    high = beside(100 * paired.upper_bound(), margin)
    if verdict == "inconclusive" and paired.upper_bound() < margin / 100:
        high += " (more by the exact test, for want of images)"
    bounds = {"pass": f"at most {high}", "fail": f"at least {low}", "inconclusive": f"between {low} and {high}"}
    return f"{points}, {bounds[verdict]}; {margin:g} are allowed"


def _max_class_drop(comparison: Comparison, margin: float, doubt: str) -> Check:
    """All classes must pass, each at 95 %, which needs no correction (an intersection–union test: R. Berger,
    Technometrics 24, 1982); one fails the check with its share of the error (Bonferroni).
    """
    name = "max-class-drop"
    if doubt:
        return Check(name, "inconclusive", doubt)
    of_class = [(each, each.paired) for each in comparison.classes]
    absent = [each.name for each, paired in of_class if paired is None]
    error = ERROR / (len(of_class) - len(absent))
    judged = [(each, paired, non_inferior(paired, margin, error)) for each, paired in of_class if paired is not None]
    found = {verdict for _, _, verdict in judged}
    if absent and "fail" not in found:
        return Check(name, "inconclusive", f"There is no image of the classes {list_names(absent)}.")
    verdict = worst(found)
    alike = [(each, paired) for each, paired, own in judged if own == verdict]
    z = _z(error)
    each, paired = max(alike, key=lambda pair: pair[1].lower_bound(z) if verdict == "fail" else pair[1].upper_bound())
    images, more = None, ""
    if verdict == "inconclusive":
        images = paired.images_to_settle(margin / 100, z if paired.drop > margin / 100 else Z_ONE_SIDED_95)
    if verdict != "pass" and len(alike) > 1:
        more = f" {len(alike) - 1} more classes {'fail' if verdict == 'fail' else 'are in doubt'}."
    drop = f"The class {each.name!r} drops by {_found(paired, margin, verdict, error)} ({each.images:,} images)."
    return ClassCheck(name, verdict, f"{drop}{more}{settling(verdict, images, ClassCheck.of)}", images)


def _min_agreement(comparison: Comparison, least: float) -> Check:
    name = "min-agreement"
    low, high = wilson_interval(comparison.agreeing, comparison.images, Z_ONE_SIDED_95)
    verdict: Verdict = "pass" if 100 * low > least else "fail" if 100 * high < least else "inconclusive"
    images = None
    if verdict == "inconclusive":
        images = images_to_settle_share(comparison.agreeing, comparison.images, least / 100)
    found = f"{100 * comparison.agreement:.2f} % of the images are classified alike"
    bounds = f"{beside(100 * low, least)} to {beside(100 * high, least)}"
    return Check(name, verdict, f"{found} ({bounds}); {least:g} are asked for.{settling(verdict, images)}", images)


def _max_latency(report: AnyReport, artifact: AnyArtifact, most: float) -> Check:
    name, latency = "max-latency-ms", artifact.latency
    if latency is None:
        return Check(name, "inconclusive", "Latency was not measured.")
    # Noise makes runs longer, so on a noisy machine a pass can be trusted and a failure not
    over: Verdict = "inconclusive" if report.noisy else "fail"
    verdict: Verdict = "pass" if latency.high_ms < most else over if latency.low_ms > most else "inconclusive"
    noisy = " The machine was noisy." if report.noisy else ""
    found = f"The median is {latency.median_ms:.3g} ms ({latency.low_ms:.3g} to {latency.high_ms:.3g})"
    return Check(name, verdict, f"{found}; {most:g} are allowed.{noisy}")


def _min_speedup(report: AnyReport, artifact: AnyArtifact, least: float) -> Check:
    name, speedup = "min-speedup", artifact.speedup
    if report.noisy:
        return Check(name, "inconclusive", "The machine was too noisy to compare on.")
    if speedup is None or report.noisy is None:
        return Check(name, "inconclusive", "The speed-up was not measured.")
    verdict: Verdict = "pass" if speedup.low > least else "fail" if speedup.high < least else "inconclusive"
    found = f"It is {speedup.ratio:.2f}× as fast as {report.baseline.name} ({speedup.low:.2f} to {speedup.high:.2f})"
    return Check(name, verdict, f"{found}; {least:g}× is asked for.")


def _max_size(artifact: AnyArtifact, most: float) -> Check:
    megabytes = artifact.bytes / 1e6
    verdict: Verdict = "pass" if megabytes <= most else "fail"
    return Check("max-size-mb", verdict, f"It has {beside(megabytes, most)} MB; {most:g} are allowed.")
