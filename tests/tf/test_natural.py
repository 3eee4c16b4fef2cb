"""`mggr-tf natural`: clips, pictures, and a judge that knows both sides."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import MggrError, RunError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.eye_crop import mirror_image
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.conventions import Conventions
from mggr_tf.cli.natural import natural
from mggr_tf.config.files import load_config
from mggr_tf.data.source import open_split
from mggr_tf.evaluation.clips import DrawnClip, frames_of, judge_of, measure_known_gaze
from mggr_tf.models.networks import Networks, save_weights
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord
from refusals import refusal


@pytest.fixture(scope="module")
def judging(tmp_path_factory):
    """A run whose judge has some weights; it was never trained."""
    config = load_config("mggr-edge", changes=["synthetic.subjects=2", "synthetic.per_group=2"])
    split = open_split(
        "synthetic", config=config, stage="judge", subjects=None, progress=no_progress, notify=print
    )
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "judge", config, DataRecord.of(split))
    with refusal(RunError, "no-judge", path=run.path):
        judge_of(run, Conventions())
    run.weights_file("judge").parent.mkdir(exist_ok=True)
    save_weights(Networks(config).judge, run.weights_file("judge"))
    return run


@pytest.mark.extended
def test_the_judge_sees_a_mirrored_eye_looking_the_other_way(judging):
    ask = judge_of(judging, Conventions())
    patch = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    (right,) = ask([patch], ["right"], [Gaze(3.0, 10.0)])
    (left,) = ask([mirror_image(patch)], ["left"], [Gaze(3.0, -10.0)])
    assert left.pitch_deg == pytest.approx(right.pitch_deg, abs=1e-4)
    assert left.yaw_deg == pytest.approx(-right.yaw_deg, abs=1e-4)


@pytest.mark.extended
def test_pictures_have_no_time_and_films_have(tmp_path):
    av = pytest.importorskip("av")
    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64, 3), 90, np.uint8))
    ((frame, time_s),) = frames_of(tmp_path / "a.png")
    assert (frame.shape, time_s) == ((48, 64, 3), None)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    times = [time_s for _, time_s in frames_of(tmp_path / "a.mp4")]
    assert times == pytest.approx([0, 0.04, 0.08])


def default_bundle():
    try:
        bundle = Bundle.open("default")
        bundle.model("face_mesh")
    except MggrError as error:
        pytest.skip(str(error))
    return bundle


@pytest.mark.extended
def test_on_drawn_faces_the_default_weights_go_most_of_the_known_way_and_no_flow_none():
    clip, bundle, target = DrawnClip(0, count=16), default_bundle(), Gaze(0.0, -8.0)
    known = measure_known_gaze(clip, bundle, target=target)
    compared = [clip.moment(number).gaze.angle_to(target) for number in (0, 5, 10, 15)]
    near = [angle for angle in compared if angle <= 20]
    assert known.eyes >= 2 * len(near) - 2 > 0
    assert min(near) < known.before_deg < 20
    assert known.after_deg < 0.6 * known.before_deg

    def idle(runner):
        def call(inputs):
            outputs = runner(inputs)
            return {n: 0 * v if n in ("flow", "residual") else v for n, v in outputs.items()}

        return call

    still = measure_known_gaze(clip, bundle.through(idle), target=target)
    assert still.after_deg == pytest.approx(still.before_deg, rel=0.01)


def test_a_source_that_is_no_file_is_named():
    result = CliRunner().invoke(natural, ["default", "nowhere.mp4"])
    assert result.exit_code == 2
    assert "nowhere.mp4 is not a file" in result.output


@pytest.mark.slow
def test_the_command_prints_a_row_for_each_target(judging, tmp_path):
    default_bundle()
    data = pytest.importorskip("skimage.data")
    portrait = cv2.resize(data.astronaut()[:280, 90:350], None, fx=2, fy=2)
    cv2.imwrite(str(tmp_path / "her.png"), portrait[..., ::-1])
    asked = ["default", str(tmp_path / "her.png"), "--judge", str(judging.path)]
    asked += ["--target", "0,10", "--target=-12,0"]
    result = CliRunner().invoke(natural, asked)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[:5] for line in lines] == [
        ["source", "target", "frames", "eyes", "outside"],
        ["her.png", "0,10", "1", "2", "0"],
        ["her.png", "-12,0", "1", "2", "0"],
    ]
    (facts, _) = json.loads(CliRunner().invoke(natural, [*asked, "--json"]).stdout)
    assert facts["judge_before_deg"] != facts["judge_after_deg"]
    assert facts["jitter"] > 0
    assert (facts["pairs"], facts["pairs_apart"]) == (1, 0.0)
    assert "pairs" in lines[0]
    assert lines[1].count("of") == 2  # `fully` and `pairs`
