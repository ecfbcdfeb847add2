"""The forms that an ONNX file can have, and the one that a target wants."""

from dataclasses import dataclass
from typing import Literal

from edgex.plan import WeightBits
from edgex.target import TargetProfile

IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12}
"""The IR version each opset was released with: older runtimes refuse newer ones."""

INT4_OPSET = 21
"""The first opset that has INT4."""


@dataclass(frozen=True)
class OnnxForm:
    """How a target wants its ONNX.

    Attributes:
        opset: of the default domain, 13 to 24.
        activation_type: of quantized activations; ``uint8`` with INT8 weights is what ONNX Runtime calls U8S8.
        bias: ``int32`` at the accumulator's scale, or ``float``, which TensorRT demands.
        float_type: of a model without a plan; with one, what is not quantized is float32.
        integer_io: inputs and outputs are quantized too.
        weight_storage: of weights of 4 bits: ``int4`` is two to a byte, from opset 21 on, ``int8`` one to a byte.

    Raises:
        ValueError: INT4 in an opset that has none.
    """

    opset: int = 17
    activation_type: Literal["uint8", "int8"] = "uint8"
    bias: Literal["int32", "float"] = "int32"
    float_type: Literal["float32", "float16"] = "float32"
    integer_io: bool = False
    weight_storage: Literal["int4", "int8"] = "int8"

    def __post_init__(self) -> None:
        if self.weight_storage == "int4" and self.opset < INT4_OPSET:
            raise ValueError(f"opset {self.opset} has no INT4, {INT4_OPSET} is the first that has")


def int8_form(target: TargetProfile, weight_bits: WeightBits = 8, *, integer_io: bool = False) -> OnnxForm:
    """How a target wants a quantized model; one with weights of 4 bits takes a newer opset where that packs them."""
    packs = weight_bits == 4 and _takes_int4(target)
    return OnnxForm(
        opset=max(target.opset, INT4_OPSET) if packs else target.opset,
        activation_type=target.onnx.activation_type,
        bias=target.onnx.bias,
        integer_io=integer_io,
        weight_storage="int4" if packs else "int8",
    )


def _takes_int4(target: TargetProfile) -> bool:
    """Whether the target's runtimes take INT4 weights with 8-bit activations. TensorRT takes them with float ones only
    (https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html)."""
    limit = target.onnx.opset_limit
    return "tensorrt" not in target.compiled and (limit is None or limit >= INT4_OPSET)
