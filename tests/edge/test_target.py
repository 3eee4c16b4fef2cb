import pytest

from mggr_edge.errors import UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.pipeline.targets import parse_target
from refusals import refusal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("camera", Gaze(0, 0)),
        (" Camera ", Gaze(0, 0)),
        ("5,-10", Gaze(5, -10)),
        (" -2.5 , 1e1 ", Gaze(-2.5, 10)),
        ("20,-30", Gaze(20, -30)),
    ],
)
def test_reads_camera_and_pitch_yaw(text: str, expected: Gaze) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize("text", ["", "left", "5", "5;3", "1,2,3", "a,b", ",", "5,"])
def test_garbage_is_refused_with_what_would_work(text: str) -> None:
    with refusal(UsageError, "target-not-an-angle-pair", target=text) as caught:
        parse_target(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [("21,0", "pitch"), ("0,31", "yaw"), ("0,-31", "yaw"), ("nan,0", "pitch"), ("0,inf", "yaw")],
)
def test_out_of_range_names_the_angle(text: str, name: str) -> None:
    limit = {"pitch": 20.0, "yaw": 30.0}[name]
    with refusal(UsageError, "target-out-of-range", target=text, angle=name, limit=limit):
        parse_target(text)
