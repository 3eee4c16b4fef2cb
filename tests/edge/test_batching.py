"""Any number of eyes through a file that takes one, or two."""

import numpy as np
import pytest

from mggr_edge.models.runtimes.runner import InBatches, cut


class Doubling:
    """Takes exactly `batch` examples, and counts its calls."""

    def __init__(self, batch):
        self.batch, self.calls = batch, 0

    def __call__(self, inputs):
        assert {len(value) for value in inputs.values()} == {self.batch}
        self.calls += 1
        return {"twice": 2 * inputs["eye"], "pose": inputs["head_pose"].copy()}


@pytest.mark.parametrize(
    ("batch", "count", "calls"), [(1, 1, 1), (1, 3, 3), (2, 2, 1), (2, 1, 1), (2, 5, 3), (4, 2, 1)]
)
def test_every_example_comes_back_once_and_in_order(batch, count, calls):
    inputs = {
        "eye": np.arange(count * 6, dtype=np.float32).reshape(count, 2, 3),
        "head_pose": np.arange(count, dtype=np.float32)[:, None],
    }
    runner = Doubling(batch)
    made = InBatches(runner, batch)(inputs)
    np.testing.assert_array_equal(made["twice"], 2 * inputs["eye"])
    np.testing.assert_array_equal(made["pose"], inputs["head_pose"])
    assert runner.calls == calls


def test_the_last_batch_is_filled_up_with_its_last_example():
    parts = [part["eye"].tolist() for part in cut({"eye": np.arange(5)}, 2)]
    assert parts == [[0, 1], [2, 3], [4, 4]]
