"""What the page says in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from edgex.gate import Check, GateResult, Judgement
from edgex.gate.records import ClassCheck
from edgex.report import AnyReport, MapReport

ACCURACY_LIMITS = ("max-drop", "max-class-drop", "min-agreement")
LATENCY_LIMITS = ("max-latency-ms", "min-speedup")


def headline(result: GateResult) -> str:
    """The verdict on all artifacts."""
    count = len(result.results)
    hit = sum(each.verdict == result.verdict for each in result.results)
    which = "the quantized file" if count == 1 else f"{hit} of {count} quantized files"
    if result.verdict == "pass":
        return f"Pass: {which} may ship"
    if result.verdict == "fail":
        return f"Fail: do not ship {which}"
    return f"Inconclusive: not proven yet for {which}"


def advice(judgement: Judgement, report: AnyReport) -> list[str]:
    """What to do about the limits that an artifact breaks, or else about those of which nothing is proven.

    Args:
        judgement: of the artifact.
        report: that it is in.
    """
    if judgement.verdict == "pass":
        return ["Ship it."]
    decisive = (check for check in judgement.checks if check.verdict == judgement.verdict)
    return list(dict.fromkeys(_advice(check, report) for check in decisive))


def _advice(check: Check, report: AnyReport) -> str:
    if check.name == "max-size-mb":
        return "Keep fewer layers in float, or train a smaller model."
    if check.name in LATENCY_LIMITS:
        if check.verdict == "inconclusive":
            return "Measure the latency again, for longer and on a machine that does nothing else."
        by_op = "edgex bench --by-op" if isinstance(report, MapReport) else "edgex sensitivity"
        return f"See what edgex bench says of other runtimes, and {by_op} of operations that run in float."
    if check.verdict == "fail":
        return _more_accurate(report)
    if check.images is not None:
        which = "new images of that class" if check.of == ClassCheck.of else "new images"
        return f"Validate once on about {check.images:,} {which}. Adding images until it passes would void the verdict."
    return "Validate on other and more images, chosen before looking, or mend what the sentence above names."


def _more_accurate(report: AnyReport) -> str:
    """How to lose less. Which layers to keep in float sensitivity tells of classifiers alone."""
    images = "more images of the kind that the model will see."
    if not isinstance(report, MapReport):
        how = "Run edgex sensitivity, and keep the layers in float that it names (--keep-float)"
    elif report.layer_errors:
        how = "Keep the layers in float (--keep-float) at which the error by layer, further down, jumps"
    else:
        return f"Calibrate with {images}"
    return f"{how}; or calibrate with {images}"


def facts(content: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of a JSON object; those of objects inside have the outer name before theirs."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from facts(value, f"{path}{name}.")
        else:
            yield f"{path}{name}".replace("_", " "), _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)
