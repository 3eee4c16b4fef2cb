"""Training from a pack: the same batches for anybody, at any step, in any number of processes."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import DataError
from mggr_edge.models.conventions import Conventions
from mggr_tf.config.resources import PackedConfig
from mggr_tf.config.stages import Augmentation
from mggr_tf.data.closing_eyes import unseen_closing_eyes
from mggr_tf.data.packed.samples import PackedSamples
from mggr_tf.data.packed.stream import packed_pair_dataset
from mggr_tf.data.pairs import Closing, pair_dataset
from mggr_tf.data.rows import Shares
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import open_samples, open_split
from mggr_tf.runs.record import DataRecord
from mggr_tf.training.stage_parts import stage_dataset
from packs import NOTHING_IN_MEMORY, PATCHES, opened, pack, put_patches
from refusals import refusal

UNCHANGED = Augmentation(brightness=0, contrast=0, colour=0, shift_px=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A source, `eyes`, and its pack, `packed`."""
    made = tmp_path_factory.mktemp("packed")
    pack(put_patches(made / "eyes"), made / "packed")
    return made


@pytest.fixture(scope="module")
def packed(folder):
    return opened(folder / "packed")


def batches(samples, *, shares=None, steps=(0, 8), seed=3, how=UNCHANGED):
    make = packed_pair_dataset if isinstance(samples, PackedSamples) else pair_dataset
    made = make(
        samples,
        shares=shares or Shares(4),
        seed=seed,
        steps=steps,
        augmentation=how,
        conventions=Conventions(),
    )
    return list(made.as_numpy_iterator())


