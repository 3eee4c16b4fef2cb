"""Read and write a folder of eye patches with a table of their labels.

An eye patch is an image of one eye. The table `eyes.csv` has one row for each patch:

    file,subject,side,pitch_deg,yaw_deg,head_pitch_deg,head_yaw_deg
    anna/001.jpg,anna,left,-4.5,12,0,3.1

If both head columns are missing, all heads are assumed to face the camera. Both gaze cells of a row
can be empty. `mggr-tf data check` counts rows with empty gaze cells. Training raises an error for
these rows.

Tables from spreadsheet programs are supported. Their cells can also be separated by semicolons or
tabs. In tables with these separators, numbers can have a decimal comma. A table can have empty rows
and columns at the end.

A row for a system file, for example `._001.jpg`, is listed as a bad patch. All other problems raise
an error with the number of the line. Examples are an unknown column, a cell that is not a number,
and a file that does not exist or is outside the folder.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple, TextIO

from mggr_edge.common.folders import is_system_file
from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_tf.data.listing import BadPatch, Entry, EyeLabel, Listing, Scan, scan_listing
from mggr_tf.data.patch_files import LICENCE_FILE, SortedNames, read_entry, read_licence

TABLE = "eyes.csv"
LICENCE = f"not stated (the patches have no {LICENCE_FILE})"

HEAD_BIN_DEG = 5.0
"""The width of the head pose bins in degrees. Measured head poses never repeat exactly. Therefore
two patches form a pair if their head poses are in the same bin."""

_GAZE = ("pitch_deg", "yaw_deg")
_HEAD = ("head_pitch_deg", "head_yaw_deg")
_NEEDED = ("file", "subject", "side", *_GAZE)
_COLUMNS = (*_NEEDED, *_HEAD)
_ANGLES = (*_GAZE, *_HEAD)
_SEPARATORS = (",", ";", "\t")
_SIDES: dict[str, Side] = {"left": "left", "right": "right"}


class _Where(NamedTuple):
    """The position of a row in a table, for error messages."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path} line {self.line}"


def recognises(path: Path) -> bool:
    """Return whether the folder contains the table `eyes.csv`."""
    return (path / TABLE).is_file()


def listing(folder: Path, *, subjects: Collection[str] | None = None) -> Listing:
    """List the patches of the table. The order is that of the rows.

    Args:
        folder: folder that contains `eyes.csv`.
        subjects: names of the subjects to list. `None` lists all subjects.

    Raises:
        DataError: a row of the table is invalid. The message contains the file and the line. The
            whole table is checked before the first patch is returned.
    """
    return Listing(
        entries=_entries(folder / TABLE, subjects),
        read=read_entry,
        licence=read_licence(folder, otherwise=LICENCE),
        head_bin_deg=HEAD_BIN_DEG,
    )


def scan(folder: Path, *, subjects: Collection[str] | None = None) -> Scan:
    """Read all patches of `listing` into memory, and separate valid and bad patches."""
    return scan_listing(listing(folder, subjects=subjects))


def write_table(path: Path, rows: Iterable[tuple[str, EyeLabel]]) -> None:
    """Write a table. Angles are rounded to a tenth of a degree.

    Args:
        path: path of the table. The table must have the name `TABLE` and be in the folder of the
            patches.
        rows: file names and labels. The file names are relative to the folder of the patches.
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
        pass  # The loop checks the whole table before any image is read.
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
            where = _Where(table, line)
            file = _file(table.parent, row["file"], where)
            earlier = seen.add(str(file), line)
            if earlier is not None:
                raise DataError(
                    f"{where}: {row['file']} is already listed in line {earlier}; remove one row",
                    code="file-listed-twice",
                    **where._asdict(),
                    file=row["file"],
                    earlier=earlier,
                )
            if is_system_file(row["file"]):
                yield BadPatch(file, "system file, not a patch", fatal=False)
            else:
                yield Entry(file, _label(row, where))
    if not line:
        raise DataError(
            f"{table} contains no eye patch: the table has no rows", code="table-empty", path=table
        )


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, cells by column). Spaces around cells are removed.

    Decimal commas are converted to decimal points.
    """
    try:
        with open(table, encoding="utf-8-sig", newline="") as handle:
            separator, before = _separator(handle)
            reader = csv.reader(handle, delimiter=separator, strict=True)
            columns = _header(_without_empty_end(next(reader, [])), _Where(table, before + 1))
            for cells in reader:
                line = before + reader.line_num
                stripped = _without_empty_end(cells, keep=len(columns))
                if not any(stripped):
                    continue
                if len(stripped) != len(columns):
                    raise DataError(
                        f"{table} line {line}: expected {len(columns)} cells "
                        f"({', '.join(columns)}), got {len(stripped)}",
                        code="row-cell-count",
                        path=table,
                        line=line,
                        expected=len(columns),
                        found=len(stripped),
                    )
                row = dict(zip(columns, stripped, strict=True))
                if separator != ",":
                    row |= {name: row[name].replace(",", ".") for name in _ANGLES if name in row}
                yield line, row
    except UnicodeDecodeError as error:
        raise DataError(
            f"{table} is not UTF-8 text; save it as UTF-8", code="file-not-utf8", path=table
        ) from error
    except csv.Error as error:
        where = _Where(table, before + reader.line_num)
        raise DataError(
            f"{where}: invalid CSV: {error}",
            code="table-not-csv",
            **where._asdict(),
            reason=str(error),
        ) from error


