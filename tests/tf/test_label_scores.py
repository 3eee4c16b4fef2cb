"""Labels of eyes: the reader, the classes, and scores of the device's results."""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.errors import DataError, MggrError, UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.network_io import EyeState
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult
from mggr_edge.vision.face_mesh import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS
from mggr_tf.cli.natural import natural
from mggr_tf.evaluation.clips import RATE, DrawnClip, frames_of
from mggr_tf.evaluation.frame_labels import (
    ClassLimits,
    class_of_reason,
    eye_class,
    labels_by_clip,
    read_frame_labels,
)
from mggr_tf.evaluation.label_scores import LabelScorer, LabelScores, ScoredEye, label_table
from refusals import refusal

SHA256 = "0" * 64
HEADER = "frame,time_ms,x,y,side,label"
ROWS = (
    "0,0,100,50,right,open",
    "0,0,100,50,left,down",
    "0,0,300,60,left,out",
    "2,80,101,50,right,closed",
)


def write(file: Path, *rows: str, sha256: str = SHA256, frames: object = 3, header: str = HEADER):
    lines = [f"# sha256: {sha256}", f"# frames: {frames}", header, *rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_reads_faces_of_frames(tmp_path):
    labels = read_frame_labels(write(tmp_path / "a.csv", *ROWS))
    assert (labels.sha256, labels.frame_count, list(labels.frames)) == (SHA256, 3, [0, 2])
    first, last = labels.frames.values()
    assert [face.centre for face in first.faces] == [(100, 50), (300, 60)]
    assert [face.labels for face in first.faces] == [
        {"right": "open", "left": "down"},
        {"left": "out"},
    ]
    assert (last.time_ms, last.faces[0].labels) == (80, {"right": "closed"})


@pytest.mark.parametrize(
    ("row", "code", "column", "value"),
    [
        ("1,40,100,50,right,shut", "label-not-a-choice", "label", "shut"),
        ("1,40,100,50,right,", "label-not-a-choice", "label", ""),
        ("1,40,100,50,centre,open", "label-not-a-choice", "side", "centre"),
        ("1,40,100,nan,left,open", "label-not-a-number", "y", "nan"),
        ("1,40,,50,left,open", "label-not-a-number", "x", ""),
        ("1,soon,100,50,left,open", "label-not-a-number", "time_ms", "soon"),
        ("3,120,100,50,left,open", "label-frame-invalid", "frame", "3"),
        ("-1,0,100,50,left,open", "label-frame-invalid", "frame", "-1"),
        ("1.0,0,100,50,left,open", "label-frame-invalid", "frame", "1.0"),
        ("1,40,100", "label-not-a-number", "y", None),
        ('1,40,100,50,left,"open', "labels-not-csv", None, None),
    ],
)
def test_refuses_values_by_their_line(tmp_path, row, code, column, value):
    file = write(tmp_path / "a.csv", row)
    with refusal(DataError, code, path=file, line=4, column=column, found=value):
        read_frame_labels(file)


def test_refuses_an_eye_labelled_twice(tmp_path):
    where = {"line": 8, "side": "right", "centre": (100.0, 50.0), "frame": 0}
    with refusal(DataError, "eye-labelled-twice", **where):
        read_frame_labels(write(tmp_path / "a.csv", *ROWS, "0,0,100,50,right,open"))


def test_refuses_times_that_contradict(tmp_path):
    with refusal(DataError, "label-time-differs", frame=0):
        read_frame_labels(write(tmp_path / "a.csv", ROWS[0], "0,40,100,50,left,open"))
    with refusal(DataError, "label-times-not-increasing", before=1, after=2):
        read_frame_labels(write(tmp_path / "a.csv", ROWS[3], "1,90,100,50,left,open"))


def test_refuses_a_missing_column_comment_or_row(tmp_path):
    file = tmp_path / "a.csv"
    with refusal(DataError, "labels-column-missing", missing="y, label"):
        read_frame_labels(write(file, "0,0,1,left", header="frame,time_ms,x,side"))
    with refusal(DataError, "labels-without-rows", path=file):
        read_frame_labels(write(file))
    for frames in (0, "many", "-3"):
        with refusal(DataError, "labels-frames-invalid", found=frames):
            read_frame_labels(write(file, *ROWS, frames=frames))
    with refusal(DataError, "labels-sha256-invalid", found="2c6da7"):
        read_frame_labels(write(file, *ROWS, sha256="2c6da7"))
    file.write_text("\n".join([HEADER, *ROWS]))
    with refusal(DataError, "labels-comment-missing", missing="sha256"):
        read_frame_labels(file)
    file.write_text("")
    with refusal(DataError, "labels-comment-missing", missing="sha256"):
        read_frame_labels(file)
    file.write_bytes(b"\xff\xfe")
    with refusal(DataError, "labels-not-utf8", path=file):
        read_frame_labels(file)
    with refusal(DataError, "labels-unreadable", path=tmp_path / "none.csv"):
        read_frame_labels(tmp_path / "none.csv")


def test_finds_the_clip_of_labels_by_its_bytes(tmp_path):
    clips = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for clip in clips:
        clip.write_bytes(clip.name.encode())
    digest = hashlib.sha256(b"two.mp4").hexdigest()
    file = write(tmp_path / "a.csv", *ROWS, sha256=digest)
    assert list(labels_by_clip([file], clips)) == [clips[1]]
    assert labels_by_clip([], clips) == {}
    with refusal(UsageError, "labels-without-clip", path=file, sha256=digest):
        labels_by_clip([file], clips[:1])
    again = write(tmp_path / "b.csv", *ROWS, sha256=digest)
    with refusal(UsageError, "clip-labelled-twice", path=again, other=file, clip=clips[1]):
        labels_by_clip([file, again], clips)


@pytest.mark.parametrize(("name", "count"), [("clip_a.csv", 433), ("clip_b.csv", 177)])
def test_packaged_labels_can_be_read(name, count):
    labels = read_frame_labels(Path(str(files("mggr_tf") / "evaluation/labelled_frames" / name)))
    assert (labels.frame_count, len(labels.frames)) == (count, 150)
    for frame in labels.frames.values():
        for face in frame.faces:
            assert set(face.labels) == {"right", "left"}


def test_the_class_of_a_state():
    assert eye_class(EyeState(0.3, 0.9, 0.0)) == "open"
    assert eye_class(EyeState(0.15, 0.4, 0.1)) == "down"
    assert eye_class(EyeState(0.02, 0.4, 0.1)) == "closed"
    assert eye_class(EyeState(0.15, 0.0, 0.1)) == "closed"
    assert eye_class(EyeState(0.0, 0.0, 0.8)) == "occluded"
    assert eye_class(EyeState(0.15, 0.7, 0.1)) == "down"
    assert eye_class(EyeState(0.25, 0.4, 0.1)) == "down"
    loose = ClassLimits(down_iris=0.3, down_openness=0.14)
    assert eye_class(EyeState(0.15, 0.4, 0.1), loose) == "open"


def test_the_class_that_the_device_acts_on():
    held = ("closed", "looking down", "covered", "head turned", "too small", "not clear")
    expected = ["closed", "down", "occluded", "out", "out", "out"]
    assert [class_of_reason(0.0, reason) for reason in held] == expected
    assert {class_of_reason(0.2, reason) for reason in held} == {"open"}
    assert class_of_reason(1.0, None) == "open"
    assert class_of_reason(0.0, "easing in") == "open"


@dataclass(frozen=True)
class WithState(EyeResult):
    """A result of a device whose estimator has an output `state`."""

    state: EyeState | None = None


def face(x, y, right, left, *, states=(None, None)):
    landmarks = np.zeros((468, 3), np.float32)
    outline = np.zeros((16, 2), np.float32)
    for where, (outer, inner) in ((RIGHT_EYE_CORNERS, (-50, -20)), (LEFT_EYE_CORNERS, (50, 20))):
        landmarks[list(where)] = [(x + outer, y, 0), (x + inner, y, 0)]
    eyes = [
        WithState(side, outline, None, Gaze(0, 0), strength, reason, state=state)
        for side, (strength, reason), state in zip(
            ("right", "left"), (right, left), states, strict=True
        )
    ]
    return FaceResult(0, landmarks, Gaze(0, 0), (eyes[0], eyes[1]))


def score(tmp_path, rows, results, *, times=None):
    scorer = LabelScorer(read_frame_labels(write(tmp_path / "a.csv", *rows)))
    blank = np.zeros((4, 4, 3), np.uint8)
    for number, faces in enumerate(results):
        time_s = number / 25 if times is None else times[number]
        scorer(FrameResult(blank, tuple(faces)), time_s)
    return scorer.scores()


OPEN, CLOSED, COVERED = (1.0, None), (0.0, "closed"), (0.0, "covered")


def test_scores_by_reasons(tmp_path):
    rows = [
        "0,0,100,50,right,open",
        "0,0,100,50,left,unsure",
        "1,40,100,50,right,closed",
        "1,40,100,50,left,closed",
        "2,80,100,50,right,down",
        "2,80,100,50,left,occluded",
        "2,80,700,50,left,closed",
    ]
    results = [
        [face(110, 52, OPEN, OPEN)],
        [face(100, 50, CLOSED, (0.3, "closed"))],
        [face(100, 50, CLOSED, COVERED)],
    ]
    scores = score(tmp_path, rows, results)
    assert len(scores.eyes) == 6
    assert (scores.closed_strength_max, scores.closed_redirected) == (0.3, 0.5)
    assert scores.state_right == pytest.approx(3 / 5)
    assert scores.confusion() == {
        "open": {"open": 1},
        "down": {"closed": 1},
        "closed": {"closed": 1, "not found": 1, "open": 1},
        "occluded": {"occluded": 1},
    }
    assert scores.reasons()["closed"] == {"closed": 2, "not found": 1}
    assert scores.reasons()["open"] == {"full strength": 1}
    facts = json.loads(json.dumps(scores.as_json()))
    assert facts["eyes"]["closed"] == 3
    assert facts["found"]["closed"] == 2
    assert facts["redirected"] == {"open": 1.0, "down": 0.0, "closed": 0.5, "occluded": 0.0}
    table = label_table(scores).splitlines()
    assert table[1].split()[3:] == ["open", "closed", "occluded", "not", "found"]
    assert ["closed", "1", "1", "0", "1"] in [line.split() for line in table]


def test_an_estimated_state_decides_before_the_reason(tmp_path):
    states = (EyeState(0.12, 0.3, 0.0), EyeState(0.3, 0.9, 0.0))
    scores = score(
        tmp_path,
        ["0,0,100,50,right,down", "0,0,100,50,left,down"],
        [[face(100, 50, CLOSED, CLOSED, states=states)], [], []],
    )
    assert scores.confusion() == {"down": {"down": 1, "open": 1}}
    assert scores.state_right == 0.5


def test_faces_are_matched_by_the_nearest_centre_once(tmp_path):
    rows = ["0,0,100,50,right,open", "0,0,140,50,right,closed"]
    near = face(130, 50, CLOSED, OPEN)
    scores = score(tmp_path, rows, [[near], [], []])
    assert scores.confusion() == {"open": {"not found": 1}, "closed": {"closed": 1}}
    far = face(200, 50, OPEN, OPEN)
    assert score(tmp_path, rows, [[far], [], []]).confusion()["closed"] == {"not found": 1}
    both = [face(145, 50, CLOSED, OPEN), face(104, 50, OPEN, OPEN)]
    scores = score(tmp_path, rows, [both, [], []])
    assert scores.confusion() == {"open": {"open": 1}, "closed": {"closed": 1}}


def test_a_turned_head_is_matched_by_its_true_scale(tmp_path):
    turned = face(100, 50, OPEN, OPEN)
    outer = [RIGHT_EYE_CORNERS[0], LEFT_EYE_CORNERS[0]]
    turned.landmarks[:, 0] = 100
    turned.landmarks[outer, 2] = [-50, 50]
    scores = score(tmp_path, ["0,0,120,50,right,open"], [[turned], [], []])
    assert scores.confusion() == {"open": {"open": 1}}


def test_another_clip_is_refused_by_its_times_and_length(tmp_path):
    with refusal(DataError, "label-time-not-in-clip", frame=2, expected=80.0, found=60.0):
        score(tmp_path, ROWS, [[], [], []], times=[0.0, 0.03, 0.06])
    with refusal(DataError, "label-time-not-in-clip", frame=0, expected=0.0, found=None):
        score(tmp_path, ROWS, [[], [], []], times=[None, None, None])
    with refusal(DataError, "clip-length-differs", expected=3, found=2):
        score(tmp_path, ROWS, [[], []])


def test_without_eyes_there_are_no_scores():
    none = LabelScores(())
    assert (none.closed_strength_max, none.closed_redirected, none.state_right) == (None,) * 3
    assert label_table(none).startswith("closed_strength_max -")
    lost = LabelScores((ScoredEye("closed", 0.0, None, None),))
    assert (lost.closed_strength_max, lost.state_right) == (None, None)
    assert lost.confusion() == {"closed": {"not found": 1}}


BLINK = range(36, 46)
"""Frames of a drawn clip with its blink: closed entirely in 41 and 42."""


@pytest.fixture(scope="module")
def drawn_blink(tmp_path_factory):
    """A video file of a drawn blink, and labels of its open and closed eyes."""
    av = pytest.importorskip("av")
    clip, folder = DrawnClip(0), tmp_path_factory.mktemp("blink")
    video = folder / "blink.mp4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "12"})
        stream.height, stream.width, stream.pix_fmt = 480, 640, "yuv420p"
        for number in BLINK:
            picture = av.VideoFrame.from_ndarray(clip.frame(number), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    rows = [
        f"{n},{1000 * n // RATE},320,209,{side},{'closed' if closure else 'open'}"
        for n, closure in enumerate(clip.moment(number).closure for number in BLINK)
        if closure in (0.0, 1.0)
        for side in ("right", "left")
    ]
    return video, rows


@pytest.mark.extended
def test_the_command_scores_what_the_device_did(drawn_blink, tmp_path):
    video, rows = drawn_blink
    try:
        bundle = Bundle.open("default")
        bundle.model("face_mesh")
    except MggrError as error:
        pytest.skip(str(error))
    digest = hashlib.sha256(video.read_bytes()).hexdigest()
    file = write(tmp_path / "blink.csv", *rows, sha256=digest, frames=len(BLINK))
    asked = ["default", str(video), "--labels", str(file)]
    result = CliRunner().invoke(natural, [*asked, "--json"])
    assert result.exit_code == 0, result.output
    (facts,) = json.loads(result.stdout)
    labels = facts["labels"]

    redirector, closed, opened = Redirector(bundle), [], []
    for number, (frame, time_s) in zip(BLINK, frames_of(video), strict=True):
        (found,) = redirector.process(frame, time_s=time_s).faces
        closure = DrawnClip(0).moment(number).closure
        if closure in (0.0, 1.0):
            (closed if closure else opened).extend(eye.strength for eye in found.eyes)
    assert labels["eyes"] == labels["found"] == {"open": 12, "closed": 4}
    assert labels["closed_strength_max"] == pytest.approx(max(closed))
    assert labels["closed_redirected"] == np.mean(np.array(closed) > 0.1)
    assert labels["redirected"]["open"] == np.mean(np.array(opened) > 0.1)
    assert sum(labels["reasons"]["open"].values()) == 12


def test_the_command_refuses_labels_of_another_clip(drawn_blink, tmp_path):
    video, rows = drawn_blink
    file = write(tmp_path / "other.csv", *rows, frames=len(BLINK))
    result = CliRunner().invoke(natural, ["default", str(video), "--labels", str(file)])
    assert isinstance(result.exception, UsageError)
    assert SHA256 in str(result.exception)
