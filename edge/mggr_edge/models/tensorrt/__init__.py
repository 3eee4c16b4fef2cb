"""TensorRT engines: built on the device from a bundle's ONNX files, kept in the user's cache.

An engine works for one TensorRT version on one kind of GPU; none ever travels in a bundle.
Only `tensorrt_api` and `trtexec` touch TensorRT.
"""
