"""What the gate found, for GitHub: Markdown for a step's summary, and annotations of a run.

Names come from files and folders, which a pull request may have named; none may become markup or a command.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgex.errors import OutputError
from edgex.render.text import on_one_line

if TYPE_CHECKING:
    from edgex.gate import GateResult, Verdict

SIGNS: "dict[Verdict, str]" = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️"}
COMMANDS: "dict[Verdict, str]" = {"pass": "notice", "fail": "error", "inconclusive": "warning"}

MARKUP = re.compile(r"[^\w\s.,;:'()%/=×–-]|_|:(?=\S)|(?<=www)\.", re.IGNORECASE)
"""What may begin markup in GitHub's Markdown: all signs but those of a sentence, and what makes a word a link."""


def in_actions() -> bool:
    """Whether this runs in GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


@contextmanager
def no_commands() -> Iterator[None]:
    """In Actions, no line printed inside is taken for a workflow command."""
    token = secrets.token_hex(16)
    if in_actions():
        print(f"::stop-commands::{token}", flush=True)  # noqa: T201  this is stdout, which the runner reads
    yield
    if in_actions():
        print(f"::{token}::", flush=True)  # noqa: T201  as above


def markdown(result: "GateResult") -> str:
    """A headed table, a row for each artifact and limit."""
    lines = [
        f"### {SIGNS[result.verdict]} edgex gate: {result.verdict}",
        "",
        "| | artifact | limit | found |",
        "|---|---|---|---|",
    ]
    for judgement in result.results:
        for check in judgement.checks:
            sign = f"{SIGNS[check.verdict]} {check.verdict}"
            path = f"<code>{_plain(str(judgement.path))}</code>"
            lines.append(f"| {sign} | {path} | {check.name} {_limit(result, check.name)} | {_plain(check.message)} |")
    lines += ["", f"Against <code>{_plain(result.against)}</code>; all bounds are at 95 %."]
    lines += [f"- {_plain(note)}" for note in result.notes]
    return "\n".join(lines) + "\n"


def _limit(result: "GateResult", name: str) -> str:
    return f"{getattr(result.limits, name.replace('-', '_')):g}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return MARKUP.sub(lambda sign: f"&#{ord(sign[0])};", on_one_line(text))


def append_summary(file: Path, text: str) -> None:
    """Append to a file, or make it: all of ``text`` or nothing.

    Raises:
        OutputError: the disk refuses.
    """
    try:
        with file.open("ab") as stream:
            before = stream.tell()
            try:
                stream.write(text.encode("utf-8", "replace"))
                stream.flush()
            except OSError:
                with suppress(OSError):
                    stream.truncate(before)
                raise
    except OSError as error:
        raise OutputError(
            f"{file} cannot be written: {error.strerror}.", fix="Check the path and its permissions."
        ) from error


def annotations(result: "GateResult") -> list[str]:
    """Workflow commands: one for each limit that is not kept for sure, or a single notice."""
    if result.verdict == "pass":
        count = len(result.results)
        return [_command("pass", "edgex gate", f"All limits are kept by {count} artifacts, against {result.against}.")]
    return [
        _command(check.verdict, f"edgex gate: {judgement.path.name} {check.name}", check.message)
        for judgement in result.results
        for check in judgement.checks
        if check.verdict != "pass"
    ]


def _command(verdict: "Verdict", title: str, message: str) -> str:
    """See "Workflow commands for GitHub Actions"; a property escapes two signs more than the message."""
    title = _escaped(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{COMMANDS[verdict]} title={title}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
