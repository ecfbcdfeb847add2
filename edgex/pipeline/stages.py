"""How stages went, and what took long: kept beside an output until that is whole, under a hash of its inputs."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgex.graph.ir import Graph
from edgex.output import real_path


@dataclass(frozen=True)
class Stage:
    """How a stage went.

    Attributes:
        cached: whether it was not run, because what it would make is there already.
        seconds: that it took, or that it took to see that.
        warnings: sentences that it said, now or when it was run.
    """

    name: str
    cached: bool
    seconds: float
    warnings: tuple[str, ...] = ()


@contextmanager
def unfinished(output: Path, kept: Path | None = None) -> Iterator[Path]:
    """A folder for what an interrupted run into ``output`` would have to do again; who writes into it makes it.

    Without ``kept`` it lies beside the output, and goes when the block ends well.
    """
    target = real_path(output)
    folder = kept or target.with_name(f".{target.name}.unfinished")
    try:
        yield folder
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)  # there may be none
    finally:
        with suppress(OSError):  # there is something in it
            folder.rmdir()


def key_of(**parts: Any) -> str:
    """A hash of all parts, which JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def digest(graph: Graph) -> str:
    """A hash of all that a graph computes with."""
    sha256 = hashlib.sha256()
    for node in graph.nodes:
        sha256.update(repr((node.name, node.op, node.inputs, sorted(node.params))).encode())
        for _, array in sorted(node.params.items()):
            sha256.update(array.tobytes())
    return sha256.hexdigest()
