"""What pruning bought: latencies, and sizes when compressed, beside those of the model that was pruned."""

from edgex.json_record import Record


class PrunedLatency(Record):
    """The latency of a pruned network in INT8 beside the original's, at batch 1 on this machine.

    Attributes:
        format: of both files.
        runtime: that ran them.
        before, after: medians, in milliseconds.
        ratio: of after to before, by runs that took turns.
        low, high: its 95 % interval.
    """

    format: str
    runtime: str
    before: float
    after: float
    ratio: float
    low: float
    high: float


class CompressedSize(Record):
    """Bytes of a file when it is compressed; ``before`` of the same made of the original.

    Attributes:
        kind: of the file, like ``int8.onnx``.
    """

    kind: str
    before: int
    after: int


class Gain(Record):
    """What pruning bought.

    Attributes:
        latencies: for each of the target's INT8 artifacts in its usual runtime here, the main one first; empty where
            the method takes no work away.
        compressed: where there are zeros to compress.
    """

    latencies: tuple[PrunedLatency, ...] = ()
    compressed: tuple[CompressedSize, ...] = ()
