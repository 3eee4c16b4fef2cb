"""One model in one format: converted, proved, and how it was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tensorflow import keras

from mggr_edge.contract import RunnableFormat
from mggr_edge.progress import Progress
from mggr_export.bundle import Travelling
from mggr_export.converting import convert_float16, convert_float32, convert_int8
from mggr_export.export_eyes import CALIBRATION_PAIRS, PARITY_PAIRS, SEED, ExportEyes
from mggr_export.labels import labelled
from mggr_export.proof import Converted, faults_of, file_name, prove
from mggr_export.request import Batch
from mggr_tf.conversion_limits import ConversionLimits, Precision

_MAY_STAY_FLOAT = frozenset({"estimator"})
"""Models whose int8 file may miss its limits: they then travel in float32, and it is said."""


@dataclass(frozen=True)
class Exporter:
    """Converts and proves a model.

    Attributes:
        name: of the model in the bundle.
        model: in Keras.
        label: what its files say of themselves.
        batch: eyes that its files take at once.
        eyes: what it is calibrated and compared on.
        limits: what its files may differ by.
        progress: shows how far it is.
        say: tells the user what was decided.
    """

    name: str
    model: keras.Model
    label: str
    batch: Batch
    eyes: ExportEyes
    limits: ConversionLimits
    progress: Progress
    say: Callable[[str], None]

    def export(self, precision: Precision, file_format: RunnableFormat) -> Travelling:
        """The model in one format. What its proof found stands in the result.

        Raises:
            BundleError: the converter gave other inputs or outputs than the model's.
        """
        if precision != "int8":
            return self._proven(self._float(precision, file_format), {})
        exported = self._proven(*self._int8(file_format))
        if exported.proof.faults and self.name in _MAY_STAY_FLOAT:
            file = file_name(self.name, exported.converted)
            self.say(f"{file} stays float32; in int8 {faults_of({file: exported.proof})}")
            return self._proven(self._float("float32", file_format), {})
        return exported

    def _float(
        self, precision: Literal["float32", "float16"], file_format: RunnableFormat
    ) -> Converted:
        convert = convert_float16 if precision == "float16" else convert_float32
        with self.progress(f"converting the {self.name} to {file_format}", None):
            content = convert(self.model, file_format, batch=self.batch)
        return self._labelled(content, precision, file_format)

    def _int8(self, file_format: RunnableFormat) -> tuple[Converted, dict[str, Any]]:
        assert self.eyes.calibration is not None
        inputs = self.eyes.calibration[self.name]
        with self.progress(f"calibrating the {self.name}", CALIBRATION_PAIRS) as advance:
            content = convert_int8(
                self.model, file_format, inputs, batch=self.batch, advance=advance
            )
        calibration = {"pairs": CALIBRATION_PAIRS, "data": self.eyes.calibrated_on, "seed": SEED}
        return self._labelled(content, "int8", file_format), {"calibration": calibration}

    def _labelled(
        self, content: bytes, precision: Precision, file_format: RunnableFormat
    ) -> Converted:
        return Converted(labelled(content, file_format, self.label), precision, file_format)

    def _proven(self, converted: Converted, build: dict[str, Any]) -> Travelling:
        with self.progress(f"comparing the {self.name} with Keras", PARITY_PAIRS) as advance:
            proof = prove(
                converted,
                self.model,
                self.eyes.compared[self.name],
                limits=self.limits,
                data=self.eyes.source,
                sight=self.eyes.sight if self.name == "redirector" else None,
                advance=advance,
            )
        return Travelling(converted, proof, build)
