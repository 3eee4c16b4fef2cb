"""`mggr-edge calibrate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mggr_edge.cli.camera import camera_options
from mggr_edge.cli_errors import echo_note

if TYPE_CHECKING:
    from mggr_edge.live.picture_format import PictureFormat


@click.command()
@click.argument("input_", metavar="INPUT")
@click.option("--model", metavar="BUNDLE", default="default", show_default=True)
@click.option("--profile", metavar="FILE", help="Default: the user's own, under ~/.config.")
@camera_options
@click.option("--force", is_flag=True, help="Replace FILE; the user's own is always replaced.")
def calibrate(
    input_: str,
    model: str,
    profile: str | None,
    wanted: PictureFormat,
    force: bool,
) -> None:
    """Calibrate: measure your personal gaze offset.

    Look into the lens, then at the middle of your screen, and press Enter each
    time. `mggr-edge run` subtracts the measured offset from its estimates. No
    picture is stored.

    \b
    Examples:
      mggr-edge calibrate /dev/video0
      mggr-edge calibrate csi://0 --profile me.json
    """
    from mggr_edge.address_hints import closest_input
    from mggr_edge.addresses import INPUT_FORMS, closest_form, file_to_write, without_secrets
    from mggr_edge.bundle import Bundle
    from mggr_edge.calibrating import calibrate as measure
    from mggr_edge.errors import OutputExistsError, UsageError
    from mggr_edge.live.address import live_address
    from mggr_edge.profile import profile_file, write_profile
    from mggr_edge.user_folders import NO_HOME

    def ask(what: str) -> None:
        text = f"Please {what}, and press Enter"
        click.prompt(text, default="", show_default=False, prompt_suffix=" ")

    address = live_address(input_)
    if address is None:
        raise UsageError(
            f"{without_secrets(input_)} is no camera{closest_form(closest_input(input_))}; "
            f"cameras are {INPUT_FORMS}"
        )
    path = profile_file() if profile is None else file_to_write("--profile", profile)
    if path is None:
        raise UsageError(f"{NO_HOME}; set HOME, or name a file with --profile FILE")
    if profile is not None and path.exists() and not force:
        raise OutputExistsError(path)
    found = measure(
        address,
        Bundle.open(model),
        wanted=wanted,
        ask=ask,
        say=echo_note,
    )
    write_profile(path, found, force=True)
    screen, off = found.screen, found.offset
    click.echo(
        f"wrote {path}: the estimator is off by {off.pitch_deg:+.1f} (pitch) and "
        f"{off.yaw_deg:+.1f} (yaw) degrees; the screen's middle is {screen.pitch_deg:+.1f} and "
        f"{screen.yaw_deg:+.1f} degrees from the lens"
    )
