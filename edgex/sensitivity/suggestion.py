"""Which layers are worth keeping in float."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from edgex.execute import open_network
from edgex.report import LayerSensitivity
from edgex.sensitivity.simulation import Probe, plan_without
from edgex.sensitivity.subject import Subject

MOST_LAYERS = 5

LEAST_GAIN_DB = 1.0
"""Of the whole network, that each layer kept in float must bring: a fifth of the noise."""

QUIET_DB = 30.0
"""Of the whole network: noise of a thousandth of the signal flips hardly a prediction, so less is no gain."""


def noise_power(snr_db: float) -> float:
    """Noise over signal."""
    return float(10 ** (-snr_db / 10))


def noisiest(rows: Iterable[LayerSensitivity]) -> list[str]:
    """Keras layers by the noise that they make alone, most first; both halves of a separable convolution count."""
    noise: Counter[str] = Counter()
    for row in rows:
        if row.snr_db is not None:
            noise[keras_layer(row.layer)] += noise_power(row.snr_db)  # type: ignore[assignment]
    return [layer for layer, _ in noise.most_common()]


def keras_layer(node: str) -> str:
    """The layer that a node of the prepared graph comes from."""
    return re.sub(r"\.(depthwise|pointwise)$", "", node)


def keep_float_pattern(layers: Sequence[str], given: str | None = None) -> str:
    """A regular expression for all nodes of some Keras layers, and for what is kept already."""
    names = "|".join(map(re.escape, layers))
    pattern = rf"^({names})(\.|$)" if len(layers) > 1 else rf"^{names}(\.|$)"
    return pattern if given is None else f"{given}|{pattern}"


def gain_db(before: float, after: float | None, layers: int) -> float:
    """What keeping so many layers in float brings, less the least that it should; 0 or more is worth it."""
    return (QUIET_DB if after is None else min(after, QUIET_DB)) - before - LEAST_GAIN_DB * layers


def worth_keeping(
    subject: Subject,
    rows: Sequence[LayerSensitivity],
    whole_db: float | None,
    probe: Probe,
    given: str | None,
    progress: Callable[[int, int], None],
) -> tuple[str, ...]:
    """The Keras layers that quiet the network most when they stay in float; none if it is not worth it.

    Greedy, from the noisiest on. A tensor is stored as long as one of its readers or its maker is INT8, so a layer may
    bring nothing before its neighbour is kept too: the noisiest one to five are tried together, and then those that
    turn out not to be needed are dropped.

    Args:
        subject: the network.
        rows: of each layer alone.
        whole_db: signal-to-noise ratio of the network with all layers quantized.
        probe: images that the ratio is measured on.
        given: regular expression of what is kept in float already.
        progress: called with trials done and the most there can be.
    """
    layers = noisiest(rows)
    most = min(MOST_LAYERS, len(layers) - 1)
    if whole_db is None or most < 1:
        return ()
    done = 0

    def tried(kept: Sequence[str]) -> float:
        nonlocal done
        plan = plan_without(subject.graph, subject.plan, re.compile(keep_float_pattern(kept, given)))
        done += 1
        progress(done, 2 * most)
        return gain_db(whole_db, probe.snr_db(open_network(subject.graph, plan, subject.form)), len(kept))

    best_gain, best = max((tried(layers[:count]), layers[:count]) for count in range(1, most + 1))
    for layer in best[:-1]:
        fewer = [other for other in best if other != layer]
        without = tried(fewer)
        if without >= best_gain:
            best_gain, best = without, fewer
    progress(2 * most, 2 * most)
    return tuple(best) if best_gain >= 0 else ()
