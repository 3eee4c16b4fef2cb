"""One model in one format: converted, proved, and how it was made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorflow import keras

from mggr_edge.common.progress import Progress
from mggr_export.bundle.labels import labelled
from mggr_export.bundle.writer import Travelling
from mggr_export.exporting.request import Batch
from mggr_export.eyes.export_eyes import CALIBRATION_PAIRS, PARITY_PAIRS, SEED, ExportEyes
from mggr_export.formats.keras_models import outputs_of
from mggr_export.formats.model_format import FileFormat
from mggr_export.formats.registry import model_format
from mggr_export.proofs.explain import explain, explained_text
from mggr_export.proofs.parity import shown
from mggr_export.proofs.proof import Converted, faults_of, file_name, prove
from mggr_tf.config.conversion_limits import ConversionLimits, Precision

_PAIRS_TO_EXPLAIN = 32
_FITTED = "qat"
"""Where a file's record says that its weights were fitted."""

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
        fitted: its copy with weights fitted to integers; None goes without.
        progress: shows how far it is.
        say: tells the user what was decided.
    """

    name: str
    model: keras.Model
    label: str
    batch: Batch
    eyes: ExportEyes
    limits: ConversionLimits
    fitted: keras.Model | None
    progress: Progress
    say: Callable[[str], None]

    def export(self, precision: Precision, file_format: FileFormat) -> Travelling:
        """The model in one format. What its proof found stands in the result.

        A format that cannot be written in that precision, and an estimator that it hurts,
        stay float32, and it is said.

        Raises:
            BundleError: the converter gave other inputs or outputs than the model's.
        """
        if precision not in model_format(file_format).precisions:
            self.say(f"{self.name} as {file_format}: float32, the only precision that it has")
            precision = "float32"
        exported = self._exported(precision, file_format)
        if precision == "int8" and exported.proof.faults and self.name in _MAY_STAY_FLOAT:
            file = file_name(self.name, exported.converted)
            self.say(f"{file} stays float32; in int8 {faults_of({file: exported.proof})}")
            return self._exported("float32", file_format)
        return exported

    def explain(self, exported: Travelling) -> str:
        """Where an int8 file loses what it loses, as a table."""
        assert self.eyes.calibration is not None
        file_format = exported.converted.format
        inputs = {
            name: value[:_PAIRS_TO_EXPLAIN] for name, value in self.eyes.compared[self.name].items()
        }
        with self.progress(f"laying the {self.name} open", None) as advance:
            opened = model_format(file_format).dissect(
                self.fitted if _is_fitted(exported) else self.model,
                self.eyes.calibration[self.name],
                batch=self.batch,
            )
            costs = explain(opened, outputs_of(self.model, inputs), inputs, advance=advance)
        return explained_text(file_name(self.name, exported.converted), costs)

    def _exported(self, precision: Precision, file_format: FileFormat) -> Travelling:
        plain = self._proven(self.model, precision, file_format)
        if precision != "int8" or self.fitted is None:
            return plain
        fitted = self._proven(self.fitted, precision, file_format)
        before, after = _psnr_db(plain), _psnr_db(fitted)
        # Within the limits first: a bundle that passes without a fit passes with one.
        is_better = (not fitted.proof.faults, after) > (not plain.proof.faults, before)
        better = fitted if is_better else plain
        self.say(
            f"{file_name(self.name, plain.converted)}: {after:.1f} dB with weights fitted to "
            f"integers, {before:.1f} dB by calibration alone"
            + ("" if better is fitted else "; the fitted ones are left out")
        )
        if better is fitted and self.eyes.fitting is not None:
            gain_db = float(f"{after - before:.3g}")
            fitted.build[_FITTED] = {"pairs": len(self.eyes.fitting.pairs), "gain_db": gain_db}
        return better

    def _proven(
        self, model: keras.Model, precision: Precision, file_format: FileFormat
    ) -> Travelling:
        """A file of some model, held against the one that was trained."""
        content, build = self._converted(model, precision, file_format)
        converted = Converted(labelled(content, file_format, self.label), precision, file_format)
        with self.progress(f"comparing the {self.name} with Keras", PARITY_PAIRS) as advance:
            proof = prove(
                converted,
                self.model,
                self.eyes.compared[self.name],
                limits=self.limits,
                data=self.eyes.source_of(self.name),
                sight=self.eyes.sight if self.name == "redirector" else None,
                openings=self.eyes.openings if self.name == "redirector" else None,
                advance=advance,
            )
        return Travelling(converted, proof, build)

    def _converted(
        self, model: keras.Model, precision: Precision, file_format: FileFormat
    ) -> tuple[bytes, dict[str, Any]]:
        """The file, and how it was made as far as that is not said elsewhere."""
        convert = model_format(file_format)
        if precision != "int8":
            with self.progress(f"converting the {self.name} to {file_format}", None):
                to_float = convert.float16 if precision == "float16" else convert.float32
                return to_float(model, batch=self.batch), {}
        assert self.eyes.calibration is not None
        inputs = self.eyes.calibration[self.name]
        with self.progress(f"calibrating the {self.name}", CALIBRATION_PAIRS) as advance:
            content = convert.int8(model, inputs, batch=self.batch, advance=advance)
        source = {
            "pairs": CALIBRATION_PAIRS,
            "data": self.eyes.calibrated_on_of(self.name),
            "seed": SEED,
            "subjects": list(self.eyes.calibrated_people_of(self.name)),
        }
        return content, {"calibration": source}


def _is_fitted(exported: Travelling) -> bool:
    return _FITTED in exported.build


def _psnr_db(exported: Travelling) -> float:
    """Of what the model's user sees, against Keras."""
    parity = {one.output: one for one in exported.proof.parity}
    found = parity[shown(parity)].psnr_db
    return math.inf if found is None else found
