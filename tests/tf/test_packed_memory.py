"""Neither packing nor training takes more memory for a hundred times as many patches."""

import os
import re
import subprocess
import sys

import pytest

from packs import put_patches

TIMES = 200
ROOM_MB = 60
"""The larger set has 147 MB of pixels; half of them in memory would be too many."""

PACK = """
import sys
from pathlib import Path
from mggr_edge.common.progress import no_progress
from mggr_tf.data.packed.pack import pack_source
source, out = map(Path, sys.argv[1:])
pack_source(source, out, workers=1, shard_chunks=64, progress=no_progress, notify=print)
"""

READ = """
import sys
from dataclasses import replace
from pathlib import Path
from mggr_tf.config.resources import PackedConfig
from mggr_tf.config.files import load_config
from mggr_tf.data.packed.reader import open_pack
from mggr_tf.training.stage_parts import stage_dataset, stage_shares
config = load_config("mggr-edge")
samples = open_pack(Path(sys.argv[1]), how=PackedConfig(memory_mb=0), subjects=None, notify=print)
shares = stage_shares(config, "coarse")
for _ in stage_dataset(config, "coarse", samples, shares=shares, steps=(0, 300)):
    pass
"""

PEAK = """
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print("peak", int(line.split()[1]) // 1024)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="asks Linux for memory"),
]


def peak_mb(code, *arguments):
    """The most memory that a process had which ran this."""
    command = [sys.executable, "-c", code + PEAK, *map(str, arguments)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"peak (\d+)", said)[1])


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """60 patches, and the same under the names of 200 times as many people."""
    folder = tmp_path_factory.mktemp("sizes")
    small = put_patches(folder / "small")
    large = folder / "large"
    large.mkdir()
    for file in small.iterdir():
        subject, rest = file.name.split("_", 1)
        for number in range(TIMES):
            os.link(file, large / f"{int(subject) * 1000 + number}_{rest}")
    return small, large


def test_memory_does_not_grow_with_the_number_of_patches(sources, tmp_path):
    packing = [peak_mb(PACK, source, tmp_path / source.name) for source in sources]
    assert packing[1] < packing[0] + ROOM_MB
    reading = [peak_mb(READ, tmp_path / source.name) for source in sources]
    assert reading[1] < reading[0] + ROOM_MB
    print(f"packing {packing} MB, reading {reading} MB")
