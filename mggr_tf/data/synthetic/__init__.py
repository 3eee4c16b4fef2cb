"""Eyes drawn by rule: a parametric person, a renderer, and data sets made with them.

No photograph of anybody is behind these pictures, so whatever is trained on
them may be given away. numpy and OpenCV only: no TensorFlow.
"""

from mggr_tf.data.synthetic.dataset import write_dataset
from mggr_tf.data.synthetic.render import RenderedEye, render_eye
from mggr_tf.data.synthetic.samples import SyntheticSamples, draw_samples
from mggr_tf.data.synthetic.subject import Subject

__all__ = [
    "RenderedEye",
    "Subject",
    "SyntheticSamples",
    "draw_samples",
    "render_eye",
    "write_dataset",
]
