"""Split files: read strictly, drawn by a seed, taken by the commands that train and score."""

import click
import pytest
from click.testing import CliRunner

from mggr_edge.common.cli_group import MggrGroup
from mggr_edge.errors import DataError
from mggr_tf.cli import main
from mggr_tf.cli.options import subjects_option
from mggr_tf.data.subject_split import (
    PARTS,
    SubjectSplit,
    draw_split,
    every_nth_split,
    packaged_splits,
    read_split,
    write_split,
)
from portrait_folder import write_portraits
from refusals import error_of, refusal

EVERYONE = tuple(f"{number:04d}" for number in range(1, 39))


def put(tmp_path, text):
    file = tmp_path / "split.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_packaged_split_of_columbia():
    split = read_split("columbia")
    assert split.train == EVERYONE[:27]
    assert split.select == EVERYONE[27:32]
    assert split.report == EVERYONE[32:]
    assert "columbia" in packaged_splits()


def test_names_are_texts_lists_or_nothing(tmp_path):
    split = read_split(put(tmp_path, "train: 0007\nselect: [a1-a3, '0008']\nreport: []\n"))
    assert split == SubjectSplit(train=("0007",), select=("a1-a3", "0008"), report=())


@pytest.mark.parametrize(
    ("text", "code", "fields"),
    [
        (
            "train: 0001-0003\nselect: 0003\nreport: 0004",
            "split-subject-twice",
            {"subjects": "0003"},
        ),
        ("train: a,b\nselect: b,a\nreport: c", "split-subject-twice", {"subjects": "a, b"}),
        ("train: a\nselect: b", "split-part-missing", {"part": "report"}),
        ("train: a\nselect: b\nreport: c\ntest: d", "split-part-unknown", {"part": "test"}),
        ("train: a\nselect: b\nreport: c\ntrain: d", "split-part-duplicate", {"part": "train"}),
        ("train: []\nselect: b\nreport: c", "split-train-empty", {}),
        ("train: a\nselect:\nreport: c", "split-names-invalid", {"part": "select"}),
        ("train: {a: b}\nselect: b\nreport: c", "split-names-invalid", {"part": "train"}),
        ("train: [[a]]\nselect: b\nreport: c", "split-names-invalid", {"part": "train"}),
        ("train: 3-1\nselect: b\nreport: c", "subjects-range-reversed", {"found": "3-1"}),
        ("- train", "split-without-parts", {}),
        ("", "split-without-parts", {}),
        ("train: [", "split-file-not-yaml", {}),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, text, code, fields):
    file = put(tmp_path, text)
    with refusal(DataError, code, path=file, **fields) as caught:
        read_split(file)
    assert str(caught.value).startswith(file)


def test_a_split_that_is_not_there_is_named():
    with refusal(DataError, "split-unknown", name="nowhere"):
        read_split("nowhere")
    with refusal(DataError, "split-file-missing", path="nowhere.yaml"):
        read_split("nowhere.yaml")


@pytest.mark.parametrize(
    "split",
    [
        SubjectSplit(EVERYONE[:3], EVERYONE[3:4], EVERYONE[7:9]),
        SubjectSplit(("0007",)),
        SubjectSplit(("a1-a3", "null"), ("jörg, the younger",), ("1e3", "true")),
    ],
)
def test_what_is_written_is_read_back(tmp_path, split):
    write_split(tmp_path / "split.yaml", split)
    assert (tmp_path / "split.yaml").read_text(encoding="utf-8").startswith("train:")
    assert read_split(str(tmp_path / "split.yaml")) == split


def test_a_drawn_split_is_disjoint_whole_and_a_function_of_its_seed():
    split = draw_split(EVERYONE, shares=(0.7, 0.15, 0.15), seed=1)
    assert [len(split.part(part)) for part in PARTS] == [26, 6, 6]  # 26.6, 5.7, 5.7
    assert sorted(name for part in PARTS for name in split.part(part)) == list(EVERYONE)
    assert split == draw_split(reversed(EVERYONE), shares=(7, 1.5, 1.5), seed=1)
    assert split != draw_split(EVERYONE, seed=2)
    assert split.train != EVERYONE[:27]


@pytest.mark.parametrize("shares", [(1,), (1, 1, -1), (0, 0, 0), (1, float("nan"), 1)])
def test_impossible_shares_are_refused(shares):
    with refusal(DataError, "split-shares-invalid", found=",".join(map(str, shares))):
        draw_split(EVERYONE, shares=shares)


def test_too_few_subjects_are_refused():
    with refusal(DataError, "split-too-few-subjects", subjects=2, parts=3):
        draw_split(["a", "b"])
    assert draw_split(["a", "b"], shares=(0.5, 0, 0.5)).select == ()
    assert all(len(draw_split(["a", "b", "c"], seed=3).part(part)) == 1 for part in PARTS)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "eyes"
    assert invoke("data", "synth", folder, "--count", 4).exit_code == 0
    (folder / "SYNTHETIC").unlink()
    drawn = {file: file.name.partition("_")[2] for file in folder.glob("drawn-1-00000_*.jpg")}
    for number in (1, 2, 3, 4):
        for file, rest in drawn.items():
            if number < 4 or rest.endswith("_0H_R.jpg"):
                (folder / f"{number:04d}_{rest}").write_bytes(file.read_bytes())
    for file in drawn:
        file.unlink()
    return folder


def test_the_command_names_parts(eyes, tmp_path):
    out = tmp_path / "split.yaml"
    result = invoke("data", "split", eyes, "--out", out, "--train", "0001-0002", "--report", "0003")
    assert result.exit_code == 0, result.output
    assert read_split(str(out)) == SubjectSplit(("0001", "0002"), (), ("0003",))
    assert "train: 2 subjects, 8 patches" in result.stderr
    assert result.stdout.strip() == str(out)


def test_the_command_draws_parts(eyes, tmp_path):
    out = tmp_path / "split.yaml"
    assert invoke("data", "split", eyes, "--out", out, "--shares", "1,1,1").exit_code == 0
    split = read_split(str(out))
    assert {name for part in PARTS for name in split.part(part)} == {"0001", "0002", "0003"}


@pytest.mark.parametrize(
    ("arguments", "code", "fields"),
    [
        (
            ["--train", "0001", "--report", "0009"],
            "split-subject-unknown",
            {"subjects": "0009"},
        ),
        (["--train", "0001", "--report", "0001"], "split-subject-twice", {"subjects": "0001"}),
        (["--report", "0001"], "split-train-empty", {}),
        (["--train", "0001", "--seed", "2"], "split-named-and-random", {"seed": 2}),
        (["--shares", "a,b"], "shares-not-numbers", {"found": "a,b"}),
    ],
)
def test_the_command_refuses(eyes, tmp_path, arguments, code, fields):
    out = tmp_path / "split.yaml"
    result = invoke("data", "split", eyes, "--out", out, *arguments)
    error_of(result, code, **fields)
    assert not out.exists()


def test_the_command_writes_yaml_and_overwrites_nothing(eyes, tmp_path):
    out = tmp_path / "split.txt"
    refused = invoke("data", "split", eyes, "--out", out)
    error_of(refused, "split-not-yaml", path=out)
    out = tmp_path / "split.yaml"
    out.write_text("mine")
    error_of(invoke("data", "split", eyes, "--out", out), "output-exists", path=out)
    assert out.read_text() == "mine"


@click.group(cls=MggrGroup)
def group():
    """A command that has the option, and nothing else to do."""


@group.command()
@click.argument("word")
@subjects_option
@click.option("--last")
def show(word, subjects, last):
    click.echo(f"{word} {subjects} {last}")


def shown(*arguments):
    return CliRunner().invoke(group, ["show", "w", *arguments])


def test_a_part_of_a_split_stands_for_its_subjects(tmp_path):
    file = put(tmp_path, "train: a\nselect: []\nreport: b,c")
    assert shown("--split", f"{file}:report").output == "w ('b', 'c') None\n"
    assert shown("--subjects", "0001", "--last", "x").output == "w ('0001',) x\n"
    assert shown().output == "w None None\n"
    assert "0028" in shown("--split", "columbia:select").output


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--split", "columbia"], "expected FILE:PART"),
        (["--split", "columbia:test"], "expected FILE:PART with a part of train, select, report"),
    ],
)
def test_a_split_that_cannot_be_meant_is_refused(arguments, saying):
    result = shown(*arguments)
    assert result.exit_code == 2
    assert saying in result.stderr


