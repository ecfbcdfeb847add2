"""What the page says in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from edgex.gate import Check, GateResult, Judgement
from edgex.gate.records import ClassCheck

LATENCY_LIMITS = ("max-latency-ms", "min-speedup")
MORE_ACCURATE = (
    "Run edgex sensitivity, and keep the layers in float that it names (--keep-float); or calibrate with more images "
    "of the kind that the model will see."
)


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


def advice(judgement: Judgement) -> list[str]:
    """What to do about the limits that an artifact breaks, or else about those of which nothing is proven.

    Args:
        judgement: of the artifact.
    """
    if judgement.verdict == "pass":
        return ["Ship it."]
    decisive = (check for check in judgement.checks if check.verdict == judgement.verdict)
    return list(dict.fromkeys(_advice(check) for check in decisive))


def _advice(check: Check) -> str:
    if check.name == "max-size-mb":
        return "Keep fewer layers in float, or train a smaller model."
    if check.name in LATENCY_LIMITS:
        if check.verdict == "inconclusive":
            return "Measure the latency again, for longer and on a machine that does nothing else."
        return "See what edgex bench says of other runtimes, and edgex sensitivity of operations that run in float."
    if check.verdict == "fail":
        return MORE_ACCURATE
    if check.images is not None:
        which = "new images of that class" if check.of == ClassCheck.of else "new images"
        return f"Validate once on about {check.images:,} {which}. Adding images until it passes would void the verdict."
    return "Validate on other and more images, chosen before looking, or mend what the sentence above names."


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
