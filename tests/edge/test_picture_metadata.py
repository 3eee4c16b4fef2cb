"""What a picture file holds beside its pixels is kept, or named as lost."""

from __future__ import annotations

import io
import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.media.files.exif import exif_orientation, upright_exif
from mggr_edge.media.files.picture_facts import picture_facts, png_chunk, png_chunks
from mggr_edge.media.files.pictures import read_picture, read_pictures, write_pictures
from ramps import psnr_db, smooth_picture

Image = pytest.importorskip("PIL.Image")
ImageCms = pytest.importorskip("PIL.ImageCms")
PngImagePlugin = pytest.importorskip("PIL.PngImagePlugin")

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6" dc:title="t"/></x:xmpmeta>'
GPS = 0x8825


@cache
def profile(space: bytes = b"RGB ") -> bytes:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return srgb[:16] + space + srgb[20:]


def exif(orientation: int = 6) -> Any:
    block = Image.Exif()
    block[0x010F], block[0x0132], block[0x0112] = "Maker", "2024:05:06 07:08:09", orientation
    block.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, 12.0)})
    block.get_ifd(0x8769).update({0xA002: 64, 0xA003: 48, 0x927C: b"makers' note"})
    loaded = Image.Exif()  # a TIFF's directories are written of what was loaded only
    loaded.load(block.tobytes())
    return loaded


def save(path: Path, image: Any = None, **options: Any) -> Path:
    (image or Image.fromarray(smooth_picture())).save(path, **options)
    return path


def edited(path: Path, output: Path) -> tuple[str, ...]:
    """Writes the picture with one corner changed, as an edit would; returns what is lost."""
    pictures = read_pictures(path)
    changed = []
    for picture in pictures:
        rgb = picture.rgb.copy()
        rgb[:8, :8] = 255 - rgb[:8, :8]
        changed.append(picture.edited(rgb))
    return write_pictures(output, changed)


def opened(path: Path) -> Any:
    with Image.open(path) as image:
        image.load()
        return image


def assert_same_exif(image: Any) -> None:
    found = image.getexif()
    assert (found[0x010F], found[0x0132]) == ("Maker", "2024:05:06 07:08:09")
    assert found.get(0x0112, 1) == 1
    assert found.get_ifd(GPS)[2] == (52.0, 31.0, 12.0)
    assert found.get_ifd(0x8769)[0x927C] == b"makers' note"


def segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


IPTC = segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x06\x1c\x02\x78\0\x01t")


def test_a_jpeg_keeps_all_of_its_segments(tmp_path: Path) -> None:
    other = segment(0xE7, b"a maker's own segment")
    source = save(
        tmp_path / "a.jpg",
        exif=exif(),
        xmp=XMP,
        dpi=(300, 200),
        icc_profile=profile() + bytes(100_000),  # needs two segments
        comment=b"a comment",
        extra=IPTC + other,
    )
    assert edited(source, tmp_path / "b.jpg") == ()
    before, after = opened(source), opened(tmp_path / "b.jpg")
    assert_same_exif(after)
    assert after.size == (48, 64)
    sizes = after.getexif().get_ifd(0x8769)
    assert (sizes[0xA002], sizes[0xA003]) == (48, 64)  # of the upright picture
    assert after.info["xmp"] == XMP.replace(b'"6"', b'"1"')
    for key in ("icc_profile", "comment", "dpi", "jfif_density", "jfif_unit"):
        assert after.info[key] == before.info[key]
    content = (tmp_path / "b.jpg").read_bytes()
    assert content.count(IPTC) == content.count(other) == 1


