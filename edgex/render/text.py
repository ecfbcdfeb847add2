"""Numbers and names as people read them."""


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
