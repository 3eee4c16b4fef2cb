"""Eyes drawn by rule: a parametric person, a renderer, and data sets made with them.

No photograph of anybody is behind these pictures, so whatever is trained on
them may be given away. numpy and OpenCV only: no TensorFlow.
"""

from mggr_tf.data.synthetic.closing import draw_closing_eyes
from mggr_tf.data.synthetic.dataset import write_dataset
from mggr_tf.data.synthetic.flow import ExactFlow
from mggr_tf.data.synthetic.population import draw_subject
from mggr_tf.data.synthetic.portrait import DrawnFace, draw_face
from mggr_tf.data.synthetic.preview import write_contact_sheet
from mggr_tf.data.synthetic.render import flow_between, label_eye, render_eye
from mggr_tf.data.synthetic.rendered import Ellipse, RenderedEye
from mggr_tf.data.synthetic.samples import SyntheticSamples, draw_samples
from mggr_tf.data.synthetic.subject import Subject

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
    "write_dataset",
]
