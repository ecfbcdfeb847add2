"""The page in headless Chromium: it renders, says nothing on the console and asks nobody for anything."""

import re
import shutil
from pathlib import Path

import pytest
from browser import visit
from synthetic import CLASSES, hostile

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium to look with")


@pytest.fixture
def file(tmp_path: Path, page: str) -> Path:
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def spoil(file: Path, addition: str, *, policy: bool) -> None:
    """Put something into the page; without ``policy`` also take away what forbids it."""
    page = file.read_text(encoding="utf-8").replace("</main>", f"{addition}</main>")
    file.write_text(page if policy else re.sub("<meta http-equiv[^>]*>", "", page), encoding="utf-8")


def test_it_renders_silently_and_alone(file: Path) -> None:
    seen = visit(file)
    assert seen.console == []
    assert seen.requests == []
    assert "may ship" in seen.document or "proven" in seen.document
    for name in CLASSES:
        assert name in seen.document
    assert seen.document.count("<svg") == 6


def test_names_do_nothing(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(hostile().page(), encoding="utf-8")
    seen = visit(file)
    assert seen.console == []
    assert seen.requests == []
    assert "alert(1)" in seen.document


def test_an_image_from_elsewhere_shows(file: Path) -> None:
    spoil(file, "<img src='http://example.com/spy.png'>", policy=False)
    assert visit(file).requests == ["http://example.com/spy.png"]


def test_a_script_that_throws_shows(file: Path) -> None:
    spoil(file, "<script>throw Error('thrown')</script>", policy=False)
    assert any("thrown" in line for line in visit(file).console)


def test_the_policy_of_the_page_forbids_both(file: Path) -> None:
    spoil(file, "<img src='http://example.com/spy.png'><script>document.title = 'changed'</script>", policy=True)
    seen = visit(file)
    assert seen.requests == []
    assert "changed</title>" not in seen.document
    assert len(seen.console) == 2
