"""What `features_precision: auto` means on a processor, and that a run keeps it."""

from pathlib import Path

import pytest
from tensorflow import keras

from mggr_tf.config.files import load_config
from mggr_tf.models import precision
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord

DATA = DataRecord("synthetic", ("00000",), (), 1, "Apache-2.0")


@pytest.fixture(autouse=True)
def gpus(monkeypatch):
    """The GPUs that TensorFlow sees: none, whatever this machine has."""
    present: list[str] = []
    monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind: present)
    return present


def cpuinfo(folder: Path, flags: str) -> Path:
    file = folder / "cpuinfo"
    file.write_text(
        f"processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: {flags}\n\n"
        "processor\t: 1\nflags\t\t: none\n"
    )
    return file


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512f avx512_vnni", "float32"),
        ("fpu avx512f avx512_bf16", "bfloat16"),
        ("fpu amx_bf16 amx_tile", "bfloat16"),
        ("fpu xavx512_bf16x", "float32"),
    ],
)
def test_auto_asks_the_processor(tmp_path, monkeypatch, flags, expected):
    monkeypatch.setattr(precision, "_CPUINFO", cpuinfo(tmp_path, flags))
    assert precision.settled("auto") == expected


def test_where_the_processor_is_not_told_auto_is_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "_CPUINFO", tmp_path / "missing")
    assert precision.settled("auto") == "float32"


def test_the_processor_does_not_speak_for_a_gpu(tmp_path, monkeypatch, gpus):
    monkeypatch.setattr(precision, "_CPUINFO", cpuinfo(tmp_path, "avx512_bf16"))
    gpus.append("one")
    assert precision.settled("auto") == "float32"


@pytest.mark.parametrize("named", ["float32", "bfloat16"])
def test_a_named_precision_is_taken_at_its_word(tmp_path, monkeypatch, named):
    monkeypatch.setattr(precision, "_CPUINFO", cpuinfo(tmp_path, "avx512_bf16"))
    assert precision.settled(named) == named


def test_layers_compute_in_it_and_later_ones_do_not():
    with precision.computing_in("bfloat16"):
        inside = keras.layers.Dense(1)
    outside = keras.layers.Dense(1)
    assert inside.compute_dtype == "bfloat16"
    assert (inside.variable_dtype, outside.compute_dtype) == ("float32", "float32")


def test_a_new_run_keeps_what_its_machine_settled(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "_CPUINFO", cpuinfo(tmp_path, "avx512_bf16"))
    config = load_config("mggr-edge")
    assert config.models.features_precision == "auto"
    RunFolder.create(tmp_path / "run", config, DATA)
    monkeypatch.setattr(precision, "_CPUINFO", tmp_path / "missing")
    assert RunFolder.open(tmp_path / "run").config.models.features_precision == "bfloat16"
