"""The command `mggr-edge run`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mggr_edge.cli.options import camera_options, service_options
from mggr_edge.common.cli_group import USER_ERROR, FiniteRange, echo_error, echo_note

if TYPE_CHECKING:
    from mggr_edge.media.live.address import CameraFormat
    from mggr_edge.runs.service.supervisor import ServiceOptions


@click.command()
@click.argument("input_", metavar="INPUT")
@click.argument("output", metavar="[OUTPUT]", required=False)
@click.option(
    "--model",
    metavar="BUNDLE",
    default="default",
    show_default=True,
    help="Folder or zip that `mggr-tf export` wrote, or packaged weights: `default`, "
    "`default-int8`.",
)
@click.option(
    "--target",
    metavar="camera|PITCH,YAW",
    default="camera",
    show_default=True,
    help="Target of the gaze: `camera` for the lens, or pitch (up) and yaw (to the right of the "
    "picture) in degrees. Write --target=-5,10 for a negative pitch.",
)
@click.option(
    "--follow",
    metavar="FILE",
    help="Read timed targets from a CSV file with the columns time_s (seconds since the first "
    "frame), pitch_deg, yaw_deg.",
)
@click.option(
    "--look-away",
    is_flag=True,
    help="Look away from the target for a moment every few seconds.",
)
@click.option(
    "--strength",
    type=FiniteRange(0, 1),
    default=1.0,
    show_default=True,
    help="Fraction of the full correction to apply (0 to 1).",
)
@click.option(
    "--max-faces",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Redirect at most this number of faces per frame, the most confident ones.",
)
@click.option(
    "--profile",
    metavar="FILE|none",
    help="Correct gazes with the profile FILE that `mggr-edge calibrate` wrote; `none` uses no "
    "profile. Default: your own profile for cameras of this machine, none for other sources.",
)
@click.option(
    "--auto-calibrate",
    is_flag=True,
    help="Refine the correction during the run from gazes near the lens, within a small bound; "
    "for videos and live sources with one person. See docs/device.md.",
)
@click.option(
    "--estimate-only",
    is_flag=True,
    help="Estimate gazes and change no pixels; without OUTPUT and --overlay, write no file.",
)
@click.option("--mark", is_flag=True, help="Draw a 'gaze redirected' label in a corner.")
@click.option(
    "--overlay",
    is_flag=True,
    help="Draw outlines, gazes, targets, and reasons for eyes that are not redirected.",
)
@click.option(
    "--compare", is_flag=True, help="Show every frame before and after redirection, side by side."
)
@click.option(
    "--metrics", metavar="FILE", help="Write one JSON line per frame to FILE: gazes, strengths."
)
@click.option("--stats", is_flag=True, help="Print time per pipeline stage at the end.")
@click.option(
    "--stats-every",
    metavar="SECONDS",
    type=FiniteRange(min=0, min_open=True),
    help="Print time per pipeline stage every SECONDS seconds and at the end.",
)
@click.option(
    "--headless", is_flag=True, help="Open no window; frames for display:// are discarded."
)
@click.option(
    "--input-loop",
    type=click.IntRange(min=-1),
    default=0,
    metavar="N",
    show_default=True,
    help="Repeat a video N more times, -1 without end; OUTPUT must show it or be null://.",
)
@click.option(
    "--segment",
    type=FiniteRange(min=0, min_open=True),
    metavar="MINUTES",
    help="Start a new, complete file every MINUTES minutes of a live recording: OUTPUT call.mp4 "
    "becomes call-0001.mp4, call-0002.mp4. Numbers follow existing files; with --force they begin "
    "at 1.",
)
@service_options
@camera_options
@click.option(
    "--force", is_flag=True, help="Replace an existing OUTPUT and an existing FILE of --metrics."
)
def run(
    input_: str,
    output: str | None,
    model: str,
    target: str,
    follow: str | None,
    look_away: bool,
    strength: float,
    max_faces: int,
    profile: str | None,
    auto_calibrate: bool,
    estimate_only: bool,
    mark: bool,
    overlay: bool,
    compare: bool,
    metrics: str | None,
    stats: bool,
    stats_every: float | None,
    headless: bool,
    input_loop: int,
    segment: float | None,
    service: ServiceOptions,
    camera_format: CameraFormat,
    force: bool,
) -> None:
    """Redirect the gaze in INPUT and write the result to OUTPUT.

    INPUT is a picture (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF; HEIC with the package pillow-heif), a
    folder of pictures and videos, or a video file. OUTPUT is of the same kind. If OUTPUT is
    omitted, the result is written beside the input as INPUT-redirected. `null://` writes nothing.
    All frames of an animation are redirected. A HEIC picture becomes a JPEG.

    A live INPUT is rtsp://HOST/NAME, rtsps://HOST/NAME or a camera: csi://0 on a Jetson,
    v4l2:///dev/video0 or /dev/video0 (cameras are not yet tested on hardware). OUTPUT is then a
    video file, a virtual camera for video calls, v4l2loopback:///dev/video10, or a stream that this
    machine serves, rtsp://@:8554/NAME. Only the newest frame is processed; the other frames are
    dropped and counted. Ctrl-C ends the run and completes the recording. The command opens only the
    sockets that INPUT, OUTPUT and the options name.

    Videos and pictures can also be shown like live sources: in a window, OUTPUT display://0, on a
    virtual camera or as a stream. They are then played at their own speed, without sound, and
    repeated as --input-loop specifies. Keys of a window: space turns the redirection on and off, +
    and - change the strength, o toggles the overlay, q ends the run.

    SDR videos of 8 bits become H.264; HDR and 10-bit videos become H.265. Sound, timing and
    metadata are kept, and a comment states that the gaze was redirected. If no eye was redirected,
    the output is a copy of the input. Pictures keep their metadata, colour profile and resolution;
    properties that a format cannot store are listed at the end. If some files of a folder fail, the
    others are written, each failure is reported, and the exit code is 2.

    \b
    Examples:
      mggr-edge run me.jpg
      mggr-edge run call.mp4 call-contact.mp4 --model bundle --target camera
      mggr-edge run photos/ redirected/ --model bundle --target=-5,10 --force
      mggr-edge run call.mp4 seen.mp4 --look-away --compare --overlay
      mggr-edge run call.mp4 null:// --estimate-only --metrics gaze.jsonl
      mggr-edge run rtsp://camera.local/live recorded.mp4 --target camera
      mggr-edge run rtsp://camera.local/live day.mp4 --segment 60 --reconnect
      mggr-edge run /dev/video0 display://0 --overlay
      mggr-edge run csi://0 v4l2loopback:///dev/video10 --input-width 1280
    """
    from mggr_edge.common.progress import progress
    from mggr_edge.runs.options import RunOptions
    from mggr_edge.runs.redirect import redirect

    options = RunOptions(
        model=model,
        target=target,
        follow=follow,
        look_away=look_away,
        strength=strength,
        max_faces=max_faces,
        profile=profile,
        auto_calibrate=auto_calibrate,
        estimate_only=estimate_only,
        mark=mark,
        overlay=overlay,
        compare=compare,
        metrics=metrics,
        stats=stats,
        stats_every_s=stats_every,
        headless=headless,
        force=force,
        loops=input_loop,
        segment_minutes=segment,
        service=service,
        camera_format=camera_format,
    )
    summary = redirect(input_, output, options, progress=progress, notify=echo_note)
    click.echo(summary.in_words())
    errors = [failure.message for failure in summary.failures]
    errors += [] if summary.lost is None else [summary.lost]
    for message in errors:
        echo_error(message)
    tracebacks = [failure.traceback for failure in summary.failures if failure.traceback]
    if tracebacks:  # only the first, because they usually have the same cause
        echo_note(tracebacks[0])
    if errors:
        sys.exit(USER_ERROR)