def test_a_density_in_pixels_per_centimetre_is_kept(tmp_path: Path) -> None:
    content = bytearray(save(tmp_path / "a.jpg").read_bytes())
    content[13:18] = struct.pack(">BHH", 2, 118, 119)
    (tmp_path / "a.jpg").write_bytes(content)
    edited(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert (tmp_path / "b.jpg").read_bytes()[13:18] == content[13:18]


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_keeps_its_chroma_subsampling(
    tmp_path: Path, sampling: str, progressive: bool
) -> None:
    from PIL.JpegImagePlugin import get_sampling

    source = save(tmp_path / "a.jpg", subsampling=sampling, progressive=progressive)
    edited(source, tmp_path / "b.jpg")
    before, after = opened(source), opened(tmp_path / "b.jpg")
    assert get_sampling(after) == get_sampling(before)
    assert bool(after.info.get("progressive")) is progressive


@pytest.mark.parametrize(("quality", "same"), [(100, True), (60, False)])
def test_a_jpeg_is_not_quantized_more_coarsely(tmp_path: Path, quality: int, same: bool) -> None:
    source = save(tmp_path / "a.jpg", quality=quality)
    edited(source, tmp_path / "b.jpg")
    before, after = opened(source).quantization, opened(tmp_path / "b.jpg").quantization
    for key in before:
        assert (np.array(after[key]) <= np.array(before[key])).all()
        assert (list(after[key]) == list(before[key])) is same


@pytest.mark.parametrize(
    ("extra", "lost"),
    [
        (segment(0xE2, b"MPF\0" + bytes(30)), "further pictures"),
        (segment(0xEB, b"JP\0\0" + bytes(30)), "content credentials"),
        (segment(0xE0, b"JFXX\0" + bytes(30)), "JFIF thumbnail"),
    ],
)
def test_segments_of_the_unedited_picture_are_named_and_removed(
    tmp_path: Path, extra: bytes, lost: str
) -> None:
    source = save(tmp_path / "a.jpg", extra=extra)
    (named,) = edited(source, tmp_path / "b.jpg")
    assert named.startswith(lost)
    assert extra not in (tmp_path / "b.jpg").read_bytes()


def test_a_photoshop_thumbnail_is_removed_and_iptc_stays(tmp_path: Path) -> None:
    thumbnail = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 5) + b"eyes!" + b"\0"
    iptc = IPTC[4 + 14 :]
    source = save(tmp_path / "a.jpg", extra=segment(0xED, IPTC[4:18] + thumbnail + iptc))
    (named,) = edited(source, tmp_path / "b.jpg")
    assert named.startswith("Photoshop thumbnail")
    assert IPTC in (tmp_path / "b.jpg").read_bytes()


def test_data_behind_a_jpeg_are_named(tmp_path: Path) -> None:
    source = save(tmp_path / "a.jpg")
    source.write_bytes(source.read_bytes() + b"\0\0\0\x18ftypmp42 a motion photo")
    (named,) = edited(source, tmp_path / "b.jpg")
    assert named.startswith("data after the picture")
    pair = [Image.fromarray(smooth_picture(shift=one)) for one in (0.0, 9.0)]
    pair[0].save(tmp_path / "c.jpg", "MPO", save_all=True, append_images=pair[1:])
    (named,) = edited(tmp_path / "c.jpg", tmp_path / "d.jpg")
    assert named.startswith("further pictures")


