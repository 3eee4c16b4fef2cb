"""Errors keep type, message, code and fields on their way between processes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from mggr_edge.errors import (
    DataError,
    EngineError,
    MggrError,
    MissingPackageError,
    OutputExistsError,
)
from mggr_edge.models.installed import MissingLandmarkModelsError


@pytest.mark.parametrize(
    "error",
    [
        DataError("a.csv, line 3: no number", code="cell-not-a-number", line=3),
        EngineError("the engine is stale"),
        OutputExistsError(Path("out.mp4")),
        MissingPackageError("PyAV", "edge"),
        MissingLandmarkModelsError("no face models", code="face-models-missing"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling(error: MggrError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.code) == (str(error), error.code)
    assert again.fields == error.fields
