"""The device side stands on its own."""

import json
import pkgutil
import subprocess
import sys

import pytest

import mggr_edge

PROBE = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
heavy = {"tensorflow", "keras", "tensorflow_addons", "mggr_tf", "mggr_export", "torch"}
print(json.dumps(sorted(heavy & set(sys.modules))))
"""


@pytest.mark.processes
def test_importing_every_module_leaves_tensorflow_alone():
    names = [m.name for m in pkgutil.walk_packages(mggr_edge.__path__, "mggr_edge.")]
    assert len(names) > 20
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(names)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == []


def test_public_names_are_there():
    from mggr_edge import Bundle, Gaze, MggrError, Redirector

    assert Bundle.__module__ == "mggr_edge.models.bundle"
    assert Gaze(1, 2).pitch_deg == 1
    assert issubclass(MggrError, Exception)
    assert callable(Redirector)
