"""A zipped SavedModel from elsewhere is read within limits."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from forged_zips import declare
from mggr_edge.errors import BundleError
from mggr_export.formats.saved_model import pack, unpack
from refusals import refusal

FILES = {"saved_model.pb": b"a graph", "variables/variables.index": b"an index"}
BOMB = bytes(32 << 20)


def test_files_come_back() -> None:
    assert unpack(pack(FILES)) == FILES


def test_an_entry_that_inflates_beyond_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(pack({**FILES, "saved_model.pb": BOMB}))
    declare(path, "saved_model.pb", 10)
    content = path.read_bytes()
    tracemalloc.start()
    fields = {"name": "saved_model.pb", "declared": 10}
    with refusal(BundleError, "file-longer-than-declared", **fields):
        unpack(content)
    peak_mb = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert peak_mb < 8


def test_a_zip_that_declares_too_much_is_refused() -> None:
    content = pack({**FILES, "saved_model.pb": BOMB})
    size, most = len(BOMB) + 8, 100 * len(content)
    with refusal(BundleError, "saved-model-too-large", declared=size, most=most):
        unpack(content)


@pytest.mark.parametrize("content", [b"", b"no zip", pack(FILES)[:-30]])
def test_other_bytes_are_no_saved_model(content: bytes) -> None:
    with refusal(BundleError, "saved-model-zip-invalid"):
        unpack(content)
