"""Redirect the gaze in picture files with a trained run or an exported bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_folder
from mggr_edge.common.progress import Progress
from mggr_edge.errors import DataError, StreamError, UsageError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.media.files.paths import PICTURE_SUFFIXES, output_names, pictures_in
from mggr_edge.media.files.pictures import read_whole_picture, write_picture
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.contract import Artifact, Contract
from mggr_edge.models.installed import bundle_path
from mggr_edge.models.runtimes import Runner
from mggr_edge.pipeline.compositing import limited_to_colours_of
from mggr_edge.pipeline.redirector import Redirector
from mggr_tf.data.columbia import PatchName, parse_name
from mggr_tf.evaluation.trained import load_exported
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.provenance import training_of


@dataclass(frozen=True)
class Redirected:
    """Result of one call of `redirect_files`.

    Attributes:
        patches: number of eye patches.
        photos: number of photographs.
        eyes: number of redirected eyes in patches and photographs.
        untouched: photographs in which no eye was redirected.
        left_alone: reasons why eyes of photographs were skipped or redirected at reduced strength,
            one reason for each of these eyes.
    """

    patches: int
    photos: int
    eyes: int
    untouched: tuple[Path, ...]
    left_alone: tuple[str, ...]


def redirect_files(
    source: Path,
    out: Path,
    *,
    bundle: Bundle,
    target: Gaze,
    side: Side | None,
    force: bool,
    progress: Progress,
) -> Redirected:
    """Redirect one picture or all pictures of a folder, and write the results into a new folder.

    A picture with the size of the network's patches is treated as an eye patch. Every other picture
    is treated as a photograph, and its eyes are detected. If a patch has a file name as in the
    Columbia data set, the side, the source gaze and the head pose are read from this name. Output
    files have the same names as input files. Therefore the name of a redirected patch still
    contains the source gaze.

    Args:
        source: picture file, or folder of pictures.
        out: folder to create.
        bundle: networks that redirect the eyes.
        target: gaze of the redirected eyes.
        side: left or right eye, from the subject's point of view, for patches whose file names
            contain no labels.
        force: whether to replace `out` if it exists.
        progress: function that creates a progress bar. The progress bar counts pictures.

    Returns:
        the counts, the photographs without a redirected eye, and the reasons.

    Raises:
        StreamError: there is no picture, or a picture cannot be read.
        UsageError: a patch has no labels in its name, and `side` is `None`.
        OutputExistsError: `out` exists and `force` is false.
    """
    pictures = _pictures(source)
    names = output_names(pictures)
    redirector = Redirector(bundle, target=target)
    size = bundle.contract.conventions.patch_size
    patches = photos = eyes = 0
    untouched: list[Path] = []
    reasons: list[str] = []
    with (
        atomic_folder(out, force=force) as temporary,
        progress("redirecting", len(pictures)) as advance,
    ):
        for file in pictures:
            picture = read_whole_picture(file)
            if picture.rgb.shape[:2] == (size, size):
                rgb = _redirect_patch(picture.rgb, file, bundle, target, side)
                patches, eyes = patches + 1, eyes + 1
            else:
                result = redirector.process(picture.rgb)
                rgb, photos = result.frame, photos + 1
                seen = [eye for face in result.faces for eye in face.eyes]
                eyes += sum(eye.strength > 0 for eye in seen)
                reasons += [eye.reason for eye in seen if eye.reason is not None]
                if not any(eye.strength > 0 for eye in seen):
                    untouched.append(file)
            write_picture(temporary / names[file], picture.edited(rgb))
            advance(1)
    return Redirected(patches, photos, eyes, tuple(untouched), tuple(reasons))


def _pictures(source: Path) -> list[Path]:
    if source.is_dir():
        found, ignored = pictures_in(source)
        if not found:
            raise StreamError(
                f"{source} contains no pictures, only {ignored} other entries",
                code="folder-without-pictures",
                path=source,
                ignored=ignored,
            )
        return found
    if not source.exists():
        raise StreamError(
            f"{source} does not exist; pass a picture or a folder of pictures",
            code="picture-missing",
            path=source,
        )
    if source.suffix.lower() not in PICTURE_SUFFIXES:
        known = ", ".join(PICTURE_SUFFIXES)
        raise StreamError(
            f"{source} is not a picture file ({known}); for videos, use `mggr-edge run`",
            code="not-a-picture",
            path=source,
        )
    return [source]


def _redirect_patch(
    patch: NDArray[np.uint8], file: Path, bundle: Bundle, target: Gaze, side: Side | None
) -> NDArray[np.uint8]:
    name = _labels(file)
    if name is not None:
        redirected = bundle.redirect_eye(
            patch, side=name.side, source=name.gaze, target=target, head_pose=name.head
        )
    elif side is not None:
        redirected = bundle.redirect_eye(patch, side=side, target=target)
    else:
        raise UsageError(
            f"{file.name} is an eye patch, and its file name does not contain the side of the "
            "eye; pass --side left or --side right (the side as seen by the subject)",
            code="side-of-patch-unknown",
            path=file,
        )
    levels = limited_to_colours_of(patch, redirected.astype(np.float32))
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def _labels(file: Path) -> PatchName | None:
    try:
        return parse_name(file.name)
    except DataError:
        return None


def open_model(name_or_path: str | Path) -> Bundle:
    """Open a model for redirection.

    The model is a run folder, a bundle, or the name of a packaged bundle.

    Raises:
        RunError: the run has no trained redirector or no gaze estimator.
        BundleError: the path is neither a run folder nor a complete bundle.
    """
    path = bundle_path(name_or_path)
    if (path / "run.json").is_file():
        return bundle_of_run(RunFolder.open(path))
    return Bundle.open(path)


def bundle_of_run(run: RunFolder) -> Bundle:
    """Return a bundle in memory that contains the Keras models of a run.

    The bundle uses the installed landmark models.

    Raises:
        RunError: the run has no trained redirector or no gaze estimator.
    """
    networks = load_exported(run)

    def redirector(inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        made = networks.averaged.joined(dict(inputs), training=False)
        return {name: np.asarray(value) for name, value in made.items()}

    def estimator(inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        made = networks.estimator(dict(inputs), training=False)
        return {name: np.asarray(value) for name, value in made.items()}

    keras_models: dict[str, Runner] = {"redirector": redirector, "estimator": estimator}
    contract = Contract(
        models={name: (Artifact(name, "keras-weights", "float32", ""),) for name in keras_models},
        training=training_of(run),
        conventions=run.config.conventions,
    )
    return Bundle(contract, keras_models.__getitem__)
