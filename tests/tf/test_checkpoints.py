"""Checkpoints: whole or not there, verified, the last few and the best."""

import json

import pytest
import tensorflow as tf

from mggr_edge.errors import DiskError, RunError
from mggr_tf.training.checkpoints import Checkpoints
from refusals import refusal


class Things:
    """Two variables and their checkpoints."""

    def __init__(self, folder, *, keep=2, writes=True, seed=1):
        self.step = tf.Variable(0, dtype=tf.int64)
        self.value = tf.Variable([0.0, 0.0])
        self.said = []
        self.checkpoints = Checkpoints(
            folder,
            tf.train.Checkpoint(step=self.step, value=self.value),
            seed=seed,
            keep=keep,
            writes=writes,
            warn=self.said.append,
        )

    def save(self, step, *, metric=None):
        self.step.assign(step)
        self.value.assign([step, -step])
        self.checkpoints.save(step, metric=metric)

    def restore(self):
        found = self.checkpoints.restore()
        return found, int(self.step), self.value.numpy().tolist()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_comes_back(tmp_path):
    things = Things(tmp_path / "new")
    assert things.checkpoints.restore() == 0
    for step in (3, 7):
        things.save(step)
    assert Things(tmp_path / "new").restore() == (7, 7, [7.0, -7.0])


def test_the_last_few_and_the_best_are_kept(tmp_path):
    things = Things(tmp_path)
    for step, metric in [(1, float("nan")), (2, 0.2), (3, None), (4, 0.3), (5, None), (6, None)]:
        things.save(step, metric=metric)
    assert names(tmp_path) == ["step-00000002", "step-00000005", "step-00000006"]
    assert things.checkpoints.restore_best() == 2
    assert things.value.numpy().tolist() == [2.0, -2.0]


def test_what_is_no_number_is_never_the_best(tmp_path):
    things = Things(tmp_path)
    for step, metric in [(1, float("nan")), (2, 0.5), (3, float("nan"))]:
        things.save(step, metric=metric)
    assert things.checkpoints.restore_best() == 2


def test_where_nothing_was_validated_there_is_no_best(tmp_path):
    things = Things(tmp_path)
    things.save(1)
    assert things.checkpoints.restore_best() is None


def test_a_damaged_best_is_passed_over_for_the_next(tmp_path):
    things = Things(tmp_path, keep=3)
    for step, metric in [(1, 0.1), (2, 0.3), (3, 0.2)]:
        things.save(step, metric=metric)
    cut_short(tmp_path / "step-00000001" / "state.index")
    assert things.checkpoints.restore_best() == 3
    assert "step-00000001: the checkpoint cannot be restored" in things.said[0]


def test_what_was_damaged_goes_when_something_whole_is_there_and_not_before(tmp_path):
    things = Things(tmp_path, keep=1)
    things.save(3)
    (tmp_path / "step-00000003").rename(tmp_path / "aside")
    things.save(7)
    (tmp_path / "aside").rename(tmp_path / "step-00000003")
    cut_short(tmp_path / "step-00000007" / "state.index")
    again = Things(tmp_path, keep=1)
    assert again.restore()[0] == 3
    assert names(tmp_path) == ["step-00000003", "step-00000007"]
    again.save(5)
    assert names(tmp_path) == ["step-00000005"]
    assert Things(tmp_path).restore()[0] == 5


def test_what_came_after_a_step_is_forgotten_where_something_older_is_there(tmp_path):
    things = Things(tmp_path, keep=5)
    for step in (10, 20, 30):
        things.save(step)
    things.checkpoints.forget_after(15)
    assert names(tmp_path) == ["step-00000010"]
    things.checkpoints.forget_after(5)
    assert names(tmp_path) == ["step-00000010"]


def test_files_that_a_system_puts_beside_a_checkpoint_do_no_harm(tmp_path):
    things = Things(tmp_path)
    things.save(1)
    for file in list((tmp_path / "step-00000001").iterdir()):
        (file.parent / f"._{file.name}").write_bytes(b"Mac OS X")
    (tmp_path / "step-00000001" / "@eaDir").mkdir()
    again = Things(tmp_path)
    assert again.restore()[0] == 1
    assert not again.said


def spoil_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut_short(file):
    file.write_bytes(file.read_bytes()[:-7])


@pytest.mark.parametrize("spoil", [spoil_bit, cut_short, lambda file: file.unlink()])
@pytest.mark.parametrize("which", ["state.index", "state.data-00000-of-00001", "about.json"])
def test_a_damaged_newest_is_passed_over_aloud(tmp_path, spoil, which):
    things = Things(tmp_path)
    for step in (3, 7):
        things.save(step)
    spoil(tmp_path / "step-00000007" / which)
    again = Things(tmp_path)
    assert again.restore() == (3, 3, [3.0, -3.0])
    (said,) = again.said
    assert said.startswith(f"{tmp_path / 'step-00000007'}: the checkpoint cannot be restored: ")
    assert said.endswith("; skipping this checkpoint")
    assert "\n" not in said


def test_where_all_are_damaged_it_is_an_error_about_the_newest(tmp_path):
    things = Things(tmp_path)
    for step in (3, 7):
        things.save(step)
        cut_short(tmp_path / f"step-{step:08d}" / "state.index")
    with refusal(RunError, "checkpoint-checksum-wrong", path=tmp_path / "step-00000007"):
        things.checkpoints.restore()


def test_what_belongs_to_other_networks_is_refused(tmp_path):
    Things(tmp_path).save(3)
    other = Checkpoints(
        tmp_path,
        tf.train.Checkpoint(step=tf.Variable(0, dtype=tf.int64), other=tf.Variable(0.0)),
        seed=1,
        keep=2,
        writes=True,
        warn=lambda text: None,
    )
    with refusal(RunError, "checkpoint-not-readable", path=tmp_path / "step-00000003"):
        other.restore()


def test_a_checkpoint_of_another_seed_is_refused(tmp_path):
    Things(tmp_path).save(3)
    with refusal(
        RunError, "checkpoint-seed-differs", path=tmp_path / "step-00000003", found=1, expected=2
    ):
        Things(tmp_path, seed=2).checkpoints.restore()


def test_a_worker_that_does_not_write_leaves_nothing(tmp_path):
    things = Things(tmp_path / "shared", writes=False)
    things.save(3)
    assert not (tmp_path / "shared").exists()


def test_what_a_kill_left_half_written_is_no_checkpoint_and_goes(tmp_path):
    things = Things(tmp_path)
    things.save(3)
    half = tmp_path / "step-00000007.partial-00ff00ff"
    half.mkdir()
    (half / "state.index").write_bytes(b"half")
    assert Things(tmp_path).restore()[0] == 3
    things.checkpoints.clear_up()
    assert names(tmp_path) == ["step-00000003"]


def test_what_is_written_is_read_back(tmp_path):
    things = Things(tmp_path)
    things.step.assign(4)
    with refusal(RunError, "checkpoint-step-wrong", expected=5, found=4):
        things.checkpoints.save(5)
    assert names(tmp_path) == []


def test_the_record_names_every_file(tmp_path):
    Things(tmp_path).save(3)
    about = json.loads((tmp_path / "step-00000003" / "about.json").read_text())
    assert about["step"] == 3
    assert about["seed"] == 1
    assert set(about["files"]) == {"state.index", "state.data-00000-of-00001"}


def test_a_folder_that_is_a_file_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((DiskError, RunError, OSError)):
        Things(tmp_path / "file").save(3)
