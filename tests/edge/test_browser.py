"""What is recorded plays in a browser: all of it, in its own colours."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from browser import browsing
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.file_run import run

av = pytest.importorskip("av")

COLOURS = [(200, 60, 60), (60, 200, 60), (60, 60, 200)]
LONG_S, FRAMES_EACH, RATE = 1.2, 10, 25

PAGE = """<video id="film" muted src="{name}"></video>
<canvas id="still" width="64" height="48"></canvas>
<script>
const said = {{colours: []}};
const tell = () => {{ document.title = JSON.stringify(said); }};
const at = (time) => new Promise((done) => {{
  // Seeking ends before the frame is shown: what is waited for is that frame.
  const shown = (now, {{mediaTime}}) => {{
    if (Math.abs(mediaTime - time) < 0.1) done(); else film.requestVideoFrameCallback(shown);
  }};
  film.requestVideoFrameCallback(shown);
  film.currentTime = time;
}});
film.onerror = () => {{ said.error = film.error.message; tell(); }};
film.onloadeddata = async () => {{
  film.onloadeddata = null;
  Object.assign(said, {{width: film.videoWidth, height: film.videoHeight, long: film.duration}});
  const pen = still.getContext("2d");
  for (const time of [0.2, 0.6, 1.0]) {{
    await at(time);
    pen.drawImage(film, 0, 0);
    said.colours.push([...pen.getImageData(32, 24, 1, 1).data.slice(0, 3)]);
  }}
  await at(0);
  film.onended = () => {{ said.ended = true; tell(); }};
  await film.play();
}};
</script>"""


def touched(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    """Changes a pixel, so that the video is encoded and not copied."""
    changed = frame.copy()
    changed[0, 0] ^= 1
    return FrameResult(changed, ())


def seen_by_a_browser(video: Path) -> dict:
    page = video.with_suffix(".html")
    page.write_text(PAGE.format(name=video.name), encoding="utf-8")
    with browsing() as browser:
        browser.get(page.as_uri())
        ends_s = time.monotonic() + 20
        while not browser.title.startswith("{") and time.monotonic() < ends_s:
            time.sleep(0.05)
        return json.loads(browser.title)


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_redirected_video_plays_in_a_browser(tmp_path: Path, codec: str) -> None:
    source, written = tmp_path / "a.mp4", tmp_path / "b.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for colour in COLOURS:
            for _ in range(FRAMES_EACH):
                picture = np.full((48, 64, 3), colour, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    assert run(source, written, process=touched).frames == 30
    said = seen_by_a_browser(written)
    assert "error" not in said, said
    assert (said["width"], said["height"], said["ended"]) == (64, 48, True)
    assert said["long"] == pytest.approx(LONG_S, abs=0.05)
    assert np.abs(np.array(said["colours"]) - COLOURS).max() <= 16


@pytest.mark.processes
def test_a_browser_that_cannot_play_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    assert "error" in seen_by_a_browser(tmp_path / "a.mp4")
