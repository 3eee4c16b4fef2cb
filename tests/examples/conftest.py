import pytest

from mggr_edge import Bundle
from mggr_edge.errors import MggrError


@pytest.fixture(scope="module")
def bundle():
    """The packaged weights, with this machine's face models."""
    try:
        with Bundle.open("default") as opened:
            opened.model("face_mesh")
            yield opened
    except MggrError as error:
        pytest.skip(str(error))
