"""Sends raw frames through the element `mggrgaze`, with the system's Python and GStreamer.

    gstreamer_frames.py INPUT OUTPUT CAPS FRAME_BYTES REPEATS [PROPERTIES]

INPUT contains the frames, as GStreamer lays them out. All frames are sent REPEATS times, and the
last FRAME_BYTES of every frame of the first pass are written to OUTPUT. The script prints the
number of frames, and the memory of the process in MB after a tenth of the frames and at the end.
"""

import os
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

from mggr_edge.runs import gstreamer_element  # noqa: E402


def memory_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main():
    source, output, caps, size, repeats, *properties = sys.argv[1:]
    size, repeats = int(size), int(repeats)
    gstreamer_element.register()
    pipeline = Gst.parse_launch(
        f'appsrc name=in format=time block=true max-bytes={4 * size} caps="{caps}" '
        f"! mggrgaze {' '.join(properties)} ! appsink name=out sync=false max-buffers=4"
    )
    with open(source, "rb") as file:
        frames = file.read()
    count = len(frames) // size
    into, out = pipeline.get_by_name("in"), pipeline.get_by_name("out")
    pipeline.set_state(Gst.State.PLAYING)
    seen, memory = 0, []
    with open(output, "wb") as file:
        for number in range(count * repeats):
            start = number % count * size
            buffer = Gst.Buffer.new_wrapped(frames[start : start + size])
            buffer.pts = number * Gst.SECOND // 25
            buffer.duration = Gst.SECOND // 25
            into.emit("push-buffer", buffer)
            sample = out.emit("try-pull-sample", 20 * Gst.SECOND)
            if sample is None:
                message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
                print("error", message.parse_error() if message else "no frame")
                return 1
            made = sample.get_buffer()
            assert made.pts == buffer.pts
            if number < count:
                file.write(made.extract_dup(0, made.get_size()))
            seen += 1
            if number in (count * repeats // 10, count * repeats - 1):
                memory.append(memory_mb())
    pipeline.set_state(Gst.State.NULL)
    print(seen, *memory)
    return 0


sys.exit(main())
