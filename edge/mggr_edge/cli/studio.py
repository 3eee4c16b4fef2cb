"""The command `mggr-edge studio`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mggr_edge.cli.options import camera_options
from mggr_edge.common.cli_group import echo_note

if TYPE_CHECKING:
    from mggr_edge.media.live.address import CameraFormat


@click.command()
@click.argument("input_", metavar="[INPUT]", default="/dev/video0")
@click.option(
    "--model",
    metavar="BUNDLE",
    default="default",
    show_default=True,
    help="Use this bundle of models: a folder or zip file that `mggr-tf export` wrote, or the "
    "packaged weights `default` or `default-int8`.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Serve the page on this port. 0 selects a free port.",
)
@click.option(
    "--profile",
    metavar="FILE|none",
    help="Correct the estimated gazes with the profile FILE. A calibration on the page replaces "
    "this file. `none` uses no profile. Default for cameras of this machine: "
    "~/.config/mggr-edge/profile.json.",
)
@camera_options
def studio(
    input_: str, model: str, port: int, profile: str | None, camera_format: CameraFormat
) -> None:
    """Adjust the gaze redirection on a page in your web browser.

    INPUT is a camera (/dev/video0 by default), a stream, a video file or a picture. A video file is
    repeated endlessly. The page shows the frames with a slider. To the left of the slider, the page
    shows the original frame. To the right, it shows the redirected frame. Drag the ring on a face
    to set the direction in which the eyes look. On the page, you can also set the strength, see the
    time per stage, and calibrate. If a camera is lost, the page waits for the camera.

    No data leaves this machine and no picture is stored. The page is served on 127.0.0.1 only. The
    command prints the address of the page. The address contains a random token, so other users of
    this machine cannot see the pictures. To see the page of a remote device, run `ssh -L
    8080:127.0.0.1:8080 DEVICE` and open the address that the device printed.

    \b
    Examples:
      mggr-edge studio
      mggr-edge studio csi://0 --input-width 1280 --input-height 720
      mggr-edge studio call.mp4 --port 9000
      mggr-edge studio rtsp://camera.local/live --profile none
    """
    from mggr_edge.runs.options import SourceOptions
    from mggr_edge.tools.studio.server import run_studio

    run_studio(input_, SourceOptions(model, profile, camera_format), port=port, notify=echo_note)
