"""Pictures: what is read is what is seen, and nothing is lost on the way."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mggr_edge.errors import StreamError, UsageError
from mggr_edge.media.files.exif import (
    exif_orientation,
    orientation_of_display_matrix,
    upright,
    upright_exif,
)
from mggr_edge.media.files.picture import Picture
from mggr_edge.media.files.picture_facts import picture_facts
from mggr_edge.media.files.pictures import read_picture, write_picture
from ramps import psnr_db, smooth_picture
from refusals import refusal

Image = pytest.importorskip("PIL.Image")

# Orientation.


def exif_block(orientation: int, *, order: str = "<") -> bytes:
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(order + "HIH", 42, 8, 1) + entry + bytes(4)


def jpeg_with_exif(image: np.ndarray, block: bytes) -> bytes:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    segment = b"Exif\0\0" + block
    return encoded[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + encoded[2:]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with_chunk(image: np.ndarray, kind: bytes, data: bytes) -> bytes:
    encoded = cv2.imencode(".png", image)[1].tobytes()
    after_header = 8 + 25
    return encoded[:after_header] + png_chunk(kind, data) + encoded[after_header:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_agrees_with_opencv(tmp_path: Path, orientation: int, order: str) -> None:
    path = tmp_path / "held.jpg"
    path.write_bytes(jpeg_with_exif(smooth_picture(), exif_block(orientation, order=order)))
    expected = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read_picture(path).rgb, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_transparent_png_is_turned_with_its_alpha(tmp_path: Path, orientation: int) -> None:
    rgb = smooth_picture(7, 11)
    alpha = np.arange(77, dtype=np.uint8).reshape(7, 11)
    path = tmp_path / "held.png"
    path.write_bytes(
        png_with_chunk(np.dstack([rgb[..., ::-1], alpha]), b"eXIf", exif_block(orientation))
    )
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.rgb, upright(rgb, orientation))
    np.testing.assert_array_equal(picture.alpha, upright(alpha, orientation))


def test_the_written_picture_is_upright_and_says_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "held.jpg"
    path.write_bytes(jpeg_with_exif(smooth_picture(), exif_block(6)))
    picture = read_picture(path)
    write_picture(tmp_path / "out.jpg", picture)
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.getexif()[0x0112] == 1
    again = read_picture(tmp_path / "out.jpg")
    assert again.rgb.shape == (64, 48, 3)
    assert psnr_db(again.rgb, picture.rgb) > 35


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_display_matrix_moves_points_as_upright_moves_pixels(orientation: int) -> None:
    image = np.arange(6).reshape(2, 3)
    turned = upright(image, orientation)
    found = []
    for a, b, c, d in [
        (p, q, r, s) for p in (-1, 0, 1) for q in (-1, 0, 1) for r in (-1, 0, 1) for s in (-1, 0, 1)
    ]:
        if abs(a * d - b * c) != 1 or abs(a) == abs(b):
            continue
        # The definition: stored point (p, q) is shown at (a p + c q, b p + d q), moved into view.
        points = {(a * p + c * q, b * p + d * q): image[q, p] for q in range(2) for p in range(3)}
        left, top = min(x for x, _ in points), min(y for _, y in points)
        shown = np.zeros(turned.shape, int)
        if {(x - left, y - top) for x, y in points} != {
            (x, y) for y in range(turned.shape[0]) for x in range(turned.shape[1])
        }:
            continue
        for (x, y), value in points.items():
            shown[y - top, x - left] = value
        if np.array_equal(shown, turned):
            matrix = np.array([a, b, 0, c, d, 0, 0, 0, 16384], np.int64) * 65536
            found.append(orientation_of_display_matrix(matrix))
    assert found == [orientation]


def test_a_display_matrix_between_quarter_turns_is_refused() -> None:
    c, s = np.cos(0.5), np.sin(0.5)
    with pytest.raises(ValueError, match="not a rotation by a multiple of 90 degrees"):
        orientation_of_display_matrix(np.array([c, s, 0, -s, c, 0, 0, 0, 1]) * 65536)


# Reading and writing.


@pytest.mark.parametrize("name", ["a.png", "bild mit ä und 目.png", "UPPER.PNG"])
def test_png_comes_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    picture = Picture(smooth_picture())
    write_picture(tmp_path / name, picture)
    np.testing.assert_array_equal(read_picture(tmp_path / name).rgb, picture.rgb)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparency_is_kept(tmp_path: Path, suffix: str) -> None:
    alpha = smooth_picture()[..., 0]
    write_picture(tmp_path / f"a{suffix}", Picture(smooth_picture(), alpha))
    again = read_picture(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(again.alpha, alpha)
    assert psnr_db(again.rgb, smooth_picture()) > 30


def test_transparency_is_refused_where_it_would_be_lost(tmp_path: Path) -> None:
    alpha = smooth_picture()[..., 0]
    with refusal(UsageError, "format-without-transparency", suffix=".jpg") as refused:
        write_picture(tmp_path / "a.jpg", Picture(smooth_picture(), alpha))
    assert {".png", ".webp"} <= set(str(refused.value.fields["expected"]).split())
    assert list(tmp_path.iterdir()) == []


def test_grey_stays_grey(tmp_path: Path) -> None:
    grey = smooth_picture()[..., 0]
    cv2.imwrite(str(tmp_path / "a.png"), grey)
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.rgb, np.dstack([grey] * 3))
    write_picture(tmp_path / "b.png", picture)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED), grey)


def test_jpeg_is_written_well(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 6, (48, 64, 3))
    rgb = np.clip(smooth_picture() + noise, 0, 255).astype(np.uint8)
    assert write_picture(tmp_path / "a.jpg", Picture(rgb)) == ()
    reference = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    usual = cv2.cvtColor(cv2.imdecode(reference, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert psnr_db(read_picture(tmp_path / "a.jpg").rgb, rgb) > psnr_db(usual, rgb)


SHARES = (0.05, 0.5, 0.97)


def encoded(suffix: str, *, progressive: bool = False) -> bytes:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1] if progressive else []
    return cv2.imencode(suffix, smooth_picture(120, 160), options)[1].tobytes()


@pytest.mark.parametrize(
    ("suffix", "progressive", "share", "code"),
    [
        *((".png", False, share, "picture-truncated") for share in SHARES),
        *((".webp", False, share, "picture-truncated") for share in SHARES),
        *((".bmp", False, share, "picture-damaged") for share in SHARES),
        *((".jpg", is_progressive, 0.05, "picture-truncated") for is_progressive in (False, True)),
        (".jpg", False, 0.5, "picture-rows-missing"),
        (".jpg", True, 0.5, "picture-details-missing"),
    ],
)
def test_a_picture_cut_short_is_an_error(
    tmp_path: Path, suffix: str, progressive: bool, share: float, code: str
) -> None:
    content = encoded(suffix, progressive=progressive)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content)
    read_picture(path)  # whole, it is fine
    # Without the first 12 bytes, nothing shows which format a RIFF file has.
    path.write_bytes(content[: max(12, int(share * len(content)))])
    with refusal(StreamError, code, path=path):
        read_picture(path)


@pytest.mark.parametrize("content", [b"", b"not a picture at all", bytes(1000)])
def test_what_is_no_picture_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    code = "picture-format-unknown" if content else "picture-empty"
    with refusal(StreamError, code, path=tmp_path / "x.jpg"):
        read_picture(tmp_path / "x.jpg")


def test_a_changed_byte_in_a_png_is_an_error(tmp_path: Path) -> None:
    content = bytearray(encoded(".png"))
    content[len(content) // 2] ^= 1
    (tmp_path / "x.png").write_bytes(content)
    with refusal(StreamError, "picture-truncated", path=tmp_path / "x.png"):
        read_picture(tmp_path / "x.png")


def test_jpeg_with_thumbnail_and_trailing_bytes_is_whole(tmp_path: Path) -> None:
    block = exif_block(1) + encoded(".jpg")  # as cameras do: a JPEG inside the EXIF block
    (tmp_path / "x.jpg").write_bytes(jpeg_with_exif(smooth_picture(), block) + b"trailing bytes")
    assert read_picture(tmp_path / "x.jpg").rgb.shape == (48, 64, 3)


@given(
    st.sampled_from([b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBP", b"BM", b""]),
    st.binary(max_size=300),
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_facts_and_no_exception(magic: bytes, rest: bytes) -> None:
    assert picture_facts(magic + rest).scans >= 0
    assert 1 <= exif_orientation(b"II*\0" + rest) <= 8
    assert len(upright_exif(b"MM\0*" + rest).block) == 4 + len(rest)


@pytest.mark.parametrize("side", [6_000, 12_000])
def test_what_a_few_bytes_blow_up_is_refused(tmp_path: Path, side: int) -> None:
    content = cv2.imencode(".png", np.zeros((side, side), np.uint8))[1].tobytes()
    (tmp_path / "x.png").write_bytes(content)
    path = tmp_path / "x.png"
    with refusal(StreamError, "picture-too-large", path=path, width=side, height=side, frames=1):
        read_picture(path)


def test_other_formats_do_not_reach_a_decoder(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"P6\n2 2\n255\n" + bytes(12))
    with refusal(StreamError, "picture-format-unknown", path=tmp_path / "x.png"):
        read_picture(tmp_path / "x.png")
