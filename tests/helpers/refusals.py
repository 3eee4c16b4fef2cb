"""Errors of library calls and commands, by type, code and fields instead of by message."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pytest
from click.testing import Result

from mggr_edge.common.cli_group import USER_ERROR, OneLineError
from mggr_edge.common.process import one_line
from mggr_edge.errors import MggrError

_SHOWN: list[MggrError] = []
"""Errors that commands of this process showed, in order. click keeps only the exit code."""

_show = OneLineError.show


def _recorded_show(self: OneLineError, file: IO[Any] | None = None) -> None:
    _SHOWN.append(self.error)
    _show(self, file)


OneLineError.show = _recorded_show  # type: ignore[method-assign]


@contextmanager
def refusal(
    kind: type[MggrError], code: str, /, **fields: object
) -> Iterator[pytest.ExceptionInfo[MggrError]]:
    """Check that the block raises an error of a type with a code, and with these fields.

    Args:
        kind: type of the error, or a base class.
        code: expected code.
        fields: expected values, compared as text; other fields are not checked.
    """
    with pytest.raises(kind) as caught:
        yield caught
    check_error(caught.value, code, **fields)


def error_of(result: Result, code: str | None = None, /, **fields: object) -> MggrError:
    """Return the error that ended a command, after checking how the command reported it.

    Args:
        result: of a command that `click.testing.CliRunner` ran.
        code: expected code; None does not check it.
        fields: expected values, compared as text.
    """
    assert result.exit_code == USER_ERROR, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    error = _SHOWN[-1]
    assert lines[0] == f"error: {one_line(str(error))}", "another command failed last"
    if code is not None:
        check_error(error, code, **fields)
    return error


def check_error(error: MggrError, code: str, /, **fields: object) -> None:
    """Check code and fields of an error."""
    assert error.code == code, f"{error.code}: {error}"
    found = {name: str(error.fields.get(name)) for name in fields}
    assert found == {name: str(value) for name, value in fields.items()}, str(error)