def _separator(handle: TextIO) -> tuple[str, int]:
    """Return the cell separator, and the number of lines before the header (0 or 1).

    Some spreadsheet programs write a line `sep=;` before the header. After this call, the next line
    that `handle` reads is the header.
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
    """Remove spaces around all cells, and remove empty cells at the end.

    At least `keep` cells are kept.
    """
    stripped = [cell.strip() for cell in cells]
    while len(stripped) > keep and not stripped[-1]:
        stripped.pop()
    return stripped


def _header(cells: list[str], where: _Where) -> list[str]:
    columns = cells
    for column in columns:
        if column not in _COLUMNS:
            raise DataError(
                f"{where}: unknown column {column!r}; known columns: {', '.join(_COLUMNS)}",
                code="column-unknown",
                **where._asdict(),
                column=column,
            )
        if columns.count(column) > 1:
            raise DataError(
                f"{where}: duplicate column {column!r}",
                code="column-duplicate",
                **where._asdict(),
                column=column,
            )
    missing = [column for column in _NEEDED if column not in columns]
    if len(set(_HEAD) & set(columns)) == 1:
        missing += [column for column in _HEAD if column not in columns]
    if missing:
        raise DataError(
            f"{where}: missing column {', '.join(map(repr, missing))}",
            code="column-missing",
            **where._asdict(),
            columns=", ".join(missing),
        )
    return columns


def _file(folder: Path, text: str, where: _Where) -> Path:
    relative = PurePosixPath(text)
    absolute = relative.is_absolute() or PureWindowsPath(text).anchor
    if not text or absolute or ".." in relative.parts:
        raise DataError(
            f"{where}: file must be a path inside {folder}, got {text!r}",
            code="file-outside-folder",
            **where._asdict(),
            file=text,
        )
    file = folder / relative
    if not file.is_file():
        raise DataError(
            f"{where}: {text} does not exist in {folder}",
            code="listed-file-missing",
            **where._asdict(),
            file=text,
        )
    return file


def _label(row: dict[str, str], where: _Where) -> EyeLabel:
    if not row["subject"]:
        raise DataError(
            f"{where}: subject is empty; enter the name of the subject",
            code="subject-empty",
            **where._asdict(),
        )
    if row["side"] not in _SIDES:
        raise DataError(
            f"{where}: side must be left or right (from the subject's point of view), "
            f"got {row['side']!r}",
            code="side-invalid",
            **where._asdict(),
            found=row["side"],
        )
    empty = [column for column in _GAZE if not row[column]]
    gaze = None if len(empty) == len(_GAZE) else _direction(row, _GAZE, where)
    head = _direction(row, _HEAD, where) if _HEAD[0] in row else Gaze(0.0, 0.0)
    return EyeLabel(row["subject"], _SIDES[row["side"]], head, gaze)


def _direction(row: dict[str, str], columns: tuple[str, str], where: _Where) -> Gaze:
    pitch_deg, yaw_deg = (_number(row[column], column, where) for column in columns)
    try:
        return Gaze(pitch_deg, yaw_deg)
    except ValueError as error:
        raise DataError(
            f"{where}: {', '.join(columns)}: {error}",
            code="angle-out-of-range",
            **where._asdict(),
            columns=", ".join(columns),
            reason=str(error),
        ) from error


def _number(text: str, column: str, where: _Where) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(
            f"{where}: {column} must be a number of degrees, got {text!r}",
            code="angle-not-number",
            **where._asdict(),
            column=column,
            found=text,
        ) from error
