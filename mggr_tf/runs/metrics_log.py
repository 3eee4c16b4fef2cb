"""CSV log of the metrics of a stage.

The log is still readable after the disk was full, or after the process was killed. The first line
contains the names of the columns. Each other line is a row. The last line is incomplete if it has
no line break at its end. An incomplete line is ignored.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mggr_edge.common.atomic import atomic_file
from mggr_edge.errors import DiskError


def append_row(file: Path, step: int, metrics: Mapping[str, float]) -> None:
    """Append the metrics of a step.

    If the last row is incomplete, the function removes this row first. If `metrics` contains a new
    metric, the function adds a column, which is empty in earlier rows, and rewrites the file. If
    `metrics` lacks the metric of a column, this column is empty in the new row.

    Args:
        file: CSV file. If the file does not exist, it is created.
        step: number of the step.
        metrics: metrics by name.

    Raises:
        DiskError: the row could not be written. In this case, the file is unchanged.
    """
    _drop_cut_row(file)
    known = columns(file)
    names = [*known, *(name for name in metrics if name not in known)]
    if len(names) > len(known):
        _name_columns(file, names)
    values = {name: f"{value:.6g}" for name, value in metrics.items()}
    _append_whole(file, _as_csv([[str(step), *(values.get(name, "") for name in names)]]))


def column(file: Path, metric: str) -> dict[int, float]:
    """Return the values of a metric, with steps as keys.

    If there are two rows for a step, the result contains the value of the later row. If the file or
    the metric does not exist, the result is empty.
    """
    header, *rows = _rows(file) or [["step"]]
    if metric not in header[1:]:
        return {}
    at = header.index(metric)
    return {int(row[0]): float(row[at]) for row in rows if row[at]}


def columns(file: Path) -> tuple[str, ...]:
    """Return the metrics that have a column in a file. If there is no file, the result is empty."""
    if not file.is_file():
        return ()
    with file.open("rb") as content:
        return tuple(_header(content.readline())[1:])


def _header(line: bytes) -> list[str]:
    """Return the names in the first line. Return no names if the line is not a complete header."""
    text = line.decode("utf-8", errors="replace")
    names = next(csv.reader([text.strip("\r\n")]), [])
    return names if text.endswith("\n") and names[:1] == ["step"] else []


def _rows(file: Path) -> list[list[str]]:
    """Return the header and all valid rows.

    A line with an incomplete row is not included, even if another row was appended to this line.
    """
    if not file.is_file():
        return []
    whole = file.read_bytes().rpartition(b"\n")[0].decode("utf-8", errors="replace")
    lines = (line for line in whole.splitlines() if "\0" not in line)  # NUL after a power failure
    header, *rows = list(csv.reader(lines)) or [[]]
    if header[:1] != ["step"]:
        return []
    return [header, *(row for row in rows if len(row) == len(header) and _is_of_numbers(row))]


def _is_of_numbers(row: list[str]) -> bool:
    try:
        int(row[0])
        for value in row[1:]:
            float(value or 0)
    except ValueError:
        return False
    return True


def _drop_cut_row(file: Path) -> None:
    if not _is_cut(file):
        return
    os.truncate(file, file.read_bytes().rfind(b"\n") + 1)


def _is_cut(file: Path) -> bool:
    if not file.is_file() or not file.stat().st_size:
        return False
    with file.open("rb") as content:
        content.seek(-1, os.SEEK_END)
        return content.read() != b"\n"


def _name_columns(file: Path, names: list[str]) -> None:
    rows = _rows(file)[1:]
    filled = [[*row, *[""] * (len(names) + 1 - len(row))] for row in rows]
    with atomic_file(file, force=True) as temporary:
        temporary.write_bytes(_as_csv([["step", *names], *filled]))


def _append_whole(file: Path, row: bytes) -> None:
    try:
        with open(file, "ab", buffering=0) as handle:
            before = handle.tell()
            try:
                while row:  # if the disk is nearly full, `write` may write only a part of the row
                    row = row[handle.write(row) :]
            except OSError:
                handle.truncate(before)
                raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DiskError(
            f"{file}: a row was not written: {reason}; the file is unchanged",
            code="log-row-not-written",
            path=file,
            reason=reason,
        ) from error


def _as_csv(rows: Iterable[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
