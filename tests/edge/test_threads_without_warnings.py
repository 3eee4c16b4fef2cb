"""Hidden warnings in several threads at once."""

from __future__ import annotations

import threading
import warnings

from mggr_edge.common.process import without_warnings


def test_overlapping_threads_restore_the_filters() -> None:
    before = list(warnings.filters)
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))
    inside: list[list[object]] = []

    def first() -> None:
        with without_warnings():
            first_is_in.set()
            second_is_in.wait(10)
        first_is_out.set()

    def second() -> None:
        first_is_in.wait(10)
        with without_warnings():
            second_is_in.set()
            first_is_out.wait(10)
            inside.append(list(warnings.filters))

    threads = [threading.Thread(target=one) for one in (first, second)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert inside
    assert inside[0] != before
    assert list(warnings.filters) == before
