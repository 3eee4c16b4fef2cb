"""A plain folder of patches with a table: read strictly, or refused by line."""

import cv2
import numpy as np
import pytest

from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Gaze
from mggr_tf.data import folder
from mggr_tf.data.listing import EyeLabel, samples_of
from refusals import refusal

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
    table = path / folder.TABLE
    with refusal(DataError, "row-cell-count", path=table, line=line, expected=5, found=2):
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
    with refusal(DataError, "patch-invalid", path=path / "anna/2.png", reason="corrupt"):
        samples_of(scanned, source=path)


def test_patches_without_a_gaze_are_counted_and_not_trained_on(eyes):
    path = eyes(HEADER, "anna/1.png,anna,right,,", "anna/2.png,anna,right,0,5")
    scanned = folder.scan(path)
    assert scanned.unlabelled == 1
    with refusal(DataError, "gaze-label-missing", path=path, count=1, patches=2):
        samples_of(scanned, source=path)


@pytest.mark.parametrize(
    ("row", "code", "fields"),
    [
        ("anna/1.png,anna,right,0", "row-cell-count", {"expected": 5, "found": 4}),
        ("anna/1.png,anna,right,0,0,0", "row-cell-count", {"expected": 5, "found": 6}),
        (
            "anna/1.png,anna,right,up,0",
            "angle-not-number",
            {"column": "pitch_deg", "found": "up"},
        ),
        ("anna/1.png,anna,right,0,", "angle-not-number", {"column": "yaw_deg", "found": ""}),
        ("anna/1.png,anna,R,0,0", "side-invalid", {"found": "R"}),
        ("anna/1.png,,right,0,0", "subject-empty", {}),
        ("anna/3.png,anna,right,0,0", "listed-file-missing", {"file": "anna/3.png"}),
        ("anna,anna,right,0,0", "listed-file-missing", {"file": "anna"}),
        (",anna,right,0,0", "file-outside-folder", {"file": ""}),
        ("/etc/passwd,anna,right,0,0", "file-outside-folder", {"file": "/etc/passwd"}),
        (r"C:\eye.png,anna,right,0,0", "file-outside-folder", {"file": r"C:\eye.png"}),
        (
            "anna/../../eye.png,anna,right,0,0",
            "file-outside-folder",
            {"file": "anna/../../eye.png"},
        ),
        ('"anna/1.png"x,anna,right,0,0', "table-not-csv", {}),
    ],
)
def test_a_row_that_does_not_fit_is_named(eyes, row, code, fields):
    path = eyes(HEADER, row)
    with refusal(DataError, code, path=path / folder.TABLE, line=2, **fields):
        folder.scan(path)


@pytest.mark.parametrize(
    ("gaze", "column"), [("nan,0", "pitch_deg"), ("0,91", "yaw_deg"), ("-91,0", "pitch_deg")]
)
def test_an_angle_out_of_range_is_named(eyes, gaze, column):
    path = eyes(HEADER, f"anna/1.png,anna,right,{gaze}")
    table, columns = path / folder.TABLE, "pitch_deg, yaw_deg"
    with refusal(DataError, "angle-out-of-range", path=table, line=2, columns=columns) as caught:
        folder.scan(path)
    assert column in caught.value.fields["reason"]


def test_a_table_without_rows_is_refused(eyes):
    path = eyes(HEADER, "")
    with refusal(DataError, "table-empty", path=path / folder.TABLE):
        folder.scan(path)


@pytest.mark.parametrize(
    ("header", "code", "fields"),
    [
        ("file,subject,side,pitch_deg", "column-missing", {"columns": "yaw_deg"}),
        (HEADER + ",gaze", "column-unknown", {"column": "gaze"}),
        (HEADER + ",side", "column-duplicate", {"column": "side"}),
        (HEADER + ",head_yaw_deg", "column-missing", {"columns": "head_pitch_deg"}),
        (HEADER.replace(",", "|"), "column-unknown", {"column": HEADER.replace(",", "|")}),
        ("", "column-missing", {"columns": HEADER.replace(",", ", ")}),
    ],
)
def test_a_header_that_does_not_fit_is_named(eyes, header, code, fields):
    path = eyes(header, "anna/1.png,anna,right,0,0")
    with refusal(DataError, code, path=path / folder.TABLE, line=1, **fields):
        folder.scan(path)


def test_one_picture_has_one_row(eyes):
    row = "anna/1.png,anna,right,0,0"
    with refusal(DataError, "file-listed-twice", line=4, file="anna/1.png", earlier=2):
        folder.scan(eyes(HEADER, row, "anna/2.png,anna,right,0,0", row))


def test_a_table_in_another_encoding_is_refused(eyes):
    path = eyes(HEADER)
    (path / folder.TABLE).write_bytes((HEADER + "\nanna/1.png,J\u00f6rg").encode("latin-1"))
    with refusal(DataError, "file-not-utf8", path=path / folder.TABLE):
        folder.scan(path)


def test_a_table_that_is_written_is_read_back(eyes):
    path = eyes(HEADER)
    rows = [
        ("anna/1.png", EyeLabel("anna, her sister", "left", Gaze(0.1, -20), Gaze(-4.5, 12))),
        ("anna/2.png", EyeLabel("0007", "right", Gaze(0, 0), None)),
    ]
    folder.write_table(path / folder.TABLE, rows)
    assert folder.scan(path).labels == tuple(label for _, label in rows)
