"""What is said before a model is pruned."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgex import console

if TYPE_CHECKING:
    from edgex.pipeline import PruneOptions


@contextmanager
def pruning(options: "PruneOptions | None", choose: str, insist: str = "--force") -> Iterator[None]:
    """Say what pruning buys before the block does it, and where it would buy nothing, what can be done about that.

    Args:
        options: None where nothing is pruned.
        choose: what the user chooses a method with, which stands in the place of the braces.
        insist: what the user insists on it with.
    """
    from edgex.prune.methods import NothingGainedError, what_it_buys

    if options is not None and not console.SETTINGS.quiet:
        console.err().print(what_it_buys(options.method))
    try:
        yield
    except NothingGainedError as error:
        error.say_fix(choose, insist)
        raise
