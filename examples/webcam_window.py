"""Show the redirected webcam in a window; q ends: python webcam_window.py [CAMERA OR VIDEO]

The window needs an OpenCV with windows: pip install 'mggr-tf[display]'
"""

import sys
import time

import cv2

from mggr_edge import Bundle, Redirector

source = sys.argv[1] if len(sys.argv) > 1 else "0"
capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
if not capture.isOpened():
    sys.exit(f"{source} cannot be opened")
with Bundle.open("default") as bundle:
    redirector = Redirector(bundle)
    while True:
        is_there, frame = capture.read()
        if not is_there:
            break
        redirector.redirect_frame(frame, time.monotonic(), color="bgr", out=frame)
        cv2.imshow("mggr-tf", frame)
        if cv2.waitKey(1) & 0xFF == ord("q"):
            break
capture.release()
cv2.destroyAllWindows()
