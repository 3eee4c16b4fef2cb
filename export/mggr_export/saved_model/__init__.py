"""TensorFlow's own files, for servers: written and run."""
