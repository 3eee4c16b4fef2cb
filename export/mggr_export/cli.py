"""Commands `mggr-tf export` and `mggr-tf verify`."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from mggr_edge.common.cli_group import echo_error
from mggr_edge.errors import MissingPackageError, UsageError
from mggr_tf.cli.options import check_is_free, force_option, notify, subjects_option

if TYPE_CHECKING:
    from mggr_export.formats.model_format import FileFormat
    from mggr_tf.runs.folder import RunFolder

_NOT_EQUAL = 1
_QAT_STEPS = 300

_FORMATS = ("tflite", "onnx", "tensorrt", "saved_model")


def _formats(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    named = tuple(dict.fromkeys(word.strip() for word in value.split(",")))
    if unknown := [name for name in named if name not in _FORMATS]:
        known = ", ".join(_FORMATS)
        raise click.BadParameter(f"unknown format {', '.join(unknown)}; expected {known}")
    return named


@click.command()
@click.argument("run", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write the bundle to.  [default: a new folder in the run's folder]",
)
@click.option("--int8", is_flag=True, help="Quantize the convolutions to 8-bit integers.")
@click.option("--fp16", is_flag=True, help="Store the weights in half precision (16-bit floats).")
@click.option(
    "--data",
    help="Eye patches for the comparison with Keras and for the calibration. Pass a folder or "
    "`synthetic`.  [default: the run's training data]",
)
@click.option(
    "--formats",
    default="tflite",
    show_default=True,
    callback=_formats,
    help="File formats to write for every model, separated by commas. Devices prefer the first "
    "format. Formats: tflite, onnx, tensorrt, saved_model.",
)
@click.option(
    "--calibration",
    help="Eye patches for the calibration of --int8, instead of those in --data. Pass a folder or "
    "`synthetic`.",
)
@click.option(
    "--qat",
    is_flag=True,
    help="Fine-tune the weights for int8 before the conversion, and print the gain in PSNR.",
)
@click.option(
    "--qat-steps",
    type=click.IntRange(min=1),
    help="Number of training steps for --qat. Each step uses 16 pairs of eye patches.  "
    f"[default: {_QAT_STEPS}]",
)
@click.option(
    "--explain", is_flag=True, help="With --int8, list the layers that lose the most accuracy."
)
@click.option(
    "--batch",
    type=click.Choice(["1", "2"]),
    default="1",
    show_default=True,
    help="Number of eyes per call of a model. Pass 2 to process both eyes of a face in one call.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a limit in the run's config, for example limits.int8.redirected.min_psnr_db=45.",
)
@force_option
def export(
    run: str | None,
    out: Path | None,
    int8: bool,
    fp16: bool,
    data: str | None,
    formats: tuple[str, ...],
    calibration: str | None,
    qat: bool,
    qat_steps: int | None,
    explain: bool,
    batch: str,
    changes: tuple[str, ...],
    force: bool,
) -> None:
    """Export a run's models as a bundle for a device.

    The bundle also contains the models that find faces and eyes, checksums, and contract.json. The
    file contract.json describes the models for the device.

    \b
    Examples:
      mggr-tf export                        the newest complete run under runs/
      mggr-tf export --int8
      mggr-tf export default --int8         the weights of this package
      mggr-tf export runs/real --int8 --data patches/ --out bundles/real
      mggr-tf export --int8 --formats tflite,onnx --batch 2
      mggr-tf export --int8 --calibration synthetic --explain
      mggr-tf export --int8 --qat
      mggr-tf export --int8 --set limits.int8.redirected.min_psnr_db=45

    Without --out, the command writes to RUN/bundle-float, RUN/bundle-fp16 or RUN/bundle-int8. For
    `default`, the command creates this folder in the current working folder. If this
    folder exists, the command appends a number to the name.

    The command runs every exported model with the device's own code, on 256 pairs of eye patches,
    and compares the outputs with the outputs of the Keras models. The table of differences is
    printed and stored in the bundle. If a difference exceeds a limit in the run's config, the
    command writes no bundle. The estimator is an exception: if the int8 estimator exceeds a limit,
    the bundle contains a float32 estimator instead.

    --qat fine-tunes the weights for some minutes with simulated int8 rounding. The training targets
    are the float model's outputs for the calibration eyes. If fine-tuning does not improve a file,
    the file keeps the original weights.

    The warp is the part of a redirector that moves pixels. The warp always computes in float32. In
    ONNX files, the warp is one GridSample op. With --int8, ONNX files contain a pair of
    QuantizeLinear and DequantizeLinear before every convolution, because TensorRT requires these
    pairs.

    The format `tensorrt` writes ONNX files, and tensorrt.json with build options for TensorRT
    engines. Build the engines on the device, with `mggr-edge build-engine` or by hand. The format
    `saved_model` writes a zipped SavedModel for servers. A SavedModel is always float32.
    """
    if int8 and fp16:
        raise UsageError(
            "--int8 and --fp16 cannot be combined; pass only one of them", code="int8-with-fp16"
        )
    if qat_steps and not qat:
        raise UsageError(
            "--qat-steps requires --qat", code="qat-steps-without-qat", steps=qat_steps
        )
    if out is not None:
        check_is_free(out, force=force)
    _need_tensorflow()
    from mggr_edge.common.progress import progress
    from mggr_export.exporting.export_run import export_run
    from mggr_export.exporting.request import ExportRequest
    from mggr_tf.runs.listing import newest_run, open_run

    # `tensorrt` has no own file format, because the device builds engines from ONNX files.
    files = dict.fromkeys("onnx" if name == "tensorrt" else name for name in formats)
    chosen = open_run(run) if run is not None else newest_run()
    notify(f"run: {chosen.path}" + ("" if run is not None else " (the newest complete run)"))
    bundle = export_run(
        _with_limits(chosen, changes),
        out,
        ExportRequest(
            precision="int8" if int8 else "float16" if fp16 else "float32",
            formats=cast("tuple[FileFormat, ...]", tuple(files)),
            engine_recipe="tensorrt" in formats,
            batch=2 if batch == "2" else 1,
            data=data,
            calibration=calibration,
            explain=explain,
            qat_steps=(qat_steps or _QAT_STEPS) if qat else 0,
        ),
        force=force,
        progress=progress,
        notify=notify,
    )
    size = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    notify(
        f"wrote {bundle} ({size / 1e6:.1f} MB); verify it again with: "
        f"{shlex.join(['mggr-tf', 'verify', str(bundle)])}"
    )
    click.echo(bundle)


@click.command()
@click.argument("bundle")
@click.option(
    "--data",
    default="synthetic",
    show_default=True,
    help="Eye patches for the comparison. Pass a folder or `synthetic`.",
)
@click.option(
    "--pairs",
    default=256,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of pairs of eye patches for the comparison.",
)
@subjects_option
def verify(bundle: str, data: str, pairs: int, subjects: tuple[str, ...] | None) -> None:
    """Check a bundle's files and compare its models with Keras again.

    \b
    Examples:
      mggr-tf verify runs/real/bundle-int8
      mggr-tf verify bundle.zip --data patches/ --pairs 256
      mggr-tf verify bundle.zip --data patches/ --split columbia:report
      mggr-tf verify default-int8           the weights of this package

    The command rebuilds the Keras models from the reference weights in the bundle. For the
    package's own bundles, the reference weights are stored in the package. The exit code is 0 if
    all checks pass. The exit code is 1 if a model does not match its Keras model. The exit code is
    2 if the bundle is damaged or cannot be compared.
    """
    _need_tensorflow()
    from mggr_edge.common.progress import progress
    from mggr_export.exporting.verify import verify_bundle
    from mggr_export.proofs.proof import faults_of, proofs_text

    proofs = verify_bundle(
        bundle, data=data, subjects=subjects, pairs=pairs, progress=progress, notify=notify
    )
    click.echo(proofs_text(proofs))
    if faults := faults_of(proofs):
        echo_error(f"{bundle} does not match its trained Keras models; {faults}")
        raise SystemExit(_NOT_EQUAL)
    notify(f"{bundle}: checksums and structure are valid; all differences are within the limits")


def _with_limits(run: RunFolder, changes: tuple[str, ...]) -> RunFolder:
    """Return a copy of the run with changed limits.

    The other settings cannot be changed, because the run was trained with these settings.

    Raises:
        UsageError: If a change does not start with `limits.`.
    """
    from mggr_tf.config.files import changed_config
    from mggr_tf.runs.folder import RunFolder

    for change in changes:
        if not change.startswith("limits."):
            raise UsageError(
                f"--set {change}: an export can change only limits, for example "
                "limits.int8.redirected.min_psnr_db=45",
                code="set-not-a-limit",
                change=change,
            )
    return RunFolder(run.path, changed_config(run.config, changes), run.record)


def _need_tensorflow() -> None:
    if find_spec("tensorflow") is None:
        raise MissingPackageError("TensorFlow", "export")
