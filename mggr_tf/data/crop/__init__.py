"""Cutting eye patches out of whole photographs, with the eyes that the device finds."""

from mggr_tf.data.crop.run import Cropped, crop_photos

__all__ = ["Cropped", "crop_photos"]
