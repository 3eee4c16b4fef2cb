"""From photographs to folders of patches, with the real landmark models."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from skimage.data import astronaut

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import DataError, UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_tf.cli import main
from mggr_tf.data import columbia, folder
from mggr_tf.data.crop_folder import crop_photos
from mggr_tf.data.listing import samples_of
from mggr_tf.data.source import scan_source
from refusals import error_of, refusal

NAME = "0001_2m_{head}P_{pitch}V_{yaw}H.jpg"


def frame(zoom, size, *, middles=((0.5, 0.5),)):
    """[H, W, 3] BGR: the portrait's face, so large, at each place (shares of the frame)."""
    height, width = size
    picture = np.full((height, width, 3), 90, np.uint8)
    face = cv2.resize(astronaut()[20:210, 140:310, ::-1], None, fx=zoom, fy=zoom)
    for x, y in middles:
        top, left = int(y * height - face.shape[0] / 2), int(x * width - face.shape[1] / 2)
        picture[top : top + face.shape[0], left : left + face.shape[1]] = face
    return picture


def put(path, picture):
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def invoke(*arguments):
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two photographs of the data set's size and names."""
    path = tmp_path_factory.mktemp("columbia") / "photos"
    for yaw, x in ((0, 0.5), (5, 0.4)):
        large = frame(9, (3456, 5184), middles=((x, 0.5),))
        put(path / NAME.format(head=0, pitch=0, yaw=yaw), large)
    return path


def test_labelled_photographs_become_labelled_patches(photos, tmp_path):
    out = tmp_path / "patches"
    result = invoke("crop", photos, out)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    assert sorted(file.name for file in out.iterdir()) == [
        "0001_2m_0P_0V_0H_L.jpg",
        "0001_2m_0P_0V_0H_R.jpg",
        "0001_2m_0P_0V_5H_L.jpg",
        "0001_2m_0P_0V_5H_R.jpg",
    ]
    checked = invoke("check", out)
    assert checked.exit_code == 0
    assert f"4 good, 0 bad; {columbia.LICENCE}" in checked.output
    samples = samples_of(scan_source(out), source=out)
    # Canonical right eyes: the nose, and the bright side of this face, lie on their right.
    halves = samples.images[:, 16:48].mean((1, 3)).reshape(4, 2, 32).mean(-1)
    assert len(np.unique(samples.group)) == 2
    assert np.ptp(samples.images.astype(int), axis=(1, 2, 3)).min() > 100
    assert (halves > 60).all()


def test_a_patch_shows_the_eye_in_its_middle(photos, tmp_path):
    """The portrait looks into the lens: its dark irises are in the middle of the patches."""
    crop_photos(photos, tmp_path / "out", progress=no_progress)
    scanned = scan_source(tmp_path / "out")
    for image in scanned.images:
        y, x = np.nonzero(image.mean(-1) < np.quantile(image.mean(-1)[16:48, 16:48], 0.1))
        near = (abs(x - 31.5) < 20) & (abs(y - 31.5) < 16)
        np.testing.assert_allclose([x[near].mean(), y[near].mean()], [31.5, 30.5], atol=5)


def test_other_photographs_become_patches_that_wait_for_labels(tmp_path):
    put(tmp_path / "photos" / "two.png", frame(4, (900, 1800), middles=((0.25, 0.5), (0.75, 0.5))))
    put(tmp_path / "photos" / "tiny.png", frame(0.8, (400, 400)))
    (tmp_path / "photos" / "licence.txt").write_text("public domain (NASA)")
    out = tmp_path / "eyes"
    result = invoke("crop", tmp_path / "photos", out)
    assert result.exit_code == 0, result.output
    assert "tiny.png: face 1, right eye: too small" in result.stderr
    assert f"fill in pitch_deg and yaw_deg in {out / 'eyes.csv'}" in result.stderr
    scanned = folder.scan(out)
    assert scanned.subjects == ("two", "two-face2")
    assert [label.side for label in scanned.labels] == ["right", "left"] * 2
    assert scanned.unlabelled == 4
    assert max(abs(label.head.yaw_deg) for label in scanned.labels) < 10
    assert scanned.licence == "public domain (NASA)"
    checked = invoke("check", out)
    assert checked.exit_code == 0, checked.output
    assert "4 of them without a gaze" in checked.output


