"""Numbers and names as people read them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgex.prune.record import PruningRecord


def percent(share: float) -> str:
    return f"{100 * share:.2f}"


def milliseconds(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def size(count: float) -> str:
    """Bytes as people read them."""
    return f"{prefixed(count)}B"


def prefixed(count: float) -> str:
    """Three significant digits and a prefix of the SI: ``8.36 G``."""
    for prefix in ("", "k", "M"):
        if count < 1000:
            return f"{count:.3g} {prefix}"
        count /= 1000
    return f"{count:.3g} G"


def on_one_line(text: str) -> str:
    """Text from elsewhere with spaces for line ends, and for what would move a terminal's cursor."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def pruning_sentence(record: "PruningRecord") -> str:
    """What was taken out, and how fine-tuning went."""
    macs = f"{percent(1 - record.macs[1] / record.macs[0])} % of the multiply-accumulates are gone"
    zeros = f"{percent(record.zeros)} % of the weights are zero"
    first, best = (percent(record.accuracies[epoch]) for epoch in (0, record.best_epoch))
    return (
        f"Pruning by {record.method}: {macs if record.method == 'channels' else zeros}; fine-tuning took "
        f"{record.measure} on the images held out from {first} to {best} %, best after {record.best_epoch} of "
        f"{len(record.losses) - 1} epochs."
    )
