"""The redirector without its fine branch: the same flow, nothing painted, less work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import MggrError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.installed import NAMES, bundle_path
from mggr_edge.models.runtimes import open_file
from mggr_edge.models.runtimes.tflite import can_be_parted, part_of
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.runs.options import RunOptions
from mggr_edge.runs.redirect import redirect
from mggr_edge.runs.service.supervisor import ServiceOptions

needs_schema = pytest.mark.skipif(
    not can_be_parted(), reason="this interpreter brings nothing to read a model's graph by"
)


def patches() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(2)]


def redirected(bundle: Bundle, *, fine: bool):
    return bundle.redirect_crops(
        patches(), sides=["right", "left"], source=Gaze(0, 12), target=Gaze(-5, 0), fine=fine
    )


@needs_schema
@pytest.mark.parametrize("name", NAMES)
def test_the_flow_is_the_same_and_nothing_is_painted(name: str) -> None:
    bundle = Bundle.open(name)
    for whole, coarse in zip(
        redirected(bundle, fine=True), redirected(bundle, fine=False), strict=True
    ):
        assert np.abs(whole.flow).max() > 0.1
        np.testing.assert_array_equal(coarse.flow, whole.flow)
        assert np.abs(whole.residual).max() > 0
        assert not coarse.residual.any()
        # The residual is what the fine branch adds to the eye that is warped by the flow.
        warped = coarse.redirected.astype(np.float32) / 127.5 - 1
        added = np.clip(warped + whole.residual, -1, 1)
        assert np.abs(127.5 * (added + 1) - whole.redirected).mean() < 2


@needs_schema
@pytest.mark.parametrize("name", NAMES)
def test_a_part_is_smaller_and_wants_outputs_that_are_there(name: str) -> None:
    content = (Path(bundle_path(name)) / "models" / "redirector.tflite").read_bytes()
    part = part_of(content, ["flow"])
    assert len(part) < 0.7 * len(content)
    runner = open_file(part, "tflite")
    assert [spec.name for spec in runner.tensor_specs("outputs")] == ["flow"]
    assert runner.tensor_specs("inputs") == open_file(content, "tflite").tensor_specs("inputs")
    with pytest.raises(ValueError, match="lacks at least one of the outputs depth, flow"):
        part_of(content, ["flow", "depth"])


def test_without_what_reads_a_graph_the_fine_branch_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mggr_edge.models.bundle.can_be_parted", lambda: False)
    bundle = Bundle.open("default")
    assert bundle.coarse is None
    assert np.abs(redirected(bundle, fine=False)[0].residual).max() > 0


@needs_schema
def test_a_frame_is_redirected_without_the_fine_branch() -> None:
    data = pytest.importorskip("skimage.data")
    portrait = np.ascontiguousarray(data.astronaut()[:300, 60:380])
    try:
        bundle = Bundle.open("default")
        bundle.model("face_mesh")
    except MggrError as error:
        pytest.skip(str(error))
    redirector = Redirector(bundle, target=Gaze(0, 12))
    whole = redirector.process(portrait)
    redirector.fine = False
    coarse = redirector.process(portrait)
    assert (coarse.mask() == whole.mask()).all()
    differing = (coarse.frame != whole.frame).any(-1)
    assert differing.any()
    assert not differing[~whole.mask()].any()


@needs_schema
def test_the_flow_alone_is_loaded_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        bundle = Bundle.open("default")
        bundle.try_out(coarse=True)
    except MggrError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(
        "mggr_edge.models.bundle.open_file", lambda *given, **how: pytest.fail("loads")
    )
    assert not redirected(bundle, fine=False)[0].residual.any()


class StartsWith:
    """A live source of one frame that calls `note` before it."""

    def __init__(self, note) -> None:
        self._note, self._frames = note, [np.full((32, 32, 3), 90, np.uint8)]

    def read(self) -> NDArray[np.uint8] | None:
        self._note()
        return self._frames.pop() if self._frames else None

    def close(self) -> None:
        pass


@needs_schema
@pytest.mark.parametrize("step_down", [True, False])
def test_a_live_run_loads_it_before_the_first_frame(
    scripted, monkeypatch: pytest.MonkeyPatch, step_down: bool
) -> None:
    try:
        bundle = Bundle.open("default")
        bundle.model("face_mesh")
    except MggrError as error:
        pytest.skip(str(error))
    monkeypatch.setattr("mggr_edge.runs.redirect.Bundle.open", lambda path: bundle)
    parts: list[bytes] = []

    def noted(content: bytes, outputs: list[str]) -> bytes:
        parts.append(part_of(content, outputs))
        return parts[-1]

    monkeypatch.setattr("mggr_edge.models.bundle.part_of", noted)
    is_loaded: list[bool] = []
    scripted(StartsWith(lambda: is_loaded.append(bool(parts))))
    options = RunOptions(service=ServiceOptions(step_down=step_down))
    redirect("/dev/video0", "null://", options, progress=no_progress, notify=lambda text: None)
    assert is_loaded[0] is step_down
