"""What a bundle is asked to hold, and the eyes it is calibrated and proved on."""

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


_PEOPLE_TO_CALIBRATE, _PEOPLE_TO_COMPARE = 16, 4
_CLOSING_TO_CALIBRATE, _CLOSING_TO_COMPARE = 8, 6
"""People whose eyes close, 24 pictures of each."""
_OF_A_PACK = 4096
"""Patches that are taken of a pack too large for memory."""


def samples_for_export(
    run: RunFolder, request: ExportRequest, *, progress: Progress, notify: Callable[[str], None]
) -> tuple[EyeSamples, EyeSamples | None]:
    """The eyes to compare on, and to calibrate on: the run's own, or those that were named.

    Subjects that the run never touched stay untouched: of a folder that holds
    the run's subjects, only these are taken. Nobody is both compared and calibrated on.

    Returns:
        to compare on, and to calibrate on: None where nothing is calibrated.

    Raises:
        DataError: the run's own folder is gone and none is named, one holds nothing usable, or
            one person only is there to compare and to calibrate on.
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
        f"compared on {len(parts[0].subjects)} people, calibrated on "
        f"{len(parts[1].subjects)} others"
    )
    return parts


def closing_for_export(config: Config, *, progress: Progress) -> ClosingToExport | None:
    """Drawn eyes that close, for an estimator that predicts their state; None for another one.

    It is calibrated on people that it was trained on, and compared on others.
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
    """Where to find eyes to compare on, and to calibrate on."""
    own, named = run.record.data.source, request.data
    if named is None and own != SYNTHETIC and not Path(own).is_dir():
        named = request.calibration
        if named is None:
            raise DataError(
                f"the data that the run was trained on ({own}) is gone; name the eyes to "
                "calibrate and compare with: --data FOLDER or --data synthetic"
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
    """A few of the config's synthetic people."""
    few = replace(
        config.synthetic,
        subjects=min(people, config.synthetic.subjects),
        per_group=max(2, config.synthetic.per_group),
    )
    notify(f"eyes: synthetic, {few.subjects} people")
    drawn = replace(config, synthetic=few)
    return open_samples(SYNTHETIC, config=drawn, subjects=None, progress=progress, notify=notify)
