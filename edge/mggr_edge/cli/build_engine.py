"""The command `mggr-edge build-engine`."""

from __future__ import annotations

import click

from mggr_edge.common.cli_group import echo_note


@click.command("build-engine")
@click.argument("bundle")
@click.option(
    "--fp16",
    is_flag=True,
    help="Build from the float16 files of the bundle. Default: from the float32 files.",
)
@click.option(
    "--int8",
    is_flag=True,
    help="Build from the int8 files of the bundle. These files contain pairs of quantize and "
    "dequantize operations (Q/DQ).",
)
@click.option(
    "--dla",
    type=click.IntRange(min=0),
    help="Build for the deep learning accelerator (DLA) with this number. Default: for the GPU.",
)
def build_engine(bundle: str, fp16: bool, int8: bool, dla: int | None) -> None:
    """Build TensorRT engines for this device from the models of a bundle.

    BUNDLE must contain ONNX files: create it with `mggr-tf export --formats tflite,onnx`. The
    command uses TensorRT's Python package. If this package is not installed, the command uses
    trtexec. The engines are stored in your cache folder. The command prints their paths.

    An engine works only with the TensorRT version and the kind of GPU for which it was built.
    `mggr-edge` ignores all other engines. (Not yet tested on hardware.)

    \b
    Examples:
      mggr-edge build-engine bundle --int8
      mggr-edge build-engine bundle --fp16 --dla 0
    """
    from mggr_edge.errors import UsageError
    from mggr_edge.models.bundle import Bundle
    from mggr_edge.models.bundle_archive import read_bundle_files
    from mggr_edge.models.installed import bundle_path
    from mggr_edge.models.tensorrt.engines import build_engines, find_builder

    if fp16 and int8:
        raise UsageError(
            "--fp16 and --int8 cannot be combined; pass only one of them", code="fp16-with-int8"
        )
    contract = Bundle.open(bundle).contract
    made = build_engines(
        contract,
        read_bundle_files(bundle_path(bundle)),
        builder=find_builder(),
        precision="int8" if int8 else "float16" if fp16 else "float32",
        dla=dla,
        notify=echo_note,
    )
    for path in made:
        click.echo(path)