def test_an_unknown_split_or_two_choices_are_refused():
    error_of(shown("--split", "nowhere:train"), "split-unknown", name="nowhere")
    error_of(shown("--split", "columbia:train", "--subjects", "0001"), "subjects-and-split")


def test_an_empty_part_is_refused(tmp_path):
    file = put(tmp_path, "train: a\nselect: []\nreport: b")
    refused = shown("--split", f"{file}:select")
    error_of(refused, "split-part-empty", path=file, part="select")


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_training_and_scoring_take_a_split(command):
    assert "--split FILE:PART" in invoke(command, "--help").output


def test_every_nth_subject_by_name_is_selected():
    split = every_nth_split({"b", "a", "d", "c", "f", "e", "g"}, 3)
    assert split == SubjectSplit(train=("a", "b", "d", "e", "g"), select=("c", "f"))
    for nth in (1, 8):
        with refusal(DataError, "split-every-invalid", found=nth, subjects=7):
            every_nth_split("abcdefg", nth)


def test_the_command_selects_every_nth_subject(tmp_path):
    eyes, out = write_portraits(tmp_path / "eyes", people=3), tmp_path / "split.yaml"
    result = invoke("data", "split", eyes, "--out", out, "--every", 3)
    assert result.exit_code == 0, result.output
    names = ("person-00", "person-01", "person-02")
    assert read_split(str(out)) == SubjectSplit(train=names[:2], select=names[2:])
    for more in (["--seed", 1], ["--train", names[0]], ["--shares", "1,1,1"]):
        refused = invoke("data", "split", eyes, "--out", out, "--force", "--every", 3, *more)
        assert refused.exit_code == 2
