"""The eyes of one export, as its models take them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.models.contract import Conventions
from mggr_export.arrays import Arrays, ModelInputs
from mggr_export.eyes.calibration import (
    balanced_pairs,
    inputs_of_pairs,
    refuse_shared_people,
    with_closing_eyes,
)
from mggr_export.eyes.sight import Openings, Sight
from mggr_tf.data.schema import EyeSamples

CALIBRATION_PAIRS = 320
PARITY_PAIRS = 256
FITTING_BATCH = 16
SEED = 64


@dataclass(frozen=True)
class ExportEyes:
    """What models are compared on, and calibrated and fitted on where they are quantised.

    Attributes:
        source: where the compared ones come from.
        compared: of every model.
        sight: where they look, and shall look.
        openings: the eye openings of their sources.
        calibrated_on: where the calibration's come from.
        calibrated_people: names of the people in the calibration, sorted; none of them is compared.
        calibration: of every model; None for float.
        fitting: what weights are fitted to integers on; None where they are not.
        closing: eyes among those of the estimator; None for one that predicts no state.
    """

    source: str
    compared: ModelInputs
    sight: Sight
    openings: Openings
    calibrated_on: str = ""
    calibrated_people: tuple[str, ...] = ()
    closing: ClosingToExport | None = None
    calibration: ModelInputs | None = None
    fitting: EyesToFit | None = None

    def source_of(self, model: str) -> str:
        """Where the eyes come from that a model is compared on."""
        return _with_closing(self.source, self.closing, model)

    def calibrated_on_of(self, model: str) -> str:
        """Where the eyes come from that a model is calibrated on."""
        return _with_closing(self.calibrated_on, self.closing, model)

    def calibrated_people_of(self, model: str) -> tuple[str, ...]:
        """Names of the people that a model is calibrated on, none of whom it is compared on."""
        others = self.closing if model == "estimator" else None
        return (*self.calibrated_people, *(others.calibration.subjects if others else ()))


@dataclass(frozen=True)
class ClosingToExport:
    """Drawn eyes that close, behind occluders, for an estimator that predicts their state.

    Attributes:
        compared: of people whom no training draws.
        calibration: of others.
    """

    compared: EyeSamples
    calibration: EyeSamples


def _with_closing(source: str, closing: ClosingToExport | None, model: str) -> str:
    with_them = closing is not None and model == "estimator"
    return f"{source}; drawn eyes that close" if with_them else source


@dataclass(frozen=True)
class EyesToFit:
    """Pairs of eyes in a fixed order, prepared as they are needed: all at once would be large.

    Attributes:
        samples: eyes.
        pairs: [N, 2] of indices, (source, target).
        conventions: the scales.
        closing: eyes among those of the estimator.
    """

    samples: EyeSamples
    pairs: NDArray[np.int64]
    conventions: Conventions
    closing: EyeSamples | None = None

    def batches(self, model: str) -> Iterator[Arrays]:
        """The inputs of a model, `FITTING_BATCH` examples at a time."""
        for first in range(0, len(self.pairs), FITTING_BATCH):
            some = self.pairs[first : first + FITTING_BATCH]
            inputs = inputs_of_pairs(self.samples, some, self.conventions)
            yield with_closing_eyes(inputs, self.closing, self.conventions, first=first)[model]


def choose_eyes(
    compared: EyeSamples,
    calibration: EyeSamples | None,
    *,
    estimator: keras.Model,
    conventions: Conventions,
    fitting_steps: int = 0,
    closing: ClosingToExport | None = None,
) -> ExportEyes:
    """Chooses pairs, balanced over subjects and head poses.

    Args:
        compared: eyes to compare on.
        calibration: eyes of other people to calibrate on; None for float.
        estimator: of the run, in Keras.
        conventions: the scales.
        fitting_steps: in which weights are fitted to integers, on the calibration's people; where
            they have few pairs, on some more than once.
        closing: eyes among those of the estimator; None for one that predicts no state.

    Raises:
        DataError: a person is calibrated on and compared, or there is no pair.
    """
    if calibration is not None:
        refuse_shared_people(compared.subjects, calibration.subjects)
    pairs = balanced_pairs(compared, PARITY_PAIRS, seed=SEED)
    eyes = ExportEyes(
        source=compared.source,
        compared=with_closing_eyes(
            inputs_of_pairs(compared, pairs, conventions),
            None if closing is None else closing.compared,
            conventions,
        ),
        sight=Sight.of_pairs(estimator, compared, pairs, conventions),
        openings=Openings.of_pairs(compared, pairs, conventions),
        closing=closing,
    )
    if calibration is None:
        return eyes
    others = None if closing is None else closing.calibration
    to_quantise = CALIBRATION_PAIRS + FITTING_BATCH * fitting_steps
    seen, fitted = np.split(
        balanced_pairs(calibration, to_quantise, seed=SEED), [CALIBRATION_PAIRS]
    )
    return replace(
        eyes,
        calibrated_on=calibration.source,
        calibrated_people=calibration.subjects,
        calibration=with_closing_eyes(
            inputs_of_pairs(calibration, seen, conventions), others, conventions
        ),
        fitting=EyesToFit(calibration, fitted, conventions, others) if fitting_steps else None,
    )
