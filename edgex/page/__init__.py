"""``report.html``: a report as a page for people, in one file that asks for no other."""

from edgex.page.maps import map_report_page
from edgex.page.page import report_page

__all__ = ["map_report_page", "report_page"]
