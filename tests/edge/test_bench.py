"""The bench: turns, percentiles, ratios within a round, floors, and a real run of each."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.cli import main
from mggr_edge.common.progress import no_progress
from mggr_edge.errors import MggrError, UsageError
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.bundle_archive import read_bundle_files
from mggr_edge.models.contract import Artifact, TensorSpec
from mggr_edge.models.installed import bundle_path, find_landmark_models
from mggr_edge.models.runtimes import runtimes
from mggr_edge.tools.bench.models import FEWEST_ROUNDS, WARM_UP, bench, interleaved, memory_mb
from mggr_edge.tools.bench.result import Candidate, inputs_for, missed, parse_floor, rows_of, table
from refusals import error_of, refusal


class Clock:
    """Time that passes only when a call takes some."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now

    def call(self, name, ms, log):
        def run():
            log.append(name)
            self.now += int(ms * 1e6)

        return run


def test_calls_take_turns_after_a_warm_up_and_stop_when_the_time_is_up():
    clock, log = Clock(), []
    calls = [clock.call("a", 1, log), clock.call("b", 2, log), clock.call("c", 7, log)]
    took = interleaved(calls, seconds=0.5, clock=clock)
    assert took.shape == (50, 3)  # 10 ms a round
    np.testing.assert_allclose(took, [[1, 2, 7]] * 50)
    warm, timed = log[: 3 * WARM_UP], log[3 * WARM_UP :]
    assert warm == ["a"] * WARM_UP + ["b"] * WARM_UP + ["c"] * WARM_UP
    assert timed[:9] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_there_are_enough_rounds_however_little_time():
    clock = Clock()
    assert len(interleaved([clock.call("a", 1, [])], seconds=0, clock=clock)) == FEWEST_ROUNDS


def contestant(model, precision="float32", runtime="fast", threads=1, content=b"12345"):
    artifact = Artifact(f"models/{model}.tflite", "tflite", precision, "")
    return Candidate("bundle", model, artifact, content, runtime, "1.0", threads)


def test_figures_are_percentiles_and_ratios_within_a_round():
    first = np.arange(1.0, 101.0)
    # The machine slows down; the second takes half of what the first takes in each round.
    took = np.stack([first, first / 2, np.full(100, 4.0)], axis=1)
    field = [contestant("eye"), contestant("eye", "int8"), contestant("gaze")]
    float_row, int8_row, gaze_row = rows_of(field, took, [1.5, None, 2.0])
    assert (float_row.median_ms, float_row.p95_ms, float_row.p99_ms) == pytest.approx(
        (50.5, 95.05, 99.01)
    )
    assert [row.speedup for row in (float_row, int8_row, gaze_row)] == pytest.approx([1, 2, 1])
    assert gaze_row.per_second == pytest.approx(250)
    assert (float_row.rounds, float_row.size_mb) == (100, 5e-6)
    text = table((float_row, int8_row, gaze_row))
    assert len({len(line.split("  ")) for line in text.splitlines()}) > 1
    assert "25.25 ms" in text.splitlines()[2]
    assert "?" in text.splitlines()[2]


@pytest.fixture
def rows():
    field = [contestant("eye"), contestant("eye", "int8"), contestant("gaze", threads=2)]
    return rows_of(field, np.array([[10.0, 5.0, 1.0]]), [None] * 3)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("eye.per_second=200", []),
        ("eye.float32.per_second=101", ["eye.float32.per_second is 100, below 101"]),
        ("int8.eye.speedup=2", []),
        ("eye.speedup=2.5", ["eye.speedup is 2, below 2.5"]),
        ("2-threads.per_second=1000", []),
    ],
)
def test_the_best_row_that_has_a_floor_s_words_must_reach_it(rows, text, faults):
    assert missed([parse_floor(text)], rows) == faults


def test_a_floor_that_no_row_could_reach_is_a_mistake(rows):
    with refusal(UsageError, "floor-without-row", floor="nose.per_second") as caught:
        missed([parse_floor("nose.per_second=1")], rows)
    assert {"eye", "gaze", "int8"} <= set(str(caught.value.fields["known"]).split(", "))


@pytest.mark.parametrize(
    "text", ["", "eye", "per_second=3", "eye.speed=3", "eye.speedup=fast", "eye.speedup=-1"]
)
def test_what_is_no_floor_is_refused(text):
    with refusal(UsageError, "floor-not-valid", floor=text):
        parse_floor(text)


def test_inputs_stay_in_their_range_and_are_the_same_every_time():
    specs = (
        TensorSpec("map", (1, 8, 8, 2), "float32", range=(0.0, 1.0)),
        TensorSpec("delta", (1, 2), "float32"),
    )
    made = inputs_for(specs)
    assert (made["map"].min() >= 0, made["map"].max() > 0.5) == (True, True)
    assert (made["delta"].dtype, made["delta"].shape) == (np.float32, (1, 2))
    np.testing.assert_array_equal(made["map"], inputs_for(specs)["map"])


