"""The command line `mggr-edge`: parse, call one function, print."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from mggr_edge.cli_errors import USER_ERROR, MggrGroup, echo_error
from mggr_edge.version import __version__

if TYPE_CHECKING:
    from mggr_edge.live.picture_format import Flip

# Nothing heavier up here: `--help` shall answer at once, and `doctor` on a bare machine.


@click.group(cls=MggrGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mggr-edge")
def main() -> None:
    """Redirects gaze on a device: eyes in pictures and videos look where you want.

    \b
    Examples:
      mggr-edge doctor
      mggr-edge run me.jpg
    """


@main.command()
@click.argument("input_", metavar="INPUT")
@click.argument("output", metavar="[OUTPUT]", required=False)
@click.option(
    "--model",
    metavar="BUNDLE",
    default="default",
    show_default=True,
    help="Folder or zip that `mggr-tf export` wrote, or the weights of this package: `default`, "
    "`default-int8`.",
)
@click.option(
    "--target",
    metavar="camera|PITCH,YAW",
    default="camera",
    show_default=True,
    help="Where the eyes shall look: into the lens, or so many degrees up and to the right "
    "as the picture is seen. Write --target=-5,10 for a negative pitch.",
)
@click.option(
    "--follow",
    metavar="FILE",
    help="A target that moves: a CSV with the columns time_s, pitch_deg, yaw_deg.",
)
@click.option(
    "--look-away",
    is_flag=True,
    help="Leave the target for a moment every few seconds, as people do.",
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="How far on the way to the target.",
)
@click.option(
    "--max-faces",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="The most confident ones of a frame.",
)
@click.option("--estimate-only", is_flag=True, help="See where eyes look, change nothing.")
@click.option("--mark", is_flag=True, help="Say in a corner that gazes are redirected.")
@click.option("--overlay", is_flag=True, help="Draw outlines, gazes, targets and reasons.")
@click.option("--compare", is_flag=True, help="Show every frame twice: before, after.")
@click.option(
    "--metrics", metavar="FILE", help="Write a line of JSON for every frame: gazes, strengths."
)
@click.option("--stats", is_flag=True, help="Print at the end where the time went.")
@click.option(
    "--stats-every",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="Print it every so often, too.",
)
@click.option("--headless", is_flag=True, help="Open no window: display:// shows nothing.")
@click.option("--input-width", type=click.IntRange(min=16), help="Asked of a camera, in pixels.")
@click.option("--input-height", type=click.IntRange(min=16), help="Asked of a camera, in pixels.")
@click.option("--input-rate", type=click.IntRange(min=1), help="Asked of a camera, per second.")
@click.option(
    "--input-flip",
    type=click.Choice(["none", "rotate-90", "rotate-180", "rotate-270", "horizontal", "vertical"]),
    default="none",
    show_default=True,
    help="How a live picture is turned (clockwise) or mirrored first.",
)
@click.option("--force", is_flag=True, help="Replace OUTPUT and FILE of --metrics.")
def run(
    input_: str,
    output: str | None,
    model: str,
    target: str,
    follow: str | None,
    look_away: bool,
    strength: float,
    max_faces: int,
    estimate_only: bool,
    mark: bool,
    overlay: bool,
    compare: bool,
    metrics: str | None,
    stats: bool,
    stats_every: float | None,
    headless: bool,
    input_width: int | None,
    input_height: int | None,
    input_rate: int | None,
    input_flip: Flip,
    force: bool,
) -> None:
    """Redirects the eyes of INPUT and writes a file of the same kind.

    INPUT is a picture (JPEG, PNG, WebP, BMP), a folder of pictures or a video
    file. OUTPUT is of the same kind; without it the result is put beside the
    input, as INPUT-redirected. `null://` writes nothing.

    Live, INPUT is rtsp://HOST/NAME or a camera: csi://0 on a Jetson,
    v4l2:///dev/video0 or /dev/video0 (none yet seen on hardware). OUTPUT is a
    video file, a virtual camera for video calls, v4l2loopback:///dev/video10, or
    a stream that is served from here, rtsp://@:8554/NAME. The newest frame wins,
    the others are counted; Ctrl-C ends it, and what was recorded is whole. No
    socket is opened that is not named here.

    OUTPUT display://0 is a window, for live sources, videos (at their own pace,
    without sound) and pictures. Its keys: space turns it on and off, + and -
    change the strength, o draws what is done, q ends it.

    Videos become H.264; sound, timing and metadata are kept, and a comment says
    that the gaze was redirected. Where no eye was redirected, the output is a
    copy of the input. If single pictures of a folder fail, the others are
    written, every failure is named, and the exit code is 2.

    \b
    Examples:
      mggr-edge run me.jpg
      mggr-edge run call.mp4 call-contact.mp4 --model bundle --target camera
      mggr-edge run photos/ redirected/ --model bundle --target=-5,10 --force
      mggr-edge run call.mp4 seen.mp4 --look-away --compare --overlay
      mggr-edge run call.mp4 null:// --estimate-only --metrics gaze.jsonl
      mggr-edge run rtsp://camera.local/live recorded.mp4 --target camera
      mggr-edge run /dev/video0 display://0 --overlay
      mggr-edge run csi://0 v4l2loopback:///dev/video10 --input-width 1280
    """
    from mggr_edge.device_run import DeviceRun
    from mggr_edge.live.picture_format import PictureFormat
    from mggr_edge.progress import progress

    summary = DeviceRun(
        model=model,
        target=target,
        follow=follow,
        look_away=look_away,
        strength=strength,
        max_faces=max_faces,
        estimate_only=estimate_only,
        mark=mark,
        overlay=overlay,
        compare=compare,
        metrics=metrics,
        stats=stats,
        stats_every_s=stats_every,
        headless=headless,
        force=force,
        wanted=PictureFormat(input_width, input_height, input_rate, input_flip),
    )(input_, output, progress=progress, say=lambda text: click.echo(text, err=True))
    click.echo(summary.in_words())
    errors = [failure.message for failure in summary.failures]
    errors += [] if summary.lost is None else [summary.lost]
    for message in errors:
        echo_error(message)
    if errors:
        sys.exit(USER_ERROR)


@main.command()
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True)
@click.option("--model", "models", multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--threads",
    multiple=True,
    type=click.IntRange(min=1),
    default=(1,),
    show_default=True,
    help="Of the runtime; may be repeated.",
)
@click.option(
    "--seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="For each model, all that run it together.",
)
@click.option(
    "--floor",
    "floors",
    multiple=True,
    metavar="KEY=VALUE",
    help="Exit with 1 where the best such row is below: redirector.int8.per_second=200, "
    "redirector.onnx.speedup=0.5. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def bench(
    bundles: tuple[str, ...],
    models: tuple[str, ...],
    threads: tuple[int, ...],
    seconds: float,
    floors: tuple[str, ...],
    as_json: bool,
) -> None:
    """Times the models of bundles on every interpreter that is installed.

    Those that run one model take turns, call by call, so that ratios hold on a
    busy machine: `speedup` is over the model's first row. Memory is what a
    process grows by that loads and runs the file alone. TensorRT engines that
    `build-engine` made are timed too (not yet seen on hardware).

    \b
    Examples:
      mggr-edge bench default default-int8 --model redirector
      mggr-edge bench bundle --threads 1 --threads 2 --json
      mggr-edge bench bundle --floor redirector.per_second=60
    """
    from mggr_edge.bench.bench import bench as time_bundles
    from mggr_edge.bench.result import missed, parse_floor, table
    from mggr_edge.progress import progress

    wanted = [parse_floor(text) for text in floors]
    rows = time_bundles(
        bundles,
        models=models or None,
        threads=tuple(dict.fromkeys(threads)),
        seconds=seconds,
        progress=progress,
    )
    click.echo(json.dumps([row.as_json() for row in rows], indent=2) if as_json else table(rows))
    faults = missed(wanted, rows)
    for fault in faults:
        echo_error(fault)
    sys.exit(1 if faults else 0)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def doctor(as_json: bool) -> None:
    """Tells what this machine has, and what to do about what is missing.

    Exits with 0 when `mggr-edge run` can work on pictures and videos, with 1
    when something that it needs is missing. Cameras, landmark models and the
    package's own weights (which need the landmark models) are reported, and not
    needed for that: a bundle brings its own models.

    \b
    Examples:
      mggr-edge doctor
      mggr-edge doctor --json | python -m json.tool
    """
    from mggr_edge.doctor import examine, is_able, report

    checks = examine()
    click.echo(json.dumps([c.as_json() for c in checks], indent=2) if as_json else report(checks))
    sys.exit(0 if is_able(checks) else 1)


@main.command("build-engine")
@click.argument("bundle")
@click.option("--fp16", is_flag=True, help="From the bundle's float16 files.")
@click.option("--int8", is_flag=True, help="From the bundle's int8 files, with their Q/DQ pairs.")
@click.option("--dla", type=click.IntRange(min=0), help="For this deep learning accelerator.")
def build_engine(bundle: str, fp16: bool, int8: bool, dla: int | None) -> None:
    """Builds TensorRT engines of a bundle's models, for this very device.

    Takes the ONNX files that `mggr-tf export --formats tflite,onnx` wrote, by
    TensorRT's Python package or, without it, by trtexec. Engines lie in the
    user's cache; they hold for one TensorRT version on one kind of GPU, and
    `mggr-edge` uses them when they fit. (Not yet run on hardware.)

    \b
    Examples:
      mggr-edge build-engine bundle --int8
      mggr-edge build-engine bundle --fp16 --dla 0
    """
    from mggr_edge.bundle import Bundle, read_bundle_files
    from mggr_edge.default_bundle import bundle_path
    from mggr_edge.engines.build import build_engines, find_builder
    from mggr_edge.errors import UsageError

    if fp16 and int8:
        raise UsageError("--fp16 and --int8 exclude each other")
    contract = Bundle.open(bundle).contract
    made = build_engines(
        contract,
        read_bundle_files(bundle_path(bundle)),
        builder=find_builder(),
        precision="int8" if int8 else "float16" if fp16 else "float32",
        dla=dla,
        say=lambda text: click.echo(text, err=True),
    )
    for path in made:
        click.echo(path)
