"""Complete messages of typical user errors, compared with `golden/error_messages.txt`.

After an intended change of a message, write the golden file again and review its difference::

    MGGR_WRITE_GOLDEN=1 python -m pytest tests/edge/test_error_messages.py
    git diff tests/edge/golden/error_messages.txt

Temporary paths are replaced by `TMP`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from mggr_edge.common.addresses import file_to_write, input_address, output_address
from mggr_edge.common.atomic import atomic_file, atomic_folder
from mggr_edge.errors import MggrError
from mggr_edge.models import installed
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.bundle_archive import CONTRACT_FILE, SUMS_FILE, checksum_lines
from mggr_edge.models.contract import Artifact, Contract, Training, contract_to_json
from mggr_edge.models.tensorrt import cache
from mggr_edge.models.tensorrt.build_options import recipe_for
from mggr_edge.pipeline.targets import parse_target, read_target_track

GOLDEN = Path(__file__).parent / "golden" / "error_messages.txt"
HEADER = "time_s,pitch_deg,yaw_deg\n"

Failure = Callable[[Path], object]
"""Function that raises the error of a case; its argument is an empty folder."""


def enter(context: AbstractContextManager[object]) -> None:
    with context:
        pass


def write_over_file(folder: Path) -> None:
    (folder / "bundle").write_text("content")
    enter(atomic_folder(folder / "bundle", force=True))


def fill_disk(target: Path) -> None:
    with atomic_file(target), open("/dev/full", "wb", buffering=0) as full:
        full.write(b"content")


def read_targets(folder: Path, text: str) -> None:
    (folder / "targets.csv").write_text(text)
    read_target_track(folder / "targets.csv")


def contract_text(change: Callable[[dict[str, Any]], object] = lambda data: None) -> str:
    artifact = Artifact("models/eye.tflite", "tflite", "float32", "0" * 64)
    training = Training(data="synthetic", licence="Apache-2.0")
    data = json.loads(contract_to_json(Contract({"estimator": (artifact,)}, training)))
    change(data)
    return json.dumps(data)


def open_bundle(
    folder: Path,
    text: str | None = None,
    edit: Callable[[Path], object] = lambda bundle: None,
) -> None:
    """Open a bundle with this text as its contract, after changing its files by `edit`."""
    files = {
        CONTRACT_FILE: (contract_text() if text is None else text).encode(),
        "models/eye.tflite": b"a model",
    }
    bundle = folder / "bundle"
    (bundle / "models").mkdir(parents=True)
    for name, content in {**files, SUMS_FILE: checksum_lines(files).encode()}.items():
        (bundle / name).write_bytes(content)
    edit(bundle)
    Bundle.open(bundle)


def change_sums(bundle: Path, old: str, new: str) -> None:
    sums = bundle / SUMS_FILE
    sums.write_text(sums.read_text().replace(old, new, 1))


def without_packages(failure: Callable[[], object]) -> None:
    """Run a function as if neither the packaged bundles nor the face models were installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(installed, "_PACKAGE", "mggr_no_such_package")
        patch.setattr(installed, "packaged_bundles", lambda: Path("nowhere"))
        failure()


def load_stale_engine(folder: Path) -> None:
    key = cache.EngineKey("10.3.0", "Orin", "int8", "0" * 64)
    cache.store(folder, cache.EngineKey("8.6.1", "Orin", "int8", "0" * 64), b"engine")
    cache.load(folder, key)


