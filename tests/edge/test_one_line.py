"""Lines for people, whatever names they quote."""

from __future__ import annotations

import pytest

from mggr_edge.common.addresses import redact_credentials
from mggr_edge.common.process import one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\n  lines", "two lines"),
        ("red \x1b[31m", r"red \x1b[31m"),
        ("back\u202ewards", r"back\u202ewards"),
        ("\udcff.png", r"\udcff.png"),
        ("ä 目", "ä 目"),
    ],
)
def test_a_line_steers_no_terminal(text: str, line: str) -> None:
    assert one_line(text) == line


def test_an_endless_name_is_cut_in_its_middle() -> None:
    line = one_line(f"{'x' * 70_000}.png does not exist")
    assert len(line) < 600
    assert line.endswith("x.png does not exist")


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://a@b:secret@host/x",
        "rtsp://a/b:secret@host/x",
        "rtsp://me:sec\nret@host/x",
        "rtsp:/me:secret@host/x",
        "x rtsp://me:se@cret@host/x",
    ],
)
def test_a_password_is_hidden_wherever_it_stands(text: str) -> None:
    shown = redact_credentials(text)
    assert "cret" not in shown
    assert shown.endswith(":...@host/x")
