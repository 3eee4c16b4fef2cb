"""What several tests of the device share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import MggrError, MissingPackageError
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.installed import find_landmark_models
from mggr_edge.models.runtimes import TFLiteRunner

Source = TypeVar("Source")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], Source]:
    """Puts a source of a test's own in the place of every live one."""

    def put(source: Source) -> Source:
        monkeypatch.setattr("mggr_edge.media.live.sources._opened", lambda address, wanted: source)
        return source

    return put


@pytest.fixture(scope="session")
def runners() -> dict[str, TFLiteRunner]:
    """The landmark models of this machine, by their names in a bundle."""
    try:
        paths = find_landmark_models()
    except MissingPackageError as error:
        pytest.skip(str(error))
    return {name: TFLiteRunner(path.read_bytes()) for name, path in paths.items()}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The package's own weights, with this machine's face models."""
    try:
        bundle = Bundle.open("default")
        bundle.model("face_mesh")
    except MggrError as error:
        pytest.skip(str(error))
    return bundle


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """She looks into the lens."""
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the portrait")
    return cv2.resize(data.astronaut()[:280, 90:350], None, fx=2, fy=2)
