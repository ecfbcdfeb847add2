"""Where the files that ship with edgex lie.

A wheel carries ``targets`` and ``calib_data`` inside the package; in a checkout, and so in an editable install, they
stand beside it, where people can see and change them.
"""

from pathlib import Path

from edgex.errors import RuntimeMissingError

_PACKAGE = Path(__file__).resolve().parent


def targets_dir() -> Path:
    """The folder of target profiles, one TOML each."""
    return _shipped("targets", _PACKAGE / "targets", _PACKAGE.parent / "targets")


def calib_data_dir() -> Path:
    """The demo's calibration images, in class folders."""
    return _shipped("calib_data", _PACKAGE / "calib_data", _PACKAGE.parent / "calib_data")


def demo_model() -> Path:
    """The narrow Xception of the demo, trained on handwritten digits."""
    return _shipped("demo model", _PACKAGE / "demo" / "xception-digits.keras")


def digits_file() -> Path:
    """The handwritten digits: ``x`` uint8 (1797, 8, 8, 1), ``y``, and ``split``, one of three words each."""
    return _shipped("digits", _PACKAGE / "demo" / "digits.npz")


def _shipped(what: str, *candidates: Path) -> Path:
    for path in candidates:
        if path.exists():
            return path
    raise RuntimeMissingError(
        f"The {what} that ship with edgex are missing: {candidates[0]} does not exist.", fix="Install edgex again."
    )
