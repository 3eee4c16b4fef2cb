"""Options of an export, and the eyes for its calibration and comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mggr_edge.common.progress import Progress
from mggr_edge.errors import DataError, UsageError
from mggr_export.eyes.export_eyes import SEED, ClosingToExport, separate_people
from mggr_export.formats.model_format import FileFormat
from mggr_tf.config import Config
from mggr_tf.config.conversion_limits import Precision
from mggr_tf.data.closing_eyes import trained_closing_eyes
from mggr_tf.data.packed.samples import PackedSamples
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import SYNTHETIC, open_samples, open_samples_or_pack
from mggr_tf.evaluation.state_scores import OCCLUDED_SHARE, state_eyes
from mggr_tf.runs.folder import RunFolder

Batch = Literal[1, 2]


@dataclass(frozen=True)
class ExportRequest:
    """Options of one exported bundle.

    Attributes:
        precision: Precision of the convolutions.
        formats: Formats to write for every model, the one that devices prefer first.
        engine_recipe: Whether to add the recipe for building TensorRT engines from the ONNX
            files.
        batch: Number of eyes per call of a file: 1, or 2 for both eyes of a face.
        data: Eyes for the comparison with Keras, and for the calibration unless `calibration`
            is set: `synthetic`, a folder, or None for the training data of the run.
        calibration: Eyes for the calibration: `synthetic` or a folder; None uses the eyes of
            the comparison.
        lean: Whether to omit the face models and the reference weights.
        explain: Whether to list the accuracy loss by layer.
        qat_steps: Number of QAT steps; 0 keeps the trained weights.

    Raises:
        UsageError: If `calibration`, `explain` or `qat_steps` is set and the precision is not
            int8.
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
            raise UsageError(
                "--calibration requires --int8; other precisions are not calibrated",
                code="calibration-without-int8",
                precision=self.precision,
            )
        if self.explain and self.precision != "int8":
            raise UsageError(
                "--explain requires --int8; other precisions have no loss by layer",
                code="explain-without-int8",
                precision=self.precision,
            )
        if self.qat_steps and self.precision != "int8":
            raise UsageError(
                "--qat requires --int8; other precisions need no fine-tuning",
                code="qat-without-int8",
                precision=self.precision,
            )

    @property
    def is_quantised(self) -> bool:
        """True for an int8 export, which needs calibration."""
        return self.precision == "int8"


_PEOPLE_TO_CALIBRATE, _PEOPLE_TO_COMPARE = 16, 4
_CLOSING_TO_CALIBRATE, _CLOSING_TO_COMPARE = 8, 6
"""Numbers of synthetic people with closing eyes, 24 pictures of each person."""
_OF_A_PACK = 4096
"""Number of patches to read from a pack that is too large for memory."""


def samples_for_export(
    run: RunFolder, request: ExportRequest, *, progress: Progress, notify: Callable[[str], None]
) -> tuple[EyeSamples, EyeSamples | None]:
    """Return the eyes for comparison and for calibration, as requested or from the run's data.

    If a folder contains subjects of the run, only these subjects are used, so that all others
    stay unseen. No person is used for both comparison and calibration.

    Returns:
        Eyes for the comparison, and eyes for the calibration. The latter are None if the export
        is not int8.

    Raises:
        DataError: If the folder of the run is missing and no other is named, if a folder holds
            no usable data, or if only one person is available for comparison and calibration.
    """

    def samples(source: str, *, people: int) -> EyeSamples:
        return _samples(source, run, draw=people, progress=progress, notify=notify)

    compared, calibration = _sources(run, request)
    if not request.is_quantised:
        return samples(compared, people=_PEOPLE_TO_COMPARE), None
    if calibration == compared:
        everyone = samples(compared, people=_PEOPLE_TO_COMPARE + _PEOPLE_TO_CALIBRATE)
        parts = separate_people(everyone, everyone)
    else:
        parts = separate_people(
            samples(compared, people=_PEOPLE_TO_COMPARE),
            samples(calibration, people=_PEOPLE_TO_CALIBRATE),
        )
    notify(
        f"comparison on {len(parts[0].subjects)} people, calibration on "
        f"{len(parts[1].subjects)} other people"
    )
    return parts


def closing_for_export(config: Config, *, progress: Progress) -> ClosingToExport | None:
    """Draw closing eyes for an estimator that predicts the eye state; None for other estimators.

    The calibration uses people from the training data, the comparison uses other people.
    """
    if not config.models.estimator_state:
        return None
    from mggr_tf.data.closing_eyes import behind_occluders  # needs TensorFlow

    seed = config.synthetic.seed
    trained = trained_closing_eyes(seed, _CLOSING_TO_CALIBRATE, progress=progress)
    return ClosingToExport(
        compared=state_eyes(seed, people=_CLOSING_TO_COMPARE, progress=progress),
        calibration=behind_occluders(trained, share=OCCLUDED_SHARE, seed=SEED),
    )


def _sources(run: RunFolder, request: ExportRequest) -> tuple[str, str]:
    """Return the data sources for comparison and for calibration."""
    own, named = run.record.data.source, request.data
    if named is None and own != SYNTHETIC and not Path(own).is_dir():
        named = request.calibration
        if named is None:
            raise DataError(
                f"the run's training data ({own}) does not exist; pass other eyes for comparison "
                "and calibration with --data FOLDER or --data synthetic",
                code="training-data-missing",
                source=own,
            )
    compared = own if named is None else named
    return compared, compared if request.calibration is None else request.calibration


def _samples(
    source: str,
    run: RunFolder,
    *,
    draw: int,
    progress: Progress,
    notify: Callable[[str], None],
) -> EyeSamples:
    if source == SYNTHETIC:
        return draw_people(run.config, draw, progress=progress, notify=notify)
    notify(f"eyes: {source}")
    known = {name for data in run.record.datasets for name in (*data.seen, *data.held_out)}
    everyone = open_samples_or_pack(
        source, config=run.config, subjects=None, progress=progress, notify=notify
    )
    ours = known & set(everyone.subjects)
    chosen = everyone.of_subjects(ours) if ours else everyone
    return chosen.preview(_OF_A_PACK) if isinstance(chosen, PackedSamples) else chosen


def draw_people(
    config: Config, people: int, *, progress: Progress, notify: Callable[[str], None]
) -> EyeSamples:
    """Draw at most `people` of the config's synthetic people."""
    few = replace(
        config.synthetic,
        subjects=min(people, config.synthetic.subjects),
        per_group=max(2, config.synthetic.per_group),
    )
    notify(f"eyes: synthetic, {few.subjects} people")
    drawn = replace(config, synthetic=few)
    return open_samples(SYNTHETIC, config=drawn, subjects=None, progress=progress, notify=notify)
