"""The one place that imports tensorflow-addons.

Its project has ended (last release 0.23.0) and says so in a warning on every
import; that warning is silenced here because the pin is deliberate. Each thing
that is taken from it stands in this file, to be replaced in one place.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings(
        "ignore", message=r"\s*TensorFlow Addons \(TFA\) has ended", category=UserWarning
    )
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from tensorflow_addons.image import dense_image_warp

__all__ = ["dense_image_warp"]
