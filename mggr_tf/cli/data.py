"""Define the commands `mggr-tf data`, which render, cut, check, split and pack eye patches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mggr_edge.common.cli_group import MggrGroup
from mggr_edge.errors import UsageError
from mggr_tf.cli.data_motion import motion
from mggr_tf.cli.options import (
    FileToWrite,
    GazeLabel,
    SubjectList,
    check_is_free,
    force_option,
    notify,
)

if TYPE_CHECKING:
    from mggr_edge.geometry.angles import Gaze
    from mggr_tf.data.crop_folder import Cropped
    from mggr_tf.data.listing import Tally
    from mggr_tf.data.packed.pack import Packed

_INTERRUPTED = 130


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="SRC")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Number of processes. Default: one process per CPU core.",
)
@force_option
def pack(source: Path, out: Path, workers: int | None, force: bool) -> None:
    """Convert a data set to a few large files with checksums, for `train --data`.

    \b
    Examples:
      mggr-tf data pack MPIIGaze/ packed/
      mggr-tf data pack patches/ packed/ --workers 2
      mggr-tf train --stage joint --data packed/ --out runs/large

    SRC is a folder that `train --data` accepts. To pack synthetic eyes, run `data synth` first. The
    result is called a pack, and its files are called shards. The memory use does not depend on the
    number of patches. If the command is interrupted or killed, run the same command again to
    continue. Until the pack is complete, the folder is named OUT.packing. Equal sources produce
    identical packs.

    The command omits patches that show no eye. The command also omits a patch if there is no second
    patch of the same person, side and head pose. left-out.csv lists the omitted patches. Corrupt
    files and patches without a gaze label are errors.
    """
    check_is_free(out, force=force)
    from mggr_edge.common.progress import progress
    from mggr_tf.data.packed.pack import pack_source

    try:
        packed = pack_source(
            source, out, workers=workers, force=force, progress=progress, notify=notify
        )
    except KeyboardInterrupt:
        notify("\ninterrupted; run the same command again to continue")
        raise SystemExit(_INTERRUPTED) from None
    _tell(packed)
    click.echo(out)


def _tell(packed: Packed) -> None:
    notify(
        f"packed {packed.patches} patches of {packed.subjects} subjects into {packed.shards} shards"
    )
    if packed.left_out:
        notify(f"omitted {packed.left_out} patches; left-out.csv lists them with the reasons")


_FOUND_BAD = 1


@click.group(cls=MggrGroup)
def data() -> None:
    """Render, cut, check, split and pack labelled eye patches."""


data.add_command(motion)
data.add_command(pack)


@data.command()
@click.argument("out", type=click.Path(path_type=Path), required=False)
@click.option(
    "--count",
    default=2100,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of patches to render.",
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=click.IntRange(min=0),
    help="Seed for the random choice of the people.",
)
@click.option(
    "--preview",
    type=FileToWrite(),
    help="Write an overview picture of the first people to this .png file. OUT is then optional.",
)
@force_option
def synth(out: Path | None, count: int, seed: int, preview: Path | None, force: bool) -> None:
    """Render synthetic eye patches with exact labels.

    The files are named as in the Columbia data set.

    \b
    Examples:
      mggr-tf data synth eyes/ --count 2100 --seed 1     (10 people, 210 patches each)
      mggr-tf data synth --preview sheet.png
    """
    if out is None and preview is None:
        raise UsageError(
            "no output given; pass a folder OUT, --preview FILE.png, or both",
            code="synth-without-output",
        )
    for path in (out, preview):
        if path is not None:
            check_is_free(path, force=force)
    from mggr_edge.common.progress import from_counts, progress
    from mggr_tf.data.columbia import write_dataset
    from mggr_tf.drawn_eyes import write_contact_sheet

    if preview is not None:
        write_contact_sheet(preview, seed=seed, force=force)
        click.echo(preview)
    if out is not None:
        with progress("drawing", count) as advance:
            written = write_dataset(
                out, count=count, seed=seed, progress=from_counts(advance), force=force
            )
        notify(f"wrote {written} patches")
        click.echo(out)


@data.command()
@click.argument("photos", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--gaze",
    type=GazeLabel(),
    metavar="PITCH,YAW",
    help="Gaze of the person in every photograph, in degrees. `0,0` means that the person looks "
    "into the lens.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Number of processes. Default: one process per CPU core.",
)
@force_option
def crop(photos: Path, out: Path, gaze: Gaze | None, workers: int | None, force: bool) -> None:
    """Cut both eyes out of photographs and write them as patches of 64 x 64 pixels.

    \b
    Examples:
      mggr-tf data crop columbia-photos/ patches/
      mggr-tf data crop group-photos/ eyes/ --workers 2
      mggr-tf data crop portraits/ eyes/ --gaze 0,0

    If a photograph is named as in the Columbia data set (0001_2m_-15P_10V_-10H.jpg), the names of
    its patches contain the same labels. For all other photographs, the command writes an eyes.csv.
    Training needs the gaze columns of this file. Set these columns with --gaze, or fill in the
    columns by hand. The file not-cut.csv lists all photographs and eyes that could not be cut.

    With --gaze, each photograph must show one person, because only the largest face is used. With a
    gaze of 0,0, each patch is rotated so that the eye is level, as on a device. With any other
    gaze, patches are not rotated.

    The exit code is 1 if a photograph cannot be read or shows no face. The exit code is also 1 if a
    photograph with labels does not show both eyes. Faces whose eyes are too small are only listed
    in not-cut.csv.
    """
    check_is_free(out, force=force)
    from mggr_edge.common.progress import progress
    from mggr_tf.data.crop_folder import crop_photos

    try:
        cropped = crop_photos(
            photos, out, gaze=gaze, workers=workers, force=force, progress=progress
        )
    except KeyboardInterrupt:
        notify("\ninterrupted; nothing was written")
        raise SystemExit(_INTERRUPTED) from None
    _tell_cropped(cropped, out)
    click.echo(out)
    if cropped.failed:
        raise SystemExit(_FOUND_BAD)


def _tell_cropped(cropped: Cropped, out: Path) -> None:
    for file, what, reason in cropped.not_cut:
        notify(": ".join(part for part in (file.name, what, reason) if part))
    notify(
        f"cut {cropped.patches} patches from {cropped.photos} photographs, "
        f"{len(cropped.failed)} of which failed"
    )
    if not cropped.labelled:
        notify(f"before training, fill in pitch_deg and yaw_deg in {out / 'eyes.csv'}")


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
def check(folder: Path) -> None:
    """Count patches, and list patches that cannot be used for training.

    \b
    Example:
      mggr-tf data check patches/

    FOLDER is any data set that `train --data` accepts: patches that are named as in the Columbia
    data set, patches with an eyes.csv, MPIIGaze, or a pack of one of these. The command counts
    patches by subject, side, head pose and gaze. The command lists patches that are corrupt or
    blank, have the wrong size, or show no eye. The command also lists the records of a pack whose
    checksum is wrong. The exit code is 1 if the list is not empty.
    """
    counted = _tallied(folder)
    for title, counts in counted.counts.items():
        click.echo(f"{title}: " + ", ".join(f"{key} {count}" for key, count in counts.items()))
    click.echo(f"{counted.good} good, {len(counted.bad)} bad; {counted.licence}")
    if counted.unlabelled:
        click.echo(f"{counted.unlabelled} of them without a gaze label; training rejects them")
    for bad in counted.bad:
        click.echo(f"{bad.name}: {bad.reason}")
    if counted.bad:
        raise SystemExit(_FOUND_BAD)


def _tallied(folder: Path) -> Tally:
    from mggr_edge.common.progress import progress
    from mggr_tf.data.listing import tally
    from mggr_tf.data.source import list_source

    listing = list_source(folder)
    with progress("checking patches", None) as advance:
        return tally(listing, source=folder, advance=advance)


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=FileToWrite(), help="Split file (.yaml) to write.")
@click.option("--train", type=SubjectList(), help="Subjects to train on, e.g. 0001-0027.")
@click.option("--select", type=SubjectList(), help="Subjects to compare runs on.")
@click.option("--report", type=SubjectList(), help="Subjects to compute published scores on.")
@click.option(
    "--shares",
    help="Shares of the subjects that are assigned at random to train, select and report; default "
    "0.7,0.15,0.15.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of the random assignment; default 1."
)
@click.option(
    "--every",
    type=click.IntRange(min=2),
    metavar="N",
    help="Sort the subjects by name. Assign every N-th subject to select, and all other subjects "
    "to train.",
)
@force_option
def split(
    folder: Path,
    out: Path,
    train: tuple[str, ...] | None,
    select: tuple[str, ...] | None,
    report: tuple[str, ...] | None,
    shares: str | None,
    seed: int | None,
    every: int | None,
    force: bool,
) -> None:
    """Divide the subjects of a data set into the parts train, select and report.

    \b
    Examples:
      mggr-tf data split patches/ --out split.yaml
      mggr-tf data split patches/ --out split.yaml --shares 0.8,0.1,0.1 --seed 2
      mggr-tf data split patches/ --out split.yaml --train 0001-0027 --report 0033-0038
      mggr-tf data split portraits/ --out split.yaml --every 6

    To use one part of the split with `train` or `evaluate`, pass the option --split, for example
    --split split.yaml:train.
    """
    check_is_free(out, force=force)
    if out.suffix not in (".yaml", ".yml"):
        raise UsageError(
            f"--out {out}: expected a file name that ends in .yaml", code="split-not-yaml", path=out
        )
    named = train is not None or select is not None or report is not None
    if named and (shares is not None or seed is not None):
        raise UsageError(
            "--shares and --seed assign subjects at random; they cannot be combined with --train, "
            "--select or --report",
            code="split-named-and-random",
            shares=shares,
            seed=seed,
        )
    if every is not None and (named or shares is not None or seed is not None):
        raise UsageError(
            "--every assigns all subjects; it cannot be combined with --train, --select, --report, "
            "--shares or --seed",
            code="split-every-combined",
            every=every,
        )
    from mggr_tf.data.names import present_names
    from mggr_tf.data.subject_split import (
        PARTS,
        SubjectSplit,
        draw_split,
        every_nth_split,
        write_split,
    )

    counts = _tallied(folder).counts.get("subject", {})
    if named:
        source = str(folder.resolve())
        parts = (present_names(names or (), source, seed=0) for names in (train, select, report))
        made = SubjectSplit(*parts)
    elif every is not None:
        made = every_nth_split(counts, every)
    else:
        made = draw_split(counts, shares=_shares(shares), seed=1 if seed is None else seed)
    made.refuse_unknown(counts)
    write_split(out, made, force=force)
    for part in PARTS:
        names = made.part(part)
        notify(f"{part}: {len(names)} subjects, {sum(counts[name] for name in names)} patches")
    left = sorted(set(counts) - {name for part in PARTS for name in made.part(part)})
    if left:
        notify(f"subjects in no part: {', '.join(left)}")
    click.echo(out)


def _shares(text: str | None) -> tuple[float, ...]:
    from mggr_tf.data.subject_split import SHARES

    if text is None:
        return SHARES
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"--shares: expected numbers such as 0.7,0.15,0.15, got {text!r}",
            code="shares-not-numbers",
            found=text,
        ) from error
