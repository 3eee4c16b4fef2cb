"""The GStreamer element, in real pipelines of the system's Python, frame by frame."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import mggr_edge
from mggr_edge import Gaze, Redirector

SCRIPT = Path(__file__).parents[1] / "helpers" / "gstreamer_frames.py"
SYSTEM_PYTHON = "/usr/bin/python3"
PLUGIN = Path(__file__).parents[2] / "examples" / "gstreamer"
NEEDED = (
    "import sys, gi; gi.require_version('GstVideo', '1.0'); gi.require_version('GstBase', '1.0')\n"
    "from gi.repository import Gst, GstBase, GstVideo; Gst.init(None)\n"
    "assert all(map(Gst.ElementFactory.find, ('appsrc', 'appsink', 'videoconvert')))\n"
    f"assert sys.version_info[:2] == {sys.version_info[:2]}"
)
TARGET = Gaze(-8, 14)


def environment():
    packages = [str(Path(mggr_edge.__file__).parents[1])]
    packages += [path for path in sys.path if path.endswith("site-packages")]
    return {**os.environ, "PYTHONPATH": ":".join(packages), "GST_PLUGIN_PATH": str(PLUGIN)}


def has_bindings():
    if not os.access(SYSTEM_PYTHON, os.X_OK):
        return False
    asked = subprocess.run([SYSTEM_PYTHON, "-c", NEEDED], env=environment(), capture_output=True)
    return asked.returncode == 0


pytestmark = [
    pytest.mark.extended,
    pytest.mark.skipif(
        not has_bindings(),
        reason="the system's Python has another version, or no bindings of GStreamer",
    ),
]


def rows_of(picture, pixel_format):
    """The rows of a frame in memory, each padded to a multiple of four bytes."""
    height, width = picture.shape[:2]
    rgb, bgr = picture, picture[..., ::-1]
    if pixel_format in ("RGB", "BGR"):
        rows = (rgb if pixel_format == "RGB" else bgr).reshape(height, -1)
    elif pixel_format == "BGRx":
        fourth = np.full((height, width, 1), 7, np.uint8)
        rows = np.concatenate([bgr, fourth], -1).reshape(height, -1)
    elif pixel_format == "GRAY8":
        rows = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    else:
        planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
        chroma = planes[height:].reshape(2, height // 2, width // 2).transpose(1, 2, 0)
        rows = np.concatenate([planes[:height], chroma.reshape(height // 2, width)])
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))


def pixels_of(rows, pixel_format, width):
    """The view of these rows that the host API takes, and its colour format."""
    if pixel_format in ("RGB", "BGR"):
        return rows[:, : 3 * width].reshape(len(rows), width, 3), pixel_format.lower()
    if pixel_format == "BGRx":
        return rows.reshape(len(rows), width, 4)[..., :3], "bgr"
    return rows[:, :width], "gray" if pixel_format == "GRAY8" else "nv12"


def sent(tmp_path, frames, caps, *, repeats=1, properties=()):
    source, output = tmp_path / "in.raw", tmp_path / "out.raw"
    source.write_bytes(b"".join(frame.tobytes() for frame in frames))
    arguments = [source, output, caps, frames[0].nbytes, repeats, *properties]
    made = subprocess.run(
        [SYSTEM_PYTHON, SCRIPT, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    return made, output


@pytest.fixture(scope="module")
def film(portrait):
    """The portrait in six places. Its width is no multiple of four."""
    height, width = (side // 2 * 2 for side in portrait.shape[:2])
    width -= 2 if width % 4 == 0 else 0
    return [np.roll(portrait, n, axis=1)[:height, :width].copy() for n in range(6)]


@pytest.mark.parametrize("pixel_format", ["RGB", "BGR", "BGRx", "GRAY8", "NV12"])
def test_every_frame_is_what_the_host_interface_makes_of_it(tmp_path, bundle, film, pixel_format):
    height, width = film[0].shape[:2]
    frames = [rows_of(frame, pixel_format) for frame in film]
    caps = f"video/x-raw,format={pixel_format},width={width},height={height},framerate=25/1"
    made, output = sent(tmp_path, frames, caps, properties=["pitch=-8", "yaw=14"])
    assert made.returncode == 0, made.stdout + made.stderr
    seen = np.frombuffer(output.read_bytes(), np.uint8).reshape(len(frames), *frames[0].shape)
    redirector = Redirector(bundle, target=TARGET)
    changed = 0
    for number, frame in enumerate(frames):
        view, color = pixels_of(frame.copy(), pixel_format, width)
        wanted = redirector.redirect_frame(view, number / 25, color=color).frame
        got, _ = pixels_of(seen[number], pixel_format, width)
        off = np.abs(got.astype(int) - wanted)
        assert off.max() <= 1
        changed += int((got != view).any())
        untouched = frame.astype(int) == seen[number]
        assert untouched.mean() > 0.9
    assert changed == len(frames)


def test_memory_does_not_grow(tmp_path, film):
    height, width = film[0].shape[:2]
    frames = [rows_of(frame, "RGB") for frame in film]
    caps = f"video/x-raw,format=RGB,width={width},height={height},framerate=25/1"
    made, _ = sent(tmp_path, frames, caps, repeats=50)
    assert made.returncode == 0, made.stdout + made.stderr
    count, early_mb, late_mb = map(float, made.stdout.split())
    assert count == 300
    assert late_mb - early_mb < 5


def test_a_model_that_does_not_exist_is_an_error_of_the_pipeline(tmp_path, film):
    height, width = film[0].shape[:2]
    caps = f"video/x-raw,format=RGB,width={width},height={height},framerate=25/1"
    made, _ = sent(tmp_path, [rows_of(film[0], "RGB")], caps, properties=["model=/no/bundle"])
    assert made.returncode == 1
    assert "mggrgaze: /no/bundle" in made.stdout


def test_gst_launch_finds_the_element(tmp_path):
    launch = "/usr/bin/gst-launch-1.0"
    if not os.access(launch, os.X_OK):
        pytest.skip("gst-launch-1.0 is not installed")
    pipeline = "videotestsrc num-buffers=5 ! video/x-raw,format=NV12,width=322,height=240"
    made = subprocess.run(
        [launch, *pipeline.split(), "!", "mggrgaze", "!", "fakesink"],
        # A registry of its own: GStreamer keeps a list of the elements that it found before. The
        # loader takes its Python from the PATH, so no virtual environment may be active.
        env={
            **environment(),
            "GST_REGISTRY": str(tmp_path / "registry.bin"),
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "no element" in made.stderr:
        pytest.skip("GStreamer's loader for Python is not installed")
    assert made.returncode == 0, made.stderr