def thumbnailed(order: str) -> bytes:
    """An EXIF block: orientation 6 in IFD 0; IFD 1 with a thumbnail of 8 bytes."""
    mark = b"II" if order == "<" else b"MM"
    first = struct.pack(order + "HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 26)
    second = struct.pack(order + "HHHIIHHIII", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, 8, 0)
    return mark + struct.pack(order + "HI", 42, 8) + first + second + b"eyes" * 2


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_thumbnail_of_the_unedited_picture_is_removed(tmp_path: Path, order: str) -> None:
    made = upright_exif(thumbnailed(order))
    assert made.had_thumbnail
    assert len(made.block) == len(thumbnailed(order))
    assert exif_orientation(made.block) == 1
    assert b"eyes" not in made.block
    assert not upright_exif(made.block).had_thumbnail
    source = save(tmp_path / "a.jpg", exif=b"Exif\0\0" + thumbnailed(order))
    (named,) = edited(source, tmp_path / "b.jpg")
    assert named.startswith("EXIF thumbnail")


CHUNKS = (
    (b"cICP", bytes([9, 16, 0, 1])),
    (b"gAMA", struct.pack(">I", 45455)),
    (b"cHRM", struct.pack(">8I", *range(31000, 31008))),
    (b"pHYs", struct.pack(">IIB", 5000, 6000, 1)),
    (b"tEXt", b"Title\0of a picture"),
    (b"zTXt", b"Long\0\0" + bytes.fromhex("789c030000000001")),
    (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    (b"prVt", b"safe to copy"),
)


def png_with(chunks: tuple[tuple[bytes, bytes], ...], image: Any = None) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(smooth_picture())).save(file, "PNG")
    content = file.getvalue()
    return content[:33] + b"".join(png_chunk(*chunk) for chunk in chunks) + content[33:]


@pytest.mark.parametrize("deep", [False, True])
def test_a_png_keeps_its_chunks(tmp_path: Path, deep: bool) -> None:
    image = Image.fromarray(smooth_picture()[..., 0].astype(np.uint16) * 257) if deep else None
    (tmp_path / "a.png").write_bytes(png_with(CHUNKS, image))
    assert edited(tmp_path / "a.png", tmp_path / "b.png") == ()
    kept = list(png_chunks((tmp_path / "b.png").read_bytes()))
    for kind, data in CHUNKS:
        assert (kind, data.replace(b'"6"', b'"1"')) in kept


def test_chunks_of_the_unedited_picture_are_named(tmp_path: Path) -> None:
    chunks = ((b"caBX", b"signed"), (b"tIME", bytes(7)), (b"prVT", b"not safe to copy"))
    (tmp_path / "a.png").write_bytes(png_with(chunks))
    lost = edited(tmp_path / "a.png", tmp_path / "b.png")
    assert len(lost) == 3
    kinds = {kind for kind, _ in png_chunks((tmp_path / "b.png").read_bytes())}
    assert not kinds & {b"caBX", b"tIME", b"prVT"}


@pytest.mark.parametrize("to", [".jpg", ".png", ".webp", ".avif", ".tif", ".bmp", ".gif"])
@pytest.mark.parametrize("of", [".jpg", ".png", ".webp", ".avif", ".tif"])
def test_metadata_go_from_format_to_format(tmp_path: Path, of: str, to: str) -> None:
    extra = {} if of == ".tif" else {"xmp": XMP}
    if of == ".png":
        (tmp_path / "a.png").write_bytes(png_with(CHUNKS[-2:-1]))
        image, extra = opened(tmp_path / "a.png"), {}
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        extra = {"pnginfo": info}
        source = save(
            tmp_path / "a.png", image, exif=exif(), icc_profile=profile(), dpi=(300, 300), **extra
        )
    else:
        extra |= {"compression": "raw"} if of == ".tif" else {}
        source = save(
            tmp_path / f"a{of}", exif=exif(), icc_profile=profile(), dpi=(300, 300), **extra
        )
    lost = set(edited(source, tmp_path / f"b{to}"))
    after = opened(tmp_path / f"b{to}")
    names = {"colour profile", "EXIF", "XMP"} - (set() if of != ".tif" else {"XMP"})
    if to in (".bmp", ".gif"):
        assert names <= lost
        return
    assert not names & lost
    assert_same_exif(after)
    assert after.info["icc_profile"] == profile()
    if of != ".tif":
        assert after.info["xmp"] == XMP.replace(b'"6"', b'"1"')
    if {of, to} <= {".jpg", ".png", ".tif", ".bmp"}:
        assert after.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_cmyk_jpeg_becomes_rgb_without_its_profile(tmp_path: Path) -> None:
    image = Image.fromarray(smooth_picture()).convert("CMYK")
    source = save(tmp_path / "a.jpg", image, icc_profile=profile(b"CMYK"))
    lost = edited(source, tmp_path / "b.jpg")
    assert any("CMYK" in name for name in lost)
    after = opened(tmp_path / "b.jpg")
    assert (after.mode, after.info.get("icc_profile")) == ("RGB", None)
    assert psnr_db(read_picture(source).rgb, smooth_picture()) > 30


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_with_alpha_stays_grey_with_its_profile(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(smooth_picture()).convert("LA")
    source = save(tmp_path / f"a{suffix}", image, icc_profile=profile(b"GRAY"))
    assert edited(source, tmp_path / f"b{suffix}") == ()
    after = opened(tmp_path / f"b{suffix}")
    assert (after.mode, after.info["icc_profile"][16:20]) == ("LA", b"GRAY")


def test_a_profile_of_another_colour_model_is_named(tmp_path: Path) -> None:
    image = Image.fromarray(smooth_picture()).convert("LA")
    source = save(tmp_path / "a.png", image, icc_profile=profile(b"GRAY"))
    (named,) = edited(source, tmp_path / "b.webp")
    assert "GRAY" in named
    assert "icc_profile" not in opened(tmp_path / "b.webp").info


def test_what_is_drawn_in_colour_on_a_grey_picture_stays_coloured(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", Image.fromarray(smooth_picture()).convert("L"))
    picture = read_picture(source)
    drawn = picture.rgb.copy()
    drawn[4:8] = (60, 220, 90)
    write_pictures(tmp_path / "b.png", [picture.edited(drawn)])
    np.testing.assert_array_equal(read_picture(tmp_path / "b.png").rgb, drawn)


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_stays_as_lossless_as_it_was(tmp_path: Path, lossless: bool) -> None:
    source = save(tmp_path / "a.webp", lossless=lossless, quality=80)
    edited(source, tmp_path / "b.webp")
    assert picture_facts((tmp_path / "b.webp").read_bytes()).lossless is lossless
    if lossless:
        before, after = read_picture(source).rgb, read_picture(tmp_path / "b.webp").rgb
        np.testing.assert_array_equal(after[8:], before[8:])


def deep_samples(channels: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 65536, (48, 64, channels)).astype(np.uint16)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_of_16_bits_keeps_them_where_it_is_not_edited(tmp_path: Path, channels: int) -> None:
    import cv2

    samples = deep_samples(channels)
    cv2.imwrite(str(tmp_path / "a.png"), samples)
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_allclose(
        picture.rgb[..., ::-1], samples[..., :3] / 257 + np.zeros(3), atol=0.51
    )
    assert edited(tmp_path / "a.png", tmp_path / "b.png") == ()
    after = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    after = after if after.ndim == 3 else after[..., None]
    assert after.dtype == np.uint16
    assert after.shape == samples.shape
    np.testing.assert_array_equal(after[8:], samples[8:])
    np.testing.assert_array_equal(after[:, 8:], samples[:, 8:])
    inverted = read_picture(tmp_path / "b.png").rgb[:8, :8]
    np.testing.assert_allclose(inverted, 255 - picture.rgb[:8, :8].astype(int), atol=1)


def test_16_bits_that_a_format_cannot_hold_are_named(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), deep_samples(3))
    assert any("16 bits" in name for name in edited(tmp_path / "a.png", tmp_path / "b.jpg"))
    cv2.imwrite(str(tmp_path / "a.tif"), deep_samples(3))
    assert any("16 bits" in name for name in edited(tmp_path / "a.tif", tmp_path / "b.tif"))


def raw_profile(block: bytes) -> Any:
    """EXIF as ImageMagick and GIMP store it in a PNG."""
    text = "\n".join(["", "exif", f"{len(block):8d}", block.hex(), ""])
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", text, zip=True)
    return info


@pytest.mark.parametrize("also_chunk", [False, True])
def test_exif_in_a_text_chunk_turns_the_picture_and_becomes_a_chunk(
    tmp_path: Path, also_chunk: bool
) -> None:
    stored = np.zeros((20, 40, 3), np.uint8)
    stored[:, :5] = 200
    block = exif(6).tobytes()
    extra = {"exif": exif(6)} if also_chunk else {}
    Image.fromarray(stored).save(tmp_path / "a.png", pnginfo=raw_profile(block), **extra)
    (picture,) = read_pictures(tmp_path / "a.png")
    assert picture.rgb.shape == (40, 20, 3), "a quarter turn"
    write_pictures(tmp_path / "b.png", [picture])
    written = (tmp_path / "b.png").read_bytes()
    assert written.count(b"eXIf") == 1
    assert b"Raw profile" not in written
    with Image.open(tmp_path / "b.png") as after:
        assert after.size == (20, 40)
        assert after.getexif()[0x0112] == 1
        assert_same_exif(after)


def test_a_text_chunk_without_exif_is_kept(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", "no hexadecimal text")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    (picture,) = read_pictures(tmp_path / "a.png")
    write_pictures(tmp_path / "b.png", [picture])
    with Image.open(tmp_path / "b.png") as after:
        assert after.text["Raw profile type exif"] == "no hexadecimal text"
