"""A plain folder of eye patches, described by a table beside them.

`eyes.csv` has one row for each patch:

    file,subject,side,pitch_deg,yaw_deg,head_pitch_deg,head_yaw_deg
    anna/001.jpg,anna,left,-4.5,12,0,3.1

The head columns may both be absent, which means a head that faces the camera.
Gaze cells may both be empty: `mggr-tf data check` counts such rows, training
refuses them. Tables as spreadsheet programs save them are read too: cells may be
separated by semicolons or tabs (then a number may have a decimal comma), and rows
and columns may be followed by empty ones. A row that names a file of the system,
as `._001.jpg`, is a bad patch. Nothing else is guessed: an unknown column, a cell
that is no number, a file that is not there or lies outside the folder is an error
that names its line.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TextIO

from mggr_edge.common.folders import is_system_file
from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_tf.data.listing import BadPatch, Entry, EyeLabel, Listing, Scan, scan_listing
from mggr_tf.data.patch_files import LICENCE_FILE, SortedNames, read_entry, read_licence

TABLE = "eyes.csv"
LICENCE = f"not stated (the patches have no {LICENCE_FILE})"

HEAD_BIN_DEG = 5.0
"""Measured head poses never repeat; pairs share one to within a bin of this width."""

_GAZE = ("pitch_deg", "yaw_deg")
_HEAD = ("head_pitch_deg", "head_yaw_deg")
_NEEDED = ("file", "subject", "side", *_GAZE)
_COLUMNS = (*_NEEDED, *_HEAD)
_ANGLES = (*_GAZE, *_HEAD)
_SEPARATORS = (",", ";", "\t")
_SIDES: dict[str, Side] = {"left": "left", "right": "right"}


def recognises(path: Path) -> bool:
    """Whether the folder has a table."""
    return (path / TABLE).is_file()


def listing(folder: Path, *, subjects: Collection[str] | None = None) -> Listing:
    """Lists the table's rows, in their order.

    Args:
        folder: where `eyes.csv` lies.
        subjects: only these; None takes all.

    Raises:
        DataError: the table does not fit, as soon as the row is reached that does not; the
            message names file and line.
    """
    return Listing(
        entries=_entries(folder / TABLE, subjects),
        read=read_entry,
        licence=read_licence(folder, otherwise=LICENCE),
        head_bin_deg=HEAD_BIN_DEG,
    )


def scan(folder: Path, *, subjects: Collection[str] | None = None) -> Scan:
    """Reads what `listing` lists, and sorts the good from the bad."""
    return scan_listing(listing(folder, subjects=subjects))


def write_table(path: Path, rows: Iterable[tuple[str, EyeLabel]]) -> None:
    """Writes a table, angles to a tenth of a degree.

    Args:
        path: the file, `TABLE` in the patches' folder.
        rows: file names relative to that folder, and labels.
    """
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for file, label in rows:
            gaze = _cells(label.gaze)
            writer.writerow([file, label.subject, label.side, *gaze, *_cells(label.head)])


def _cells(direction: Gaze | None) -> tuple[str, str]:
    if direction is None:
        return "", ""
    return f"{direction.pitch_deg:.1f}", f"{direction.yaw_deg:.1f}"


def _entries(table: Path, subjects: Collection[str] | None) -> Iterator[Entry | BadPatch]:
    for _ in _read_table(table):
        pass  # the whole table, before any picture is read
    for entry in _read_table(table):
        if isinstance(entry, BadPatch):
            if subjects is None:
                yield entry
        elif subjects is None or entry.label.subject in subjects:
            yield entry


def _read_table(table: Path) -> Iterator[Entry | BadPatch]:
    line = 0
    with SortedNames() as seen:
        for line, row in _rows(table):
            where = f"{table} line {line}"
            file = _file(table.parent, row["file"], where)
            earlier = seen.add(str(file), line)
            if earlier is not None:
                raise DataError(f"{where}: {row['file']} stands in line {earlier} already")
            if is_system_file(row["file"]):
                yield BadPatch(file, "a file of the system, no patch", fatal=False)
            else:
                yield Entry(file, _label(row, where))
    if not line:
        raise DataError(f"{table} holds no eye patch: it has no rows")


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cells by column), cells stripped; numbers have a decimal point."""
    try:
        with open(table, encoding="utf-8-sig", newline="") as handle:
            separator, before = _separator(handle)
            reader = csv.reader(handle, delimiter=separator, strict=True)
            columns = _header(_without_empty_end(next(reader, [])), f"{table} line {before + 1}")
            for cells in reader:
                line = before + reader.line_num
                stripped = _without_empty_end(cells, keep=len(columns))
                if not any(stripped):
                    continue
                if len(stripped) != len(columns):
                    raise DataError(
                        f"{table} line {line}: expected {len(columns)} cells "
                        f"({', '.join(columns)}), got {len(stripped)}"
                    )
                row = dict(zip(columns, stripped, strict=True))
                if separator != ",":
                    row |= {name: row[name].replace(",", ".") for name in _ANGLES if name in row}
                yield line, row
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8 text; save it as such") from error
    except csv.Error as error:
        raise DataError(f"{table} line {before + reader.line_num}: {error}") from error


