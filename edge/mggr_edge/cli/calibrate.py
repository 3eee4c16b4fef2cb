"""The command `mggr-edge calibrate`."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from mggr_edge.cli.options import camera_options
from mggr_edge.common.cli_group import echo_note

if TYPE_CHECKING:
    from mggr_edge.media.live.address import CameraFormat
    from mggr_edge.runs.calibration import Calibration, LookProgress
    from mggr_edge.runs.options import SourceOptions


@click.command()
@click.argument("input_", metavar="INPUT")
@click.option(
    "--model",
    metavar="BUNDLE",
    default="default",
    show_default=True,
    help="Calibrate this bundle of models: a folder or zip file that `mggr-tf export` wrote, or "
    "the packaged weights `default` or `default-int8`.",
)
@click.option(
    "--profile",
    metavar="FILE",
    help="Write the profile to FILE. Default: your own profile, ~/.config/mggr-edge/profile.json.",
)
@camera_options
@click.option(
    "--force",
    is_flag=True,
    help="Replace FILE if it exists. Without --profile, your own profile is always replaced.",
)
def calibrate(
    input_: str,
    model: str,
    profile: str | None,
    camera_format: CameraFormat,
    force: bool,
) -> None:
    """Calibrate: measure your personal gaze offset.

    Press Enter, look into the lens of the camera and turn your head slowly for five seconds. Turn
    your head by about 15 degrees to each side, and also a little up and down. The command measures
    the error of the estimated gaze for different head poses, and stores this error in a file (the
    profile). `mggr-edge run` subtracts the error from its estimates. No picture is stored.

    INPUT is a camera, or a video file of a person who looks into the lens. Only the first minute of
    a video is used. Frames with closed eyes are ignored, and short glances away from the lens have
    no effect. If the head hardly turns, the correction does not depend on the head pose.

    At the end, the command prints the mean gaze error before and after correction, in degrees
    (lower is better). The error after correction is cross-validated: the duration is divided into
    five periods. The frames of each period are corrected with a fit to the other four periods.

    \b
    Examples:
      mggr-edge calibrate /dev/video0
      mggr-edge calibrate csi://0 --profile me.json
      mggr-edge calibrate look.mp4 --profile me.json
    """
    from mggr_edge.common.addresses import file_to_write
    from mggr_edge.common.folders import NO_HOME
    from mggr_edge.errors import OutputExistsError, UsageError
    from mggr_edge.runs.options import SourceOptions
    from mggr_edge.runs.profile import profile_file, write_profile

    path = profile_file() if profile is None else file_to_write("--profile", profile)
    if path is None:
        raise UsageError(
            f"{NO_HOME}; set HOME, or pass a file with --profile FILE", code="no-home-folder"
        )
    if profile is not None and path.exists() and not force:
        raise OutputExistsError(path)
    options = SourceOptions(model, camera_format=camera_format)
    found = _calibration(input_, options)
    write_profile(path, found.profile, force=True)
    pitch_deg, yaw_deg = found.profile.correction.offset_deg
    click.echo(
        f"wrote {path}: mean error {found.before_deg:.1f} degrees before and "
        f"{found.after_deg:.1f} degrees after correction (cross-validated, "
        f"{found.profile.frames} frames with open eyes); offset {pitch_deg:+.1f} (pitch) and "
        f"{yaw_deg:+.1f} (yaw) degrees"
    )
    for note in found.notes:
        echo_note(f"note: {note}")


def _calibration(input_: str, options: SourceOptions) -> Calibration:
    """Calibrate with a camera or a video file. INPUT is checked before the bundle is opened."""
    from mggr_edge.common.addresses import INPUT_FORMS, redact_credentials
    from mggr_edge.common.progress import progress
    from mggr_edge.errors import UsageError
    from mggr_edge.media.files.paths import find_source
    from mggr_edge.media.live.address import live_address
    from mggr_edge.models.bundle import Bundle
    from mggr_edge.runs.calibration import INSTRUCTION, calibrate, calibrate_by_video

    def ask() -> None:
        text = f"{INSTRUCTION}. Press Enter to begin"
        click.prompt(text, default="", show_default=False, prompt_suffix=" ")

    address = live_address(input_)
    if address is not None:
        with _Display() as display:
            return calibrate(
                address,
                Bundle.open(options.model),
                camera_format=options.camera_format,
                ask=ask,
                show=display.show,
                notify=echo_note,
            )
    source, named = find_source(input_), redact_credentials(input_)
    if source.kind != "video":
        raise UsageError(
            f"{named} is a {source.kind}, expected a video file or a camera ({INPUT_FORMS})",
            code="calibration-input-not-video",
            path=named,
            found=source.kind,
        )
    options.check_source(input_, None)
    return calibrate_by_video(source.path, Bundle.open(options.model), progress=progress)


class _Display:
    """Progress line on standard error; without a terminal, nothing is written."""

    def __init__(self) -> None:
        self._is_shown = False

    def __enter__(self) -> _Display:
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_shown:
            self._write("\n")

    def show(self, progress: LookProgress) -> None:
        """If standard error is a terminal, write the line; otherwise write nothing."""
        if not sys.stderr.isatty():
            return
        self._is_shown = True
        pitch, yaw = progress.covered
        self._write(
            f"\r{progress.seconds_left:3.1f} s left; head turned so far: {yaw:4.0%} of the range "
            f"to the sides, {pitch:4.0%} up and down; {progress.frames} frames with open eyes "
        )

    def _write(self, text: str) -> None:
        with suppress(OSError):  # If standard error cannot be written, skip the line.
            click.echo(text, err=True, nl=False)