@pytest.fixture
def estimator():
    contract = Bundle.open("default").contract
    artifact = contract.models["estimator"][0]
    content = read_bundle_files(bundle_path("default"))[artifact.file]
    runtime, version = next(iter(runtimes("tflite", model="redirector").items()))
    return Candidate("default", "estimator", artifact, content, runtime, version, 1)


@pytest.mark.processes
def test_memory_is_measured_in_a_process_of_its_own(estimator):
    found = memory_mb(estimator)
    # Its weights alone are 1.9 MB; the runtime's code, some 20 MB, is not counted.
    assert len(estimator.content) / 2**20 < found < 20


@pytest.mark.processes
def test_a_model_that_cannot_be_loaded_there_is_told():
    with pytest.raises(RuntimeError, match=r"models/eye\.tflite .*cannot load the model"):
        memory_mb(contestant("eye", runtime=next(iter(runtimes("tflite", model="redirector")))))


@pytest.mark.extended
@pytest.mark.processes
def test_two_bundles_are_timed_together():
    rows = bench(
        ["default", "default-int8"],
        models=["redirector"],
        threads=[1, 2],
        seconds=0,
        progress=no_progress,
    )
    reported = [(row.bundle, row.precision, row.threads) for row in rows]
    files = (("default", "float32"), ("default-int8", "int8"))
    kinds = [(form, runtimes(form, model="redirector")) for form in ("tflite", "onnx")]
    everybody = [
        (*file, count)
        for file in files
        for _, installed in kinds
        for runtime in installed
        for count in ((cv2.getNumThreads(),) if runtime == "opencv" else (1, 2))
    ]
    assert sorted(reported) == sorted(everybody)
    assert all(0 < row.median_ms <= row.p95_ms <= row.p99_ms for row in rows)
    assert rows[0].speedup == 1


@pytest.mark.extended
@pytest.mark.processes
def test_the_command_prints_json_and_ends_with_1_below_a_floor():
    def run(*options):
        args = ["bench", "default", "--model", "estimator", "--seconds", "0", *options]
        return CliRunner().invoke(main, args)

    good = run("--json", "--floor", "estimator.per_second=1")
    assert good.exit_code == 0, good.output
    assert {row["model"] for row in json.loads(good.stdout)} == {"estimator"}
    bad = run("--floor", "estimator.per_second=1e9")
    assert bad.exit_code == 1
    assert "error: estimator.per_second is" in bad.stderr


@pytest.mark.parametrize(
    ("args", "code", "fields"),
    [
        (
            ["default", "--model", "mouth"],
            "bench-model-unknown",
            {"bundle": "default", "models": "mouth"},
        ),
        (["default", "default"], "bundle-repeated", {"bundle": "default"}),
        (["nowhere"], "bundle-not-found", {"path": "nowhere"}),
        (["default", "--floor", "fast"], "floor-not-valid", {"floor": "fast"}),
    ],
)
def test_wrong_use_is_one_line(args, code, fields):
    error_of(CliRunner().invoke(main, ["bench", *args]), code, **fields)


def _film_of_a_face(path: Path, frames: int) -> Path:
    av = pytest.importorskip("av")
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the portrait")
    face = np.ascontiguousarray(data.astronaut()[:280, 90:350])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 280, 260, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(face, "rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.extended
@pytest.mark.processes
def test_a_clip_is_timed_as_a_whole(tmp_path: Path) -> None:
    _need_the_default_bundle()
    clip = _film_of_a_face(tmp_path / "her.mp4", 25)
    # In a new process: the peak of this one holds all that earlier tests took.
    command = [sys.executable, "-m", "mggr_edge", "bench", "default", "--clip", str(clip), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (whole,) = json.loads(result.stdout)
    assert whole["frames"] == 15, "ten warm it up"
    assert min(whole[f"{part}_ms"] for part in ("decode", "interpreters", "own")) > 0
    assert whole["whole_ms"] <= whole["whole_p99_ms"]
    assert 0 < whole["reachable"] < 1
    assert 0 < whole["start_s"] < 60
    assert 30 < whole["peak_mb"] < 2000


@pytest.mark.processes
def test_a_clip_without_a_face_is_not_timed(tmp_path: Path) -> None:
    _need_the_default_bundle()
    clip = _film_of_a_face(tmp_path / "her.mp4", 5)
    result = CliRunner().invoke(main, ["bench", "default", "--clip", str(clip)])
    error_of(result, "clip-with-few-faces", path=clip, frames=5, least=11)
    asked = ["bench", "default", "--clip", str(clip), "--model", "redirector"]
    error_of(CliRunner().invoke(main, asked), "clip-with-model-or-floor")


def _need_the_default_bundle() -> None:
    try:
        Bundle.open("default")
        find_landmark_models()
    except MggrError as error:
        pytest.skip(str(error))
