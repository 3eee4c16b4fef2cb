"""Text as it may stand in one line of a terminal, whatever names it quotes."""

from __future__ import annotations

_LONGEST_WORD = 500


def one_line(text: str) -> str:
    """A text in one line; signs that steer a terminal are written out, endless words cut.

    Example:
        >>> one_line("a\\x1b[31mred\\n  name")
        'a\\\\x1b[31mred name'
    """
    return " ".join(_readable(word) for word in text.split())


def _readable(word: str) -> str:
    if len(word) > _LONGEST_WORD:
        word = f"{word[: _LONGEST_WORD // 2]}...{word[-_LONGEST_WORD // 2 :]}"
    # repr writes out what cannot be printed, lone surrogates of undecodable names among it.
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in word)
