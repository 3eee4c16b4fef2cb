"""Train, evaluate and build the networks of MGGR with TensorFlow.

The networks use Keras 2. TensorFlow 2.15 (Python 3.10 and 3.11) contains Keras 2. With later
versions of TensorFlow (Python 3.12 and 3.13), Keras 2 is the package tf-keras. TensorFlow uses this
package if an environment variable is set. TensorFlow reads the variable when it is imported, so
import this package before TensorFlow.
"""

import os
from importlib.util import find_spec

from mggr_edge.common import __version__

__all__ = ["__version__"]

if find_spec("tf_keras") is not None:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
