"""The ROS 2 example, without ROS: image messages with padded rows, in every encoding."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mggr_edge import Gaze, Redirector

FILE = Path(__file__).parents[2] / "examples" / "ros2_node.py"


@pytest.fixture(scope="module")
def node():
    spec = spec_from_file_location("ros2_node", FILE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def message_of(pixels, encoding):
    """An image message whose rows have five more bytes than pixels."""
    rows = np.pad(pixels.reshape(len(pixels), -1), ((0, 0), (0, 5)), constant_values=9)
    stamp = SimpleNamespace(sec=3, nanosec=40_000_000)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id="camera"),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=rows.shape[1],
        data=rows.tobytes(),
    )


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "bgra8", "mono8"])
def test_a_message_is_redirected_as_the_host_interface_does(node, bundle, encoding):
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the portrait")
    rgb = cv2.resize(data.astronaut()[:280, 90:350], None, fx=2, fy=2)
    color, channels = node.COLORS[encoding]
    pixels = {
        "rgb8": rgb,
        "bgr8": rgb[..., ::-1],
        "bgra8": np.dstack([rgb[..., ::-1], np.full(rgb.shape[:2], 200, np.uint8)]),
        "mono8": cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY),
    }[encoding]
    message = message_of(pixels, encoding)
    target = Gaze(-8, 14)
    made = node.redirect_message(message, Redirector(bundle, target=target))
    rows = np.frombuffer(made.data, np.uint8).reshape(made.height, made.step)
    assert (rows[:, -5:] == 9).all()
    got = rows[:, :-5].reshape(pixels.shape)
    seen = np.ascontiguousarray(pixels if channels < 4 else pixels[..., :3])
    wanted = Redirector(bundle, target=target).redirect_frame(seen, 3.04, color=color).frame
    np.testing.assert_array_equal(got if channels < 4 else got[..., :3], wanted)
    assert (wanted != seen).any()
    if channels == 4:
        assert (got[..., 3] == 200).all()


def test_other_encodings_are_refused(node):
    with pytest.raises(ValueError, match="yuv422"):
        node.pixels_of(message_of(np.zeros((4, 4, 2), np.uint8), "yuv422"))
