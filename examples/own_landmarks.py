"""Use the landmarks of a program that already tracks faces: python own_landmarks.py me.jpg out.png

`find_landmarks` stands for such a program. It must return points of MediaPipe's face mesh: 468 or
478 points per face, x and y in pixels, z at the same scale. With MediaPipe's own Python package,
multiply the normalized coordinates by (width, height, width).
"""

import sys

import cv2
import numpy as np

from mggr_edge import Bundle, Redirector


def find_landmarks(picture: np.ndarray, bundle: Bundle) -> list[np.ndarray]:
    """Return the landmarks of each face, [478, 3] or [468, 3]."""
    result = Redirector(bundle, strength=0.0).redirect_image(picture, color="bgr")
    return [face.landmarks for face in result.faces]


source, output = sys.argv[1:]
picture = cv2.imread(source)
if picture is None:
    sys.exit(f"{source} cannot be read")
with Bundle.open("default") as bundle:
    landmarks = find_landmarks(picture, bundle)
    # With `landmarks`, the redirector runs neither its face detector nor its face mesh.
    result = Redirector(bundle).redirect_image(picture, color="bgr", landmarks=landmarks)
cv2.imwrite(output, result.frame)
print(f"{len(result.faces)} faces redirected with given landmarks")
