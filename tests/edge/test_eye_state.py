"""Output `state` of an estimator, from the bundle to the redirected frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.network_io import EyeState
from mggr_edge.models.runtimes import Runner
from mggr_edge.pipeline.redirector import Redirector

OPEN, CLOSED, COVERED = (0.3, 0.8, 0.0), (0.0, 0.0, 0.0), (0.3, 0.8, 0.95)
TARGET = Gaze(0.0, 12.0)


def with_state(bundle: Bundle, states: list[tuple[float, float, float]]) -> Bundle:
    """The bundle, whose estimator also gives `states` for the right and the left eye."""

    def seen(runner: Runner) -> Runner:
        def call(inputs: Mapping[str, NDArray]) -> dict[str, NDArray]:
            outputs = dict(runner(inputs))
            if "gaze" in outputs:
                outputs["state"] = np.array(states, np.float32)
            return outputs

        return call

    return bundle.through(seen)


def test_values_outside_their_range_are_clipped() -> None:
    assert EyeState.from_array([-0.1, 1.5, 0.25]) == EyeState(0.0, 1.0, 0.25)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([OPEN, OPEN], [(1.0, None), (1.0, None)]),
        ([OPEN, CLOSED], [(0.0, "closed"), (0.0, "closed")]),
        ([CLOSED, OPEN], [(0.0, "closed"), (0.0, "closed")]),
        ([COVERED, OPEN], [(0.0, "covered"), (1.0, None)]),
        ([OPEN, COVERED], [(1.0, None), (0.0, "covered")]),
        ([COVERED, COVERED], [(0.0, "covered"), (0.0, "covered")]),
    ],
)
def test_a_frame_is_redirected_as_the_states_allow(
    bundle: Bundle,
    portrait: NDArray[np.uint8],
    states: list[tuple[float, float, float]],
    expected: list[tuple[float, str | None]],
) -> None:
    redirector = Redirector(with_state(bundle, states), target=TARGET)
    result = redirector.process(portrait)
    (face,) = result.faces
    assert [(eye.strength, eye.reason) for eye in face.eyes] == expected
    for eye, (strength, _) in zip(face.eyes, expected, strict=True):
        assert (eye.region is not None) == (strength > 0)
    assert result.mask().any() == any(strength > 0 for strength, _ in expected)


def test_a_bundle_without_state_takes_it_from_the_landmarks(
    bundle: Bundle, portrait: NDArray[np.uint8]
) -> None:
    (face,) = Redirector(bundle, target=TARGET).process(portrait).faces
    assert [(eye.strength, eye.reason) for eye in face.eyes] == [(1.0, None)] * 2
