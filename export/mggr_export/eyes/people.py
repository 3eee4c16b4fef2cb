"""Different people for calibration and proof.

Ranges that were calibrated on a person fit that person: a proof on the same one, even on other
pairs, flatters the file. Names identify people, across sources too: two folders may hold
patches of the same recording.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mggr_edge.errors import DataError
from mggr_tf.data.pairs import pair_table
from mggr_tf.data.schema import EyeSamples

_COMPARED_SHARE = 0.25
_SEED = 64


def separate_people(compared: EyeSamples, calibration: EyeSamples) -> tuple[EyeSamples, EyeSamples]:
    """Leaves every person to one side, comparison or calibration.

    People of both sides stay with the calibration where others are left to compare, and with the
    comparison where others are left to calibrate. Where both hold the same people, a quarter of
    them (at least one, a seeded draw) is compared.

    Returns:
        to compare on, and to calibrate on; nobody is in both, all have a pair of patches.

    Raises:
        DataError: there is one person only, or nobody with a pair of patches.
    """
    comparable, calibrating = _with_pairs(compared), _with_pairs(calibration)
    both = comparable & calibrating
    if not both:
        return compared, calibration
    if comparable - both:
        return compared.of_subjects(comparable - both), calibration
    if calibrating - both:
        return compared, calibration.of_subjects(calibrating - both)
    if len(both) < 2:
        raise DataError(
            f"{compared.source}: int8 models are calibrated and compared on different people, and "
            f"{next(iter(both))} is the only one with a pair of patches; name eyes of others with "
            "--calibration (`synthetic` draws some)"
        )
    names = sorted(both)
    count = max(1, round(len(names) * _COMPARED_SHARE))
    chosen = {names[i] for i in np.random.default_rng(_SEED).permutation(len(names))[:count]}
    return compared.of_subjects(chosen), calibration.of_subjects(both - chosen)


def refuse_shared_people(compared: Iterable[str], calibrated: Iterable[str]) -> None:
    """Refuses people who are in both.

    Raises:
        DataError: there is one.
    """
    if both := sorted({*compared} & {*calibrated}):
        shown = ", ".join(both[:5]) + (" ..." if len(both) > 5 else "")
        raise DataError(
            f"{len(both)} people to compare on ({shown}) were calibrated on; name others"
        )


def _with_pairs(samples: EyeSamples) -> set[str]:
    """Names of the people with two patches that can be paired."""
    return {str(name) for name in samples.subject[pair_table(samples).members[:, 0]]}
