"""Addresses and names, as INPUT and as OUTPUT. None leads anywhere.

What parses as a stream is of this machine, at a port where nobody listens; of devices and served
streams only such are named as cannot be there.
"""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import cv2

from fuzzing import Case, Rng
from ramps import smooth_picture

_SECRETS = (
    *("hunter2", "pa:ss", "p@ss", "geheim/nis", "s3cret?x", "se cret", "wörd"),
    *("%70ass%40", "a\nb", "#tag#"),
)
_SCHEMES = (
    *("http", "https", "rtsps", "rtmp", "ftp", "file2", "x-y", "v4l2", "csi", "display", "null"),
    *("tcp", "concat", "RTSP2", "ws", "javascript"),
)
_USERS = ("me", "", "a@b", "us/er", "ü", "me%3A", "a b")
_ODD = (
    *("\x1b[31m", "\u202e", "\u2028", "\x85", "\t", "é", "目", "%00", "%2e%2e%2f", "..", "\\"),
    *("'", '"', "$(id)", "`id`", "|", ";", "\udcff", "\r\n", " ", "*", "?", "~", "{", "\x7f"),
)


def make_address_case(rng: Rng, folder: Path) -> Case:
    """One of INPUT and OUTPUT is odd, or both are."""
    (folder / "me.png").write_bytes(cv2.imencode(".png", smooth_picture())[1].tobytes())
    secret = _SECRETS[rng.integers(len(_SECRETS))] if rng.random() < 0.6 else None
    text = _text(rng, secret)
    arguments: tuple[str, ...]
    writes = ""
    match rng.integers(6):
        case 0 | 1:
            arguments = (text, "null://")
        case 2:
            arguments = (text,)
            writes = "*-redirected*"
        case 3:
            arguments = ("me.png", text)
            writes = "*.png"
        case 4:
            closed = f"rtsp://me:{secret or 'x'}@127.0.0.1:{closed_port()}/live"
            arguments = (closed, _text(rng, None))
        case _:
            arguments = (text, _text(rng, secret))
            writes = "*-redirected*"
    options: tuple[str, ...] = ()
    if rng.random() < 0.2:
        more = (
            ("--input-width", "640"),
            ("--headless",),
            ("--metrics", "lines.jsonl"),
            ("--force",),
        )
        options = more[rng.integers(len(more))]
    if options == ("--force",) and writes == "*.png":
        options = ()
    if "--input-width" in options and secret is not None:
        options = ()  # refused by a line that shows INPUT as it was typed
    allowed = (writes, "lines.jsonl") if "--metrics" in options else (writes,)
    return Case((*options, "--", *arguments), allowed, secret=secret, what=repr(arguments)[:200])


def _text(rng: Rng, secret: str | None) -> str:
    user = _USERS[rng.integers(len(_USERS))]
    who = "" if secret is None else f"{user}:{secret}@"
    odd = "".join(_ODD[n] for n in rng.integers(0, len(_ODD), int(rng.integers(1, 4))))
    scheme = _SCHEMES[rng.integers(len(_SCHEMES))]
    forms = (
        f"{scheme}://{who}127.0.0.1/{odd}",
        f"{scheme}://{who}{odd}",
        f"{scheme}://{who}127.0.0.1:{rng.integers(0, 10**6)}/a?b={secret or odd}&c={odd}",
        f"rtsp://{who}127.0.0.1:{closed_port()}/{odd.strip()}",
        f"rtsp://{who}[::1/{odd}",
        f"rtsp://{who}/{odd}",
        f"rtsp://{who}:{odd}",
        f" rtsp://{who}127.0.0.1/{odd}",
        f"{odd}rtsp://{who}127.0.0.1/live",
        f"v4l2:///dev/mggr-no-{rng.integers(100)}{odd}",
        f"/dev/mggr-no-{rng.integers(100)}",
        f"v4l2loopback:///dev/mggr{odd}",
        f"rtsp://@{odd}:99999/x",
        f"csi://{odd}",
        f"display://{odd}x",
        f"file://{who}{odd}",
        "file://",
        odd,
        "x" * int(rng.integers(200, 70_000)),
        f"{scheme}://{who}" + "y" * int(rng.integers(200, 70_000)),
        f"{'a/' * 3000}b.png",
        f"http:{odd}.mp4",
        "me.png",
        "me.png/",
        "./me.png/../me.png",
        f"{odd}.png",
        "",
        ".",
        "-",
    )
    text = forms[rng.integers(len(forms))]
    if secret is not None and secret not in text:
        return f"http://{who}{text}"
    if text.startswith("rtsp://"):
        return text if _leads_nowhere(text) else f"x{text}"
    return text if rng.random() < 0.8 else text.upper()


def _leads_nowhere(text: str) -> bool:
    """Whether a stream is of no host or of this machine: a slash in a password makes another."""
    try:
        return urlsplit(text).hostname in (None, "127.0.0.1")
    except ValueError:
        return True


def closed_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
