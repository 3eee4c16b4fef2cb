"""Read, write and create subject splits.

A subject split is a file that divides the subjects into three parts: `train` for training, `select`
for model selection, and `report` for published results. An example of a split file:

    train: 0001-0027
    select: 0028-0032
    report: 0033-0038

Each subject is in at most one part. A part is a text in the syntax of `parse_subjects`, or a list
of names, for example `train: [anna, bert]`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mggr_edge.common.atomic import atomic_file
from mggr_edge.errors import DataError
from mggr_tf.config.files import packaged_folder
from mggr_tf.data.names import parse_subjects, subjects_text

SHARES = (0.7, 0.15, 0.15)


@dataclass(frozen=True)
class SubjectSplit:
    """Three groups of subjects.

    Attributes:
        train: subjects whose patches train the weights.
        select: subjects for the choice between runs, configs and stopping points.
        report: subjects for published results. These subjects must not influence any choice.

    Raises:
        DataError: a subject is in two parts.
        DataError: the part `train` is empty.
    """

    train: tuple[str, ...]
    select: tuple[str, ...] = ()
    report: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.train:
            raise DataError("the part 'train' contains no subject", code="split-train-empty")
        counts = Counter(name for part in PARTS for name in set(self.part(part)))
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            raise DataError(
                f"{_listed(twice)} in more than one of the parts {', '.join(PARTS)}",
                code="split-subject-twice",
                subjects=", ".join(twice),
            )

    def part(self, name: str) -> tuple[str, ...]:
        """Return the subjects of the part with this name."""
        found: tuple[str, ...] = getattr(self, name)
        return found

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Check that the data contains all subjects of the split.

        Raises:
            DataError: a part contains a subject that is not in `known`.
        """
        unknown = sorted({name for part in PARTS for name in self.part(part)} - set(known))
        if unknown:
            raise DataError(
                f"{_listed(unknown)} in the split but not in the data",
                code="split-subject-unknown",
                subjects=", ".join(unknown),
            )


PARTS = tuple(field.name for field in fields(SubjectSplit))


def draw_split(
    subjects: Collection[str], *, shares: Sequence[float] = SHARES, seed: int = 1
) -> SubjectSplit:
    """Assign subjects to the parts at random.

    Args:
        subjects: names of all subjects.
        shares: relative sizes of the parts `train`, `select` and `report`. The values are divided
            by their sum. A part with the value 0 is empty.
        seed: seed of the random assignment. Equal arguments result in equal splits.

    Raises:
        DataError: the shares are invalid.
        DataError: the number of subjects is smaller than the number of parts with a share above 0.
    """
    if len(shares) != len(PARTS) or min(shares) < 0 or not 0 < sum(shares) < float("inf"):
        raise DataError(
            f"shares: expected {len(PARTS)} numbers of at least 0 with a positive sum, such as "
            f"0.7,0.15,0.15; got {','.join(map(str, shares))}",
            code="split-shares-invalid",
            found=",".join(map(str, shares)),
        )
    everyone = sorted(subjects)
    counts = _counts(len(everyone), shares)
    order = np.random.default_rng(seed).permutation(len(everyone))
    ends = np.cumsum(counts)
    return SubjectSplit(
        *(
            tuple(sorted(everyone[i] for i in order[end - count : end]))
            for count, end in zip(counts, ends, strict=True)
        )
    )


def every_nth_split(subjects: Collection[str], nth: int) -> SubjectSplit:
    """Sort the subjects by name, and put every `nth` subject into `select`.

    All other subjects are in `train`.

    Example:
        >>> every_nth_split(["e", "d", "c", "b", "a"], 2)
        SubjectSplit(train=('a', 'c', 'e'), select=('b', 'd'), report=())

    Raises:
        DataError: there are fewer than `nth` subjects.
        DataError: `nth` is below 2.
    """
    everyone = sorted(subjects)
    if not 2 <= nth <= len(everyone):
        raise DataError(
            f"every n-th subject: expected a number n from 2 to {len(everyone)}, the number of "
            f"subjects; got {nth}",
            code="split-every-invalid",
            found=nth,
            subjects=len(everyone),
        )
    selected = everyone[nth - 1 :: nth]
    return SubjectSplit(tuple(sorted({*everyone} - {*selected})), tuple(selected))


