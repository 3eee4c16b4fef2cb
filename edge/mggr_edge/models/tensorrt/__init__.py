"""TensorRT engines: built on the device from a bundle's ONNX files, stored in the user's cache.

An engine works only with one TensorRT version on one model of GPU, so bundles contain no engines.
Only `python_builder`, `trtexec_builder` and `runner` call TensorRT.
"""
