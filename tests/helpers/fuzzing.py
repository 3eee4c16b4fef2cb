"""Fuzzed command lines of `mggr-edge run`, and what none of them may do.

A case is made anew from its kind and seed, in an empty folder: inputs, and the arguments that name
them. It may succeed, or end with one line `error: ...` and exit code 2; see `judged`. What hangs
or dies is seen from outside, by `fuzzing_campaign`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from mggr_edge.cli import main
from mggr_edge.errors import BundleError, MggrError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.media.files.paths import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from mggr_edge.media.files.pictures import read_pictures
from mggr_edge.media.files.video_reader import open_video
from mggr_edge.models.bundle import Bundle

Rng = np.random.Generator


@dataclass(frozen=True)
class Case:
    """A command line, and what is known of it beforehand.

    Attributes:
        arguments: behind `mggr-edge run`; names are of the case's own folder.
        writes: files and folders that may come into being, or be replaced; "" stands for none.
        secret: what may be in no output.
        refused: the case must end with 2, and its line must hold this; None where it may succeed.
        bundle: is also opened, and redirects an eye without a face around it.
        what: was done to the input, for people.
    """

    arguments: tuple[str, ...]
    writes: str | tuple[str, ...] = ""
    secret: str | None = None
    refused: str | None = None
    bundle: str | None = None
    what: str = ""


_HASHED_BYTES = 1 << 28
"""Of what is larger, and mostly holes, size and times are compared."""

Make = Callable[[Rng, Path], Case]
"""Makes a case in an empty folder."""


def rng_of(kind: str, seed: int) -> Rng:
    """The numbers that a case is made from."""
    return np.random.default_rng([seed, *kind.encode()])


def output_for(rng: Rng, folder: Path, suffix: str) -> tuple[tuple[str, ...], str]:
    """An OUTPUT: none, a new one, one that is there (kept, or replaced by --force), or nowhere.

    Returns:
        the arguments, and what may be written.
    """
    match rng.integers(6):
        case 0:
            return (), "*-redirected*"
        case 1:
            (folder / f"there{suffix}").write_bytes(b"somebody's work")
            return (f"there{suffix}",), ""
        case 2:
            (folder / f"there{suffix}").write_bytes(b"somebody's work")
            return (f"there{suffix}", "--force"), f"there{suffix}"
        case 3:
            return ("null://",), ""
        case _:
            return (f"new{suffix}",), f"new{suffix}"


def judged(case: Case, folder: Path) -> str | None:
    """Runs a case in its folder, the working one; says what it did that nothing may do."""
    before = _contents(folder)
    result = CliRunner().invoke(main, ["run", *case.arguments])
    after = _contents(folder)
    reported = result.stdout + result.stderr
    complaints = [
        _complaint_about_ending(result),
        _complaint_about_files(case, before, after, result),
        "a secret is shown" if case.secret is not None and case.secret in reported else None,
    ]
    if case.bundle is not None:
        complaints.append(_complaint_about_bundle(case.bundle, is_refused=case.refused is not None))
    if case.refused is not None:
        if result.exit_code == 0:
            complaints.append(f"taken, though {case.what}")
        elif case.refused not in result.stderr:
            complaints.append(f"refused, but {case.refused!r} is not in: {result.stderr.strip()}")
    return "; ".join(filter(None, complaints)) or None


def _complaint_about_ending(result: Result) -> str | None:
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"a traceback: {result.exception!r:.300}"
    if result.exit_code not in (0, 2):
        return f"exit code {result.exit_code}"
    lines = result.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    if result.exit_code == 2 and not errors:
        return f"no line says why: {result.stderr!r:.300}"
    is_partial = "failed" in result.stdout  # some of a folder's pictures: a line for each
    if result.exit_code == 2 and not is_partial and lines != errors[:1]:
        return f"not one line: {result.stderr!r:.300}"
    if len(result.stderr.encode(errors="replace")) > 6000:
        return f"{len(result.stderr)} characters of error"
    return None


def _complaint_about_files(
    case: Case, before: dict[str, str], after: dict[str, str], result: Result
) -> str | None:
    written = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    if not written:
        return None
    is_partial = result.exit_code == 2 and "failed" in result.stdout
    if result.exit_code != 0 and not is_partial:
        return f"failed, and yet changed {sorted(written)}"
    strays = sorted(name for name in written if not _may_write(case.writes, name))
    if strays:
        return f"changed {strays}"
    return next(filter(None, (_complaint_about_output(Path(name)) for name in written)), None)


def _complaint_about_bundle(path: str, *, is_refused: bool) -> str | None:
    patch = np.zeros((64, 64, 3), np.uint8)
    try:
        bundle = Bundle.open(path)
        if is_refused:
            return "opened all the same"
        made = bundle.redirect_crop(patch, side="left", target=Gaze(5.0, -5.0))
    except BundleError:
        return None
    except MggrError as error:
        return f"no BundleError, but {error!r:.200}" if is_refused else None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no user's line
        return f"a traceback on use: {error!r:.300}"
    finite = np.isfinite(made.flow).all() and np.isfinite(made.residual).all()
    return None if finite else "redirected into what is no number"


def _may_write(allowed: str | tuple[str, ...], name: str) -> bool:
    first = Path(Path(name).parts[0])
    patterns = (allowed,) if isinstance(allowed, str) else allowed
    return any(first.match(pattern) for pattern in patterns if pattern)


def _complaint_about_output(path: Path) -> str | None:
    """What was written can be read again."""
    if not path.exists():
        return f"{path} is lost"
    try:
        if path.suffix.lower() in PICTURE_SUFFIXES:
            read_pictures(path)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            with open_video(path) as video:
                for _ in video.items:
                    pass
    except Exception as error:  # noqa: BLE001 - whatever it is, the output is not whole
        return f"{path} was written and cannot be read: {error!r:.200}"
    return None


def _contents(folder: Path) -> dict[str, str]:
    """Name -> checksum of every file, and of what else lies there its kind."""
    return {path.relative_to(folder).as_posix(): _content(path) for path in folder.rglob("*")}


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_file() and path.stat().st_size > _HASHED_BYTES:
        return f"{path.stat()}"
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return "a folder" if path.is_dir() else "neither file nor folder"
