"""Reports from files."""

from pathlib import Path

from edgex.json_record import read_any_record
from edgex.report.classes import REPORT_SCHEMA, Report
from edgex.report.maps import MAP_REPORT_SCHEMA, MapReport

REPORT_NAME = "report.json"
PAGE_NAME = "report.html"

AnyReport = Report | MapReport


def read_report(file: Path) -> AnyReport:
    """The report in a file.

    Raises:
        DataError: it is missing or damaged, no report, has a number that is not finite, or was edited so that its
            figures contradict each other.
    """
    kinds: dict[str, type[AnyReport]] = {REPORT_SCHEMA: Report, MAP_REPORT_SCHEMA: MapReport}
    return read_any_record(file, kinds, fix="Give a report.json that edgex validate wrote.")
