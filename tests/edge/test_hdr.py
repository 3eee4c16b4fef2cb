"""HDR and 10-bit videos: networks see SDR, files keep their stored values."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hdr_videos import HLG, PQ, hdr_codes, ten_bit_frame, ten_bit_planes, write_ten_bit
from mggr_edge.errors import StreamError
from mggr_edge.media.files.exif import upright
from mggr_edge.media.files.ten_bit import TenBitPicture, ten_bit_picture
from mggr_edge.media.files.tone_mapping import SDR, tone_map_for
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout, open_video
from mggr_edge.media.files.video_writer import Encoding, add_video_stream
from mggr_edge.media.live.file_playback import VideoFileCapture, shown_file
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.compositing import ComposedEye, Region, put_eye
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import Annotated, FrameResult, side_by_side
from mggr_edge.runs.file_run import run
from mggr_edge.runs.original_values import shown_original
from ramps import smooth_picture
from refusals import refusal

av = pytest.importorskip("av")

TRANSFERS = pytest.mark.parametrize("transfer", [PQ, HLG])
BT2020_MATRIX = 9


def picture(planes: list[NDArray[np.uint16]]) -> TenBitPicture:
    return TenBitPicture(planes[0], (planes[1], planes[2]), BT2020_MATRIX)


def read(path: Path) -> tuple[VideoLayout, list[TimedFrame]]:
    with open_video(path) as video:
        return video.layout, [item for item in video.items if isinstance(item, TimedFrame)]


def ramp(shift: float = 0.0, size: tuple[int, int] = (96, 128)) -> NDArray[np.uint8]:
    return cv2.resize(smooth_picture(shift=shift), size[::-1], interpolation=cv2.INTER_LINEAR)


def ramp_planes(transfer: int, shift: float = 0.0) -> list[NDArray[np.uint16]]:
    return ten_bit_planes(hdr_codes(ramp(shift) / 255, transfer))


class Corner:
    """Paints a corner white; the rest stays."""

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        out = frame.copy()
        out[:16, :16] = 255
        return FrameResult(out, ())


@TRANSFERS
def test_tone_map_and_its_inverse(transfer: int) -> None:
    tone_map = tone_map_for(transfer, 9)
    assert tone_map is not None
    sdr = np.random.default_rng(0).random((2000, 3))
    assert tone_map.sdr_from_codes(tone_map.codes_from_sdr(sdr)) == pytest.approx(sdr, abs=1e-4)


@TRANSFERS
def test_sdr_mapped_to_hdr_comes_back(transfer: int) -> None:
    tone_map = tone_map_for(transfer, 9)
    assert tone_map is not None
    sdr = np.random.default_rng(1).random((2000, 3))
    codes = hdr_codes(sdr, transfer)
    back = 255 * tone_map.sdr_from_codes(codes)
    below_knee = sdr.max(axis=1) < 0.69  # 90 of 203 cd/m2
    assert back[below_knee] == pytest.approx(255 * sdr[below_knee], abs=0.5)
    assert tone_map.codes_from_graphics(sdr) == pytest.approx(codes, abs=1e-3)


def test_levels_of_bt2408() -> None:
    """203 cd/m2 is 58 % of PQ and 75 % of HLG; peaks become SDR white; black stays black."""
    for transfer, white in ((PQ, 0.5807), (HLG, 0.75)):
        tone_map = tone_map_for(transfer, 9)
        assert tone_map is not None
        assert tone_map.codes_from_graphics(np.ones(3)) == pytest.approx(
            np.full(3, white), abs=5e-4
        )
        assert 255 * tone_map.sdr_from_codes(np.full(3, white)) == pytest.approx(229, abs=1)
        assert tone_map.sdr_from_codes(np.ones(3)) == pytest.approx(np.ones(3))
        assert tone_map.sdr_from_codes(np.zeros(3)) == pytest.approx(np.zeros(3), abs=1e-6)
    assert tone_map_for(1, 9) is None
    assert tone_map_for(HLG, 2) == tone_map_for(HLG, 9)  # unnamed primaries


@TRANSFERS
def test_frames_are_read_as_sdr(tmp_path: Path, transfer: int) -> None:
    sdr = ramp()
    write_ten_bit(tmp_path / "in.mp4", [ramp_planes(transfer)], transfer=transfer)
    _, (frame,) = read(tmp_path / "in.mp4")
    tone_map = tone_map_for(transfer, 9)
    assert tone_map is not None
    exact = 255 * tone_map.sdr_from_codes(hdr_codes(sdr / 255, transfer))
    difference = np.abs(frame.rgb - exact)
    assert difference.mean() < 1.0
    assert np.percentile(difference, 99) < 6.0


@pytest.mark.extended
@TRANSFERS
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_stored_values_and_names_are_kept(tmp_path: Path, transfer: int, suffix: str) -> None:
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    params = f":master-display={display}:max-cll=1000,400" if transfer == PQ else ""
    pts = [0, 24, 48, 49, 300, 1800, 1900]
    frames = [ramp_planes(transfer, 3.0 * count) for count in range(len(pts))]
    source, target = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    write_ten_bit(source, frames, transfer=transfer, pts=pts, params=params)
    summary = run(source, target, process=Corner())
    assert summary.notes == ()
    (layout, before), (written, after) = read(source), read(target)
    assert [frame.time_s for frame in after] == pytest.approx([p / 600 for p in pts], abs=6e-4)
    assert replace(written.colour, hdr=layout.colour.hdr) == layout.colour
    assert written.colour.hdr == layout.colour.hdr
    if transfer == PQ:
        assert written.colour.hdr.mastering == display
        assert written.colour.hdr.light_level == (1000, 400)
    for one, two in zip(before, after, strict=True):
        assert one.original is not None
        assert two.original is not None
        off = np.abs(one.original.luma[32:].astype(int) - two.original.luma[32:])
        assert off.mean() < 1.5  # of 1023
        white = two.original.codes(slice(2, 14), slice(2, 14))
        assert white == pytest.approx(0.5807 if transfer == PQ else 0.75, abs=0.02)
    with av.open(str(target)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("hevc", "yuv420p10le")
        assert suffix == ".mkv" or context.codec_tag == "hvc1"


def test_sdr_of_ten_bits_keeps_them(tmp_path: Path) -> None:
    codes = np.linspace(0.2, 0.3, 128)[None, :, None].repeat(96, 0).repeat(3, 2)
    planes = ten_bit_planes(codes)
    assert len(np.unique(planes[0])) > 80  # 8 bits have 23 steps there
    write_ten_bit(tmp_path / "in.mp4", [planes] * 2, transfer=1, primaries=1)
    run(tmp_path / "in.mp4", tmp_path / "out.mp4", process=Corner())
    layout, frames = read(tmp_path / "out.mp4")
    assert layout.colour.is_ten_bit
    assert (layout.colour.transfer_tag, layout.colour.primaries_tag) == (1, 1)
    assert frames[0].original is not None
    assert np.abs(frames[0].original.luma[32:].astype(int) - planes[0][32:]).mean() < 1.0
    assert frames[0].rgb[4:12, 4:12].min() > 250


@pytest.mark.extended
@pytest.mark.parametrize(
    ("codec", "pixel_format", "note"),
    [
        ("prores_ks", "yuv422p10le", True),
        ("libx264", "yuv444p", True),
        ("libx264", "yuv420p", False),
    ],
)
def test_coarser_chroma_is_noted(tmp_path: Path, codec: str, pixel_format: str, note: bool) -> None:
    with av.open(str(tmp_path / "in.mov"), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, pixel_format
        frame = av.VideoFrame.from_ndarray(ramp(), "rgb24").reformat(format=pixel_format)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    summary = run(tmp_path / "in.mov", tmp_path / "out.mov", process=Corner())
    assert bool(summary.notes) == note
    assert all(pixel_format in said for said in summary.notes)


AMBIENT = bytes([0x4E, 0x01, 148, 8, 0, 0x04, 0x93, 0xE0, 0x3D, 0x13, 0x40, 0x42, 0x80])
"""A prefix SEI message: an ambient viewing environment of 30 lux, as iPhones write it."""


@pytest.mark.extended
def test_metadata_that_cannot_be_written_are_noted(tmp_path: Path) -> None:
    write_ten_bit(tmp_path / "in.mp4", [ramp_planes(HLG)] * 2, transfer=HLG, sei=AMBIENT)
    layout, _ = read(tmp_path / "in.mp4")
    assert layout.colour.hdr.left_out == ("ambient viewing environment",)
    summary = run(tmp_path / "in.mp4", tmp_path / "out.mp4", process=Corner())
    assert ["ambient viewing environment" in note for note in summary.notes] == [True]


@pytest.mark.extended
@TRANSFERS
def test_comparison_is_twice_as_wide(tmp_path: Path, transfer: int) -> None:
    write_ten_bit(tmp_path / "in.mp4", [ramp_planes(transfer)] * 2, transfer=transfer)
    run(
        tmp_path / "in.mp4",
        tmp_path / "out.mp4",
        process=Annotated(Corner(), side_by_side),
        columns=2,
    )
    _, frames = read(tmp_path / "out.mp4")
    _, sources = read(tmp_path / "in.mp4")
    left, right = np.split(frames[0].rgb.astype(int), 2, axis=1)
    assert np.abs(left - sources[0].rgb).mean() < 2
    assert right[2:14, 2:14] == pytest.approx(229, abs=4)  # white graphics at 203 cd/m2
    assert np.abs(right - left)[20:, 20:].mean() < 2


def test_unchanged_frames_are_the_same_arrays() -> None:
    original = picture(ramp_planes(HLG))
    tone_map = tone_map_for(HLG, 9)
    assert tone_map is not None
    shown = shown_original(original, ramp(), FrameResult(ramp(), ()), tone_map)
    assert shown is original


def eye_at(
    frame: NDArray[np.uint8], *, shift: tuple[float, float], residual: float, left: int = 51
) -> ComposedEye:
    """An eye of 21 x 31 pixels at odd places, warped by a shift."""
    region = Region(left, 33, left + 31, 54)
    y, x = np.mgrid[33:54, left : left + 31].astype(np.float32)
    sampling = np.stack([x + shift[0], y + shift[1]], axis=-1)
    mask = np.zeros((21, 31), np.float32)
    cv2.ellipse(mask, (15, 10), (13, 8), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 1.0) * (mask > 0)
    here = frame[region.slices].astype(np.float32)
    moved = cv2.remap(frame, sampling, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    change = moved.astype(np.float32) - here + residual
    pixels = np.clip(np.rint(here + mask[..., None] * change), 0, 255).astype(np.uint8)
    return ComposedEye(region, pixels, mask, sampling, np.full((21, 31, 3), residual, np.float32))


class Eyes:
    """Duck-typed result of faces of one redirected eye each."""

    def __init__(self, frame: NDArray[np.uint8], eyes: list[ComposedEye]) -> None:
        self.frame = frame
        self.faces = [
            SimpleNamespace(eyes=[SimpleNamespace(composed=eye, strength=1.0, reason=None)])
            for eye in eyes
        ]


@pytest.mark.parametrize("transfer", [PQ, HLG, 1])
@pytest.mark.parametrize(
    "eyes",
    [
        [{"shift": (5.5, -2.0), "residual": 0.0}],
        [{"shift": (3.0, 1.0), "residual": 12.0}],
        [
            {"shift": (3.0, 1.0), "residual": 20.0},
            {"shift": (-4.0, 1.0), "residual": -20.0, "left": 64},
        ],
    ],
    ids=["warped", "with a residual", "overlapping"],
)
def test_eyes_are_composed_from_stored_values(transfer: int, eyes: list[dict]) -> None:
    """The tone map of the composed HDR frame is what the SDR view was composed to."""
    sdr = ramp()
    code_map = tone_map_for(transfer, 9) or SDR
    codes = sdr / 255 if code_map is SDR else code_map.codes_from_sdr(sdr / 255)
    original = picture(ten_bit_planes(codes))
    composed = [eye_at(sdr, **eye) for eye in eyes]
    out, inside = sdr.copy(), np.zeros(sdr.shape[:2], bool)
    for eye in composed:
        put_eye(out, eye)
        inside[eye.region.slices] |= eye.mask > 0
    shown = shown_original(original, sdr, Eyes(out, composed), code_map)
    seen = 255 * code_map.sdr_from_codes(shown.codes(slice(0, 96), slice(0, 128)))
    assert np.abs(seen - out)[inside].mean() < 1.5
    assert np.abs(out.astype(int) - sdr)[inside].mean() > 3
    assert np.array_equal(shown.luma[~inside], original.luma[~inside])
    beyond = ~cv2.dilate(inside.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)[::2, ::2]
    for one, two in zip(shown.chroma, original.chroma, strict=True):
        assert np.array_equal(one[beyond], two[beyond])


@pytest.mark.extended
def test_planes_are_turned_like_pixels() -> None:
    planes = ramp_planes(PQ)
    codes = picture(planes).codes(slice(0, 96), slice(0, 128))
    for orientation in range(1, 9):
        turned = ten_bit_picture(ten_bit_frame(planes), orientation, matrix=BT2020_MATRIX)
        height, width = turned.size
        got = turned.codes(slice(0, height), slice(0, width))
        assert got == pytest.approx(upright(codes, orientation), abs=1e-5)


def test_rotated_videos_come_out_upright(tmp_path: Path) -> None:
    write_ten_bit(tmp_path / "in.mp4", [ramp_planes(HLG)] * 2, transfer=HLG)
    content = bytearray((tmp_path / "in.mp4").read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    quarter_turn = (0, 1, 0, -1, 0, 0, 0, 0, 1 << 14)
    content[at : at + 36] = struct.pack(">9i", *(value << 16 for value in quarter_turn))
    (tmp_path / "in.mp4").write_bytes(content)
    run(tmp_path / "in.mp4", tmp_path / "out.mp4", process=Corner())
    _, (frame, _) = read(tmp_path / "out.mp4")
    expected = upright(ramp(), 6)
    assert frame.rgb.shape == expected.shape
    assert frame.rgb[2:12, 2:12] == pytest.approx(229, abs=4)
    assert np.abs(frame.rgb.astype(int) - expected)[32:].mean() < 4


@pytest.mark.extended
def test_frames_of_another_size_are_scaled_into_the_first(tmp_path: Path) -> None:
    joined = bytearray()
    for size in ((96, 128), (128, 96)):
        planes = ten_bit_planes(hdr_codes(ramp(size=size) / 255, HLG))
        write_ten_bit(tmp_path / "part.hevc", [planes] * 3, transfer=HLG)
        joined += (tmp_path / "part.hevc").read_bytes()
    (tmp_path / "in.ts").write_bytes(joined)
    summary = run(tmp_path / "in.ts", tmp_path / "out.mkv", process=Corner())
    assert (summary.frames, summary.refitted) == (6, 3)
    _, frames = read(tmp_path / "out.mkv")
    assert [frame.rgb.shape for frame in frames] == [(96, 128, 3)] * 6
    assert frames[-1].rgb[:, :24].max() < 20
    assert frames[-1].rgb[:, 40:88].min() > 20


def test_files_that_are_shown_are_sdr(tmp_path: Path) -> None:
    write_ten_bit(tmp_path / "in.mp4", [ramp_planes(PQ)] * 2, transfer=PQ)
    capture = VideoFileCapture(shown_file(str(tmp_path / "in.mp4")))
    frame = capture.read()
    capture.close()
    assert frame is not None
    assert frame.dtype == np.uint8
    assert np.abs(frame.astype(int) - ramp()).mean() < 4


def test_planes_of_another_size_are_fitted() -> None:
    fitted = picture(ramp_planes(PQ)).fitted((128, 128))
    assert fitted.size == (128, 128)
    assert (fitted.luma[:14] == 64).all()
    assert (fitted.luma[-14:] == 64).all()
    assert np.abs(fitted.luma[16:112].astype(int) - ramp_planes(PQ)[0]).mean() < 0.5


@pytest.mark.parametrize("matrix", [10, 14])
def test_matrices_that_cannot_be_converted_are_refused(tmp_path: Path, matrix: int) -> None:
    write_ten_bit(tmp_path / "in.mp4", [ramp_planes(PQ)], transfer=PQ, matrix=matrix)
    with refusal(StreamError, "yuv-matrix-unsupported", matrix=matrix):
        run(tmp_path / "in.mp4", tmp_path / "out.mp4", process=Corner())
    assert not (tmp_path / "out.mp4").exists()


def test_missing_encoder_is_named(tmp_path: Path) -> None:
    with (
        av.open(str(tmp_path / "out.mp4"), "w") as container,
        refusal(StreamError, "encoder-missing", encoder="no_such_encoder"),
    ):
        add_video_stream(
            container,
            Encoding("no_such_encoder", "yuv420p", {}),
            rate=25,
            path=tmp_path / "out.mp4",
        )


@pytest.mark.extended
@TRANSFERS
def test_eyes_of_hdr_are_redirected_like_those_of_sdr(
    tmp_path: Path, bundle: Bundle, portrait: NDArray[np.uint8], transfer: int
) -> None:
    """A soft picture, as videos are: with its code values taken for SDR, eyes looked like skin."""
    sdr = cv2.GaussianBlur(portrait[: portrait.shape[0] // 2 * 2, :520], (0, 0), 3)
    planes = ten_bit_planes(hdr_codes(sdr / 255, transfer))
    write_ten_bit(tmp_path / "in.mov", [planes] * 6, transfer=transfer)
    redirector = Redirector(bundle)
    expected = [redirector.process(sdr, time_s=n / 25) for n in range(6)]
    eyes = sum(eye.strength > 0 for r in expected for face in r.faces for eye in face.eyes)
    assert eyes > 0
    process = Redirector(bundle).process
    summary = run(tmp_path / "in.mov", tmp_path / "out.mov", process=process)
    assert summary.eyes_redirected == eyes
    _, (*_, last) = read(tmp_path / "out.mov")
    _, (*_, source) = read(tmp_path / "in.mov")
    mask = expected[-1].mask()
    difference = np.abs(last.rgb.astype(int) - expected[-1].frame)[mask]
    assert difference.mean() < 6
    assert np.abs(last.rgb.astype(int) - source.rgb)[mask].mean() > 1
