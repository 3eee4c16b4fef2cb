"""What breaks a training: a full disk, a read-only one, a second training, NaN, a cut checkpoint.

Each ends in one clear line, and no work is lost.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import DiskError, MggrError, RunError
from mggr_tf.cli import main
from mggr_tf.config.files import load_config
from mggr_tf.data.source import open_split
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.lock import explained_interruption, only_training
from mggr_tf.runs.record import DataRecord, StageRecord
from refusals import check_error, error_of, refusal

pytestmark = pytest.mark.extended

STAGE, STEPS = "estimator", 6
CHANGES = (
    "synthetic.subjects=2",
    "synthetic.per_group=2",
    "models.estimator=[4, 4, 4, 4]",
    "models.estimator_squeeze=1",
    "models.estimator_state=false",
    "stages.estimator.losses=[]",
    "stages.estimator.batch=2",
    "checkpoints.seconds=0",
)
SETS = tuple(part for change in CHANGES for part in ("--set", change))


def train(out: Path, *more: str, steps: int = STEPS) -> Result:
    """`mggr-tf train` to the end of a tiny stage."""
    how = ["train", "--stage", STAGE, "--steps", str(steps), "--out", str(out)]
    return CliRunner().invoke(main, [*how, *more])


def begin(out: Path, *more: str) -> Result:
    return train(out, *SETS, *more)


def resume(out: Path) -> Result:
    return train(out, "--resume")


def error_in(result: Result, code: str | None = None, **fields: object) -> MggrError:
    """The error that a command failed with, in one line, which is the last one."""
    assert isinstance(result.exception, SystemExit)  # anything else would be a traceback
    error = error_of(result, code, **fields)
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert result.stderr.endswith("\n")
    return error


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def assert_same_weights(run: Path, whole: Path) -> None:
    one, other = (np.load(path / "weights" / f"{STAGE}.npz") for path in (run, whole))
    with one, other:
        assert one.files == other.files
        for key in one.files:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing broke."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert begin(run).exit_code == 0
    return run


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short name: what is said shall not be cut."""
    with tempfile.TemporaryDirectory(prefix="run") as folder:
        yield Path(folder)


