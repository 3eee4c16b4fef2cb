"""Synthetic eye images: parameters of people, and a renderer.

The images are not derived from photographs. Therefore models that are trained on these images may
be redistributed. The package uses numpy, OpenCV and numba, but not TensorFlow.
"""

from mggr_tf.drawn_eyes.closing import draw_closing_eyes
from mggr_tf.drawn_eyes.flow import ExactFlow
from mggr_tf.drawn_eyes.population import draw_subject
from mggr_tf.drawn_eyes.portrait import DrawnFace, draw_face
from mggr_tf.drawn_eyes.preview import write_contact_sheet
from mggr_tf.drawn_eyes.render import flow_between, label_eye, render_eye
from mggr_tf.drawn_eyes.rendered import Ellipse, RenderedEye
from mggr_tf.drawn_eyes.samples import SyntheticSamples, draw_samples
from mggr_tf.drawn_eyes.subject import Subject

__all__ = [
    "DrawnFace",
    "Ellipse",
    "ExactFlow",
    "RenderedEye",
    "Subject",
    "SyntheticSamples",
    "draw_closing_eyes",
    "draw_face",
    "draw_samples",
    "draw_subject",
    "flow_between",
    "label_eye",
    "render_eye",
    "write_contact_sheet",
]
