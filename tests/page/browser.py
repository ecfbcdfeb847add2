"""A real browser, and what a page makes it do."""

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--proxy-server=http://127.0.0.1:9",  # where nobody listens: whatever it asks for stays here
    "--enable-logging=stderr",
    "--v=0",
)
BROWSER = "not an origin"
"""Who asks for what the browser wants for itself."""


@dataclass(frozen=True)
class Visit:
    """A page as the browser had it.

    Attributes:
        document: its elements, after all that runs in it has run.
        console: lines that it wrote to the console.
        requests: addresses that it, and not the browser, asked for.
    """

    document: str
    console: list[str]
    requests: list[str]


def visit(page: Path) -> Visit:
    """Open a page."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "net.json"
        where = (f"--user-data-dir={folder}/profile", f"--log-net-log={log}")
        command = [shutil.which("chromium") or "chromium", *OPTIONS, *where, "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return Visit(done.stdout, re.findall(r"CONSOLE.*", done.stderr), _asked_for(json.loads(log.read_text())))


def _asked_for(log: dict) -> list[str]:
    started = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    begun = [event["params"] for event in log["events"] if event["type"] == started and "url" in event["params"]]
    return [request["url"] for request in begun if request["initiator"] != BROWSER]
