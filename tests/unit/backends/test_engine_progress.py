"""Nested phases make one fraction; TensorRT's lines are kept by gravity."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_sdk.backends.engine_log import MOST_LINES, MOST_SHOWN, BuilderLog, LogRouter
from restore_sdk.backends.engine_progress import BuildProgress


def test_fraction_by_hand() -> None:
    told: list[tuple[float, str]] = []
    progress = BuildProgress(lambda fraction, phase: told.append((fraction, phase)))
    progress.start("build", None, 4)
    progress.step("build", 0)  # 1 of 4
    progress.start("tune", "build", 2)
    progress.step("tune", 0)  # half of the second quarter
    progress.start("time", "tune", 4)
    progress.step("time", 1)  # half of the second half of the second quarter
    assert told[-1] == (pytest.approx(0.25 + 0.125 + 0.0625), "time")
    progress.finish("time")
    progress.finish("tune")
    progress.step("build", 1)
    assert progress.fraction == 0.5
    progress.finish("build")
    assert told[-1] == (1.0, "build")


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["start", "step", "finish"]), st.integers(0, 9))))
def test_the_fraction_never_falls_nor_leaves_its_range(events: list[tuple[str, str, int]]) -> None:
    seen: list[float] = []
    progress = BuildProgress(lambda fraction, _: seen.append(fraction))
    parents = {"a": None, "b": "a", "c": "b", "d": "a"}
    for phase, event, number in events:
        if event == "start":
            progress.start(phase, parents[phase], number)
        elif event == "step":
            progress.step(phase, number)
        else:
            progress.finish(phase)
    assert seen == sorted(seen)
    assert all(0 <= fraction <= 1 for fraction in seen)


def test_an_error_of_the_callback_is_kept_and_ends_the_calls() -> None:
    calls = []

    def broken(fraction: float, phase: str) -> None:
        calls.append(phase)
        raise ValueError(phase)

    progress = BuildProgress(broken)
    progress.start("build", None, 1)
    progress.step("build", 0)
    assert calls == ["build"]
    assert isinstance(progress.failure, ValueError)


def test_problems_are_the_grave_lines_each_once() -> None:
    log = BuilderLog()
    log.add("INFO", "starting")
    log.add("WARNING", "slow")
    for _ in range(3):
        log.add("ERROR", " no kernel\n")
    assert log.problems == log.warnings == ("[WARNING] slow", "[ERROR] no kernel")
    assert len(log.lines) == 5


def test_without_grave_lines_the_last_ones_are_shown() -> None:
    log = BuilderLog()
    for number in range(MOST_LINES + 5):
        log.add("INFO", str(number))
    assert len(log.lines) == MOST_LINES
    assert log.warnings == ()
    assert log.problems == tuple(f"[INFO] {MOST_LINES + 5 - MOST_SHOWN + number}" for number in range(MOST_SHOWN))


def test_lines_go_to_the_log_of_their_thread() -> None:
    router, ours, theirs = LogRouter(), BuilderLog(), BuilderLog()
    ready, done = threading.Event(), threading.Event()

    def work() -> None:
        with router.writing_to(theirs):
            router.add("INFO", "theirs")
            ready.set()
            done.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(60)
    with router.writing_to(ours):
        router.add("INFO", "ours")
        inner = BuilderLog()
        with router.writing_to(inner):
            router.add("INFO", "inner")
        stranger = threading.Thread(target=router.add, args=("ERROR", "of a thread of TensorRT's"))
        stranger.start()
        stranger.join()
    done.set()
    thread.join()
    router.add("ERROR", "of nobody")
    assert [line.text for line in ours.lines] == ["ours", "of a thread of TensorRT's"]
    assert [line.text for line in theirs.lines] == ["theirs", "of a thread of TensorRT's"]
    assert [line.text for line in inner.lines] == ["inner"]


def test_after_a_stop_nothing_is_progress() -> None:
    progress = BuildProgress()
    progress.start("build", None, 4)
    progress.step("build", 0)
    progress.stop()
    progress.finish("build")
    assert progress.fraction == 0.25
