"""What a check says, and what follows from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked for.
        state: "ok", "warn" (works, with a catch) or "missing".
        found: what is there.
        fix: the line that fixes it, or several, one below the other; None where there is
            nothing to do.
        needed: `mggr-edge run` on files cannot work without it.
    """

    name: str
    state: State
    found: str
    fix: str | None = None
    needed: bool = False

    def as_json(self) -> dict[str, Any]:
        """The check as JSON's types."""
        return asdict(self)


def is_able(checks: Sequence[Check]) -> bool:
    """Whether `mggr-edge run` can work on pictures and videos."""
    return not any(check.needed and check.state == "missing" for check in checks)


def report(checks: Sequence[Check]) -> str:
    """The checks as lines for people."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.state:<7}  {check.name:<{width}}  {check.found}")
        lines += [f"{'':<7}  {'':<{width}}  -> {line}" for line in (check.fix or "").splitlines()]
    verdict = "can" if is_able(checks) else "cannot"
    return "\n".join((*lines, f"mggr-edge run {verdict} work on pictures and videos here"))
