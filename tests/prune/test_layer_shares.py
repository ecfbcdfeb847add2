"""How many weights of each kernel go: as its paper says, as many as are asked for in all, and never all of one."""

import numpy as np
import pytest

from edgex.graph.ir import Array
from edgex.prune.layer_shares import lamp_shares

DRAW = np.random.default_rng(0)
KERNELS: dict[str, Array] = {
    "small": DRAW.normal(size=(3, 3, 4, 8)).astype(np.float32),
    "large": DRAW.normal(size=(1, 1, 64, 128)).astype(np.float32),
    "huge in value": (1000 * DRAW.normal(size=(64, 32))).astype(np.float32),
}


def pruned(kernels: dict[str, Array], share: float) -> dict[str, int]:
    return {name: round(part * kernels[name].size) for name, part in lamp_shares(kernels, share).items()}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.8, 0.99])
def test_in_all_the_share_goes(share: float) -> None:
    whole = sum(kernel.size for kernel in KERNELS.values())
    assert sum(pruned(KERNELS, share).values()) == round(share * whole)


def test_by_hand() -> None:
    """Of the squares 1, 4, 9 the scores are 1/14, 4/13, 1; of 4, 4 they are 1/2, 1."""
    kernels = {"a": np.array([3.0, -1.0, 2.0], np.float32), "b": np.array([2.0, -2.0], np.float32)}
    assert pruned(kernels, 1 / 5) == {"a": 1, "b": 0}
    assert pruned(kernels, 2 / 5) == {"a": 2, "b": 0}
    assert pruned(kernels, 3 / 5) == {"a": 2, "b": 1}


def test_large_kernels_lose_more_and_the_scale_of_one_does_not_matter() -> None:
    shares = lamp_shares(KERNELS, 0.8)
    assert shares["small"] < shares["large"]
    scaled = lamp_shares(KERNELS | {"large": KERNELS["large"] * np.float32(1e-3)}, 0.8)
    assert scaled == pytest.approx(shares, abs=1e-4)


def test_no_kernel_is_left_empty() -> None:
    kernels = {**KERNELS, "one": np.ones(1, np.float32), "zeros": np.zeros(7, np.float32)}
    shares = lamp_shares(kernels, 0.999)
    assert shares["one"] == 0
    assert all(share < 1 for name, share in shares.items() if name != "zeros")
    assert shares["zeros"] == 1