def test_what_failed_is_listed_and_the_rest_is_cut(photos, tmp_path):
    path = tmp_path / "photos"
    good = photos / NAME.format(head=0, pitch=0, yaw=0)
    put(path / good.name, cv2.resize(cv2.imread(str(good)), None, fx=0.25, fy=0.25))
    put(path / NAME.format(head=0, pitch=0, yaw=10), np.full((300, 400, 3), 128, np.uint8))
    (path / NAME.format(head=0, pitch=0, yaw=15)).write_bytes(good.read_bytes()[:5000])
    out = tmp_path / "patches"
    result = invoke("crop", path, out)
    assert result.exit_code == 1, result.output
    with open(out / "not-cut.csv", newline="") as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["photograph", "eye", "reason"]
    assert [(row[0], row[1]) for row in rows[1:]] == [
        ("0001_2m_0P_0V_10H.jpg", ""),
        ("0001_2m_0P_0V_15H.jpg", ""),
    ]
    assert rows[1][2] == "no face was found"
    assert "damaged" in rows[2][2]
    assert "0001_2m_0P_0V_10H.jpg: no face was found" in result.stderr
    assert "cut 2 patches from 3 photographs, 2 of which failed" in result.stderr
    assert invoke("check", out).exit_code == 0


def test_one_labelled_photograph_shows_one_person(tmp_path):
    crowd = frame(3, (900, 1800), middles=((0.3, 0.5),))
    crowd[:, 900:] = frame(2.2, (900, 900))
    put(tmp_path / "photos" / NAME.format(head=0, pitch=0, yaw=0), crowd)
    put(tmp_path / "other" / "crowd.png", crowd)
    one = crop_photos(tmp_path / "photos", tmp_path / "one", progress=no_progress)
    all_faces = crop_photos(tmp_path / "other", tmp_path / "all", progress=no_progress)
    assert (one.patches, all_faces.patches) == (2, 4)
    of_one, of_all = (scan_source(tmp_path / name).images for name in ("one", "all"))
    differences = [np.abs(of_one[0].astype(int) - image).mean() for image in of_all]
    assert np.argmin(differences) < 2, "the larger face is the first"


def test_nothing_is_written_where_there_is_nothing_to_write(tmp_path):
    put(tmp_path / "photos" / "wall.png", np.full((300, 400, 3), 128, np.uint8))
    result = invoke("crop", tmp_path / "photos", tmp_path / "out")
    expected = {"path": tmp_path / "photos", "photo": "wall.png", "reason": "no face was found"}
    error_of(result, "no-eye-cut", **expected)
    with refusal(DataError, "no-eye-cut", **expected):
        crop_photos(tmp_path / "photos", tmp_path / "out", progress=no_progress)
    (tmp_path / "out").mkdir()
    result = invoke("crop", tmp_path / "photos", tmp_path / "out")
    error_of(result, "output-exists", path=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]


@pytest.mark.extended
def test_more_processes_give_the_same_patches(photos, tmp_path):
    steps = []

    class Counted:
        def __init__(self, label, total):
            assert total == 2

        def __enter__(self):
            return steps.append

        def __exit__(self, *error):
            pass

    crop_photos(photos, tmp_path / "one", workers=1, progress=no_progress)
    crop_photos(photos, tmp_path / "two", workers=2, progress=Counted)
    files = sorted((tmp_path / "one").iterdir())
    assert len(files) == 4
    assert [file.read_bytes() for file in files] == [
        (tmp_path / "two" / file.name).read_bytes() for file in files
    ]
    assert steps == [1, 1]


