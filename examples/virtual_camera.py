"""Send a redirected camera to a virtual camera: python virtual_camera.py [SOURCE [SINK]]

Choose the virtual camera in the program for video calls. It needs OBS Studio on Windows and macOS,
a v4l2loopback device on Linux, and on all systems: pip install 'mggr-tf[virtual-camera]'
"""

import sys

from mggr_edge import Bundle, Redirector, open_sink, open_source

source_name, sink_name = [*sys.argv[1:], *("camera://0", "virtual-camera://")[len(sys.argv) - 1 :]]
with (
    Bundle.open("default") as bundle,
    open_source(source_name) as source,
    open_sink(sink_name, source=source) as sink,
):
    redirector = Redirector(bundle)
    for frame in source:
        sink.write(redirector.redirect_frame(frame.rgb, frame.time_s), frame)
