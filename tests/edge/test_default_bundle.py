"""The packaged weights on a device: found by name, whole, and run by this interpreter."""

from pathlib import Path

import numpy as np
import pytest

from mggr_edge import Bundle, Gaze
from mggr_edge.models.installed import NAMES, bundle_path


@pytest.mark.parametrize("name", NAMES)
def test_packaged_networks_run_here(name: str) -> None:
    bundle = Bundle.open(name)
    patch = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    made = bundle.redirect_crop(patch, side="left", target=Gaze(0, 10))
    assert made.redirected.shape == (64, 64, 3)
    assert np.isfinite(made.flow).all()
    assert np.abs(made.flow).max() > 0.1


def test_only_a_string_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert bundle_path("./default") == bundle_path(Path("default")) == Path("default")
    assert bundle_path("default") != Path("default")
