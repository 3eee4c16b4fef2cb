"""ONNX files: converted, quantised and checked."""
