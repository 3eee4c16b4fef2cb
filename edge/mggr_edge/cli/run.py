"""The command `mggr-edge run`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mggr_edge.cli.options import camera_options, log_format_option, service_options
from mggr_edge.common.cli_group import (
    USER_ERROR,
    FiniteRange,
    echo_error,
    echo_note,
    set_log_format,
)

if TYPE_CHECKING:
    from mggr_edge.common.cli_group import LogFormat
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
    help="Use this bundle of models: a folder or zip file that `mggr-tf export` wrote, or the "
    "packaged weights `default` or `default-int8`.",
)
@click.option(
    "--target",
    metavar="camera|PITCH,YAW",
    default="camera",
    show_default=True,
    help="Direct the gaze to this target: `camera` (the lens), or PITCH,YAW in degrees. Positive "
    "pitch is up, and positive yaw is to the right of the picture. Write a negative pitch with an "
    "equals sign: --target=-5,10.",
)
@click.option(
    "--follow",
    metavar="FILE",
    help="Read targets that change over time from a CSV file. Its columns are `time_s` (seconds "
    "since the first frame), `pitch_deg` and `yaw_deg`.",
)
@click.option(
    "--look-away",
    is_flag=True,
    help="Let the eyes look away from the target for a moment every few seconds.",
)
@click.option(
    "--strength",
    type=FiniteRange(0, 1),
    default=1.0,
    show_default=True,
    help="Apply this fraction of the full redirection, from 0 (no change) to 1.",
)
@click.option(
    "--max-faces",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Redirect at most this number of faces per frame: those with the highest detection "
    "confidence.",
)
@click.option(
    "--profile",
    metavar="FILE|none",
    help="Correct the estimated gazes with the profile FILE that `mggr-edge calibrate` wrote. "
    "`none` uses no profile. Default for cameras of this machine: your own profile. Default for "
    "other sources: no profile.",
)
@click.option(
    "--auto-calibrate",
    is_flag=True,
    help="Refine the gaze correction during the run, based on the gazes near the lens. The change "
    "is limited to a small angle. Use this option for videos and live sources with one person. See "
    "docs/device.md.",
)
@click.option(
    "--estimate-only",
    is_flag=True,
    help="Estimate gazes, but redirect no eye. Write a file only if OUTPUT or --overlay is given.",
)
@click.option("--mark", is_flag=True, help="Draw a 'gaze redirected' label in a corner.")
@click.option(
    "--overlay",
    is_flag=True,
    help="Draw eye outlines, estimated gazes and targets. If an eye is not redirected, draw the "
    "reason.",
)
@click.option(
    "--compare", is_flag=True, help="Show every frame before and after redirection, side by side."
)
@click.option(
    "--metrics",
    metavar="FILE",
    help="Write one JSON line per frame to FILE, with the gazes and the applied strengths.",
)
@click.option("--stats", is_flag=True, help="Print the time per pipeline stage at the end.")
@click.option(
    "--stats-every",
    metavar="SECONDS",
    type=FiniteRange(min=0, min_open=True),
    help="Print the time per pipeline stage every SECONDS seconds and at the end.",
)
@click.option("--headless", is_flag=True, help="Open no window. Discard the frames for display://.")
@click.option(
    "--input-loop",
    type=click.IntRange(min=-1),
    default=0,
    metavar="N",
    show_default=True,
    help="Repeat a video N more times; -1 repeats it endlessly. OUTPUT must be a window, a virtual "
    "camera, a stream or null://.",
)
@click.option(
    "--segment",
    type=FiniteRange(min=0, min_open=True),
    metavar="MINUTES",
    help="Split a live recording into files of MINUTES minutes. Each file is complete. OUTPUT "
    "call.mp4 becomes call-0001.mp4, call-0002.mp4 and so on. The numbers continue after existing "
    "files. With --force, they begin at 1.",
)
@click.option(
    "--keep-hours",
    type=FiniteRange(min=0, min_open=True),
    metavar="HOURS",
    help="With --segment: when a file is complete, delete files of this recording that ended more "
    "than HOURS hours ago, also those of earlier runs.",
)
@click.option(
    "--keep-gb",
    type=FiniteRange(min=0, min_open=True),
    metavar="GB",
    help="With --segment: when a file is complete, delete the oldest files of this recording until "
    "all files together have at most GB billion bytes.",
)
@log_format_option
@click.option(
    "--sign",
    metavar="KEY",
    help="Sign changed files with content credentials (C2PA). KEY is a private key in PEM format. "
    "Needs --certificate and the package c2pa-python (pip install 'mggr-tf[sign]').",
)
@click.option(
    "--certificate",
    metavar="CHAIN",
    help="Certificates for --sign, in PEM format. The certificate of the key is first.",
)
@service_options
@camera_options
@click.option(
    "--force", is_flag=True, help="Replace OUTPUT and the FILE of --metrics if they exist."
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
    keep_hours: float | None,
    keep_gb: float | None,
    log_format: LogFormat,
    sign: str | None,
    certificate: str | None,
    service: ServiceOptions,
    camera_format: CameraFormat,
    force: bool,
) -> None:
    """Redirect the gaze in INPUT and write the result to OUTPUT.

    INPUT is a picture, a video file, or a folder of pictures and videos. Pictures are JPEG, PNG,
    WebP, BMP, GIF, TIFF or AVIF files. HEIC files require the package pillow-heif. OUTPUT is of the
    same kind as INPUT. Without OUTPUT, the result is written to the folder of the input, and
    `-redirected` is appended to its name. The OUTPUT `null://` writes nothing. All frames of an
    animation are redirected. A HEIC picture becomes a JPEG.

    A live INPUT is a stream (rtsp://HOST/NAME or rtsps://HOST/NAME) or a camera. A camera is
    camera://0 or 0 on any system, /dev/video0 on Linux, and csi://0 on a Jetson (not yet tested
    with real cameras); see `mggr-edge cameras`. The OUTPUT of a live INPUT is a video file, a
    virtual camera for video calls (virtual-camera:// or v4l2loopback:///dev/video10), or a stream
    that this machine serves (rtsp://@:8554/NAME, or rtsp://USER:PASSWORD@:8554/NAME with a
    password). If frames arrive faster than they can be processed, the older frames are dropped and
    counted. Ctrl-C ends the run and completes the recording. The command opens only the network
    connections that INPUT, OUTPUT and the options specify. For several cameras, use `mggr-edge
    service`.

    The OUTPUT of a video or a picture can also be a window (display://0), a virtual camera or a
    stream. In these cases, videos are played at their own speed and without sound. --input-loop
    repeats a video. A window has these keys: space turns the redirection on and off, + and - change
    the strength, o turns the overlay on and off, and q ends the run.

    SDR videos of 8 bits become H.264 videos. HDR and 10-bit videos become H.265 videos. Sound,
    timing and metadata are kept. Marks in the metadata of changed files state that the gaze was
    redirected; see `mggr-edge inspect`.
    If no eye was redirected, the output is a copy of the input. Pictures keep their metadata,
    colour profile and resolution. At the end, the command lists the properties of INPUT that OUTPUT
    cannot store. If some files of a folder fail, the command writes the other files, reports
    each failure, and exits with code 2.

    \b
    Examples:
      mggr-edge run me.jpg
      mggr-edge run call.mp4 call-contact.mp4 --model bundle --target camera
      mggr-edge run photos/ redirected/ --model bundle --target=-5,10 --force
      mggr-edge run call.mp4 seen.mp4 --look-away --compare --overlay
      mggr-edge run call.mp4 null:// --estimate-only --metrics gaze.jsonl
      mggr-edge run rtsp://camera.local/live recorded.mp4 --target camera
      mggr-edge run rtsp://camera.local/live day.mp4 --segment 60 --reconnect --keep-gb 100
      mggr-edge run camera://0 display://0 --overlay
      mggr-edge run 0 virtual-camera://
      mggr-edge run csi://0 v4l2loopback:///dev/video10 --input-width 1280
    """
    from mggr_edge.common.progress import progress
    from mggr_edge.runs.options import RunOptions
    from mggr_edge.runs.redirect import redirect

    set_log_format(log_format)
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
        keep_hours=keep_hours,
        keep_gb=keep_gb,
        sign=sign,
        certificate=certificate,
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
    if tracebacks:  # print only the first, because all usually have the same cause
        echo_note(tracebacks[0])
    if errors:
        sys.exit(USER_ERROR)
