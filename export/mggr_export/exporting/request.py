"""Options of an export, and selection of the eyes for calibration and for comparison with Keras."""

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
        formats: Formats to write for every model. The format that devices prefer is first.
        engine_recipe: Whether to add the file with TensorRT build options for the ONNX files.
        batch: Number of eyes that a file processes per call. 2 processes both eyes of a face.
        data: Eye patches for the comparison with Keras: `synthetic` or a folder. `None` uses the
            training data of the run. If `calibration` is `None`, the calibration uses the same
            source.
        calibration: Eye patches for the calibration: `synthetic` or a folder. `None` uses the
            source of the comparison.
        lean: Whether to omit the reference weights and the models that find faces and eyes.
        explain: Whether to list the accuracy loss of each layer.
        qat_steps: Number of QAT (quantization-aware training) steps. 0 keeps the trained weights.

    Raises:
        UsageError: If `calibration`, `explain` or `qat_steps` is set, but the precision is not
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
                "--calibration requires --int8; other precisions need no calibration",
                code="calibration-without-int8",
                precision=self.precision,
            )
        if self.explain and self.precision != "int8":
            raise UsageError(
                "--explain requires --int8; it measures the loss of int8 layers",
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
        """Whether the export is int8 and therefore needs calibration."""
        return self.precision == "int8"


_PEOPLE_TO_CALIBRATE, _PEOPLE_TO_COMPARE = 16, 4
_CLOSING_TO_CALIBRATE, _CLOSING_TO_COMPARE = 8, 6
"""Number of synthetic people whose closing eyes are rendered.

Closing eyes are partly or fully closed. The renderer makes 24 pictures of each person.
"""
_OF_A_PACK = 4096
"""Number of patches that are read from a packed data set that is too large for memory."""


def samples_for_export(
    run: RunFolder, request: ExportRequest, *, progress: Progress, notify: Callable[[str], None]
) -> tuple[EyeSamples, EyeSamples | None]:
    """Return the eyes for the comparison and for the calibration.

    The request names the source of the eyes. The default source is the run's training data. If a
    folder contains subjects of the run, only these subjects are used. The other subjects of the
    folder are not used. No person is used for both the comparison and the calibration.

    Returns:
        Eyes for the comparison, and eyes for the calibration. The second value is `None` if the
        export is not int8.

    Raises:
        DataError: If the run's data folder does not exist and the request names no other source.
            Also raised if a folder contains no usable data, or if only one person is available.
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
        f"the comparison uses {len(parts[0].subjects)} people, the calibration uses "
        f"{len(parts[1].subjects)} other people"
    )
    return parts


def closing_for_export(config: Config, *, progress: Progress) -> ClosingToExport | None:
    """Render closing eyes if the estimator predicts the eye state; otherwise return `None`.

    The calibration uses people from the training data. The comparison uses other people.
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
    """Return the data source for the comparison and the data source for the calibration."""
    own, named = run.record.data.source, request.data
    if named is None and own != SYNTHETIC and not Path(own).is_dir():
        named = request.calibration
        if named is None:
            raise DataError(
                f"the run's training data ({own}) does not exist; pass another source of eyes with "
                "--data FOLDER or --data synthetic",
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
    """Render the eyes of the config's synthetic people, of at most `people` people."""
    few = replace(
        config.synthetic,
        subjects=min(people, config.synthetic.subjects),
        per_group=max(2, config.synthetic.per_group),
    )
    notify(f"eyes: synthetic, {few.subjects} people")
    drawn = replace(config, synthetic=few)
    return open_samples(SYNTHETIC, config=drawn, subjects=None, progress=progress, notify=notify)
