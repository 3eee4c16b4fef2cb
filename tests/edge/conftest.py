"""What several tests of the device share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

Source = TypeVar("Source")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], Source]:
    """Puts a source of a test's own in the place of every live one."""

    def put(source: Source) -> Source:
        monkeypatch.setattr("mggr_edge.live.capture._opened", lambda address, wanted: source)
        return source

    return put
