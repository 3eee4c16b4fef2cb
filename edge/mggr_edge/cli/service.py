"""The command `mggr-edge service`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mggr_edge.cli.options import log_format_option
from mggr_edge.common.cli_group import echo_error, echo_note, set_log_format

if TYPE_CHECKING:
    from mggr_edge.common.cli_group import LogFormat


@click.command()
@click.option(
    "--config",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="Config of the service: a TOML file with one table [[camera]] per camera.",
)
@click.option("--check", is_flag=True, help="Only check FILE. Open no camera and no model.")
@log_format_option
def service(config: Path, check: bool, log_format: LogFormat) -> None:
    """Redirect the gaze in the streams of one or more cameras until a signal ends the service.

    The keys of a [[camera]] are `name`, `input`, `output` and most options of `mggr-edge run`
    without the leading dashes (see docs/device.md). The keys at the top of the file are `model`,
    `prometheus`, `max-temperature` and `step-down`. A lost camera is opened again. If a camera
    fails, the others continue. All cameras share the loaded models. If the machine is overloaded,
    they step down together.

    SIGHUP loads FILE again: changed cameras start again, and the others continue. If FILE is
    invalid then, the error is logged, and the cameras stay as they are.

    \b
    Example of FILE:
      prometheus = 9105
      [[camera]]
      name = "door"
      input = "rtsp://door.local/live"
      output = "door.mp4"
      segment = 60
      keep-hours = 48
      [[camera]]
      name = "desk"
      input = "camera://0"
      output = "rtsp://viewer:secret@:8554/desk"

    \b
    Examples:
      mggr-edge service --config service.toml --check
      mggr-edge service --config service.toml --log-format json
    """
    from mggr_edge.runs.camera_service import CameraService
    from mggr_edge.runs.service_config import read_service_config

    set_log_format(log_format)
    if check:
        checked = read_service_config(config)
        click.echo(f"{config} is valid; cameras: {', '.join(checked.names)}")
        return
    CameraService(config, note=echo_note, error=echo_error).run()
