"""Trainings in processes of their own: one, several workers, or one with two devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

_MIRRORED = """
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from mggr_tf.cli import main
import sys
main(sys.argv[1:])
"""

HOW = {
    "one": ("-m", "mggr_tf", "train"),
    "mirrored": ("-c", _MIRRORED, "train", "--strategy", "mirrored"),
    "workers": ("-m", "mggr_tf", "launch", "--workers", "2", "--", "train"),
}
"""By one process on one device, by one on two logical devices, by two on a device each."""


def start(how: str, out: Path, *more: str) -> subprocess.Popen[str]:
    """Starts `mggr-tf train --out OUT MORE`."""
    return subprocess.Popen(
        [sys.executable, *HOW[how], "--out", str(out), *more],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "-1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(how: str, out: Path, *more: str, code: int = 0, patience_s: float = 300) -> str:
    """Runs it to its end; returns what it said on stderr."""
    process = start(how, out, *more)
    _, said = process.communicate(timeout=patience_s)
    assert process.returncode == code, said
    return said


def relative_distance(one: Path, other: Path) -> float:
    """Of two runs' networks: the norm of their difference by that of the first."""
    off, size = 0.0, 0.0
    files = sorted((one / "weights").glob("*.npz"))
    assert files
    for file in files:
        with np.load(file) as a, np.load(other / "weights" / file.name) as b:
            for name in a.files:
                off += float(np.square(a[name].astype(np.float64) - b[name]).sum())
                size += float(np.square(a[name].astype(np.float64)).sum())
    return (off / size) ** 0.5
