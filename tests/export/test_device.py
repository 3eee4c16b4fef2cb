"""A real bundle on the device's command line: portrait, video, no face, damage."""

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.cli import main
from mggr_edge.geometry.angles import Gaze
from mggr_edge.media.files.pictures import read_picture
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.redirector import Redirector


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    """The public-domain portrait of scikit-image, as a file."""
    from skimage.data import astronaut

    file = tmp_path_factory.mktemp("portrait") / "astronaut.png"
    cv2.imwrite(str(file), astronaut()[:256, 96:352, ::-1].repeat(2, 0).repeat(2, 1))
    return file


@pytest.fixture
def sky(tmp_path):
    """A short video of a moving gradient: nobody is in it."""
    file = tmp_path / "sky.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        ramp = np.linspace(40, 200, 128 + 10).astype(np.uint8)
        for shift in range(10):
            rgb = np.broadcast_to(ramp[shift : shift + 128][None, :, None], (96, 128, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb))))
        container.mux(stream.encode(None))
    return file


def run(*arguments):
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


def test_a_portrait_changes_inside_the_eyes_and_nowhere_else(portrait, float_bundle, tmp_path):
    out = tmp_path / "out.png"
    done = run(portrait, out, "--model", float_bundle[0], "--target=-5,10")
    assert done.exit_code == 0, done.output
    assert "2 eyes redirected" in done.output
    before, after = read_picture(portrait).rgb, read_picture(out).rgb
    mask = Redirector(Bundle.open(float_bundle[0]), target=Gaze(-5, 10)).process(before).mask()
    assert 0 < mask.mean() < 0.05
    np.testing.assert_array_equal(before[~mask], after[~mask])
    assert np.abs(before[mask].astype(int) - after[mask]).mean() > 1


@pytest.mark.extended
def test_a_video_with_no_face_passes_through_unchanged_and_says_so(sky, int8_bundle, tmp_path):
    out = tmp_path / "out.mp4"
    done = run(sky, out, "--model", int8_bundle[0])
    assert done.exit_code == 0, done.output
    assert "no face was found" in done.output
    assert out.read_bytes() == sky.read_bytes()


def test_a_bundle_with_one_changed_byte_is_refused_before_anything_is_written(
    portrait, copied, tmp_path
):
    for file in sorted(f for f in copied.rglob("*") if f.is_file()):
        whole = file.read_bytes()
        changed = bytearray(whole)
        changed[len(whole) // 2] ^= 1
        file.write_bytes(bytes(changed))
        done = run(portrait, tmp_path / "out.png", "--model", copied)
        assert done.exit_code == 2
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("error: ")
        file.write_bytes(whole)
    assert not (tmp_path / "out.png").exists()


def test_the_public_api_redirects_a_patch(float_bundle):
    from mggr_edge import Bundle, Gaze

    patch = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    bundle = Bundle.open(float_bundle[0])
    made = bundle.redirect_eye(
        patch, side="left", source=None, target=Gaze(pitch_deg=0, yaw_deg=10), head_pose=None
    )
    assert made.shape == (64, 64, 3)
    assert made.dtype == np.uint8
    assert not np.array_equal(made, patch)