def assert_equal(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def patches_of(samples, images):
    """[B] which patches these pictures are."""
    uint8 = np.rint((images + 1) * 127.5).astype(np.uint8)
    return [int(np.flatnonzero((samples.images == one).all((1, 2, 3)))[0]) for one in uint8]


@pytest.mark.extended
def test_pairs_are_two_patches_of_one_group_with_their_labels(packed):
    known = packed.in_memory()
    for batch in batches(packed):
        source, target = patches_of(known, batch["eye"]), patches_of(known, batch["target"])
        assert all(one != other for one, other in zip(source, target, strict=True))
        np.testing.assert_array_equal(known.group[source], known.group[target])
        np.testing.assert_array_equal(known.gaze_deg[source], batch["source_gaze"])
        np.testing.assert_array_equal(known.gaze_deg[target], batch["target_gaze"])
        scale = Conventions().head_pose_scale_deg
        np.testing.assert_allclose(known.head_deg[source] / scale, batch["head_pose"], rtol=1e-6)


@pytest.mark.extended
def test_a_batch_depends_on_seed_and_step_alone(packed):
    assert packed.window_steps > 1
    unbroken = batches(packed, steps=(0, 11), how=Augmentation())
    for first in (1, 7):
        assert_equal(unbroken[first:], batches(packed, steps=(first, 11), how=Augmentation()))
    another = batches(packed, steps=(0, 1), seed=4)[0]
    assert not np.array_equal(another["source_gaze"], unbroken[0]["source_gaze"])
    assert batches(packed, steps=(5, 5)) == []


@pytest.mark.extended
@pytest.mark.parametrize("parts", [1, 2])
def test_two_workers_see_together_what_one_sees(packed, parts):
    whole = batches(packed, shares=Shares(8, parts=parts), how=Augmentation())
    halves = [
        batches(packed, shares=Shares(8, replicas=2, first=n, parts=parts), how=Augmentation())
        for n in (0, 1)
    ]
    for one, *split in zip(whole, *halves, strict=True):
        for name, values in one.items():
            cut = np.stack([half[name].reshape(parts, -1, *values.shape[1:]) for half in split], 1)
            np.testing.assert_array_equal(cut.reshape(values.shape), values, err_msg=name)


@pytest.mark.extended
def test_two_devices_of_one_process_see_together_what_one_sees(packed):
    whole = batches(packed, shares=Shares(8), how=Augmentation())
    dealt = batches(packed, shares=Shares(8, replicas=2, local=2), how=Augmentation())
    for step, one in enumerate(whole):
        for name, values in one.items():
            both = np.concatenate([half[name] for half in dealt[2 * step : 2 * step + 2]])
            np.testing.assert_array_equal(both, values, err_msg=name)


@pytest.mark.extended
def test_a_worker_reads_only_what_its_rows_need(packed, monkeypatch):
    read = records_read(packed, Shares(8), monkeypatch)
    mine = records_read(packed, Shares(8, replicas=2, first=1), monkeypatch)
    assert len(read) == 2 * len(mine)
    assert set(mine) <= set(read)


def records_read(packed, shares, monkeypatch):
    """Numbers of the records that one window reads."""
    from mggr_tf.data.packed.chunk import Records

    found, whole = [], Records.read

    def noted(self, number):
        def note(value):
            found.append(int(value))
            return value

        return whole(self, tf.numpy_function(note, [number], tf.int64))

    monkeypatch.setattr(Records, "read", noted)
    batches(packed, shares=shares, steps=(0, packed.window_steps))
    monkeypatch.undo()
    return found


def test_an_epoch_goes_through_all_chunks_once_in_an_order_of_its_own(packed, monkeypatch):
    chunks = len(packed.index.records)
    rows = 4
    windows = chunks // (rows * packed.how.chunks)
    assert windows * rows * packed.how.chunks == chunks
    from mggr_tf.data.packed import stream

    made = stream._Windows(packed, Shares(rows), 3)
    places = [
        np.concatenate(
            [made._places(tf.constant(e * windows + w, tf.int64)) for w in range(windows)]
        )
        for e in range(2)
    ]
    for epoch in places:
        assert sorted(epoch) == list(range(chunks))
    assert not np.array_equal(*places)


@pytest.mark.extended
def test_every_patch_is_looked_at_about_once_an_epoch(packed):
    epoch = packed.window_steps * len(packed.index.records) // (4 * packed.how.chunks)
    known = packed.in_memory()
    seen = [p for b in batches(packed, steps=(0, 4 * epoch)) for p in patches_of(known, b["eye"])]
    assert 0.5 < len(seen) * 2 / (4 * PATCHES) < 2
    assert len(set(seen)) > 0.8 * PATCHES


def test_only_the_subjects_that_were_named_are_seen(packed):
    known = packed.in_memory()
    for batch in batches(packed.of_subjects(["0003"])):
        assert set(known.subject[patches_of(known, batch["eye"])]) == {"0003"}


def test_one_chunk_is_enough(packed):
    one = replace(packed, chosen=packed.chosen[:1])
    assert len(batches(one)) == 8


@pytest.mark.extended
def test_read_into_memory_it_gives_the_batches_of_its_source(folder, tiny_config):
    config = replace(tiny_config, held_out=0.34)
    splits = [split_of(folder / name, config) for name in ("eyes", "packed")]
    for one, other in zip(splits[0], splits[1], strict=True):
        assert isinstance(other, EyeSamples)
        assert one.fingerprint() == other.fingerprint()
        assert_equal(batches(one, how=Augmentation()), batches(other, how=Augmentation()))


def split_of(path, config):
    split = open_split(
        str(path), config=config, stage="coarse", subjects=None, progress=no_progress, notify=print
    )
    return split.train, split.held_out


def test_a_large_pack_is_split_by_subject_and_stays_on_disk(folder, tiny_config):
    config = replace(tiny_config, packed=NOTHING_IN_MEMORY, held_out=0.34)
    small, small_held_out = split_of(folder / "packed", replace(tiny_config, held_out=0.34))
    train, held_out = split_of(folder / "packed", config)
    assert isinstance(train, PackedSamples)
    assert isinstance(held_out, EyeSamples)
    assert (train.subjects, len(train)) == (small.subjects, len(small))
    assert held_out.fingerprint() == small_held_out.fingerprint()
    split = open_split(
        str(folder / "packed"),
        config=config,
        stage="coarse",
        subjects=("0001",),
        progress=no_progress,
        notify=print,
    )
    record = DataRecord.of(split)
    assert (record.subjects, record.held_out, record.patches) == (("0001",), (), PATCHES // 3)


def test_all_who_are_left_aside_are_written_down_although_only_some_are_shown(
    folder, tiny_config, monkeypatch
):
    monkeypatch.setattr("mggr_tf.data.source._HELD_OUT", 1)
    split = open_split(
        str(folder / "packed"),
        config=replace(tiny_config, packed=NOTHING_IN_MEMORY),
        stage="coarse",
        subjects=None,
        held_out=("0001", "0003", "who is not there"),
        progress=no_progress,
        notify=print,
    )
    assert len(split.held_out.subjects) == 1
    assert DataRecord.of(split).held_out == ("0001", "0003")
    assert split.train.subjects == ("0002",)


def test_a_preview_is_bounded_seeded_and_of_whole_chunks(packed):
    some = packed.preview(11)
    assert 8 < len(some) <= 11
    assert np.unique(some.group, return_counts=True)[1].min() >= 2
    assert some.fingerprint() == packed.preview(11).fingerprint()
    assert some.fingerprint() != packed.preview(11, seed=1).fingerprint()
    assert packed.preview(9).subjects == packed.subjects


def test_what_must_be_in_memory_and_is_too_large_is_refused(folder, tiny_config):
    config = replace(tiny_config, packed=NOTHING_IN_MEMORY)
    exceeded = {"source": folder / "packed", "patches": PATCHES, "limit_mb": 0}
    with refusal(DataError, "pack-exceeds-memory", **exceeded):
        open_samples(
            str(folder / "packed"), config=config, subjects=None, progress=no_progress, notify=print
        )
    enough = replace(tiny_config, packed=PackedConfig(memory_mb=1))
    some = open_samples(
        str(folder / "packed"),
        config=enough,
        subjects=("0002",),
        progress=no_progress,
        notify=print,
    )
    assert some.subjects == ("0002",)


def test_losses_that_know_more_of_drawn_eyes_are_refused(packed, tiny_config):
    for code, loss, stage, options in (
        ("flow-unknown", "exact_flow", "coarse", {"with_flow": True}),
        ("landmarks-unknown", "landmarks", "estimator", {"with_landmarks": True}),
    ):
        with refusal(DataError, code, source="eyes", loss=loss) as caught:
            packed_pair_dataset(
                packed,
                shares=Shares(2),
                seed=1,
                steps=(0, 1),
                augmentation=UNCHANGED,
                conventions=Conventions(),
                **options,
            )
        assert "synthetic" in str(caught.value), stage


@pytest.mark.extended
def test_a_stage_s_batches_come_from_a_pack_as_from_memory(packed, tiny_config):
    whole = stage_dataset(tiny_config, "coarse", packed, shares=Shares(2), steps=(0, 3))
    direct = stage_dataset(
        tiny_config, "coarse", packed.in_memory(), shares=Shares(2), steps=(0, 3)
    )
    assert whole.element_spec == direct.element_spec
    assert len(list(whole)) == 3


@pytest.mark.extended
def test_eyes_that_close_are_mixed_with_packed_ones_as_with_those_in_memory(packed):
    closing = Closing(unseen_closing_eyes(3, 1), 0.5)
    how = {
        "shares": Shares(16),
        "seed": 3,
        "steps": (0, 2),
        "augmentation": Augmentation(occlusion=0.5),
        "conventions": Conventions(),
        "closing": closing,
    }
    streamed = list(packed_pair_dataset(packed, **how))
    direct = list(pair_dataset(packed.in_memory(), **how))
    for one, other in zip(streamed, direct, strict=True):
        assert one.keys() == other.keys()
        for which in ("source", "target"):
            known = [~np.isnan(batch[f"{which}_state"]) for batch in (one, other)]
            np.testing.assert_array_equal(*known)
            assert known[0][:, 2].all()
            assert 0 < known[0][:, 0].mean() < 1
            # Of drawn eyes both have the same.
            drawn = known[0][:, 0]
            seen = [batch[f"{which}_state"].numpy()[drawn] for batch in (one, other)]
            np.testing.assert_array_equal(*seen)
