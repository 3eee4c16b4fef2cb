"""Define options and checks that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mggr_edge.common.addresses import file_to_write
from mggr_edge.common.cli_group import echo_note
from mggr_edge.errors import DataError, UsageError
from mggr_tf.data.names import parse_subjects

if TYPE_CHECKING:
    from mggr_edge.geometry.angles import Gaze


class SubjectList(click.ParamType):
    """A list or range of subjects, such as `0001-0032` or `0003,0007`."""

    name = "subjects"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Parse the list. An invalid list is a usage error."""
        if isinstance(value, tuple):
            return value
        try:
            return parse_subjects(value)
        except DataError as error:
            self.fail(str(error), param, ctx)


class GazeLabel(click.ParamType):
    """A gaze `PITCH,YAW` in degrees.

    A positive pitch is up. A positive yaw is to the right in the image.
    """

    name = "pitch,yaw"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Gaze:
        """Parse two angles from -90 to 90 degrees. Any other value is a usage error."""
        from mggr_edge.geometry.angles import Gaze  # imports numpy, which --help does not need

        if isinstance(value, Gaze):
            return value
        try:
            pitch_deg, yaw_deg = (float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"expected PITCH,YAW in degrees, such as 5,-10, got {value!r}", param, ctx)
        try:
            return Gaze(pitch_deg, yaw_deg)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class FileToWrite(click.ParamType):
    """A file that a command writes. The name of a folder is not accepted."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Check the name of the file.

        Raises:
            UsageError: the file name belongs to a folder.
        """
        option = param.opts[0] if param is not None and param.opts else "the name"
        return file_to_write(option, value)


class SplitPart(click.ParamType):
    """The subjects of one part of a split.

    Examples are `columbia:train` and `my-split.yaml:report`. A split divides the subjects of a data
    set into the parts `train`, `select` and `report`.
    """

    name = "file:part"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Read the subjects from the split file. An error in the file is reported in one line."""
        if isinstance(value, tuple):
            return value
        from mggr_tf.data.subject_split import PARTS, read_split

        file, _, part = value.rpartition(":")
        if not file or part not in PARTS:
            self.fail(f"expected FILE:PART with a part of {', '.join(PARTS)}, got {value!r}", param)
        subjects = read_split(file).part(part)
        if not subjects:
            raise DataError(
                f"{file}: part {part} of the split has no subjects; choose another part",
                code="split-part-empty",
                path=file,
                part=part,
            )
        return subjects


def subjects_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `--subjects` and `--split` to a command.

    The command receives one argument `subjects`. Both options set this argument.
    """

    @click.option(
        "--subjects",
        type=SubjectList(),
        help="Use only these subjects, e.g. 0001-0032 or 0003,0007.",
    )
    @click.option(
        "--split",
        type=SplitPart(),
        help="Use only the subjects of one part of a split, e.g. columbia:train or "
        "split.yaml:report. The parts are train, select and report.",
    )
    @functools.wraps(command)
    def with_subjects(
        *args: Any, subjects: tuple[str, ...] | None, split: tuple[str, ...] | None, **kwargs: Any
    ) -> Any:
        if subjects is not None and split is not None:
            raise UsageError(
                "--subjects and --split cannot be combined; pass one of them",
                code="subjects-and-split",
            )
        return command(*args, subjects=split if subjects is None else subjects, **kwargs)

    return with_subjects


force_option = click.option("--force", is_flag=True, help="Replace an existing output.")


def notify(text: str) -> None:
    """Print a message for the user on stderr, because stdout is for data."""
    echo_note(text)


def check_is_free(path: Path, *, force: bool) -> None:
    """Check that an output does not exist yet, or that it may be replaced.

    Raises:
        OutputExistsError: the output exists and `force` is false.
    """
    from mggr_edge.errors import OutputExistsError

    if path.exists() and not force:
        raise OutputExistsError(path)


def one_budget(steps: int | None, minutes: float | None) -> None:
    """Check that at most one of the two budgets is set.

    Raises:
        UsageError: steps and minutes are both set.
    """
    if steps is not None and minutes is not None:
        raise UsageError(
            "--steps and --minutes cannot be combined; pass one of them",
            code="steps-and-minutes",
            steps=steps,
            minutes=minutes,
        )
