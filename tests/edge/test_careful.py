"""One frame that fails does not end a live picture."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import DiskError
from mggr_edge.pipeline.results import FrameResult, PassThroughOnError

FRAME = np.full((8, 8, 3), 7, np.uint8)


def fail_on_odd(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    assert time_s is not None
    if time_s == 9:
        raise DiskError("the disk is full")
    if time_s % 2:
        raise ZeroDivisionError(f"at {time_s}")
    return FrameResult(255 - frame, ())


def test_a_frame_that_fails_passes_through_and_the_next_is_redirected() -> None:
    said: list[str] = []
    careful = PassThroughOnError(fail_on_odd, notify=said.append)
    results = [careful(FRAME, time_s=time_s) for time_s in (0, 1, 2, 3)]
    assert [result.frame[0, 0, 0] for result in results] == [248, 7, 248, 7]
    assert results[1].frame is not FRAME
    assert [result.failure for result in results] == [
        None,
        "ZeroDivisionError: at 1",
        None,
        "ZeroDivisionError: at 3",
    ]
    assert careful.failed == 2
    (text,) = said
    assert text.endswith(": ZeroDivisionError: at 1")


def test_what_the_user_can_mend_is_raised() -> None:
    careful = PassThroughOnError(fail_on_odd, notify=lambda text: None)
    with pytest.raises(DiskError):
        careful(FRAME, time_s=9)
    assert careful.failed == 0
