"""Which files of a folder a system put there."""

import pytest

from mggr_edge.common.folders import is_system_file


@pytest.mark.parametrize(
    "path",
    [
        *("._a.jpg", ".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini", "Icon\r"),
        *("__MACOSX/a.jpg", ".ipynb_checkpoints/a-checkpoint.jpg", "x/@eaDir/a.jpg/thumb.jpg"),
        *("#recycle/a.jpg", "$RECYCLE.BIN/a.jpg", "System Volume Information/a.jpg"),
    ],
)
def test_what_a_system_adds_is_known(path):
    assert is_system_file(path)


@pytest.mark.parametrize(
    "path", ["a.jpg", "thumbs/a.jpg", "x/_a.jpg", "./a.jpg", "../a.jpg", "macosx/desktop.png"]
)
def test_other_files_are_data(path):
    assert not is_system_file(path)
