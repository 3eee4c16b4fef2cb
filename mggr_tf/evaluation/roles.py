"""The role of people in a published split: to train on, to choose by, or to report."""

from __future__ import annotations

from mggr_tf.data.columbia import LICENCE
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.subject_split import PARTS, read_split

_SPLIT = "columbia"
_OTHERS = "in no part"


def roles_of(samples: EyeSamples) -> dict[str, int]:
    """Number of subjects in each part of the packaged Columbia split that has any.

    Returns:
        part -> subjects; empty for data that is not the Columbia Gaze Data Set, whose people
        carry other people's names.
    """
    if samples.licence != LICENCE:
        return {}
    split = read_split(_SPLIT)
    part_of = {name: part for part in PARTS for name in split.part(part)}
    found = [part_of.get(name, _OTHERS) for name in samples.subjects]
    return {part: found.count(part) for part in (*PARTS, _OTHERS) if part in found}


def roles_text(roles: dict[str, int]) -> str:
    """One line that says what scores of these people may be used for; empty without roles."""
    if not roles:
        return ""
    counts = ", ".join(f"{count} {part}" for part, count in roles.items())
    use = (
        "includes report subjects: publish these scores, choose nothing by them"
        if "report" in roles
        else "no report subject"
    )
    return f"subjects by split {_SPLIT}: {counts}; {use}"
