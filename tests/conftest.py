"""Settings for all tests."""

from hypothesis import settings

settings.register_profile("house", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("house")
