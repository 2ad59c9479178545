"""Work is spread without a trace in its results."""

import threading

import pytest
from faults import fault_of

from cli.entry import _message
from shm_data import parallel
from shm_data.parallel import count_workers, spread


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("batch", [1, 4, 1000])
@pytest.mark.parametrize("count", [0, 1, 4, 30])
def test_results_are_those_of_a_loop_for_any_workers_and_batches(jobs, batch, count):
    expected = [item * item for item in range(count)]
    assert list(spread(lambda item: item * item, range(count), jobs, ordered=True, batch=batch)) == expected
    assert sorted(spread(lambda item: item * item, range(count), jobs, batch=batch)) == expected


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_fault_comes_to_who_asks_for_the_results(jobs):
    def work(item):
        if item == 13:
            raise KeyError("thirteen")
        return item

    with pytest.raises(KeyError, match="thirteen"):
        list(spread(work, range(50), jobs, batch=5))


@pytest.mark.parametrize("possible", [1, 5, 12])
def test_too_few_threads_are_one_sentence_with_a_number_that_works(monkeypatch, possible):
    running = []
    start, join = threading.Thread.start, threading.Thread.join

    def start_few(thread):
        if len(running) == possible:
            raise RuntimeError("can't start new thread")
        running.append(thread)
        start(thread)

    def leave(thread, timeout=None):
        join(thread, timeout)
        if thread in running:
            running.remove(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    monkeypatch.setattr(threading.Thread, "join", leave)
    expected = fault_of(list, spread(str, range(99), 60)).expected
    jobs = int(expected.split()[1])
    assert jobs == max(1, possible - 3) and running == []
    assert len(list(spread(str, range(99), jobs))) == 99


def test_without_a_temporary_folder_the_variable_is_named():
    fault = FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/var/tmp']")
    assert "TMPDIR" in _message(fault)


@pytest.mark.parametrize("ordered", [True, False])
def test_items_are_drawn_as_they_are_needed(ordered):
    drawn = []

    def items():
        for item in range(1000):
            drawn.append(item)
            yield item

    results = spread(lambda item: item, items(), 2, ordered=ordered)
    assert next(results) in drawn
    assert len(drawn) <= 5
    results.close()
    assert len(drawn) <= 5


def test_as_many_items_are_worked_on_at_once_as_there_are_workers():
    together = threading.Barrier(4)
    assert len(list(spread(lambda _: together.wait(10), range(8), 4))) == 8


def test_no_thread_is_left_when_results_are_not_taken():
    before = threading.active_count()
    results = spread(lambda item: item, range(1000), 3)
    next(results)
    results.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("limit", "expected"), [("max 100000", 4), ("150000 100000", 2), ("50000 100000", 1), ("800000 100000", 4)]
)
def test_cores_are_those_that_the_process_may_use(monkeypatch, tmp_path, limit, expected):
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(parallel, "_CGROUP_LIMIT", tmp_path / "cpu.max")
    assert count_workers(-1) == 4
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert (count_workers(-1), count_workers(7)) == (expected, 7)
