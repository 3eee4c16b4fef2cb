"""Packing: deterministic, gone on with, and refused as training would refuse the source."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from scipy.io import savemat

from mggr_edge.errors import DataError, OutputExistsError, UsageError
from mggr_tf.cli import main
from mggr_tf.data.columbia import SYNTHETIC_MARK
from mggr_tf.data.listing import samples_of, scan_listing
from mggr_tf.data.packed import pack as packing
from mggr_tf.data.packed.index import NO_PARTNER
from mggr_tf.data.packed.reader import listing
from mggr_tf.data.packed.samples import PackedSamples
from mggr_tf.data.source import scan_source
from packs import PATCHES, SUBJECTS, content, opened, pack, put_patches
from refusals import error_of, refusal


@pytest.fixture
def source(tmp_path):
    return put_patches(tmp_path / "eyes")


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A source and its pack, not to be changed."""
    folder = tmp_path_factory.mktemp("ready")
    pack(put_patches(folder / "eyes"), folder / "packed")
    return folder


def test_a_pack_holds_every_patch_once(ready):
    packed = opened(ready / "packed").in_memory()
    direct = samples_of(scan_source(ready / "eyes"), source=ready / "eyes")
    assert len(packed) == PATCHES
    assert packed.fingerprint() == direct.fingerprint()
    np.testing.assert_array_equal(packed.images, direct.images)
    assert (packed.source, packed.licence) == (direct.source, direct.licence)


def test_a_record_holds_patches_of_one_group_and_large_groups_are_dealt_evenly(ready):
    index = opened(ready / "packed").index
    assert index.about.chunk_patches == 4
    assert sorted(index.records["patches"]) == [2] * 12 + [3] * 12
    assert len(index.about.shards) == 5
    assert np.unique(index.records["group"], return_counts=True)[1].tolist() == [2] * 12


def test_a_pack_lists_its_patches_as_they_were_photographed(ready):
    packed, direct = scan_listing(listing(ready / "packed")), scan_source(ready / "eyes")

    def sorted_labels(scanned):
        return sorted(map(str, scanned.labels))

    assert sorted_labels(packed) == sorted_labels(direct)
    found = {
        str(label): image.tobytes()
        for label, image in zip(packed.labels, packed.images, strict=True)
    }
    for label, image in zip(direct.labels, direct.images, strict=True):
        assert found[str(label)] == image.tobytes()


def test_check_and_split_count_a_pack_as_its_source(ready, tmp_path):
    said = [CliRunner().invoke(main, ["data", "check", str(ready / n)]) for n in ("eyes", "packed")]
    assert said[0].exit_code == said[1].exit_code == 0, said[1].output
    assert said[0].output == said[1].output
    split = tmp_path / "split.yaml"
    made = CliRunner().invoke(main, ["data", "split", str(ready / "packed"), "--out", str(split)])
    assert made.exit_code == 0, made.output
    assert "train: " in split.read_text()


@pytest.mark.extended
@pytest.mark.processes
def test_any_number_of_processes_gives_the_same_bytes(ready, tmp_path):
    pack(ready / "eyes", tmp_path / "packed", workers=2)
    assert content(tmp_path / "packed") == content(ready / "packed")


def test_a_pack_is_not_replaced_without_force(source, tmp_path):
    out = tmp_path / "packed"
    out.mkdir()
    with pytest.raises(OutputExistsError):
        pack(source, out)
    pack(source, out, force=True)
    assert len(opened(out)) == PATCHES


def test_the_licence_travels_along(source, tmp_path):
    (source / "licence.txt").write_text("for our\nown use")
    pack(source, tmp_path / "packed")
    assert opened(tmp_path / "packed").licence == "for our own use"
    (source / "licence.txt").unlink()
    (source / SYNTHETIC_MARK).write_text("")
    pack(source, tmp_path / "packed", force=True)
    assert "Apache-2.0" in opened(tmp_path / "packed").licence


def test_what_shows_no_eye_or_has_no_partner_is_left_out_and_listed(source, tmp_path):
    blank = np.full((64, 64, 3), 90, np.uint8)
    cv2.imwrite(str(source / "0001_2m_0P_0V_0H_L.jpg"), blank)
    shutil.copy(source / "0001_2m_0P_0V_0H_R.jpg", source / "0009_2m_0P_0V_0H_R.jpg")
    for yaw in (0, 5):
        shutil.copy(source / "0001_2m_0P_0V_0H_R.jpg", source / f"0008_2m_0P_0V_{yaw}H_R.jpg")
    cv2.imwrite(str(source / "0008_2m_0P_0V_5H_R.jpg"), blank)
    packed = pack(source, tmp_path / "packed")
    assert (packed.patches, packed.left_out, packed.subjects) == (PATCHES - 1, 4, len(SUBJECTS))
    with open(tmp_path / "packed" / "left-out.csv", newline="") as table:
        assert list(csv.reader(table)) == [
            ["file", "within", "reason"],
            ["0001_2m_0P_0V_0H_L.jpg", "", "blank"],
            ["0008_2m_0P_0V_0H_R.jpg", "", NO_PARTNER],
            ["0008_2m_0P_0V_5H_R.jpg", "", "blank"],
            ["0009_2m_0P_0V_0H_R.jpg", "", NO_PARTNER],
        ]