def _separator(handle: TextIO) -> tuple[str, int]:
    """What separates cells, by the header, and the number of lines before that: 0 or 1.

    Leaves the file at its header. Spreadsheet programs may write a line `sep=;` before it.
    """
    first = handle.readline()
    before = int(first.lower().startswith("sep="))
    header = handle.readline() if before else first
    handle.seek(0)
    if before:
        handle.readline()
    counts = {separator: header.count(separator) for separator in _SEPARATORS}
    return max(counts, key=counts.__getitem__), before


def _without_empty_end(cells: list[str], *, keep: int = 0) -> list[str]:
    """Stripped cells without the empty ones behind the `keep` first."""
    stripped = [cell.strip() for cell in cells]
    while len(stripped) > keep and not stripped[-1]:
        stripped.pop()
    return stripped


def _header(cells: list[str], where: str) -> list[str]:
    columns = cells
    for column in columns:
        if column not in _COLUMNS:
            raise DataError(
                f"{where}: unknown column {column!r}; known columns: {', '.join(_COLUMNS)}"
            )
        if columns.count(column) > 1:
            raise DataError(f"{where}: column {column!r} stands there twice")
    missing = [column for column in _NEEDED if column not in columns]
    if len(set(_HEAD) & set(columns)) == 1:
        missing += [column for column in _HEAD if column not in columns]
    if missing:
        raise DataError(f"{where}: column {', '.join(map(repr, missing))} is missing")
    return columns


def _file(folder: Path, text: str, where: str) -> Path:
    relative = PurePosixPath(text)
    absolute = relative.is_absolute() or PureWindowsPath(text).anchor
    if not text or absolute or ".." in relative.parts:
        raise DataError(f"{where}: file must be a path inside {folder}, got {text!r}")
    file = folder / relative
    if not file.is_file():
        raise DataError(f"{where}: {text} does not exist in {folder}")
    return file


def _label(row: dict[str, str], where: str) -> EyeLabel:
    if not row["subject"]:
        raise DataError(f"{where}: subject is empty; name whose eye this is")
    if row["side"] not in _SIDES:
        raise DataError(
            f"{where}: side must be left or right (the subject's own), got {row['side']!r}"
        )
    empty = [column for column in _GAZE if not row[column]]
    gaze = None if len(empty) == len(_GAZE) else _direction(row, _GAZE, where)
    head = _direction(row, _HEAD, where) if _HEAD[0] in row else Gaze(0.0, 0.0)
    return EyeLabel(row["subject"], _SIDES[row["side"]], head, gaze)


def _direction(row: dict[str, str], columns: tuple[str, str], where: str) -> Gaze:
    pitch_deg, yaw_deg = (_number(row[column], column, where) for column in columns)
    try:
        return Gaze(pitch_deg, yaw_deg)
    except ValueError as error:
        raise DataError(f"{where}: {', '.join(columns)}: {error}") from error


def _number(text: str, column: str, where: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{where}: {column} must be a number of degrees, got {text!r}") from error
