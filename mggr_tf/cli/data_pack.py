"""`mggr-tf data pack`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mggr_tf.cli.options import check_is_free, force_option, say

if TYPE_CHECKING:
    from mggr_tf.data.packed.pack import Packed

_INTERRUPTED = 130


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="SRC")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes; default: one for every core."
)
@force_option
def pack(source: Path, out: Path, workers: int | None, force: bool) -> None:
    """Pack a data set of any size into checksummed shards, which train as it does.

    \b
    Examples:
      mggr-tf data pack MPIIGaze/ packed/
      mggr-tf data pack patches/ packed/ --workers 2
      mggr-tf train --stage joint --data packed/ --out runs/large

    SRC is whatever `train --data` takes, but for drawn eyes: draw those with `data
    synth` first. Memory does not grow with the number of patches. Ended at any
    moment, even killed, the same command goes on where it was; until all is there
    the folder is called OUT.packing. The same source gives the same bytes.

    Patches that show no eye, or have no other of their person, side and head pose to
    be paired with, are left out and listed in left-out.csv. A corrupt file, or a
    patch without a gaze, is refused.
    """
    check_is_free(out, force=force)
    from mggr_edge.common.progress import progress
    from mggr_tf.data.packed.pack import pack_source

    try:
        packed = pack_source(source, out, workers=workers, force=force, progress=progress, say=say)
    except KeyboardInterrupt:
        say("\ninterrupted; the same command goes on from here")
        raise SystemExit(_INTERRUPTED) from None
    _tell(packed)
    click.echo(out)


def _tell(packed: Packed) -> None:
    say(
        f"packed {packed.patches} patches of {packed.subjects} subjects into {packed.shards} shards"
    )
    if packed.left_out:
        say(f"left out {packed.left_out} patches; left-out.csv says why")
