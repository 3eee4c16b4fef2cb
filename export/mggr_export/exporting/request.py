"""What a bundle is asked to hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mggr_edge.errors import UsageError
from mggr_export.formats.model_format import FileFormat
from mggr_tf.config.conversion_limits import Precision

Batch = Literal[1, 2]


@dataclass(frozen=True)
class ExportRequest:
    """One bundle of a run.

    Attributes:
        precision: of the convolutions.
        formats: that every model is written in, the one that devices prefer first.
        engine_recipe: say how TensorRT builds engines of the ONNX files.
        batch: eyes that a file takes at once: one, or both of a face.
        data: eyes to compare with Keras on, and to calibrate on unless others are named:
            `synthetic`, a folder, or None for what the run was trained on.
        calibration: eyes to calibrate on, `synthetic` or a folder.
        lean: leave out the face models and the reference weights.
        explain: tell which layers' integers cost how much.
        qat_steps: of fitting weights to integers; 0 leaves them as they were trained.

    Raises:
        UsageError: eyes for a calibration, an explanation or a fit that nothing asks for.
    """

    precision: Precision = "float32"
    formats: tuple[FileFormat, ...] = ("tflite",)
    engine_recipe: bool = False
    batch: Batch = 1
    data: str | None = None
    calibration: str | None = None
    lean: bool = False
    explain: bool = False
    qat_steps: int = 0

    def __post_init__(self) -> None:
        if self.calibration is not None and self.precision != "int8":
            raise UsageError("--calibration goes with --int8; nothing else is calibrated")
        if self.explain and self.precision != "int8":
            raise UsageError("--explain goes with --int8; nothing else loses anything by layers")
        if self.qat_steps and self.precision != "int8":
            raise UsageError("--qat goes with --int8; weights need not be fitted to anything else")

    @property
    def is_quantised(self) -> bool:
        """Whether anything is calibrated."""
        return self.precision == "int8"
