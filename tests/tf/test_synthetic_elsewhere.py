"""Other machines draw the same eyes: here, one without today's vector instructions, played by
telling every library not to use them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

_DRAW = """
import sys
import numpy as np
from mggr_edge.geometry.angles import Gaze
from mggr_tf.drawn_eyes import draw_subject, flow_between, render_eye

drawn = {"image": [], "outline": [], "iris": [], "flow": []}
for number in range(6):
    head = Gaze(4 * number - 10, 8 * number - 20)
    pair = [
        render_eye(
            draw_subject([11, number]), gaze=gaze, head_pose=head, side=side, seed=1, closure=0.1
        )
        for gaze in (Gaze(-9, 14), Gaze(6, -11))
        for side in ["right" if number % 2 else "left"]
    ]
    drawn["flow"].append(flow_between(*pair).flow)
    for eye in pair:
        drawn["image"].append(eye.image)
        drawn["outline"].append(eye.outline)
        drawn["iris"].append([*eye.iris.centre, *eye.iris[1:], eye.openness])
np.savez(sys.argv[1], **drawn)
"""
_OLD_MACHINE = {
    "NUMBA_CPU_NAME": "generic",
    "OPENCV_CPU_DISABLE": "AVX512F,AVX2,FMA3,AVX",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX2 FMA3",
}


def drawn(path: Path, environment: dict[str, str]) -> dict[str, np.ndarray]:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _DRAW, str(path)],
        env=os.environ | environment,
        check=True,
        stderr=subprocess.DEVNULL,
    )
    with np.load(path) as kept:
        return dict(kept)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names x86 instructions")
def test_old_machines_draw_the_same_eyes(tmp_path: Path) -> None:
    here = drawn(tmp_path / "here.npz", {})
    there = drawn(
        tmp_path / "there.npz", _OLD_MACHINE | {"NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    )
    for what in ("outline", "iris", "flow"):
        np.testing.assert_allclose(here[what], there[what], atol=1e-5, err_msg=what)
    assert np.abs(here["image"].astype(int) - there["image"]).max() <= 2
