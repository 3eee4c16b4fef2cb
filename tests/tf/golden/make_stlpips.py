"""Makes stlpips.json: distances by the authors' own code, which needs PyTorch.

Run in an environment of its own, as mggr-tf does not need PyTorch:

    pip install torch==2.13.0 numpy
    pip install --no-deps stlpips_pytorch==0.0.2
    python tests/tf/golden/make_stlpips.py

The pictures need numpy alone and no random generator (NumPy promises its streams
only within a version), so that a test can draw the same ones.
"""

import json
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np

SIZE = 64


def golden_pairs():
    """Name -> two [64, 64, 3] float32 in [-1, 1]."""
    noise, other = hashed_noise(1), hashed_noise(2)
    ramp = np.broadcast_to(np.linspace(-1, 1, SIZE)[None, :, None], (SIZE, SIZE, 3))
    turned = ramp.transpose(1, 0, 2)
    left, right, open_wide = eye(-8, 10), eye(8, 10), eye(-8, 14)
    pairs = {
        "noise": (noise, other),
        "ramps": (ramp, turned),
        "eye that turns": (left, right),
        "eye that opens": (left, open_wide),
        "eye with noise": (left, np.clip(left + 0.1 * noise, -1, 1)),
        "black and white": (np.full_like(noise, -1), np.full_like(noise, 1)),
    }
    return {name: tuple(p.astype(np.float32) for p in pair) for name, pair in pairs.items()}


def hashed_noise(seed):
    """[64, 64, 3] in [-1, 1], by a 32-bit integer hash (Mueller's, public domain)."""
    x = np.arange(SIZE * SIZE * 3, dtype=np.uint64) + np.uint64(seed << 20)
    for _ in range(2):
        x = ((x >> np.uint64(16)) ^ x) * np.uint64(0x45D9F3B) & np.uint64(0xFFFFFFFF)
    x = (x >> np.uint64(16)) ^ x
    return (x.reshape(SIZE, SIZE, 3) / 2**31) - 1


def eye(iris_x, opening):
    """A drawing: skin, white, iris and pupil."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    picture = np.empty((SIZE, SIZE, 3))
    picture[:] = (0.5, 0.2, 0.0)
    white = soft(1 - np.hypot(x / 26, y / opening), 10)
    iris = white * soft(9 - np.hypot(x - iris_x, y), 1)
    pupil = white * soft(4 - np.hypot(x - iris_x, y), 1)
    for mask, colour in (
        (white, (0.9, 0.85, 0.8)),
        (iris, (-0.4, -0.2, 0.1)),
        (pupil, (-0.9,) * 3),
    ):
        picture += mask[..., None] * (np.asarray(colour) - picture)
    return picture


def soft(inside, slope):
    """A mask that rises from 0 to 1 around inside = 0."""
    return np.clip(0.5 + inside * slope, 0, 1)


def main():
    """Writes the distances beside this file."""
    import torch

    # The package imports these three; the distance does not use them.
    for name in ("IPython", "torchvision", "torchsummary"):
        sys.modules[name] = MagicMock()
    from stlpips_pytorch.stlpips import LPIPS

    golden = {}
    for trunk in ("alex", "vgg"):
        distance = LPIPS(net=trunk, variant="shift_tolerant", verbose=False)
        golden[trunk] = {}
        for name, pair in golden_pairs().items():
            first, second = (torch.from_numpy(p.transpose(2, 0, 1)[None].copy()) for p in pair)
            with torch.no_grad():
                golden[trunk][name] = distance(first, second).item()
    file = Path(__file__).with_name("stlpips.json")
    file.write_text(json.dumps(golden, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
