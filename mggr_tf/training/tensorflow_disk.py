"""See `mggr_tf.tensorflow_disk`."""

from mggr_tf.tensorflow_disk import disk_reason

__all__ = ["disk_reason"]