def running(group):
    """Command lines of a process group's members that are not already dead."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _, its_group = (process / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append((process / "cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
    return found


@pytest.mark.extended
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into Linux's /proc")
def test_ctrl_c_ends_the_workers_and_leaves_nothing(photos, tmp_path):
    many = tmp_path / "photos"
    many.mkdir()
    source = photos / NAME.format(head=0, pitch=0, yaw=0)
    for number in range(200):
        os.link(source, many / f"{number:04d}_2m_0P_0V_0H.jpg")
    process = subprocess.Popen(
        [sys.executable, "-m", "mggr_tf", "data", "crop", "photos", "out", "--workers", "2"],
        cwd=tmp_path,
        start_new_session=True,
        # In a shell's background processes ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not any(tmp_path.glob("out.partial-*/*.jpg")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted; nothing was written" in said
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    deadline = time.monotonic() + 10
    while running(process.pid):
        assert time.monotonic() < deadline, running(process.pid)
        time.sleep(0.05)


def rolled(picture, degrees):
    """The picture turned clockwise about its middle."""
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)
    return cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)


def test_a_gaze_that_is_known_of_all_photographs_is_written_and_levels_their_patches(tmp_path):
    """Crops of a rolled head show the eye as those of an upright one do."""
    photos = tmp_path / "photos"
    put(photos / "upright.png", frame(4, (900, 900)))
    put(photos / "rolled.png", rolled(frame(4, (900, 900)), 15))
    (photos / "licence.txt").write_text("public domain (NASA)")
    for name, gaze in (("lens", "0,0"), ("beside", "0,-5.5")):
        result = invoke("crop", photos, tmp_path / name, "--gaze", gaze)
        assert result.exit_code == 0, result.output
        assert "fill in" not in result.stderr
    lens, beside = (
        samples_of(scan_source(tmp_path / name), source=tmp_path / name)
        for name in ("lens", "beside")
    )
    assert lens.licence == "public domain (NASA)"
    assert lens.subjects == ("rolled", "upright")
    np.testing.assert_array_equal(lens.gaze_deg, 0)
    assert sorted(map(tuple, beside.gaze_deg.tolist())) == [(0, -5.5)] * 2 + [(0, 5.5)] * 2

    def apart(samples):
        """Mean difference of a rolled head's patches and those of the upright head."""
        of_rolled = samples.subject == "rolled"
        images = samples.images.astype(float)
        return np.abs(images[of_rolled] - images[~of_rolled]).mean()

    assert apart(lens) < 0.5 * apart(beside)
    heads = lens.head_deg[lens.subject == "rolled"] - lens.head_deg[lens.subject == "upright"]
    assert np.abs(heads).max() < 3


def test_with_a_gaze_each_photograph_shows_one_person(tmp_path):
    crowd = frame(3, (900, 1800), middles=((0.3, 0.5),))
    crowd[:, 900:] = frame(2.2, (900, 900))
    put(tmp_path / "photos" / "crowd.png", crowd)
    cropped = crop_photos(
        tmp_path / "photos", tmp_path / "out", gaze=Gaze(0, 0), progress=no_progress
    )
    assert (cropped.patches, cropped.labelled, cropped.failed) == (2, True, ())
    assert folder.scan(tmp_path / "out").subjects == ("crowd",)


def test_a_gaze_for_photographs_with_labels_is_refused(photos, tmp_path):
    with refusal(UsageError, "gaze-for-labelled-photos", name="0001_2m_0P_0V_0H.jpg"):
        crop_photos(photos, tmp_path / "out", gaze=Gaze(0, 0), progress=no_progress)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["0", "up,left", "0,0,0", "0,91", "nan,0"])
def test_a_gaze_that_is_no_direction_is_a_usage_error(photos, tmp_path, text):
    result = invoke("crop", photos, tmp_path / "out", "--gaze", text)
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()