def test_patches_that_share_a_file_are_packed_and_named(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 36, 60), np.uint8)
    images[1] = 90
    gazes = np.tile([[0.0, 0.0, -1.0]], (6, 1))
    gazes[2] = 0
    poses = rng.uniform(-0.02, 0.02, (6, 3))
    eyes = {"image": images, "gaze": gazes, "pose": poses}
    source = tmp_path / "eyes"
    for day in (1, 2):
        (source / "p00").mkdir(parents=True, exist_ok=True)
        savemat(source / "p00" / f"day0{day}.mat", {"data": {"left": eyes, "right": eyes}})
    packed = pack(source, tmp_path / "packed", chunk_patches=32)
    assert (packed.patches, packed.left_out) == (16, 8)
    direct = samples_of(scan_source(source), source=source)
    assert opened(tmp_path / "packed").in_memory().fingerprint() == direct.fingerprint()
    left_out = (tmp_path / "packed" / "left-out.csv").read_text().splitlines()
    assert left_out[1] == "p00/day01.mat,left 2,blank"
    assert left_out[2].startswith("p00/day01.mat,left 3,gaze is not a unit vector")


def test_a_corrupt_file_is_refused_by_name_and_mended_the_same_command_goes_on(source, tmp_path):
    spoilt = source / "0002_2m_0P_0V_0H_L.jpg"
    whole = spoilt.read_bytes()
    spoilt.write_bytes(whole[: len(whole) // 2])
    with refusal(DataError, "patch-invalid", path=spoilt, reason="corrupt"):
        pack(source, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
    spoilt.write_bytes(whole)
    assert pack(source, tmp_path / "packed").kept > 0
    assert len(opened(tmp_path / "packed")) == PATCHES


def test_patches_without_a_gaze_are_refused(tmp_path):
    source = tmp_path / "eyes"
    source.mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    rows = ["file,subject,side,pitch_deg,yaw_deg"]
    for number in range(3):
        cv2.imwrite(str(source / f"{number}.jpg"), picture)
        rows.append(f"{number}.jpg,anna,left," + ("," if number == 2 else f"0,{number}"))
    (source / "eyes.csv").write_text("\n".join(rows))
    with refusal(DataError, "gaze-label-missing", path=source, count=1, patches=3):
        pack(source, tmp_path / "packed")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["eyes"]
    (source / "eyes.csv").write_text("\n".join(rows[:-1]))
    assert pack(source, tmp_path / "packed").patches == 2


def test_what_a_changed_source_concerns_is_written_again(source, tmp_path):
    out, said = tmp_path / "packed", []
    stopped_before_the_end(source, out)
    other = put_patches(tmp_path / "other", subjects=("0004", "0005", "0006"))
    changed = source / "0003_2m_15P_0V_0H_L.jpg"
    changed.write_bytes((other / "0006_2m_0P_0V_0H_L.jpg").read_bytes())
    packed = pack(source, out, notify=said.append)
    assert 0 < packed.kept < packed.shards
    assert any(f"wrote {packed.shards - packed.kept} shards" in line for line in said)
    pack(source, tmp_path / "anew")
    assert content(out) == content(tmp_path / "anew")


def test_what_a_larger_source_left_is_gone_in_the_end(source, tmp_path):
    stopped_before_the_end(source, tmp_path / "packed")
    for file in source.glob("000[23]*"):
        file.unlink()
    assert pack(source, tmp_path / "packed").patches == PATCHES // 3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["eyes", "packed"]


def test_a_damaged_shard_of_an_earlier_try_is_written_again(source, tmp_path):
    out = tmp_path / "packed"
    stopped_before_the_end(source, out)
    shard = tmp_path / "packed.packing" / "pack" / "shard-00002.tfrecord"
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    packed = pack(source, out)
    assert packed.kept == packed.shards - 1
    pack(source, tmp_path / "anew")
    assert content(out) == content(tmp_path / "anew")


def stopped_before_the_end(source, out):
    """As if the power had gone after the last shard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pack(source, out)


def interrupted(*_):
    raise KeyboardInterrupt


PACK = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from mggr_tf.data.packed import shard
whole = shard.write_shard
def slow(order):
    done = whole(order)
    time.sleep(0.3)
    return done
from mggr_tf.data.packed import pack as packing
packing.write_shard = slow
from packs import pack
pack(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.extended
@pytest.mark.processes
def test_killed_in_the_middle_and_gone_on_with_it_is_what_an_unbroken_one_is(ready, tmp_path):
    helpers = os.path.dirname(sys.modules["packs"].__file__)
    arguments = [str(ready / "eyes"), str(tmp_path / "packed"), helpers]
    process = subprocess.Popen([sys.executable, "-c", PACK, *arguments])
    try:
        second = tmp_path / "packed.packing" / "shard-00001.json"
        deadline = time.monotonic() + 60
        while not second.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert second.exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "packed").exists()
    packed = pack(ready / "eyes", tmp_path / "packed")
    assert 2 <= packed.kept < packed.shards
    assert content(tmp_path / "packed") == content(ready / "packed")
    assert not (tmp_path / "packed.packing").exists()


FULL = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
sys.path.insert(0, sys.argv[3])
from mggr_edge.errors import DiskError
from packs import pack
try:
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
except DiskError as error:
    print(error)
"""


@pytest.mark.extended
@pytest.mark.processes
def test_a_full_disk_is_said_in_one_line_and_gone_on_from(ready, tmp_path):
    helpers = os.path.dirname(sys.modules["packs"].__file__)
    arguments = [str(ready / "eyes"), str(tmp_path / "packed"), helpers]
    said = subprocess.run(
        [sys.executable, "-c", FULL, *arguments], capture_output=True, text=True, check=True
    ).stdout
    assert said.count("\n") == 1
    assert re.search(r"/packed was .*: \S+shard-00000.part-\d+: file too large; ", said)
    assert "packed.packing" in said
    pack(ready / "eyes", tmp_path / "packed")
    assert content(tmp_path / "packed") == content(ready / "packed")


LAST_FILES = """
import errno, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from mggr_edge.errors import DiskError
from mggr_tf.data.packed import pack as packing
from packs import pack
def fail(*_, **__):
    if sys.argv[5] == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.kill(os.getpid(), getattr(signal, sys.argv[5]))
setattr(packing, sys.argv[4], fail)
try:
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
except DiskError as error:
    print(error)
"""


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.parametrize(
    ("step", "how"),
    [("write_index", "full"), ("write_index", "SIGINT"), ("move_folder", "SIGKILL")],
)
def test_what_ends_it_in_the_last_moment_costs_no_shard(ready, tmp_path, step, how):
    helpers = os.path.dirname(sys.modules["packs"].__file__)
    arguments = [str(ready / "eyes"), str(tmp_path / "packed"), helpers, step, how]
    ended = subprocess.run(
        [sys.executable, "-c", LAST_FILES, *arguments], capture_output=True, text=True, check=False
    )
    assert [path.name for path in tmp_path.iterdir()] == ["packed.packing"]
    if how == "full":
        assert "no space left on device; " in ended.stdout
        assert str(tmp_path / "packed.packing") in ended.stdout
    packed = pack(ready / "eyes", tmp_path / "packed")
    assert packed.kept == packed.shards
    assert content(tmp_path / "packed") == content(ready / "packed")
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def test_two_do_not_pack_into_one_folder(source, tmp_path):
    with (
        packing._at_work_in(tmp_path / "packed.packing"),
        refusal(UsageError, "pack-in-progress", path=tmp_path / "packed.packing"),
    ):
        pack(source, tmp_path / "packed")


def test_a_source_is_not_replaced_by_its_pack(source):
    with refusal(UsageError, "output-is-source", path=source):
        pack(source, source, force=True)


def test_a_pack_is_not_packed_again(ready, tmp_path):
    with refusal(DataError, "already-packed", path=ready / "packed"):
        pack(ready / "packed", tmp_path / "twice")


def test_a_damaged_index_and_a_missing_shard_are_named(ready, tmp_path):
    for name, damage, code, reason in (
        (
            "index.json",
            lambda f: f.write_text(f.read_text().replace("eyes", "eyez")),
            "pack-damaged",
            "wrong checksum",
        ),
        ("index.json", lambda f: f.write_text(f.read_text()[:-9]), "pack-damaged", ""),
        (
            "records.npy",
            lambda f: f.write_bytes(f.read_bytes()[:-1] + b"\1"),
            "pack-damaged",
            "wrong checksum",
        ),
        ("shard-00001.tfrecord", lambda f: f.unlink(), "shard-missing", ""),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(ready / "packed", copy)
        damage(copy / name)
        with refusal(DataError, code, path=copy / name) as caught:
            opened(copy)
        assert reason in caught.value.fields.get("reason", "")
        shutil.rmtree(copy)


def test_a_pack_knows_its_people_without_reading_a_picture(ready):
    everybody = opened(ready / "packed")
    assert isinstance(everybody, PackedSamples)
    assert everybody.subjects == SUBJECTS
    one = everybody.of_subjects(["0002"])
    assert (len(one), one.subjects) == (PATCHES // 3, ("0002",))
    assert one.fingerprint() != everybody.fingerprint()
    with refusal(DataError, "subject-unknown", source="eyes", subjects="0009"):
        everybody.of_subjects(["0009"])
    with refusal(DataError, "subject-without-patch", path=ready / "packed", subjects="0009"):
        opened(ready / "packed", subjects=("0009",))


def test_the_command_packs_and_says_what(source, tmp_path):
    out = tmp_path / "packed"
    made = CliRunner().invoke(main, ["data", "pack", str(source), str(out)])
    assert made.exit_code == 0, made.output
    assert f"packed {PATCHES} patches of 3 subjects into 1 shards" in made.output
    again = CliRunner().invoke(main, ["data", "pack", str(source), str(out)])
    assert "--force" in str(error_of(again, "output-exists", path=out))
