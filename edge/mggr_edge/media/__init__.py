"""Read and write frames from files, cameras and network streams."""
