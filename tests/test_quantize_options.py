"""What quantize can be told."""

import pytest

from edgex.errors import UsageError
from edgex.pipeline import QuantizeOptions


@pytest.mark.parametrize(
    "expression",
    [
        "(",
        pytest.param("a{99999999999999999999}", id="a number beyond the machine's"),
        pytest.param("(" * 5000 + ")" * 5000, id="groups deeper than Python goes"),
    ],
)
def test_what_is_no_regular_expression(expression: str) -> None:
    with pytest.raises(UsageError, match="is not a regular expression"):
        _ = QuantizeOptions(keep_float=expression).keep_float_pattern


def test_a_regular_expression() -> None:
    pattern = QuantizeOptions(keep_float="^block1_").keep_float_pattern
    assert pattern is not None
    assert pattern.search("block1_conv1")
    assert QuantizeOptions().keep_float_pattern is None
