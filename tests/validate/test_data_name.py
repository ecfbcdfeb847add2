"""What a report calls the images it is of."""

from pathlib import Path

import pytest

from edgex.validate.validation import data_name


@pytest.mark.parametrize(
    ("given", "name"),
    [("val", "val"), ("a/val.zip", "val.zip"), ("digits", "digits"), (".", "sets"), ("val/..", "sets"), ("", "sets")],
)
def test_a_folder_has_a_name_however_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, name: str
) -> None:
    (tmp_path / "sets" / "val").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "sets")
    assert data_name(given) == data_name(Path(given)) == name