CASES: dict[str, Failure] = {
    "input: empty": lambda folder: input_address(""),
    "input: standard input": lambda folder: input_address("-"),
    "input: misspelled scheme": lambda folder: input_address("rstp://me:secret@camera/live"),
    "input: sensor without number": lambda folder: input_address("csi://front"),
    "input: port": lambda folder: input_address("rtsp://camera:99999/live"),
    "input: credentials in a file URL": lambda folder: input_address("file://me:secret@nas/a.mp4"),
    "input: not a camera": lambda folder: input_address(f"v4l2://{folder}"),
    "output: address of a camera": lambda folder: output_address("rtsp://:8554/eyes"),
    "output: device": lambda folder: output_address("/dev/null"),
    "option: folder": lambda folder: file_to_write("--metrics", "folder/"),
    "write: missing folder": lambda folder: enter(atomic_file(folder / "missing" / "a.png")),
    "write: folder in the way": lambda folder: enter(atomic_file(folder, force=True)),
    "write: file in the way": write_over_file,
    "write: exists": lambda folder: enter(atomic_folder(folder)),
    "write: disk full": lambda folder: fill_disk(folder / "a.mp4"),
    "target: form": lambda folder: parse_target("left"),
    "target: range": lambda folder: parse_target("0,45"),
    "targets: column": lambda folder: read_targets(folder, "time_s,yaw_deg\n0,1\n"),
    "targets: number": lambda folder: read_targets(folder, f"{HEADER}0,up,0\n"),
    "targets: order": lambda folder: read_targets(folder, f"{HEADER}2,0,0\n1,0,1\n"),
    "bundle: missing": lambda folder: Bundle.open(folder / "bundle"),
    "bundle: other folder": lambda folder: Bundle.open(folder),
    "bundle: changed file": lambda folder: open_bundle(
        folder, edit=lambda bundle: (bundle / "models" / "eye.tflite").write_bytes(b"other")
    ),
    "bundle: missing file": lambda folder: open_bundle(
        folder, edit=lambda bundle: (bundle / "models" / "eye.tflite").unlink()
    ),
    "bundle: additional file": lambda folder: open_bundle(
        folder, edit=lambda bundle: (bundle / "notes.txt").write_bytes(b"x")
    ),
    "bundle: checksums in binary mode": lambda folder: open_bundle(
        folder, edit=lambda bundle: change_sums(bundle, "  ", " *")
    ),
    "bundle: model of another export": lambda folder: open_bundle(folder),
    "contract: not JSON": lambda folder: open_bundle(folder, '{"schema": NaN}'),
    "contract: schema": lambda folder: open_bundle(
        folder, contract_text(lambda data: data.update(schema=99))
    ),
    "contract: unknown key": lambda folder: open_bundle(
        folder, contract_text(lambda data: data["training"].update(licnce="MIT"))
    ),
    "contract: missing key": lambda folder: open_bundle(
        folder, contract_text(lambda data: data["training"].pop("data"))
    ),
    "contract: type": lambda folder: open_bundle(
        folder, contract_text(lambda data: data["conventions"].update(patch_size="64"))
    ),
    "contract: range": lambda folder: open_bundle(
        folder, contract_text(lambda data: data["conventions"].update(patch_size=0))
    ),
    "installation: no packaged bundles": lambda folder: without_packages(
        lambda: Bundle.open("default")
    ),
    "installation: no face models": lambda folder: without_packages(installed.find_landmark_models),
    "TensorRT: too old": lambda folder: recipe_for("int8", version=(8, 4, 3)),
    "TensorRT: accelerator": lambda folder: recipe_for("float32", version=(8, 6, 1), dla=0),
    "TensorRT: engine of another version": load_stale_engine,
}


def message_of(failure: Failure, folder: Path) -> str:
    """Return type, code and message of the error that a case raises."""
    folder.mkdir()
    with pytest.raises(MggrError) as caught:
        failure(folder)
    text = str(caught.value).replace(str(folder), "TMP")
    return f"{type(caught.value).__name__}, {caught.value.code}\n    {text}\n"


def test_messages_are_those_of_the_golden_file(tmp_path: Path) -> None:
    found = "".join(
        f"{name}: {message_of(failure, tmp_path / str(number))}"
        for number, (name, failure) in enumerate(CASES.items())
    )
    if os.environ.get("MGGR_WRITE_GOLDEN"):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8")