def _counts(people: int, shares: Sequence[float]) -> list[int]:
    """Return the number of subjects of each part.

    A part with a share above 0 has at least one subject.
    """
    counts = [int(share > 0) for share in shares]
    if people < sum(counts):
        raise DataError(
            f"{people} subjects are too few for {sum(counts)} parts",
            code="split-too-few-subjects",
            subjects=people,
            parts=sum(counts),
        )
    for _ in range(people - sum(counts)):
        wanting = [
            share / sum(shares) * people - n for share, n in zip(shares, counts, strict=True)
        ]
        counts[wanting.index(max(wanting))] += 1
    return counts


def read_split(name_or_file: str) -> SubjectSplit:
    """Read a split from a file, or read a packaged split by its name, for example `columbia`.

    Raises:
        DataError: the split does not exist.
        DataError: a part is unknown, duplicated or missing.
        DataError: a subject is in two parts.
    """
    file = _split_file(name_or_file)
    try:
        # The base loader reads every value as text. All other loaders read 0007 as a number.
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        parts = _parts(node)
        return SubjectSplit(**{part: _names(parts[part], part) for part in PARTS})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} is not a valid YAML file: {error}",
            code="split-file-not-yaml",
            path=file,
            reason=str(error),
        ) from error
    except DataError as error:
        fields = {**error.fields, "path": file}
        raise DataError(f"{file}: {error}", code=error.code, **fields) from error


def write_split(path: Path, split: SubjectSplit, *, force: bool = False) -> None:
    """Write a split in the format of `read_split`.

    Raises:
        OutputExistsError: the file exists and `force` is false.
    """
    text = "".join(
        yaml.safe_dump(
            {part: subjects_text(split.part(part)) or sorted(split.part(part))},
            allow_unicode=True,
            default_flow_style=False,
        )
        for part in PARTS
    )
    with atomic_file(path, force=force) as temporary:
        temporary.write_text(text, encoding="utf-8")


def packaged_splits() -> tuple[str, ...]:
    """Return the names of the splits that the package contains."""
    return tuple(sorted(file.stem for file in (packaged_folder() / "splits").glob("*.yaml")))


def _split_file(name_or_file: str) -> Path:
    given = Path(name_or_file)
    if given.suffix in (".yaml", ".yml"):
        if not given.is_file():
            raise DataError(
                f"the split file {given} does not exist", code="split-file-missing", path=given
            )
        return given
    packaged = packaged_folder() / "splits" / f"{name_or_file}.yaml"
    if not packaged.is_file():
        raise DataError(
            f"unknown split {name_or_file}; expected a packaged split "
            f"({', '.join(packaged_splits())}) or a .yaml file",
            code="split-unknown",
            name=name_or_file,
        )
    return packaged


def _parts(node: Any) -> dict[str, Any]:
    """Return the YAML node of each part. Raise an error for missing, duplicate or unknown parts."""
    expected = f"expected the parts {', '.join(PARTS)}"
    if not isinstance(node, yaml.MappingNode):
        raise DataError(f"{expected}, each with a list of its subjects", code="split-without-parts")
    keys = [key.value for key, _ in node.value]
    for key in keys:
        if key not in PARTS:
            raise DataError(
                f"unknown part {key!r}; {expected}", code="split-part-unknown", part=key
            )
        if keys.count(key) > 1:
            raise DataError(f"duplicate part {key!r}", code="split-part-duplicate", part=key)
    missing = [part for part in PARTS if part not in keys]
    if missing:
        raise DataError(
            f"part {missing[0]!r} is missing; write an empty part as {missing[0]}: []",
            code="split-part-missing",
            part=missing[0],
        )
    return {key.value: value for key, value in node.value}


def _names(node: Any, part: str) -> tuple[str, ...]:
    if isinstance(node, yaml.ScalarNode) and node.value:
        return parse_subjects(node.value)
    if isinstance(node, yaml.SequenceNode) and all(
        isinstance(item, yaml.ScalarNode) and item.value for item in node.value
    ):
        return tuple(dict.fromkeys(item.value for item in node.value))
    raise DataError(
        f"part {part!r}: expected names such as 0001-0027, or a list of names",
        code="split-names-invalid",
        part=part,
    )


def _listed(names: Sequence[str]) -> str:
    return f"subject {names[0]} is" if len(names) == 1 else f"subjects {', '.join(names)} are"
