"""TFLite files: converted, read and checked."""
