"""TensorRT engines: built on the device from a bundle's ONNX files, kept in the user's cache.

An engine works for one TensorRT version on one kind of GPU; no bundle holds one.
Only `tensorrt_api` and `trtexec` touch TensorRT.
"""
