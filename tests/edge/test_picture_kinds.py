"""Formats, modes, animations and damaged files, as users have them."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import pytest
from numpy.typing import NDArray

from mggr_edge.common.timing import no_stages
from mggr_edge.errors import MissingPackageError, StreamError, UsageError
from mggr_edge.media.files.picture import Picture
from mggr_edge.media.files.pictures import (
    read_picture,
    read_pictures,
    read_whole_picture,
    write_picture,
    write_pictures,
)
from mggr_edge.runs.picture_run import redirect_picture
from ramps import psnr_db, smooth_picture
from refusals import refusal

Image = pytest.importorskip("PIL.Image")


def picture(mode: str = "RGB") -> Any:
    image = Image.fromarray(smooth_picture())
    if "A" in mode:
        image.putalpha(Image.fromarray(smooth_picture()[..., 0]))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *((mode, ".png") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        *((mode, ".tif") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")),
        *((mode, ".bmp") for mode in ("1", "L", "P", "RGB")),
        *((mode, ".jpg") for mode in ("L", "RGB", "CMYK", "YCbCr")),
        *((mode, ".webp") for mode in ("L", "RGB", "RGBA")),
        *((mode, ".avif") for mode in ("L", "RGB", "RGBA")),
        *((mode, ".gif") for mode in ("1", "L", "P", "RGBA")),
    ],
)
def test_every_mode_is_read_and_written(tmp_path: Path, mode: str, suffix: str) -> None:
    options: dict[str, Any] = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    if (mode, suffix) == ("YCbCr", ".tif") and PIL.__version__.startswith("12."):
        options["compression"] = "tiff_lzw"  # Pillow 12 cannot read this file without compression.
    picture(mode).save(tmp_path / f"a{suffix}", **options)
    with Image.open(tmp_path / f"a{suffix}") as image:
        expected = np.asarray(image.convert("RGBA"))
    read = read_picture(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read.rgb, expected[..., :3])
    assert (read.alpha is not None) == (expected[..., 3] != 255).any()
    write_picture(tmp_path / f"b{suffix}", read)
    again = read_picture(tmp_path / f"b{suffix}")
    if suffix in (".jpg", ".avif"):
        assert psnr_db(again.rgb, read.rgb) > 38
    else:
        np.testing.assert_array_equal(
            again.rgb[expected[..., 3] > 0], read.rgb[expected[..., 3] > 0]
        )
    if read.alpha is not None:
        assert np.abs(again.alpha.astype(int) - read.alpha).max() <= (8 if suffix == ".avif" else 0)


def tiff(samples: NDArray[Any], *, order: str) -> bytes:
    """An uncompressed TIFF of one strip; [H, W] or [H, W, 3]."""
    height, width, channels = (*samples.shape, 1)[:3]
    bits = 8 * samples.dtype.itemsize
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2 if channels == 3 else 1),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
    ]
    extra = struct.pack(order + "3H", bits, bits, bits)
    if channels == 3:
        entries[2] = (258, 3, 3, 8 + len(data) + 2 + 12 * len(entries) + 4)

    def value(kind: int, count: int, number: int) -> bytes:
        is_short = kind == 3 and count == 1
        return struct.pack(order + ("HH" if is_short else "I"), number, *([0] if is_short else []))

    directory = struct.pack(order + "H", len(entries)) + b"".join(
        struct.pack(order + "HHI", tag, kind, count) + value(kind, count, number)
        for tag, kind, count, number in entries
    )
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(data))
    return head + data + directory + bytes(4) + extra


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("grey", [True, False])
def test_tiffs_of_either_byte_order(tmp_path: Path, order: str, dtype: type, grey: bool) -> None:
    rgb = smooth_picture()[..., 1] if grey else smooth_picture()
    scale = 257 if dtype is np.uint16 else 1
    (tmp_path / "a.tif").write_bytes(tiff((rgb * dtype(scale)).astype(dtype), order=order))
    read = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.rgb, np.dstack([rgb] * 3) if grey else rgb)
    assert read.grey is grey
    assert any("16 bits" in one for one in read.metadata.lost) is (dtype is np.uint16)


def test_samples_that_are_not_read_are_an_error(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    with refusal(StreamError, "sample-mode-unsupported", path=tmp_path / "a.tif", mode="F"):
        read_picture(tmp_path / "a.tif")


def test_opaque_alpha_does_not_keep_a_picture_out_of_a_jpeg(tmp_path: Path) -> None:
    opaque = np.full((48, 64), 255, np.uint8)
    write_picture(tmp_path / "a.jpg", Picture(smooth_picture(), opaque))
    with refusal(UsageError, "format-without-transparency", suffix=".jpg"):
        write_picture(tmp_path / "b.jpg", Picture(smooth_picture(), opaque - 1))


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16_384), (".jpg", 65_501)])
def test_a_picture_too_wide_for_its_format_is_an_error(
    tmp_path: Path, suffix: str, side: int
) -> None:
    path = tmp_path / f"a{suffix}"
    with refusal(StreamError, "picture-side-too-long", path=path, width=side, most=side - 1):
        write_picture(path, Picture(np.zeros((1, side, 3), np.uint8)))
    assert list(tmp_path.iterdir()) == []


def test_heic_without_its_package_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    for name in ("a.heic", "a.jpg"):  # phones' exports are named .jpg at times
        (tmp_path / name).write_bytes(struct.pack(">I", 24) + b"ftypheic" + bytes(60))
        with refusal(MissingPackageError, "missing-package") as refused:
            read_picture(tmp_path / name)
        assert "pip install pillow-heif" in str(refused.value.fields["command"])


def test_pillow_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture().save(tmp_path / "a.png")
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with refusal(MissingPackageError, "missing-package", command="pip install 'pillow>=11.3'"):
        read_picture(tmp_path / "a.png")


# Animations.


class Result:
    """What a process made of a frame."""

    def __init__(self, frame: NDArray[np.uint8]) -> None:
        self.frame, self.faces = frame, ()


DURATIONS = [50, 100, 150, 200]


def animation(path: Path, **options: Any) -> Path:
    frames = [Image.fromarray(np.roll(smooth_picture(), 4 * n, axis=1)) for n in range(4)]
    if path.suffix == ".gif":
        frames = [frame.quantize(200) for frame in frames]
    if path.suffix == ".webp":
        options["lossless"] = True
    if path.suffix != ".avif":
        options["loop"] = 3
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=DURATIONS, **options)
    return path


def loop_of(path: Path) -> int | None:
    with Image.open(path) as image:
        return image.info.get("loop")


@pytest.mark.parametrize(
    ("loop", "plays"), [(None, 1), (0, 0), (1, 2), (3, 4)], ids=["once", "endless", "1", "3"]
)
@pytest.mark.parametrize("other", [".webp", ".png"])
def test_an_animation_is_shown_as_often_in_another_format(
    tmp_path: Path, other: str, loop: int | None, plays: int
) -> None:
    """A GIF counts repetitions, and has no count if it is shown once; others count all plays."""
    frames = [Image.fromarray(np.roll(smooth_picture(), 4 * n, axis=1)) for n in range(2)]
    options = {} if loop is None else {"loop": loop}
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], **options)
    write_pictures(tmp_path / f"b{other}", read_pictures(tmp_path / "a.gif"))
    assert loop_of(tmp_path / f"b{other}") == plays
    for source, again in ((f"b{other}", "c.gif"), ("a.gif", "d.gif")):
        write_pictures(tmp_path / again, read_pictures(tmp_path / source))
        assert loop_of(tmp_path / again) == loop


def test_an_avif_animation_is_endless_which_is_noted_of_others(tmp_path: Path) -> None:
    lost = write_pictures(tmp_path / "b.avif", read_pictures(animation(tmp_path / "a.webp")))
    assert lost == ("number of times to show the animation",)
    assert write_pictures(tmp_path / "c.avif", read_pictures(tmp_path / "b.avif")) == ()
    write_pictures(tmp_path / "d.gif", read_pictures(tmp_path / "b.avif"))
    assert loop_of(tmp_path / "d.gif") == 0


@pytest.mark.parametrize("count", [0xFFFE, 0xFFFF])
def test_the_largest_count_of_a_gif_fits_other_formats(tmp_path: Path, count: int) -> None:
    frames = [Image.fromarray(np.roll(smooth_picture(), 4 * n, axis=1)) for n in range(2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], loop=count)
    for name, expected in (("b.webp", 0xFFFF), ("b.png", 0xFFFF), ("b.gif", count)):
        write_pictures(tmp_path / name, read_pictures(tmp_path / "a.gif"))
        assert loop_of(tmp_path / name) == expected


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
def test_every_frame_of_an_animation_is_redirected(tmp_path: Path, suffix: str) -> None:
    source, times, resets = animation(tmp_path / f"a{suffix}"), [], []

    def process(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> Result:
        times.append(time_s)
        shown = frame.copy()
        shown[:8, :8] = 255 - shown[:8, :8]
        return Result(shown)

    done = redirect_picture(
        source,
        tmp_path / f"b{suffix}",
        process=process,
        reset=lambda: resets.append(len(times)),
        stages=no_stages,
    )
    assert times == pytest.approx([0.0, 0.05, 0.15, 0.3])
    assert resets == [0]
    assert (done.tally.frames, done.is_copy) == (4, False)
    before, after = read_pictures(source), read_pictures(tmp_path / f"b{suffix}")
    assert [one.duration_ms for one in after] == DURATIONS
    assert after[0].options.plays == before[0].options.plays
    for one, other in zip(before, after, strict=True):
        if suffix != ".avif":  # unedited pixels of a GIF too: it keeps its palette
            np.testing.assert_array_equal(other.rgb[8:], one.rgb[8:])
        assert np.abs(other.rgb[:8, :8] - (255.0 - one.rgb[:8, :8])).mean() < 40


def test_an_animated_webp_with_exif_becomes_an_animated_avif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    source = animation(tmp_path / "a.webp", exif=exif)
    write_pictures(tmp_path / "b.avif", read_pictures(source))
    after = read_pictures(tmp_path / "b.avif")
    assert [one.rgb.shape for one in after] == [(64, 48, 3)] * 4
    assert b"Maker" in after[0].metadata.exif


def test_a_transparent_gif_keeps_its_transparency(tmp_path: Path) -> None:
    frames = []
    for n in range(3):
        rgba = np.dstack([smooth_picture() // 32 * 32, np.full((48, 64), 255, np.uint8)])
        rgba[:, 16 * n : 16 * n + 16, 3] = 0
        frames.append(Image.fromarray(rgba))
    frames[0].save(
        tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100, disposal=2
    )
    before = read_pictures(tmp_path / "a.gif")
    write_pictures(tmp_path / "b.gif", before)
    for one, other in zip(before, read_pictures(tmp_path / "b.gif"), strict=True):
        np.testing.assert_array_equal(other.alpha, one.alpha)
        seen = one.alpha > 0
        np.testing.assert_array_equal(other.rgb[seen], one.rgb[seen])


def test_an_animation_is_no_still_picture(tmp_path: Path) -> None:
    animation(tmp_path / "a.gif")
    with refusal(StreamError, "several-pictures", path=tmp_path / "a.gif", found=4):
        read_picture(tmp_path / "a.gif")
    with refusal(UsageError, "format-without-frames", suffix=".jpg", found=4):
        write_pictures(tmp_path / "b.jpg", read_pictures(tmp_path / "a.gif"))


def test_pages_of_a_tiff_are_kept(tmp_path: Path) -> None:
    pages = [Image.fromarray(smooth_picture(shift=20.0 * n)) for n in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    read = read_pictures(tmp_path / "a.tif")
    assert [page.duration_ms for page in read] == [None] * 3
    write_pictures(tmp_path / "b.tif", read)
    for page, again in zip(pages, read_pictures(tmp_path / "b.tif"), strict=True):
        np.testing.assert_array_equal(again.rgb, np.asarray(page))
    with refusal(UsageError, "format-without-pages", suffix=".gif", found=3):
        write_pictures(tmp_path / "b.gif", read)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_an_animation_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    frames = [Image.new("L", (100, 100), 12 * n) for n in range(20)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], duration=50)
    monkeypatch.setattr("mggr_edge.media.files.pictures._EMPTY_PIXELS", 150_000)
    monkeypatch.setattr("mggr_edge.media.files.pictures._PIXELS_PER_BYTE", 1)
    with refusal(StreamError, "picture-too-large", width=100, height=100, frames=20):
        read_pictures(tmp_path / f"a{suffix}")


# Damaged files that viewers open.


def jpeg(**options: Any) -> bytes:
    noise = np.random.default_rng(0).normal(0, 12, (160, 120, 3))
    rgb = np.clip(smooth_picture(160, 120) + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def rgb_of(content: bytes) -> NDArray[np.uint8]:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), 1), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("padding", [0, 512])
def test_a_jpeg_without_its_end_marker_is_whole(
    tmp_path: Path, progressive: bool, padding: int
) -> None:
    content = jpeg(progressive=progressive)
    (tmp_path / "a.jpg").write_bytes(content[:-2] + bytes(padding))
    read = read_picture(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read.rgb, rgb_of(content))
    assert read.damage


@pytest.mark.parametrize("padding", [bytes(512), b"\xff" * 100, b"\r\n"])
def test_padding_behind_a_jpeg_is_no_damage(tmp_path: Path, padding: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg() + padding)
    assert read_picture(tmp_path / "a.jpg").damage == ""


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_a_jpeg_without_its_last_rows_is_read(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = jpeg(exif=exif)
    (tmp_path / "a.jpg").write_bytes(content[: int(0.9 * len(content))])
    read = read_picture(tmp_path / "a.jpg")
    whole = (tmp_path / "b.jpg").write_bytes(content) and read_picture(tmp_path / "b.jpg").rgb
    missing = (read.rgb == 128).all(axis=(1, 2) if orientation == 1 else (0, 2)).sum()
    assert 8 <= missing <= 24
    assert f"{missing} of 160 rows" in read.damage
    path = tmp_path / "a.jpg"
    with refusal(StreamError, "picture-incomplete", path=path, damage=read.damage):
        read_whole_picture(path)
    assert (read.rgb == whole).all(axis=-1).mean() > 0.8


def test_a_progressive_jpeg_without_its_last_differences_is_read(tmp_path: Path) -> None:
    content = jpeg(progressive=True)
    (tmp_path / "a.jpg").write_bytes(content[: int(0.95 * len(content))])
    read = read_picture(tmp_path / "a.jpg")
    assert read.damage
    assert psnr_db(read.rgb, rgb_of(content)) > 30
