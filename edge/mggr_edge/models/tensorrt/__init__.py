"""Build and run TensorRT engines; an engine is a model that TensorRT compiled for one GPU.

Engines are built on the device from a bundle's ONNX files, and they are stored in the user's cache.
An engine works only with one TensorRT version on one type of GPU. Therefore bundles contain no
engines. Only `python_builder`, `trtexec_builder` and `runner` call TensorRT.
"""
