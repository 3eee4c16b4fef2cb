"""Convert one model of a run, and check the converted files."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorflow import keras

from mggr_edge.common.progress import Progress
from mggr_export.exporting.bundle_writer import BundledModel
from mggr_export.exporting.labels import labelled
from mggr_export.exporting.request import Batch
from mggr_export.eyes.export_eyes import CALIBRATION_PAIRS, PARITY_PAIRS, SEED, ExportEyes
from mggr_export.formats import model_format
from mggr_export.formats.keras_models import (
    outputs_of,
    outputs_with_bias,
    with_shifted_outputs,
)
from mggr_export.formats.model_format import FileFormat
from mggr_export.proofs.explain import explain, explained_text
from mggr_export.proofs.proof import Converted, faults_of, file_name, prove, run_each, shown
from mggr_tf.config.conversion_limits import ConversionLimits, Precision

_PAIRS_TO_EXPLAIN = 32
_FITTED = "qat"
"""Key under which the build record of a file describes QAT (quantization-aware training)."""

_MAY_STAY_FLOAT = frozenset({"estimator"})
"""Models that are stored in float32 if their int8 file exceeds a limit. The user gets a message."""


@dataclass(frozen=True)
class Exporter:
    """Converter of one model, which also checks the converted files.

    Attributes:
        name: Name of the model in the bundle.
        model: Keras model.
        label: Text for the metadata of the model's files. `label_of` writes this text.
        batch: Number of eyes that a file processes per call.
        eyes: Eyes for the calibration and for the comparison.
        limits: Allowed differences between the model's files and Keras.
        fitted: Copy of the model with weights from QAT. `None` without QAT.
        progress: Factory of progress bars.
        notify: Callback for messages to the user.
    """

    name: str
    model: keras.Model
    label: str
    batch: Batch
    eyes: ExportEyes
    limits: ConversionLimits
    fitted: keras.Model | None
    progress: Progress
    notify: Callable[[str], None]

    def export(self, precision: Precision, file_format: FileFormat) -> BundledModel:
        """Convert the model to one format, check the file, and return both.

        The file is float32 if the format does not support the precision. The file is also float32
        if the int8 file of an estimator exceeds a limit. In both cases, the user receives a
        message.

        Raises:
            BundleError: If the inputs or outputs of the converted file differ from those of the
                model.
        """
        if precision not in model_format(file_format).precisions:
            self.notify(
                f"{self.name} as {file_format}: float32, because the format has only this precision"
            )
            precision = "float32"
        exported = self._exported(precision, file_format)
        if precision == "int8" and exported.proof.faults and self.name in _MAY_STAY_FLOAT:
            file = file_name(self.name, exported.converted)
            self.notify(
                f"{file} stays float32, because the int8 file exceeds a limit: "
                f"{faults_of({file: exported.proof})}"
            )
            return self._exported("float32", file_format)
        return exported

    def explain(self, exported: BundledModel) -> str:
        """Measure the accuracy loss of each layer in int8, and return a table.

        Args:
            exported: file of a format that supports int8. The file itself may be float32, because
                its int8 version exceeded a limit.
        """
        assert self.eyes.calibration is not None
        file_format = exported.converted.format
        inputs = {
            name: value[:_PAIRS_TO_EXPLAIN] for name, value in self.eyes.compared[self.name].items()
        }
        model = self.fitted if _is_fitted(exported) else self.model
        with self.progress(f"measuring each layer of the {self.name}", None) as advance:
            opened = model_format(file_format).dissect(
                self._corrected(model, file_format)[0],
                self.eyes.calibration[self.name],
                batch=self.batch,
            )
            costs = explain(opened, outputs_of(self.model, inputs), inputs, advance=advance)
        return explained_text(file_name(self.name, exported.converted), costs)

    def _exported(self, precision: Precision, file_format: FileFormat) -> BundledModel:
        plain = self._proven(self.model, precision, file_format)
        if precision != "int8" or self.fitted is None:
            return plain
        fitted = self._proven(self.fitted, precision, file_format)
        before, after = _psnr_db(plain), _psnr_db(fitted)
        # A file within the limits is better than a file that exceeds a limit, even with a lower
        # PSNR. A bundle that passes without QAT therefore also passes with QAT.
        is_better = (not fitted.proof.faults, after) > (not plain.proof.faults, before)
        better = fitted if is_better else plain
        self.notify(
            f"{file_name(self.name, plain.converted)}: PSNR {after:.1f} dB with QAT, "
            f"{before:.1f} dB with calibration alone"
            + ("" if better is fitted else "; the original weights are kept")
        )
        if better is fitted and self.eyes.fitting is not None:
            gain_db = float(f"{after - before:.3g}")
            fitted.build[_FITTED] = {"pairs": len(self.eyes.fitting.pairs), "gain_db": gain_db}
        return better

    def _proven(
        self, model: keras.Model, precision: Precision, file_format: FileFormat
    ) -> BundledModel:
        """Convert a model to a file, and compare the file with the trained Keras model."""
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
        return BundledModel(converted, proof, build)

    def _converted(
        self, model: keras.Model, precision: Precision, file_format: FileFormat
    ) -> tuple[bytes, dict[str, Any]]:
        """Return the content of the converted file, and its build record.

        The build record of an int8 file describes the calibration data and the correction of
        biases. All other build records are empty.
        """
        convert = model_format(file_format)
        if precision != "int8":
            with self.progress(f"converting the {self.name} to {file_format}", None):
                to_float = convert.float16 if precision == "float16" else convert.float32
                return to_float(model, batch=self.batch), {}
        model, corrections = self._corrected(model, file_format)
        content = self._int8(model, file_format)
        source = {
            "pairs": CALIBRATION_PAIRS,
            "data": self.eyes.calibrated_on_of(self.name),
            "seed": SEED,
            "subjects": list(self.eyes.calibrated_people_of(self.name)),
        }
        build: dict[str, Any] = {"calibration": source}
        return content, build | ({"bias_correction": corrections} if corrections else {})

    def _int8(self, model: keras.Model, file_format: FileFormat) -> bytes:
        assert self.eyes.calibration is not None
        inputs = self.eyes.calibration[self.name]
        with self.progress(f"calibrating the {self.name}", CALIBRATION_PAIRS) as advance:
            return model_format(file_format).int8(model, inputs, batch=self.batch, advance=advance)

    def _corrected(
        self, model: keras.Model, file_format: FileFormat
    ) -> tuple[keras.Model, dict[str, list[float]]]:
        """Return a model whose int8 file has no mean error on the calibration data.

        Rounding the weights changes the mean of an output. The mean change is subtracted from the
        bias of the output's layer [1]. Only outputs of dense layers without activation are
        corrected.

        Returns:
            The model, and a dict: output -> numbers that were added to its bias.

        References:
            [1] Nagel et al., Data-Free Quantization Through Weight Equalization and Bias
                Correction, ICCV 2019, section 4.2.
        """
        outputs = outputs_with_bias(model)
        if not outputs:
            return model, {}
        assert self.eyes.calibration is not None
        inputs = self.eyes.calibration[self.name]
        runner = model_format(file_format).open(self._int8(model, file_format))
        made, right = run_each(runner, inputs, batch=self.batch), outputs_of(self.model, inputs)
        change = {name: (right[name] - made[name]).mean(axis=0) for name in outputs}
        shown_change = {name: [float(f"{x:.3g}") for x in by] for name, by in change.items()}
        return with_shifted_outputs(model, change), shown_change


def _is_fitted(exported: BundledModel) -> bool:
    return _FITTED in exported.build


def _psnr_db(exported: BundledModel) -> float:
    """Return the PSNR in dB of the output that the user sees, compared with Keras.

    The result is infinite if both outputs are equal.
    """
    parity = {one.output: one for one in exported.proof.parity}
    found = parity[shown(parity)].psnr_db
    return math.inf if found is None else found
