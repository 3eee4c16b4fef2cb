"""Let the eyes look in a circle around the lens: python custom_target.py call.mp4 circle.mp4"""

import math
import sys

from mggr_edge import Bundle, Gaze, Redirector, open_sink, open_source

RADIUS_DEG, PERIOD_S = 10.0, 4.0


def target_at(time_s: float) -> Gaze:
    """Pitch is positive upwards, yaw is positive to the right of the image."""
    angle = 2 * math.pi * time_s / PERIOD_S
    return Gaze(pitch_deg=RADIUS_DEG * math.sin(angle), yaw_deg=-RADIUS_DEG * math.cos(angle))


source_name, output = sys.argv[1:]
with (
    Bundle.open("default") as bundle,
    open_source(source_name) as source,
    open_sink(output, source=source) as sink,
):
    redirector = Redirector(bundle)
    for frame in source:
        redirector.target = target_at(frame.time_s)
        sink.write(redirector.redirect_frame(frame.rgb, frame.time_s), frame)
