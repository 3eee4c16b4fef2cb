"""Which devices train together, and what is said where they cannot."""

import json

import pytest

from mggr_edge.errors import ConfigError, UsageError
from mggr_tf.training.distribution import open_distribution
from mggr_tf.training.launch import _gpus, as_worker, free_addresses, host_lines, tf_config
from refusals import refusal

TWO = ["a:2222", "b:2222"]


@pytest.fixture
def said(monkeypatch):
    def notify(text):
        monkeypatch.setenv("TF_CONFIG", text)

    monkeypatch.delenv("TF_CONFIG", raising=False)
    return notify


def test_by_default_one_process_trains_on_what_there_is(said):
    here = open_distribution()
    assert (here.workers, here.index, here.is_chief, here.replicas) == (1, 0, True, 1)
    assert here.agreed(3.5) == 3.5


def test_a_cluster_of_one_is_one_process(said):
    said(tf_config(["a:1"], 0))
    assert open_distribution("multiworker").workers == 1
    assert open_distribution("auto").workers == 1


@pytest.mark.parametrize("name", ["auto", "one", "mirrored"])
def test_a_cluster_that_nobody_asked_for_is_no_accident(said, name):
    said(tf_config(TWO, 1))
    with refusal(ConfigError, "strategy-not-multiworker", workers=2, strategy=name):
        open_distribution(name)


def test_several_workers_need_a_cluster(said):
    with refusal(ConfigError, "tf-config-missing"):
        open_distribution("multiworker")


@pytest.mark.parametrize(
    ("text", "code", "fields"),
    [
        ("{", "tf-config-not-readable", {"found": "{"}),
        (
            '{"cluster": {"worker": ["a:1"]}}',
            "tf-config-not-readable",
            {"found": '{"cluster": {"worker": ["a:1"]}}'},
        ),
        (tf_config(TWO, 2), "tf-config-bad-index", {"index": 2, "workers": 2}),
        (tf_config(["a", "b"], 0), "tf-config-bad-addresses", {"found": ["a", "b"]}),
        (
            tf_config(TWO, 0).replace('"type": "worker"', '"type": "ps"'),
            "tf-config-other-tasks",
            {"found": "ps, worker"},
        ),
        (
            json.dumps(
                {
                    "cluster": {"worker": TWO, "ps": ["c:1"]},
                    "task": {"type": "worker", "index": 0},
                }
            ),
            "tf-config-other-tasks",
            {"found": "ps, worker"},
        ),
    ],
)
def test_what_is_wrong_with_a_cluster_is_said(said, text, code, fields):
    said(text)
    with refusal(ConfigError, code, **fields):
        open_distribution("multiworker")


def test_free_addresses_differ():
    assert len(set(free_addresses(4))) == 4


def test_a_command_becomes_a_workers():
    command = ("train", "--stage", "joint", "--out", "runs/a")
    assert as_worker(command) == (*command, "--strategy", "multiworker")


@pytest.mark.parametrize(
    ("command", "code", "fields"),
    [
        ((), "command-not-train", {"found": "nothing"}),
        (("evaluate", "--out", "x"), "command-not-train", {"found": "evaluate"}),
        (("train",), "out-missing", {}),
        (("train", "--out", "x", "--strategy=one"), "strategy-not-accepted", {}),
        (("train", "--out=x", "--strategy", "one"), "strategy-not-accepted", {}),
    ],
)
def test_other_commands_are_refused(command, code, fields):
    with refusal(UsageError, code, **fields):
        as_worker(command)


def test_each_worker_has_gpus_of_its_own(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [_gpus(index, 2) for index in (0, 1)] == [["0", "1"], ["2", "3"]]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7,6")
    assert [_gpus(index, 1) for index in (0, 1, 2)] == [["5"], ["7"], ["6"]]
    with refusal(UsageError, "too-few-gpus", visible="5,7,6", worker=1, each=2):
        _gpus(1, 2)


def test_hosts_are_told_what_to_start():
    lines = host_lines(TWO, as_worker(("train", "--data", "my patches", "--out", "/nfs/two")))
    assert [line.split(": ", 1)[0] for line in lines] == ["a", "b"]
    for index, line in enumerate(lines):
        assert f"TF_CONFIG='{tf_config(TWO, index)}' mggr-tf train --data 'my patches'" in line
        assert line.endswith("--out /nfs/two --strategy multiworker")


@pytest.mark.parametrize(
    ("hosts", "code", "address"),
    [(["a"], "host-without-port", "a"), (["a:1", "a:1"], "host-twice", "a:1")],
)
def test_wrong_hosts_are_refused(hosts, code, address):
    with refusal(UsageError, code, address=address):
        host_lines(hosts, ("train",))
