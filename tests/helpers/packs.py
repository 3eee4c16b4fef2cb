"""Small sources of patches and packs of them."""

import cv2
import numpy as np

from mggr_edge.common.progress import no_progress
from mggr_tf.config.resources import PackedConfig
from mggr_tf.data.packed.pack import pack_source
from mggr_tf.data.packed.samples import open_pack

SUBJECTS, HEADS, YAWS = ("0001", "0002", "0003"), (0, 15), (-10, -5, 0, 5, 10)
PATCHES = len(SUBJECTS) * len(HEADS) * 2 * len(YAWS)
NOTHING_IN_MEMORY = PackedConfig(memory_mb=0)


def put_patches(folder, *, subjects=SUBJECTS, seed=5):
    """60 patches, 5 of each subject, side and head pose; noise, of which no two are alike."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for subject in subjects:
        for head in HEADS:
            for yaw in YAWS:
                for eye in "LR":
                    picture = rng.integers(0, 256, (64, 64, 3), np.uint8)
                    name = f"{subject}_2m_{head}P_0V_{yaw}H_{eye}.jpg"
                    cv2.imwrite(str(folder / name), picture)
    return folder


def pack(source, out, **changes):
    """Packs into 24 records of 2 or 3 patches each, 5 to a shard."""
    options = {"workers": 1, "chunk_patches": 4, "shard_chunks": 5, "notify": print, **changes}
    return pack_source(source, out, progress=no_progress, **options)


def content(folder):
    """All files of a folder, by name."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def opened(path, *, how=NOTHING_IN_MEMORY, subjects=None, notify=print):
    """A pack to train on."""
    return open_pack(path, how=how, subjects=subjects, notify=notify)


def flip_a_bit(path, shard=0, *, record=0):
    """Spoils the pixels of a record of a shard; returns how a person finds it."""
    samples = opened(path)
    records = samples.index.records[samples.index.records["shard"] == shard]
    file = path / samples.index.about.shards[shard].file
    data = bytearray(file.read_bytes())
    data[int(records["offset"][record]) + 5000] ^= 16
    file.write_bytes(data)
    return f"{file.name} record {record + 1}"
