"""A plain folder of patches with a table: read strictly, or refused by line."""

import cv2
import numpy as np
import pytest

from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Gaze
from mggr_tf.data import folder
from mggr_tf.data.listing import EyeLabel, samples_of

HEADER = "file,subject,side,pitch_deg,yaw_deg"


@pytest.fixture
def eyes(tmp_path):
    """A folder with two patches, and a way to write its table."""
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    (tmp_path / "anna").mkdir()
    for name in ("anna/1.png", "anna/2.png"):
        cv2.imwrite(str(tmp_path / name), picture[..., ::-1])

    def write(*lines):
        (tmp_path / folder.TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path

    write.picture = picture
    return write


def test_rows_become_samples(eyes):
    path = eyes(
        f"\ufeff{HEADER},head_pitch_deg,head_yaw_deg",
        "anna/1.png,anna,right,-4.5, 12 ,1,-2",
        "",
        '"anna/2.png",anna,left,3,-7,0,20.5',
    )
    scanned = folder.scan(path)
    assert scanned.labels == (
        EyeLabel("anna", "right", Gaze(1, -2), Gaze(-4.5, 12)),
        EyeLabel("anna", "left", Gaze(0, 20.5), Gaze(3, -7)),
    )
    samples = samples_of(scanned, source=path)
    np.testing.assert_array_equal(samples.images[0], eyes.picture)
    np.testing.assert_array_equal(samples.images[1], eyes.picture[:, ::-1])
    np.testing.assert_array_equal(samples.gaze_deg, [[-4.5, 12], [3, 7]])
    np.testing.assert_array_equal(samples.head_deg, [[1, -2], [0, -20.5]])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("before", ["", "\ufeff", "sep={}\n", "\ufeffsep={}\r\n"])
def test_tables_of_spreadsheet_programs_are_read(eyes, separator, end, before):
    path = eyes(HEADER)
    decimal = "." if separator == "," else ","
    rows = (
        (*HEADER.split(","), "", ""),
        ("anna/1.png ", " anna maria", "right", f"-4{decimal}5", " 12", "", ""),
        ("anna/2.png", "bert", "left ", "", "", "", ""),
        ("",) * 7,
        ("anna/2.png", "x"),
    )
    text = before.format(separator) + end.join(separator.join(row) for row in rows[:-1]) + end
    (path / folder.TABLE).write_bytes(text.encode())
    assert folder.scan(path).labels == (
        EyeLabel("anna maria", "right", Gaze(0, 0), Gaze(-4.5, 12)),
        EyeLabel("bert", "left", Gaze(0, 0), None),
    )
    (path / folder.TABLE).write_bytes((text + separator.join(rows[-1])).encode())
    line = len(rows) + ("sep" in before)
    with pytest.raises(DataError, match=f"line {line}: expected 5 cells"):
        folder.scan(path)


def test_rows_of_the_systems_files_are_left_out(eyes):
    path = eyes(HEADER, "anna/1.png,anna,right,0,0", "anna/._1.png,anna,right,0,0")
    (path / "anna" / "._1.png").write_bytes(b"\0\5\x16\7")
    scanned = folder.scan(path)
    assert len(scanned.labels) == 1
    assert [(bad.name, bad.fatal) for bad in scanned.bad] == [("._1.png", False)]
    assert len(samples_of(scanned, source=path)) == 1


def test_without_head_columns_heads_face_the_camera(eyes):
    path = eyes(HEADER, "anna/1.png,anna,right,0,0")
    assert folder.scan(path).labels[0].head == Gaze(0, 0)


def test_only_the_named_subjects_are_read(eyes):
    path = eyes(HEADER, "anna/1.png,anna,right,0,0", "anna/2.png,bert,right,0,0")
    assert folder.scan(path, subjects=("bert",)).subjects == ("bert",)


def test_the_licence_is_read_or_said_to_be_missing(eyes):
    path = eyes(HEADER, "anna/1.png,anna,right,0,0")
    assert folder.scan(path).licence.startswith("not stated")
    (path / "licence.txt").write_text("mine, for anything")
    assert folder.scan(path).licence == "mine, for anything"


def test_bad_pictures_are_listed(eyes):
    path = eyes(HEADER, "anna/1.png,anna,right,0,0", "anna/2.png,anna,right,0,5")
    (path / "anna/2.png").write_bytes((path / "anna/2.png").read_bytes()[:900])
    scanned = folder.scan(path)
    assert [(bad.name, bad.reason) for bad in scanned.bad] == [("2.png", "corrupt")]
    with pytest.raises(DataError, match=r"anna/2\.png: corrupt; .* lists all"):
        samples_of(scanned, source=path)


def test_patches_without_a_gaze_are_counted_and_not_trained_on(eyes):
    path = eyes(HEADER, "anna/1.png,anna,right,,", "anna/2.png,anna,right,0,5")
    scanned = folder.scan(path)
    assert scanned.unlabelled == 1
    with pytest.raises(DataError, match="nobody said where the eye looks in 1 of 2 patches"):
        samples_of(scanned, source=path)


@pytest.mark.parametrize(
    ("row", "saying"),
    [
        ("anna/1.png,anna,right,0", "line 2: expected 5 cells .* got 4"),
        ("anna/1.png,anna,right,0,0,0", "line 2: expected 5 cells .* got 6"),
        ("anna/1.png,anna,right,up,0", "line 2: pitch_deg must be a number of degrees, got 'up'"),
        ("anna/1.png,anna,right,0,", "line 2: yaw_deg must be a number of degrees, got ''"),
        ("anna/1.png,anna,right,nan,0", "line 2: pitch_deg, yaw_deg: pitch_deg must lie in"),
        ("anna/1.png,anna,right,0,91", "line 2: pitch_deg, yaw_deg: yaw_deg must lie in"),
        ("anna/1.png,anna,R,0,0", "line 2: side must be left or right .* got 'R'"),
        ("anna/1.png,,right,0,0", "line 2: subject is empty"),
        ("anna/3.png,anna,right,0,0", r"line 2: anna/3\.png does not exist in"),
        ("anna,anna,right,0,0", "line 2: anna does not exist in"),
        (",anna,right,0,0", "line 2: file must be a path inside .* got ''"),
        ("/etc/passwd,anna,right,0,0", "line 2: file must be a path inside"),
        (r"C:\eye.png,anna,right,0,0", "line 2: file must be a path inside"),
        ("anna/../../eye.png,anna,right,0,0", "line 2: file must be a path inside"),
        ('"anna/1.png"x,anna,right,0,0', "line 2: .*expected after"),
        ("", r"eyes\.csv holds no eye patch"),
    ],
)
def test_a_row_that_does_not_fit_is_named(eyes, row, saying):
    with pytest.raises(DataError, match=saying):
        folder.scan(eyes(HEADER, row))


@pytest.mark.parametrize(
    ("header", "saying"),
    [
        ("file,subject,side,pitch_deg", "line 1: column 'yaw_deg' is missing"),
        (HEADER + ",gaze", "line 1: unknown column 'gaze'; known columns: file"),
        (HEADER + ",side", "line 1: column 'side' stands there twice"),
        (HEADER + ",head_yaw_deg", "line 1: column 'head_pitch_deg' is missing"),
        (HEADER.replace(",", "|"), r"line 1: unknown column 'file\|subject"),
        ("", "line 1: column 'file', 'subject'"),
    ],
)
def test_a_header_that_does_not_fit_is_named(eyes, header, saying):
    with pytest.raises(DataError, match=saying):
        folder.scan(eyes(header, "anna/1.png,anna,right,0,0"))


def test_one_picture_has_one_row(eyes):
    row = "anna/1.png,anna,right,0,0"
    with pytest.raises(DataError, match=r"line 4: anna/1\.png stands in line 2 already"):
        folder.scan(eyes(HEADER, row, "anna/2.png,anna,right,0,0", row))


def test_a_table_in_another_encoding_is_refused(eyes):
    path = eyes(HEADER)
    (path / folder.TABLE).write_bytes((HEADER + "\nanna/1.png,J\u00f6rg").encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        folder.scan(path)


def test_a_table_that_is_written_is_read_back(eyes):
    path = eyes(HEADER)
    rows = [
        ("anna/1.png", EyeLabel("anna, her sister", "left", Gaze(0.1, -20), Gaze(-4.5, 12))),
        ("anna/2.png", EyeLabel("0007", "right", Gaze(0, 0), None)),
    ]
    folder.write_table(path / folder.TABLE, rows)
    assert folder.scan(path).labels == tuple(label for _, label in rows)
