"""Detection of faces and eyes in a frame, with landmarks, head pose, iris and sharpness."""
