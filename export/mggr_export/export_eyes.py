"""The eyes of one export, as its models take them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.contract import Conventions
from mggr_edge.errors import DataError
from mggr_export.arrays import Arrays, ModelInputs
from mggr_export.calibration import balanced_pairs, inputs_of_pairs
from mggr_export.sight import Sight
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
        calibrated_on: where the calibration's come from.
        calibration: of every model; None for float.
        fitting: what weights are fitted to integers on; None where they are not.
    """

    source: str
    compared: ModelInputs
    sight: Sight
    calibrated_on: str = ""
    calibration: ModelInputs | None = None
    fitting: EyesToFit | None = None


@dataclass(frozen=True)
class EyesToFit:
    """Pairs of eyes in a fixed order, prepared as they are needed: all at once would be large.

    Attributes:
        samples: eyes.
        pairs: [N, 2] of indices, (source, target).
        conventions: the scales.
    """

    samples: EyeSamples
    pairs: NDArray[np.int64]
    conventions: Conventions

    def batches(self, model: str) -> Iterator[Arrays]:
        """The inputs of a model, `FITTING_BATCH` examples at a time."""
        for first in range(0, len(self.pairs), FITTING_BATCH):
            some = self.pairs[first : first + FITTING_BATCH]
            yield inputs_of_pairs(self.samples, some, self.conventions)[model]


def choose_eyes(
    compared: EyeSamples,
    calibration: EyeSamples | None,
    *,
    estimator: keras.Model,
    conventions: Conventions,
    fitting_steps: int = 0,
) -> ExportEyes:
    """Chooses pairs, balanced over subjects and head poses.

    Where both come from the same samples they share no pair while those last.

    Args:
        compared: eyes to compare on.
        calibration: eyes to calibrate on, perhaps the same; None for float.
        estimator: of the run, in Keras.
        conventions: the scales.
        fitting_steps: in which weights are fitted to integers, on the calibration's eyes;
            never on a pair that is compared, and where few are left, on some more than once.

    Raises:
        DataError: all pairs are compared, so that none is left to fit weights on.
    """
    together = calibration is compared
    to_quantise = CALIBRATION_PAIRS + FITTING_BATCH * fitting_steps
    count = PARITY_PAIRS + to_quantise * together
    pairs, rest = np.split(balanced_pairs(compared, count, seed=SEED), [PARITY_PAIRS])
    eyes = ExportEyes(
        source=compared.source,
        compared=inputs_of_pairs(compared, pairs, conventions),
        sight=Sight.of_pairs(estimator, compared, pairs, conventions),
    )
    if calibration is None:
        return eyes
    if not together:
        rest = balanced_pairs(calibration, to_quantise, seed=SEED)
    seen, fitted = np.split(rest, [CALIBRATION_PAIRS])
    if together and fitting_steps:
        fitted = _apart(fitted, pairs)
    return replace(
        eyes,
        calibrated_on=calibration.source,
        calibration=inputs_of_pairs(calibration, seen, conventions),
        fitting=EyesToFit(calibration, fitted, conventions) if fitting_steps else None,
    )


def _apart(pairs: NDArray[np.int64], compared: NDArray[np.int64]) -> NDArray[np.int64]:
    """As many pairs as before, those that are compared replaced by others over again."""
    taken = {tuple(pair) for pair in compared.tolist()}
    free = [pair for pair in pairs.tolist() if tuple(pair) not in taken]
    if not free:
        raise DataError(
            "these eyes make too few pairs to fit weights on any that are not compared; name "
            "others with --calibration"
        )
    return np.resize(np.asarray(free, np.int64), pairs.shape)
