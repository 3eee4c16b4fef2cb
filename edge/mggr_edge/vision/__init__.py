"""Find the faces and eyes of a frame, with landmarks, head pose, iris and sharpness."""
