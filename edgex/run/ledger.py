"""Which stages have run, from what, and what they wrote: ``run.json``, beside an output directory."""

from collections.abc import Iterable
from pathlib import Path

from edgex.errors import DataError, OutputError
from edgex.json_record import Record, read_record, to_json
from edgex.manifest import file_record
from edgex.output import replace_files
from edgex.prune.gain import Gain

LEDGER_NAME = "run.json"
LEDGER_SCHEMA = "edgex.stages/1"


class Entry(Record):
    """A stage that has run.

    Attributes:
        key: hash of all that it was given.
        files: name of each file that it wrote → sha256.
        warnings: sentences that it said.
        gain: what pruning bought, if it pruned.
    """

    key: str
    files: dict[str, str]
    warnings: tuple[str, ...]
    gain: Gain | None = None


class _Entries(Record):
    stages: dict[str, Entry]


class Ledger:
    """The entries in ``file`` of the stages that write into ``directory``.

    A file that is missing, damaged, or none of this version has no entries: they only save time.
    """

    def __init__(self, file: Path, directory: Path) -> None:
        self._file = file
        self._directory = directory
        try:
            self._stages = dict(read_record(file, LEDGER_SCHEMA, _Entries, fix="").stages)
        except DataError:
            self._stages = {}

    def find(self, stage: str, key: str) -> Entry | None:
        """What a stage made when it was given the same; None if that is not all there, as it was."""
        entry = self._stages.get(stage)
        if entry is None or entry.key != key:
            return None
        try:
            same = all(file_record(self._directory / name).sha256 == sha256 for name, sha256 in entry.files.items())
        except (OutputError, ValueError):  # it is gone, or no file can have such a name
            return None
        return entry if same else None

    def keep(
        self, stage: str, key: str, files: Iterable[str], warnings: Iterable[str] = (), gain: Gain | None = None
    ) -> Entry:
        """Write that a stage has run. OutputError if a file of it cannot be read, or the disk refuses."""
        entry = Entry(
            key=key,
            files={_text(name): file_record(self._directory / name).sha256 for name in files},
            warnings=tuple(map(_text, warnings)),
            gain=gain,
        )
        self._stages[stage] = entry
        with replace_files([self._file]) as (work,):
            work.write_text(to_json(LEDGER_SCHEMA, _Entries(stages=self._stages)), encoding="utf-8")
        return entry


def _text(text: str) -> str:
    """Without the bytes of a file's name that are no text, which JSON cannot hold."""
    return text.encode(errors="replace").decode()
