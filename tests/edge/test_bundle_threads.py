"""Threads: one bundle in several, a session for each, and models loaded by several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.contract import Artifact, Contract, Training
from mggr_edge.models.gaze_networks import EyeRedirection
from mggr_edge.models.installed import NAMES
from mggr_edge.models.runtimes import FileRunner, open_artifact
from mggr_edge.models.runtimes.tflite import can_be_parted
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameResult

CALLS = 32
PATCHES = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)


def redirect(bundle: Bundle, number: int, *, fine: bool = True) -> EyeRedirection:
    (made,) = bundle.redirect_crops(
        [PATCHES[number % 5]],
        sides=["right" if number % 2 else "left"],
        target=Gaze(number % 7, 2 * number % 9),
        fine=fine,
    )
    return made


def assert_equal(made: EyeRedirection, expected: EyeRedirection) -> None:
    assert made.source == expected.source
    np.testing.assert_array_equal(made.flow, expected.flow)
    np.testing.assert_array_equal(made.residual, expected.residual)
    np.testing.assert_array_equal(made.redirected, expected.redirected)


def at_once(threads: int, work: Callable[[int], list]) -> list[list]:
    """What each thread returns; all start at the same moment, and errors are raised."""
    start = threading.Barrier(threads)

    def run(number: int) -> list:
        start.wait(10)
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


@pytest.mark.extended
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [2, 4])
def test_one_bundle_in_several_threads_gives_what_one_thread_gets(name: str, threads: int) -> None:
    with Bundle.open(name) as alone:
        expected = [redirect(alone, n) for n in range(CALLS)]
        coarse = [redirect(alone, n, fine=False) for n in range(CALLS)]
    with Bundle.open(name) as shared:  # Nothing is loaded yet: the threads load it at once.
        made = at_once(
            threads, lambda number: [redirect(shared, n) for n in range(number, CALLS, threads)]
        )
        made_coarse = at_once(
            threads,
            lambda number: [redirect(shared, n, fine=False) for n in range(number, CALLS, threads)],
        )
    for number in range(threads):
        for one, other in zip(made[number], expected[number::threads], strict=True):
            assert_equal(one, other)
        for one, other in zip(made_coarse[number], coarse[number::threads], strict=True):
            assert_equal(one, other)


@pytest.mark.parametrize("threads", [2, 4])
def test_a_session_for_each_thread_gives_the_same(threads: int) -> None:
    with Bundle.open("default-int8") as bundle:
        expected = [redirect(bundle, n) for n in range(CALLS)]
        sessions = [bundle.session() for _ in range(threads)]
        made = at_once(
            threads,
            lambda number: [redirect(sessions[number], n) for n in range(number, CALLS, threads)],
        )
    for number in range(threads):
        for one, other in zip(made[number], expected[number::threads], strict=True):
            assert_equal(one, other)
    for session in sessions:  # Each is closed on its own.
        assert_equal(redirect(session, 0), expected[0])
        session.close()


def test_sessions_share_bytes_and_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []

    def opened(artifact: Artifact, content: bytes) -> FileRunner:
        contents.append(content)
        return open_artifact(artifact, content)

    monkeypatch.setattr("mggr_edge.models.bundle.open_artifact", opened)
    with Bundle.open("default") as bundle, bundle.session() as other:
        assert bundle.model("redirector") is bundle.model("redirector")
        assert bundle.model("redirector") is not other.model("redirector")
    assert len(contents) == 2
    assert contents[0] is contents[1]


def test_a_model_is_loaded_once_however_many_threads_ask() -> None:
    loaded, ready = [], threading.Event()

    def load(name: str):
        loaded.append(name)
        ready.wait(0.05)
        return lambda inputs: {"gaze": np.zeros((len(inputs["eye"]), 2), np.float32)}

    artifact = (Artifact("f", "tflite", "float32", ""),)
    bundle = Bundle(
        Contract({"estimator": artifact}, Training(data="synthetic", licence="Apache-2.0")), load
    )
    at_once(4, lambda number: [bundle.estimate_gaze(PATCHES[0], side="left")])
    assert loaded == ["estimator"]


def frames_of(redirector: Redirector, picture: NDArray[np.uint8], count: int) -> list[FrameResult]:
    return [redirector.process(np.roll(picture, n, 1), time_s=n / 25) for n in range(count)]


def assert_same_frames(made: list[FrameResult], expected: list[FrameResult]) -> None:
    for one, other in zip(made, expected, strict=True):
        assert len(one.faces) == 1
        np.testing.assert_array_equal(one.frame, other.frame)


@pytest.mark.extended
@pytest.mark.parametrize("sessions", [True, False], ids=["a session each", "one bundle"])
def test_a_redirector_for_each_stream_in_its_own_thread(
    bundle: Bundle, portrait: NDArray[np.uint8], sessions: bool
) -> None:
    picture = np.ascontiguousarray(portrait[::2, ::2])
    expected = frames_of(Redirector(bundle, target=Gaze(0, 12)), picture, 12)
    used = [bundle.session() if sessions else bundle for _ in range(2)]
    # Created here, used there.
    redirectors = [Redirector(one, target=Gaze(0, 12)) for one in used]
    for made in at_once(2, lambda number: frames_of(redirectors[number], picture, 12)):
        assert_same_frames(made, expected)


def test_a_call_that_is_running_ends_before_its_model_is_closed() -> None:
    bundle = Bundle.open("default")
    redirect(bundle, 0)
    expected, failures = redirect(bundle, 1), []

    def work(number: int) -> list:
        if number == 0:
            bundle.close()
            return []
        made = []
        try:
            while True:
                made.append(redirect(bundle, 1))
        except ValueError as error:
            failures.append(error)
        return made

    for made in at_once(3, work):
        for one in made:
            assert_equal(one, expected)
    assert len(failures) == 2


def test_a_closed_bundle_refuses_every_call() -> None:
    bundle = Bundle.open("default")
    model = bundle.model("estimator")
    redirect(bundle, 0)
    if can_be_parted():
        assert bundle.coarse is not None
    bundle.close()
    bundle.close()
    with pytest.raises(ValueError, match="closed"):
        redirect(bundle, 0)
    with pytest.raises(ValueError, match="closed"):
        bundle.session()
    with pytest.raises(ValueError, match="closed"):
        _ = bundle.coarse
    with pytest.raises(ValueError, match="closed"):
        model(
            {"eye": np.zeros((2, 64, 64, 3), np.float32), "head_pose": np.zeros((2, 2), np.float32)}
        )


def test_a_wrapped_bundle_does_not_close_what_it_wraps(bundle: Bundle) -> None:
    other = bundle.through(lambda runner: runner)
    expected = redirect(bundle, 0)
    other.close()
    assert_equal(redirect(bundle, 0), expected)
