"""Marks of altered files: XMP, comments and content credentials, read by other programs."""

import json
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from certificates import ORGANISATION, write_credentials
from mggr_edge.cli import main
from mggr_edge.errors import StreamError, UsageError
from mggr_edge.media.files.credentials import Signing, read_credentials
from mggr_edge.media.files.inspection import inspect_file
from mggr_edge.media.files.marks import (
    ESTIMATED,
    REDIRECTED,
    SOURCE_TYPE,
    marked_xmp,
    read_mark,
)
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.file_run import run
from mggr_edge.runs.options import RunOptions
from refusals import refusal

EXIFTOOL = shutil.which("exiftool")
needs_exiftool = pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not installed")
PICTURES = [".jpg", ".png", ".webp", ".tif", ".avif"]
VIDEOS = [".mp4", ".mov"]

OTHERS = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<r:Description r:about="" xmlns:d="http://purl.org/dc/elements/1.1/"
 xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 e:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture" xmp:Rating="4">
<d:description><r:Alt><r:li xml:lang="x-default">Two cats &amp; me</r:li>
<r:li xml:lang="de">Katzen</r:li></r:Alt></d:description>
<d:creator><r:Seq><r:li>Ada</r:li></r:Seq></d:creator>
</r:Description></r:RDF></x:xmpmeta>"""
DC = "{http://purl.org/dc/elements/1.1/}"
LI = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"


def brighter(frame, /, *, time_s=None):
    return FrameResult(np.clip(frame.astype(int) + 40, 0, 255).astype(np.uint8), ())


def unchanged(frame, /, *, time_s=None):
    return FrameResult(frame, ())


def write_picture(path, **options):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 200, (48, 64, 3), np.uint8)).save(path, **options)
    return path


def write_video(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            frame = np.full((48, 64, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    return path


def write_input(path):
    return write_picture(path) if path.suffix in (*PICTURES, ".gif", ".bmp") else write_video(path)


def seen_by_exiftool(path):
    made = subprocess.run(
        [EXIFTOOL, "-j", "-G1", str(path)], capture_output=True, text=True, check=True
    )
    return json.loads(made.stdout)[0]


@pytest.fixture(scope="module")
def signing(tmp_path_factory):
    return Signing.open(*map(str, write_credentials(tmp_path_factory.mktemp("keys"))))


def test_a_new_packet_is_valid_xml_with_both_properties():
    packet = marked_xmp(b"")
    root = ElementTree.fromstring(packet.decode().split("?>", 1)[1].rsplit("<?", 1)[0])
    found = root.iter("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert [one.text for one in found] == [SOURCE_TYPE]
    assert [one.text for one in root.iter(LI)] == [REDIRECTED]
    assert (read_mark(packet).source_type, read_mark(packet).description) == (
        SOURCE_TYPE,
        REDIRECTED,
    )


def test_other_properties_of_a_packet_are_kept():
    packet = marked_xmp(OTHERS)
    root = ElementTree.fromstring(packet.decode())
    texts = [one.text for one in root.iter(LI)]
    assert texts == [f"Two cats & me; {REDIRECTED}", f"Katzen; {REDIRECTED}", "Ada"]
    assert b'xmp:Rating="4"' in packet
    assert b"digitalCapture" not in packet
    assert read_mark(packet).source_type == SOURCE_TYPE


def test_a_packet_is_marked_only_once():
    once = marked_xmp(OTHERS)
    twice = marked_xmp(once)
    ElementTree.fromstring(twice.decode())
    assert twice.count(REDIRECTED.encode()) == once.count(REDIRECTED.encode()) == 2
    assert twice.count(SOURCE_TYPE.encode()) == 1


@pytest.mark.parametrize(
    "other",
    [
        b"\xff\xfe<\0x\0",
        b"not XML",
        b"<x:xmpmeta><rdf:RDF>",
        b"<rdf:RDF><dc:description>",
        OTHERS[:200],
    ],
)
def test_a_packet_that_cannot_be_read_is_replaced(other):
    assert read_mark(marked_xmp(other)).source_type == SOURCE_TYPE


@given(st.text("<>/:rdfRDFdclescription =\"'xAlti", max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_marked(text):
    for packet in (text.encode(), OTHERS.replace(b"Two cats", text.encode())):
        made = marked_xmp(packet)
        assert made.count(SOURCE_TYPE.encode()) == 1
        assert read_mark(made).source_type == SOURCE_TYPE


def test_a_packet_with_many_open_elements_is_marked_in_linear_time():
    """A search from each element to the end of the packet would take minutes."""
    hostile = b"<r:RDF>" + b"<d:description><e:DigitalSourceType>" * 50_000 + b"</r:RDF>"
    assert marked_xmp(hostile).count(SOURCE_TYPE.encode()) == 1


@pytest.mark.parametrize("suffix", [*PICTURES, *VIDEOS])
def test_a_changed_file_is_marked(tmp_path, suffix):
    source, made = write_input(tmp_path / f"in{suffix}"), tmp_path / f"out{suffix}"
    run(source, made, process=brighter)
    found = inspect_file(made)
    assert found.mark.source_type == SOURCE_TYPE
    assert found.mark.description == REDIRECTED
    if suffix in VIDEOS:
        assert found.comment == REDIRECTED
        with av.open(str(made)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 12


@needs_exiftool
@pytest.mark.parametrize("suffix", [*PICTURES, *VIDEOS])
def test_exiftool_reads_the_mark(tmp_path, suffix):
    source, made = write_input(tmp_path / f"in{suffix}"), tmp_path / f"out{suffix}"
    run(source, made, process=brighter)
    seen = seen_by_exiftool(made)
    assert seen["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE
    assert seen["XMP-dc:Description"] == REDIRECTED
    assert not [key for key in seen if key.endswith(("Warning", "Error"))]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_the_description_of_a_photographer_is_kept(tmp_path, suffix):
    source = write_picture(tmp_path / f"in{suffix}", xmp=OTHERS)
    if suffix == ".png":  # Pillow writes no XMP to a PNG
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", OTHERS.decode())
        write_picture(source, pnginfo=info)
    run(source, tmp_path / f"out{suffix}", process=brighter)
    mark = inspect_file(tmp_path / f"out{suffix}").mark
    assert mark.description == f"Two cats & me; {REDIRECTED}"
    assert mark.source_type == SOURCE_TYPE


def test_a_gif_has_the_sentence_in_its_comment_and_a_bmp_says_that_it_has_none(tmp_path):
    gif, bmp = (write_picture(tmp_path / f"in{suffix}") for suffix in (".gif", ".bmp"))
    run(gif, tmp_path / "out.gif", process=brighter)
    assert REDIRECTED in inspect_file(tmp_path / "out.gif").comment
    summary = run(bmp, tmp_path / "out.bmp", process=brighter)
    assert any("mark of the redirection" in note for note in summary.notes)


def test_a_packet_too_long_for_a_jpeg_is_replaced_by_the_mark(tmp_path):
    xmp = OTHERS.replace(b"Ada", b"A" * 65_000)
    source = write_picture(tmp_path / "in.webp", xmp=xmp)
    summary = run(source, tmp_path / "out.jpg", process=brighter)
    assert inspect_file(tmp_path / "out.jpg").mark.source_type == SOURCE_TYPE
    assert any("XMP (too long)" in note for note in summary.notes)


@pytest.mark.parametrize("suffix", [".jpg", ".mp4"])
@pytest.mark.parametrize(("process", "comment"), [(unchanged, REDIRECTED), (brighter, ESTIMATED)])
def test_a_file_without_redirection_has_no_mark(tmp_path, suffix, process, comment):
    source = write_input(tmp_path / f"in{suffix}")
    run(source, tmp_path / f"out{suffix}", process=process, comment=comment)
    assert inspect_file(tmp_path / f"out{suffix}").mark.source_type == ""


@pytest.mark.parametrize("suffix", [*PICTURES, ".gif", *VIDEOS])
def test_a_signed_file_says_what_was_done_and_an_altered_one_is_detected(tmp_path, suffix, signing):
    source, made = write_input(tmp_path / f"in{suffix}"), tmp_path / f"out{suffix}"
    run(source, made, process=brighter, signing=signing)
    found = read_credentials(made)
    assert found.state == "Valid"
    assert found.signer == ORGANISATION
    assert found.actions == ("c2pa.opened", "c2pa.edited")
    assert found.source_types == (SOURCE_TYPE,)
    assert found.ingredients == (source.name,)
    assert found.problems == ("signingCredential.untrusted",)
    if suffix in VIDEOS:
        with av.open(str(made)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 12
    content = bytearray(made.read_bytes())
    place = content.rfind(b"mdat") + 60 if suffix in VIDEOS else len(content) // 2
    content[place] ^= 1
    made.write_bytes(content)
    assert read_credentials(made).state == "Invalid"
    assert {path.name for path in tmp_path.iterdir()} == {source.name, made.name}


@pytest.mark.parametrize("kind", ["p256", "ed25519", "rsa"])
def test_all_kinds_of_keys_sign(tmp_path, kind):
    signing = Signing.open(*map(str, write_credentials(tmp_path, kind=kind)))
    picture = write_picture(tmp_path / "a.png")
    signing.sign(picture, source=write_picture(tmp_path / "b.bmp"), title="a.png")
    found = read_credentials(picture)
    assert (found.state, found.ingredients) == ("Valid", ())
    assert b"PRIVATE" not in repr(signing).encode()


def test_keys_that_cannot_sign_are_refused(tmp_path):
    key, chain = map(str, write_credentials(tmp_path))
    other, _ = map(str, write_credentials(tmp_path, kind="ed25519"))
    with refusal(UsageError, "credentials-unreadable", option="--sign"):
        Signing.open(str(tmp_path / "none.key"), chain)
    with refusal(UsageError, "key-unreadable", path=chain):
        Signing.open(chain, chain)
    with refusal(UsageError, "credentials-invalid", path=other):
        Signing.open(other, chain)
    with refusal(UsageError, "credentials-invalid", certificates=key):
        Signing.open(key, key)


def test_a_format_without_credentials_is_refused_before_any_work(tmp_path, signing):
    source = write_video(tmp_path / "in.mp4")

    def never(frame, /, *, time_s=None):
        raise AssertionError("a frame was processed")

    with refusal(UsageError, "format-without-credentials", suffix=".mkv"):
        run(source, tmp_path / "out.mkv", process=never, signing=signing)
    assert not (tmp_path / "out.mkv").exists()


def test_signing_needs_both_files_and_no_live_source():
    with refusal(UsageError, "sign-without-certificate", sign="a.key"):
        RunOptions(sign="a.key")
    from mggr_edge.media.live.address import live_address

    options = RunOptions(sign="a.key", certificate="a.pem")
    with refusal(UsageError, "sign-for-live-source"):
        options.check_source("rtsp://cam/live", live_address("rtsp://cam/live"))


def test_the_library_opens_no_network_connection(tmp_path, signing):
    """A file can name an address for its manifest. Reading the file must not open the address."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            remote = with_remote_manifest(tmp_path, signing, server.server_port)
            assert b"manifest.c2pa" in remote.read_bytes()
            inspect_file(remote)
            run(remote, tmp_path / "out.jpg", process=brighter, signing=signing)
            assert asked == []
            assert read_credentials(tmp_path / "out.jpg").state == "Valid"
        finally:
            server.shutdown()
            thread.join()


