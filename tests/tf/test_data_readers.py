"""Every kind of source through the one door: found, checked, opened, or refused."""

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from scipy.io import savemat

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import DataError
from mggr_tf.cli import main
from mggr_tf.config.files import load_config
from mggr_tf.data.source import READERS, open_samples, scan_source
from packs import pack
from refusals import refusal

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def put_columbia(folder):
    for yaw in (0, 5):
        cv2.imwrite(str(folder / f"0001_2m_0P_0V_{yaw}H_L.jpg"), PICTURE)
    return "0001"


def put_table(folder):
    rows = ["file,subject,side,pitch_deg,yaw_deg"]
    for number in (1, 2):
        cv2.imwrite(str(folder / f"{number}.jpg"), PICTURE)
        rows.append(f"{number}.jpg,anna,left,0,{number}")
    (folder / "eyes.csv").write_text("\n".join(rows))
    return "anna"


def put_mpiigaze(folder):
    eye = {
        "image": np.random.default_rng(0).integers(0, 256, (1, 36, 60), np.uint8),
        "gaze": np.array([[0.0, 0.0, -1.0]]),
        "pose": np.zeros((1, 3)),
    }
    (folder / "p00").mkdir()
    savemat(folder / "p00" / "day01.mat", {"data": {"left": eye, "right": eye}})
    return "p00"


def put_pack(folder):
    source = folder.with_name(f"{folder.name}-source")
    source.mkdir()
    subject = put_columbia(source)
    pack(source, folder, force=True)
    return subject


KINDS = (put_pack, put_table, put_mpiigaze, put_columbia)
CONFIG = load_config("mggr-edge")


@pytest.fixture(params=KINDS)
def source(request, tmp_path):
    """A folder of two patches, and their subject."""
    return tmp_path, request.param(tmp_path)


def check(*arguments):
    return CliRunner().invoke(main, ["data", "check", *map(str, arguments)])


def test_every_reader_is_tried_here():
    assert len(KINDS) == len(READERS)


@pytest.mark.parametrize(("put", "reader"), [*zip(KINDS, READERS, strict=True)])
def test_a_reader_recognises_its_own_kind(tmp_path, put, reader):
    assert not reader.recognises(tmp_path)
    put(tmp_path)
    assert next(other for other in READERS if other.recognises(tmp_path)) is reader


def test_every_kind_is_checked(source):
    folder, subject = source
    result = check(folder)
    assert result.exit_code == 0, result.output
    assert f"subject: {subject} 2" in result.output
    assert "2 good, 0 bad" in result.output


def test_every_kind_is_opened_for_training(source):
    folder, subject = source
    said = []
    samples = open_samples(
        str(folder), config=CONFIG, subjects=None, progress=no_progress, notify=said.append
    )
    assert samples.subjects == (subject,)
    assert samples.images.shape == (2, 64, 64, 3)
    assert said == []


def test_a_subject_that_is_not_there_is_named(source):
    folder, _ = source
    with refusal(DataError, "no-patches", path=folder, subjects="0099"):
        scan_source(folder, subjects=("0099",))


def test_bad_patches_are_left_out_and_said_so(tmp_path):
    put_columbia(tmp_path)
    cv2.imwrite(str(tmp_path / "0001_2m_0P_0V_10H_L.jpg"), np.full_like(PICTURE, 90))
    said = []
    samples = open_samples(
        str(tmp_path), config=CONFIG, subjects=None, progress=no_progress, notify=said.append
    )
    assert len(samples) == 2
    assert "skipped 1 patches" in said[0]
    assert check(tmp_path).exit_code == 1


def test_a_table_outweighs_file_names(tmp_path):
    put_columbia(tmp_path)
    put_table(tmp_path)
    assert scan_source(tmp_path).subjects == ("anna",)


def test_what_no_reader_knows_is_refused_with_what_each_expects(tmp_path):
    (tmp_path / "notes.txt").write_text("no eyes here")
    with refusal(DataError, "folder-unrecognised", path=tmp_path) as caught:
        scan_source(tmp_path)
    for hint in ("eyes.csv", "Data/Normalized/p00/day01.mat", "0001_2m_0P_10V_-5H_L.jpg"):
        assert hint in str(caught.value)


@pytest.mark.parametrize(("make", "code"), [(False, "source-missing"), (True, "source-is-file")])
def test_what_is_no_folder_is_refused(tmp_path, make, code):
    path = tmp_path / "patches"
    if make:
        path.write_text("")
    with refusal(DataError, code, path=path):
        scan_source(path)


def test_check_counts_patches_without_a_gaze(tmp_path):
    put_table(tmp_path)
    table = tmp_path / "eyes.csv"
    table.write_text(table.read_text().replace("left,0,1", "left,,"))
    result = check(tmp_path)
    assert result.exit_code == 0, result.output
    assert "gaze yaw: +0 1, unknown 1" in result.output
    assert "1 of them without a gaze" in result.output