@pytest.fixture
def disk(place: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a disk by its options; called again it gets another size, or is read-only."""
    mounted = False

    def mount(*options: str) -> Path:
        nonlocal mounted
        how = ",".join(["remount", *options] if mounted else options)
        command = ["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("nothing can be mounted here")
        mounted = True
        return place

    yield mount
    if mounted:
        # Lazily: TensorFlow may have a file of events open still.
        subprocess.run(["umount", "-l", str(place)], check=True)


SIZES_KB = [4, pytest.param(250, marks=pytest.mark.slow)]
EVERY_SIZE_KB = sorted({*range(12, 400, 16)} - {4, 250})


@pytest.mark.parametrize(
    "size_kb", [*SIZES_KB, *(pytest.param(s, marks=pytest.mark.slow) for s in EVERY_SIZE_KB)]
)
def test_a_full_disk_ends_in_one_line_and_with_room_the_run_ends_as_an_unbroken_one(
    whole: Path, disk: Callable[..., Path], size_kb: int
) -> None:
    """The smaller the disk, the earlier: at the config, the record, the log, a checkpoint."""
    run = disk(f"size={size_kb}k") / "run"
    broken = begin(run)
    if broken.exit_code == 0:
        assert size_kb > 300
        return
    error = error_in(broken)
    assert "no space left on device" in str(error).lower()
    assert not list(run.rglob("*.partial-*"))
    disk("size=16m")
    if not run.exists():  # it never came into being
        assert error.code == "output-not-written"
        assert begin(run).exit_code == 0
    else:
        done = newest_checkpoint(run)
        kept = f"{STAGE} up to step {done}" if done else f"no steps of {STAGE}"
        check_error(error, "training-not-written", run=run, kept=kept)
        assert str(error).endswith(str(error.fields["command"]))
        assert str(error.fields["command"]).startswith("mggr-tf train")
        again = resume(run)
        assert again.exit_code == 0, again.output
        assert (f", from step {done}" in again.output) == (done > 0)
        assert "cannot be restored" not in again.output
    assert_same_weights(run, whole)
    assert list(RunFolder.open(run).logged(STAGE, "loss")) == list(range(1, STEPS + 1))


def newest_checkpoint(run: Path) -> int:
    """The step of the newest, or 0."""
    steps = [int(path.name[5:]) for path in (run / "checkpoints" / STAGE).glob("step-*")]
    return max(steps, default=0)


@pytest.mark.slow
def test_a_file_that_may_not_grow_any_more_ends_in_one_line_too(whole: Path, place: Path) -> None:
    """Where nothing can be mounted: the limit that `ulimit -f` sets."""
    run = place / "run"
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, was[1]))
    try:
        broken = begin(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
    error = error_in(
        broken,
        "training-not-written",
        run=run,
        cause="checkpoint-not-written",
        path=run / "checkpoints" / STAGE / "step-00000001",
        kept=f"no steps of {STAGE}",
    )
    assert "file too large" in str(error.fields["reason"]).lower()
    assert not list(run.rglob("*.partial-*"))
    assert resume(run).exit_code == 0
    assert_same_weights(run, whole)


@pytest.fixture
def untrained(tmp_path: Path) -> Callable[[Path], Path]:
    """Makes a run that nothing was trained in yet."""

    def make(path: Path) -> Path:
        config = load_config("mggr-edge", changes=CHANGES)
        split = open_split(
            "synthetic",
            config=config,
            stage=STAGE,
            subjects=None,
            progress=no_progress,
            notify=lambda text: None,
        )
        RunFolder.create(path, config, DataRecord.of(split))
        return path

    return make


def test_a_read_only_run_is_refused_before_its_data_is_opened(
    disk: Callable[..., Path], untrained: Callable[[Path], Path]
) -> None:
    place = disk("size=4m")
    run = untrained(place / "run")
    before = files(place)
    disk("ro")
    refused = resume(run)
    error_in(refused, "file-system-read-only", path=run, at=run)
    new = begin(place / "runs" / "new")
    error_in(new, "file-system-read-only", path=place / "runs" / "new", at=place)
    replaced = begin(run, "--force")
    error_in(replaced, "file-system-read-only")
    for result in (refused, new, replaced):
        assert "data:" not in result.output
    assert files(place) == before


def test_what_tensorflow_says_of_a_full_disk_is_told_like_the_rest(
    disk: Callable[..., Path], untrained: Callable[[Path], Path]
) -> None:
    """TensorBoard's events are written by TensorFlow."""
    run = RunFolder.open(untrained(disk("size=64k") / "run"))
    with suppress(OSError), open(run.path / "ballast", "wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(512))
    kept = "no training steps"
    with (
        refusal(DiskError, "training-not-written", run=run.path, kept=kept) as caught,
        explained_interruption(run, STAGE),
    ):
        tf.summary.create_file_writer(str(run.log_folder(STAGE)))
    fields = caught.value.fields
    assert re.search(r"events\.out.*: no space left on device", str(fields["reason"]))
    assert str(fields["command"]).endswith(f"--out {run.path} --resume")


def test_faults_that_are_not_the_disks_stay_what_they_are(
    tmp_path: Path, untrained: Callable[[Path], Path]
) -> None:
    run = RunFolder.open(untrained(tmp_path / "run"))
    for fault in (
        BrokenPipeError("who listened went away"),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor"),
        RunError("step 3: loss is not a finite number"),
    ):
        with pytest.raises(type(fault)) as raised, explained_interruption(run, STAGE):
            raise fault
        assert raised.value is fault


@pytest.mark.skipif(os.geteuid() == 0, reason="permission does not bind root")
def test_a_run_that_belongs_to_another_is_refused_before_its_data_is_opened(
    tmp_path: Path, untrained: Callable[[Path], Path]
) -> None:
    run = untrained(tmp_path / "run")
    (run / "logs").chmod(0o555)
    refused = resume(run)
    error_in(refused, "no-write-permission", path=run, at=run / "logs")
    assert "data:" not in refused.output
    tmp_path.chmod(0o555)
    new = begin(tmp_path / "runs" / "new")
    tmp_path.chmod(0o755)
    error_in(new, "no-write-permission", at=tmp_path)
    assert "data:" not in new.output


def test_a_run_whose_place_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    new = begin(tmp_path / "file" / "run")
    error_in(new, "not-a-folder", path=tmp_path / "file" / "run", at=tmp_path / "file")
    assert "data:" not in new.output


def test_a_second_training_in_a_run_is_refused_and_touches_nothing(
    tmp_path: Path, untrained: Callable[[Path], Path]
) -> None:
    run = untrained(tmp_path / "run")
    with only_training(run):
        before = files(run)
        for how in (resume, lambda out: begin(out, "--force")):
            second = how(run)
            error_in(second, "training-already-running", path=run)
            assert "data:" not in second.output
        assert files(run) == before
    with only_training(run):  # none of them kept the lock
        pass


def test_a_run_that_is_replaced_is_held_by_the_new_training(
    tmp_path: Path, untrained: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = untrained(tmp_path / "run")
    (run / "logs" / "old.csv").write_text("")

    def try_another_and_fail(path: Path, *_: object, **__: object) -> None:
        with refusal(RunError, "training-already-running", path=path), only_training(path):
            pytest.fail("two at once")
        assert list(path.iterdir()) == [path / ".lock"]
        raise RunError("enough was seen", code="enough")

    monkeypatch.setattr(RunFolder, "create", try_another_and_fail)
    error_in(begin(run, "--force"), "enough")
    assert not run.exists()


def test_a_run_that_came_into_being_meanwhile_is_not_replaced(
    tmp_path: Path, untrained: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trainings that are started at once find the same free name."""
    run = tmp_path / "run"
    real = open_split

    def open_while_another_is_faster(*arguments: object, **named: object) -> object:
        monkeypatch.setattr("mggr_tf.data.source.open_split", real)
        untrained(run)
        return real(*arguments, **named)

    monkeypatch.setattr("mggr_tf.data.source.open_split", open_while_another_is_faster)
    result = begin(run)
    error_in(result, "output-exists", path=run)
    assert RunFolder.open(run).record.stages == {}


def test_a_run_is_not_replaced_by_one_that_starts_from_it(whole: Path, tmp_path: Path) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    before = files(run)
    (tmp_path / "other").symlink_to(run)
    for donor in (run, tmp_path / "other"):
        again = begin(run, "--force", "--from", str(donor))
        error_in(again, "force-would-delete-donor", donor=donor)
    assert files(run) == before


def test_a_run_is_not_cleared_for_one_that_cannot_start(
    whole: Path, tmp_path: Path, untrained: Callable[[Path], Path]
) -> None:
    run, donor = shutil.copytree(whole, tmp_path / "run"), untrained(tmp_path / "donor")
    before = files(run)
    again = begin(run, "--force", "--from", str(donor))
    error_in(again, "donor-without-weights", donor=donor)
    other = begin(run, "--force", "--from", str(whole), "--set", "models.estimator=[4, 4, 4, 6]")
    error_in(other, "donor-network-differs", donor=whole, networks="estimator")
    assert files(run) == before


def unfinished(whole: Path, run: Path, *, steps: int) -> Path:
    """A copy of a whole run whose stage has yet to be ended."""
    opened = RunFolder.open(shutil.copytree(whole, run))
    opened.update_stage(STAGE, StageRecord(steps=steps, done=STEPS))
    (run / "weights" / f"{STAGE}.npz").unlink()
    return run


def test_a_checkpoint_that_was_cut_is_passed_over_loudly(whole: Path, tmp_path: Path) -> None:
    run = unfinished(whole, tmp_path / "run", steps=STEPS)
    newest = run / "checkpoints" / STAGE / f"step-{STEPS:08d}"
    (data,) = newest.glob("*.data-*")
    os.truncate(data, data.stat().st_size // 2)
    again = resume(run)
    assert again.exit_code == 0, again.output
    assert f"{newest}: the checkpoint cannot be restored" in again.stderr
    assert "skipping this checkpoint" in again.stderr
    assert f"{STAGE}: {STEPS} steps, from step {STEPS - 1}" in again.stderr
    assert_same_weights(run, whole)


def test_a_loss_that_is_no_number_is_told_and_what_was_before_is_kept(
    whole: Path, tmp_path: Path
) -> None:
    run = unfinished(whole, tmp_path / "run", steps=12)
    changed = ("--resume", "--changed-config", "--set", "checkpoints.seconds=3600")
    broken = train(run, *changed, "--set", "stages.estimator.learning_rate=1e30", steps=12)
    fields = error_in(broken, "training-diverged", stage=STAGE).fields
    assert str(fields["reason"]).startswith("loss, ")
    assert STEPS < int(str(fields["step"])) <= 12
    with np.load(str(fields["path"])) as batch:
        assert np.isfinite(batch["eye"]).all()
    assert RunFolder.open(run).record.stages[STAGE].done == newest_checkpoint(run) == STEPS
    ended = train(run, *changed, "--set", "stages.estimator.learning_rate=1e-4", steps=12)
    assert ended.exit_code == 0, ended.output
    assert f"from step {STEPS}" in ended.stderr
    assert list(RunFolder.open(run).logged(STAGE, "loss")) == list(range(1, 13))
