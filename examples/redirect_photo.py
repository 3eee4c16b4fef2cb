"""Redirect the eyes in a photo to the camera: python redirect_photo.py me.jpg contact.png"""

import sys

import cv2

from mggr_edge import Bundle, Redirector

source, output = sys.argv[1:]
photo = cv2.imread(source)
if photo is None:
    sys.exit(f"{source} cannot be read")
with Bundle.open("default") as bundle:
    result = Redirector(bundle).redirect_image(photo, color="bgr")
for face in result.faces:
    for eye in face.eyes:
        print(f"{eye.side} eye: strength {eye.strength:.2f} {eye.reason or ''}")
cv2.imwrite(output, result.frame)