def with_remote_manifest(folder, signing, port):
    import c2pa

    picture, remote = write_picture(folder / "in.jpg"), folder / "remote.jpg"
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
    assertions = [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}]
    info = c2pa.C2paSignerInfo(signing.algorithm, signing.certificates, signing.key, None)
    manifest = json.dumps({"assertions": assertions})
    with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest) as builder:
        builder.set_no_embed()
        builder.set_remote_url(f"http://127.0.0.1:{port}/manifest.c2pa")
        with picture.open("rb") as source, remote.open("w+b") as made:
            builder.sign(signer, "image/jpeg", source, made)
    return remote


def test_the_command_shows_marks_and_exits_with_2_for_an_altered_file(tmp_path, signing):
    source, made = write_picture(tmp_path / "in.png"), tmp_path / "out.png"
    run(source, made, process=brighter, signing=signing)
    result = CliRunner().invoke(main, ["inspect", str(made), str(source), "--json"])
    assert result.exit_code == 0
    marked, plain = json.loads(result.stdout)
    assert marked["credentials"]["state"] == "Valid"
    assert marked["mark"]["source_type"] == SOURCE_TYPE
    assert (plain["credentials"], plain["mark"]["source_type"]) == (None, "")
    content = bytearray(made.read_bytes())
    content[-100] ^= 1
    made.write_bytes(content)
    result = CliRunner().invoke(main, ["inspect", str(made)])
    assert result.exit_code == 2


def test_what_cannot_be_inspected_is_named(tmp_path):
    with refusal(UsageError, "folder-not-inspected"):
        inspect_file(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(StreamError):
        inspect_file(tmp_path / "a.jpg")
