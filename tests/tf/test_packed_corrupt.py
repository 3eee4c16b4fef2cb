"""A flipped bit: found by its checksum, counted, named, left out up to a limit."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from mggr_edge.errors import DataError
from mggr_tf.cli import main
from mggr_tf.config.resources import PackedConfig
from mggr_tf.data.rows import Shares
from mggr_tf.training.stage_parts import explained_corruption, stage_dataset
from packs import PATCHES, flip_a_bit, opened, pack, put_patches
from refusals import error_of, refusal


@pytest.fixture
def packed(tmp_path):
    pack(put_patches(tmp_path / "eyes"), tmp_path / "packed")
    return tmp_path / "packed"


def limited(path, limit, notify=print, *, subjects=None):
    how = PackedConfig(memory_mb=0, corrupt_limit=limit)
    return opened(path, how=how, notify=notify, subjects=subjects)


def train_on(samples, config, *, steps=(0, 40)):
    """Goes through the batches as a training does."""
    dataset = stage_dataset(config, "coarse", samples, shares=Shares(2), steps=steps)
    return [
        {k: v.numpy() for k, v in batch.items()}
        for batch in explained_corruption(iter(dataset), samples)
    ]


def test_check_finds_one_flipped_bit(packed):
    name = flip_a_bit(packed, 2, record=3)
    result = CliRunner().invoke(main, ["data", "check", str(packed)])
    assert result.exit_code == 1
    assert f"{name}: corrupt" in result.output
    assert "1 bad" in result.output


@pytest.mark.extended
@pytest.mark.parametrize("place", [3, 9, 500, -2])
def test_a_bit_is_found_wherever_it_is(packed, place):
    """In a record's length, in that one's checksum, in its data, in its own checksum."""
    file = packed / "shard-00000.tfrecord"
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    result = CliRunner().invoke(main, ["data", "check", str(packed)])
    assert result.exit_code == 1
    assert "shard-00000.tfrecord record" in result.output


def test_a_shard_that_was_cut_short_is_found(packed):
    file = packed / "shard-00004.tfrecord"
    file.write_bytes(file.read_bytes()[:-70_000])
    result = CliRunner().invoke(main, ["data", "check", str(packed)])
    assert result.exit_code == 1
    assert "shard-00004.tfrecord record 4: corrupt" in result.output


def test_another_shard_whose_records_are_whole_is_found(packed, tmp_path):
    pack(put_patches(tmp_path / "others", seed=6), tmp_path / "other")
    name = "shard-00001.tfrecord"
    (packed / name).write_bytes((tmp_path / "other" / name).read_bytes())
    result = CliRunner().invoke(main, ["data", "check", str(packed)])
    assert result.exit_code == 1
    assert f"{name}: checksum differs" in result.output


@pytest.mark.extended
def test_training_names_a_corrupt_record_and_goes_on_without_it(packed, tiny_config):
    unbroken = train_on(limited(packed, 1), tiny_config)
    name, said = flip_a_bit(packed, 1, record=2), []
    samples = limited(packed, 1, said.append)
    batches = train_on(samples, tiny_config)
    assert len(samples.corrupt) == 1
    assert len(said) == 1
    assert name in said[0]
    same = [
        np.array_equal(one["eye"], other["eye"])
        for one, other in zip(unbroken, batches, strict=True)
    ]
    assert 0.5 < np.mean(same) < 1  # others' places in the order are what they were
    assert_equal(batches, train_on(limited(packed, 1), tiny_config))
    assert_equal(batches[17:], train_on(limited(packed, 1), tiny_config, steps=(17, 40)))


def assert_equal(some, others):
    for one, other in zip(some, others, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_one_more_than_the_limit_ends_the_training_in_one_line(packed, tiny_config):
    names = [flip_a_bit(packed, shard) for shard in (0, 3)]
    expected = {"path": packed, "count": 2, "limit": 1, "records": ", ".join(names)}
    with refusal(DataError, "too-many-corrupt-records", **expected) as caught:
        train_on(limited(packed, 1), tiny_config)
    message = str(caught.value)
    assert "\n" not in message
    assert all(name in message for name in ("packed.corrupt_limit", *names))
    assert isinstance(caught.value.__cause__, tf.errors.OpError)


def test_no_whole_record_at_all_is_no_endless_search(packed, tiny_config):
    samples = limited(packed, 1000, subjects=("0001",))
    for number in samples.chosen[:8]:
        shard = int(samples.index.records["shard"][number])
        first = int(np.flatnonzero(samples.index.records["shard"] == shard)[0])
        flip_a_bit(packed, shard, record=int(number) - first)
    assert len(samples.chosen) == 8
    with refusal(DataError, "too-many-corrupt-records", path=packed, count=8):
        train_on(samples, tiny_config)


def test_reading_into_memory_leaves_it_out_and_names_it(packed):
    name, said = flip_a_bit(packed, 4, record=0), []
    samples = limited(packed, 1, said.append).in_memory()
    assert PATCHES - 3 <= len(samples) <= PATCHES - 2
    assert len(said) == 1
    assert name in said[0]
    with refusal(DataError, "too-many-corrupt-records", count=1, limit=0, records=name):
        limited(packed, 0).in_memory()


def test_another_fault_of_the_batches_keeps_its_own_error(packed, tiny_config):
    samples = limited(packed, 1)
    broken = tf.data.Dataset.range(1).map(lambda n: tf.debugging.check_numerics(n / 0, "odd"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="odd"):
        list(explained_corruption(iter(broken), samples))
    assert replace(samples).corrupt.failure is None


@pytest.mark.slow
def test_a_training_from_a_pack_ends_well_or_in_one_line(packed, tmp_path, tiny_changes):
    flip_a_bit(packed)
    changes = [*tiny_changes, "packed.memory_mb=0", "held_out=0.34"]
    run = [*["train", "--stage", "estimator", "--steps", "40", "--data"], str(packed)]

    def train(out, limit):
        flags = [part for one in changes for part in ("--set", one)]
        flags += ["--set", f"packed.corrupt_limit={limit}", "--out", str(tmp_path / out)]
        return CliRunner().invoke(main, [*run, *flags])

    well = train("well", 1)
    assert well.exit_code == 0, well.output
    assert "record 1 is corrupt" in well.output
    ill = train("ill", 0)
    error_of(ill, "too-many-corrupt-records", path=packed, count=1, limit=0)
