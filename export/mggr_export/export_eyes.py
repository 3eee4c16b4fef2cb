"""The eyes of one export, as its models take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tensorflow import keras

from mggr_edge.contract import Conventions
from mggr_export.arrays import ModelInputs
from mggr_export.calibration import balanced_pairs, inputs_of_pairs
from mggr_export.sight import Sight
from mggr_tf.data.schema import EyeSamples

CALIBRATION_PAIRS = 320
PARITY_PAIRS = 256
SEED = 64


@dataclass(frozen=True)
class ExportEyes:
    """What models are compared on, and calibrated on where they are quantised.

    Attributes:
        source: where the compared ones come from.
        compared: of every model.
        sight: where they look, and shall look.
        calibrated_on: where the calibration's come from.
        calibration: of every model; None for float.
    """

    source: str
    compared: ModelInputs
    sight: Sight
    calibrated_on: str = ""
    calibration: ModelInputs | None = None


def choose_eyes(
    compared: EyeSamples,
    calibration: EyeSamples | None,
    *,
    estimator: keras.Model,
    conventions: Conventions,
) -> ExportEyes:
    """Chooses pairs, balanced over subjects and head poses.

    Where both come from the same samples they share no pair while those last.

    Args:
        compared: eyes to compare on.
        calibration: eyes to calibrate on, perhaps the same; None for float.
        estimator: of the run, in Keras.
        conventions: the scales.
    """
    together = calibration is compared
    count = PARITY_PAIRS + CALIBRATION_PAIRS * together
    pairs, rest = np.split(balanced_pairs(compared, count, seed=SEED), [PARITY_PAIRS])
    eyes = ExportEyes(
        source=compared.source,
        compared=inputs_of_pairs(compared, pairs, conventions),
        sight=Sight.of_pairs(estimator, compared, pairs, conventions),
    )
    if calibration is None:
        return eyes
    if not together:
        rest = balanced_pairs(calibration, CALIBRATION_PAIRS, seed=SEED)
    inputs = inputs_of_pairs(calibration, rest, conventions)
    return ExportEyes(eyes.source, eyes.compared, eyes.sight, calibration.source, inputs)
