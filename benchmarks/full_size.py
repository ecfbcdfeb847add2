"""The full Xception at 299×299: our files of it and the oracles', and what making them took."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.inputs import FULL_SIZE, Workplace
from benchmarks.oracles import ONNXRUNTIME, ORACLES, TENSORFLOW, Job, run_oracles
from benchmarks.processes import Run, edgex


@dataclass(frozen=True)
class FullSize:
    """INT8 for cpu, made by us and by oracles from the same model and images."""

    workplace: Workplace

    @property
    def ours(self) -> Path:
        return self.workplace.folder / f"edgex-{FULL_SIZE}"

    def our_file(self, kind: str) -> Path:
        return self.ours / f"{self.workplace.full_model().stem}.{kind}"

    def their_file(self, oracle: str) -> Path:
        return self._theirs / ORACLES[oracle].file

    def run_ours(self) -> Run:
        """``edgex quantize``, whole."""
        model, calib = self.workplace.full_model(), self.workplace.photos()
        return edgex(
            "quantize", model, "--target", "cpu", "--calib", calib, "-o", self.ours, folder=self.workplace.folder
        )

    def run_theirs(self, oracles: Sequence[str] = (TENSORFLOW, ONNXRUNTIME)) -> Run:
        """Oracles in one process: TensorFlow's converter, then Keras' export and ORT's quantizer, by default."""
        model, photos, python = self.workplace.full_model(), self.workplace.photos(), self.workplace.nncf_python
        return run_oracles(oracles, Job(model, photos, FULL_SIZE, self._theirs, nncf_python=python))

    @property
    def _theirs(self) -> Path:
        return self.workplace.subfolder(f"oracles-{FULL_SIZE}")
