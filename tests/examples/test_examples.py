"""The example programs run, with small inputs, and their outputs differ from the inputs at eyes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mggr_edge import Bundle, Redirector, open_source
from mggr_edge.errors import MggrError

FOLDER = Path(__file__).parents[2] / "examples"
_LONGEST = 60

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module", autouse=True)
def weights() -> None:
    try:
        with Bundle.open("default") as bundle:
            bundle.model("face_mesh")
    except MggrError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait that does not look into the lens, after a redirection of its eyes."""
    from mggr_edge import Gaze

    data = pytest.importorskip("skimage.data", reason="scikit-image carries the portrait")
    picture = cv2.resize(data.astronaut()[:280, 90:350], None, fx=2, fy=2)
    with Bundle.open("default") as bundle:
        aside = Redirector(bundle, target=Gaze(0, 18)).redirect_image(picture).frame
    path = tmp_path_factory.mktemp("photo") / "me.png"
    cv2.imwrite(str(path), aside[..., ::-1])
    return path


@pytest.fixture(scope="module")
def clip(photo: Path) -> Path:
    av = pytest.importorskip("av")
    picture = cv2.imread(str(photo))
    path = photo.with_name("call.mp4")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path


def run(name: str, *arguments: object, cwd: Path, before: str = "") -> str:
    """Run an example; return its output. `before` is Python code that runs first."""
    file = FOLDER / name
    command = [str(file)]
    if name.endswith(".py"):
        code = f"import runpy, sys\n{before}\nsys.argv[0] = {str(file)!r}\n"
        code += f"runpy.run_path({str(file)!r}, run_name='__main__')"
        command = [sys.executable, *(("-c", code) if before else (str(file),))]
    folders = [*sys.path, os.environ.get("PATH", "")]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(folders[:-1]),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{folders[-1]}",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def changed(before: Path, after: Path) -> float:
    """Return the share of pixels that differ by more than 8 grey levels."""
    one, other = (cv2.imread(str(path)).astype(int) for path in (before, after))
    return float((np.abs(one - other).max(axis=-1) > 8).mean())


def test_examples_are_short() -> None:
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert len(files) == 13
    for path in files:
        assert len(path.read_text().splitlines()) < _LONGEST, path


def test_a_photo_is_redirected(photo: Path, tmp_path: Path) -> None:
    said = run("redirect_photo.py", photo, tmp_path / "out.png", cwd=tmp_path)
    assert "right eye: strength 1.00" in said
    assert 0.0005 < changed(photo, tmp_path / "out.png") < 0.05


@pytest.mark.extended
def test_landmarks_of_a_host_are_used(photo: Path, tmp_path: Path) -> None:
    run("redirect_photo.py", photo, tmp_path / "usual.png", cwd=tmp_path)
    said = run("own_landmarks.py", photo, tmp_path / "out.png", cwd=tmp_path)
    assert said == "1 faces redirected with given landmarks\n"
    assert changed(tmp_path / "usual.png", tmp_path / "out.png") == 0


def test_a_folder_is_redirected(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / f"photos/{number}.png").write_bytes(photo.read_bytes())
    (tmp_path / "photos/broken.jpg").write_bytes(b"no picture")
    said = run("batch_folder.py", "photos", "out", cwd=tmp_path)
    lines = [f"{number}.png: 1 faces" for number in range(3)]
    assert said.splitlines() == [*lines, "broken.jpg: cannot be read"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "2.png"]
    assert changed(photo, tmp_path / "out/1.png") > 0.0005


@pytest.mark.extended
def test_the_target_moves(clip: Path, tmp_path: Path) -> None:
    run("custom_target.py", clip, tmp_path / "out.mp4", cwd=tmp_path)
    with open_source(clip) as source, open_source(tmp_path / "out.mp4") as written:
        both = zip(source, written, strict=True)
        pairs = [(one.rgb.astype(int), other.rgb) for one, other in both]
    assert len(pairs) == 8
    assert all((np.abs(one - other).max(axis=-1) > 16).mean() > 0.0005 for one, other in pairs)


@pytest.mark.extended
def test_frames_reach_the_sink(clip: Path, tmp_path: Path) -> None:
    run("virtual_camera.py", clip, tmp_path / "out.mkv", cwd=tmp_path)
    with open_source(tmp_path / "out.mkv") as written:
        assert len(list(written)) == 8


def test_a_window_shows_every_frame(clip: Path, tmp_path: Path, bundle: Bundle) -> None:
    """OpenCV's window is replaced by a list, because there is no screen."""
    before = """
import atexit, cv2, numpy
from mggr_edge import Redirector
shown, times = [], []
redirect = Redirector.redirect_frame
def timed(self, frame, time_s, **rest):
    times.append(time_s)
    return redirect(self, frame, time_s, **rest)
Redirector.redirect_frame = timed
cv2.imshow = lambda title, frame: shown.append(frame.copy())
cv2.waitKey = lambda ms: -1
cv2.destroyAllWindows = lambda: None
atexit.register(lambda: numpy.savez("shown.npz", shown=shown, times=times))
"""
    run("webcam_window.py", clip, cwd=tmp_path, before=before)
    with np.load(tmp_path / "shown.npz") as saved:
        shown, times = saved["shown"], saved["times"]
    assert len(shown) == 8
    redirector, capture, changed = Redirector(bundle), cv2.VideoCapture(str(clip)), 0
    for seen, time_s in zip(shown, times, strict=True):
        is_there, frame = capture.read()
        assert is_there
        made = redirector.redirect_frame(frame, float(time_s), color="bgr").frame
        np.testing.assert_array_equal(seen, made)
        changed += bool((seen != frame).any())
    capture.release()
    assert changed > 0


@pytest.mark.slow
def test_a_loss_of_ones_own_is_trained(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    said = run("custom_loss.py", 2, 4, cwd=tmp_path)
    assert [line.split(":")[0] for line in said.splitlines()[-2:]] == ["step 0", "step 1"]
    assert (tmp_path / "custom_loss.npz").stat().st_size > 100_000


@pytest.mark.slow
def test_formats_are_compared(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    said = run("compare_formats.sh", tmp_path / "all", 0, cwd=tmp_path)
    for name in ("tflite", "onnx", "float32", "int8"):
        assert name in said


@pytest.mark.slow
def test_a_folder_of_ones_own_is_trained(photo: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    (tmp_path / "photos").mkdir()
    picture = cv2.imread(str(photo))
    for person in range(1, 4):
        for yaw in (0, 18):
            name = f"{person:04d}_2m_0P_0V_{yaw}H.png"
            cv2.imwrite(str(tmp_path / "photos" / name), picture)
    said = run(
        "train_on_your_folder.sh", "photos", "mine", "--steps", 1, "--stage", "joint", cwd=tmp_path
    )
    assert said.splitlines()[-1] == "now run: mggr-edge run me.jpg --model mine/bundle"
    assert (tmp_path / "mine/bundle/contract.json").is_file()
