"""The command `mggr-edge cameras`."""

from __future__ import annotations

import click


@click.command()
def cameras() -> None:
    """List the cameras of this machine, one per line.

    Each line contains the INPUT that selects the camera, and its name. On Windows and macOS, each
    camera is opened for a moment, and its frame size is shown instead of its name. (Not yet tested
    on Windows and macOS.)

    \b
    Example:
      mggr-edge cameras
    """
    from mggr_edge.common.cli_group import echo_note
    from mggr_edge.media.live.cameras import list_cameras

    found = list_cameras()
    for camera in found:
        click.echo(f"{camera.address}  {camera.name}")
    if not found:
        echo_note("no camera was found")
