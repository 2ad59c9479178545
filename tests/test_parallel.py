"""Work is spread without a trace in its results."""

import pytest

from shm_data.parallel import spread


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
