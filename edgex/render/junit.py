"""What the gate found, as JUnit's XML, which CI systems show as tests."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgex.gate import GateResult

RED = {"fail": "failure", "inconclusive": "error"}
"""A limit that was broken is a failure; one of which nothing is proven is an error. Both are red."""

NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, even escaped."""


def junit(result: "GateResult") -> bytes:
    """One test case for each artifact and limit; the message is in its output, or in what made it red."""
    from xml.etree.ElementTree import Element, SubElement, tostring

    found = [check.verdict for judgement in result.results for check in judgement.checks]
    counts = {
        "name": "edgex gate",
        "tests": str(len(found)),
        "failures": str(found.count("fail")),
        "errors": str(found.count("inconclusive")),
    }
    suites = Element("testsuites", counts)
    suite = SubElement(suites, "testsuite", counts)
    for judgement in result.results:
        for check in judgement.checks:
            case = SubElement(suite, "testcase", classname=_clean(str(judgement.path)), name=check.name)
            if check.verdict in RED:
                SubElement(case, RED[check.verdict], type=check.verdict, message=_clean(check.message))
            else:
                SubElement(case, "system-out").text = _clean(check.message)
    content: bytes = tostring(suites, encoding="utf-8", xml_declaration=True)
    return content


def _clean(text: str) -> str:
    return NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
