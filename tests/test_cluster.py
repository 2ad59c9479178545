"""A Dask cluster makes the same files whichever worker is killed; one that cannot continue ends with one sentence."""

import functools
import os
import signal
import subprocess
import sys
import time

import pytest
from faults import fault_of
from grid import Grid, until
from small import contents

from shm_data.building.build import composite
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import versions
from shm_data.dataset.recipes import read_recipes
from shm_data.dataset.store import Dataset
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions

distributed = pytest.importorskip("distributed", reason="the extra [cluster] is not installed")

from shm_data.building import dask_executor  # noqa: E402
from shm_data.building.dask_executor import DaskCluster, Requirements  # noqa: E402


def composite_on(address, options, savedir, **more):
    """`composite` by the workers of a scheduler."""
    return composite(options, savedir, DaskCluster(address), **more)


SHM_DATA = [sys.executable, "-c", "from cli.data import main; main()"]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A cluster of two workers, which are started again when they die."""
    grid = Grid(tmp_path_factory.mktemp("grid") / "two")
    grid.worker()
    grid.worker()
    yield grid
    grid.close()


@pytest.fixture(scope="module")
def lone(tmp_path_factory):
    """A cluster with exactly one slot, whose worker sits in another folder."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    grid = Grid(elsewhere / "lone")
    grid.worker(cwd=elsewhere)
    yield grid
    grid.close()


@pytest.fixture
def bare(tmp_path):
    """A scheduler without workers."""
    grid = Grid(tmp_path / "bare")
    yield grid
    grid.close()


@pytest.fixture
def slow(two):
    """Samples of the two workers take a while."""
    (two.folder / "pace").write_text("0.03")
    yield two
    (two.folder / "pace").unlink()


@pytest.fixture
def truth(sources, tmp_path):
    """What one machine makes."""
    composite(options(sources), tmp_path / "truth")
    return contents(tmp_path / "truth")


def options(folder, **more):
    plain = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",), "numbg": 8}
    return CompositeOptions(**plain | more)


def command(sources, out, address):
    named = {"--inimg": "photos", "--inalp": "alphas", "--bgdir": "places"}
    folders = [text for option, name in named.items() for text in (option, str(sources / name))]
    return [*SHM_DATA, "composite", *folders, "--numbg", "8", "--savedir", str(out), "--cluster", address]


def after(count, act):
    """Acts once `count` samples are made."""

    def progress(items, total, label):
        del total
        for number, item in enumerate(items, 1):
            yield item
            if label == "compositing" and number == count:
                act()

    return progress


def processes(grid):
    """The process of each worker."""
    with distributed.Client(grid.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=30)
        return sorted(client.run(os.getpid).values())


def test_a_cluster_makes_the_files_of_one_machine(two, sources, tmp_path, truth):
    manifest = composite_on(two.address, options(sources), tmp_path / "out")
    assert contents(tmp_path / "out") == truth
    assert manifest.complete


def test_alphas_of_a_foreground_are_one_file_on_a_cluster_too(two, sources, tmp_path):
    composite_on(two.address, options(sources, numbg=3), tmp_path / "out", link="hard")
    composite_on(two.address, options(sources, numbg=3), tmp_path / "copies", link="copy")
    assert {path.stat().st_nlink for path in (tmp_path / "copies" / "mask").iterdir()} == {1}
    assert max(path.stat().st_nlink for path in (tmp_path / "out" / "mask").iterdir()) > 1


def test_a_killed_worker_changes_no_file(slow, sources, tmp_path, truth):
    victim = processes(slow)[0]

    def kill():
        os.kill(victim, signal.SIGKILL)
        (tmp_path / "out" / "mask" / ".0123456789abcdef.shm-tmp").write_bytes(b"half")  # as it may leave

    composite_on(slow.address, options(sources), tmp_path / "out", progress=after(3, kill))
    assert contents(tmp_path / "out") == truth
    assert victim not in processes(slow)


def test_a_late_result_is_awaited(two, sources, tmp_path, truth, monkeypatch):
    """This happens if its worker is lost after it has reported that it is done."""
    result, asked = distributed.Future.result, []

    def late(future, timeout):
        asked.append(future.key)
        if len(asked) <= 3:
            raise TimeoutError
        return result(future, timeout)

    monkeypatch.setattr(distributed.Future, "result", late)
    composite_on(two.address, options(sources), tmp_path / "out")
    assert contents(tmp_path / "out") == truth
    assert len(asked) == len(set(asked)) + 3


def test_a_task_that_kills_its_worker_fails_alone(two, sources, tmp_path, truth):
    composite(options(sources), tmp_path / "plan")
    names = [recipe.name for recipe in read_recipes(tmp_path / "plan" / "recipes.jsonl")]
    deadly = two.folder / "deadly"
    deadly.write_text(names[20])
    processes(two)  # both are there, so that tasks have 4 samples
    with pytest.raises(ShmDataError) as caught:
        composite_on(two.address, options(sources), tmp_path / "out")
    deadly.unlink()
    assert "2 workers in a row died while making it; the log of tcp://127.0.0.1:" in str(caught.value)
    lacking = set(names) - Layout(tmp_path / "out").present()
    assert names[20] in lacking and len(lacking) <= 4  # its task
    composite_on(two.address, options(sources), tmp_path / "out")
    assert contents(tmp_path / "out") == truth


def test_a_sample_that_cannot_be_made_is_reported_as_on_one_machine(two, sources, tmp_path):
    def take():
        (sources / "places" / "b3.png").unlink()

    def progress(items, total, label):
        del total
        if label == "compositing":
            take()
        return items

    fault = fault_of(composite_on, two.address, options(sources), tmp_path / "out", progress=progress)
    assert fault.faults and all("b3.png" in str(each) for each in fault.faults)


def test_a_folder_that_cannot_be_written_to_stops_the_work(two, sources, tmp_path):
    def block(items, total, label):
        del total
        if label == "compositing":
            (tmp_path / "out" / "mask").rmdir()
            (tmp_path / "out" / "mask").write_text("in the way")
        return items

    fault = fault_of(composite_on, two.address, options(sources), tmp_path / "out", progress=block)
    assert str(tmp_path / "out" / "mask") in str(fault)


def test_a_worker_that_no_longer_fits_stops_the_work(slow, sources, tmp_path):
    def forget():
        for path in (tmp_path / "out").glob(".*.shm-tmp"):
            path.unlink()

    fault = fault_of(composite_on, slow.address, options(sources), tmp_path / "out", progress=after(1, forget))
    assert "worker tcp://127.0.0.1:" in str(fault) and "another folder" in str(fault)


def test_one_slot_is_enough_and_makes_the_samples(lone, sources, tmp_path, truth):
    (lone.folder / "pace").write_text("0.01")
    begun = time.monotonic()
    composite_on(lone.address, options(sources), tmp_path / "out")
    (lone.folder / "pace").unlink()
    assert time.monotonic() - begun > 36 * 0.01
    assert contents(tmp_path / "out") == truth


def test_a_worker_without_the_folders_is_named_with_what_it_lacks(lone, sources, tmp_path, monkeypatch):
    """What lies below /proc/self/cwd is another thing to each process."""
    monkeypatch.chdir(tmp_path)
    here = options(type(sources)("/proc/self/cwd/sources"))
    with pytest.raises(ShmDataError) as caught:
        composite_on(lone.address, here, type(sources)("/proc/self/cwd/out"))
    assert str(caught.value).startswith("worker tcp://127.0.0.1:")
    for what in ("photos: found no such folder", "places: found no such folder", "out: found no such folder"):
        assert f"/proc/self/cwd/{'sources/' * ('out' not in what)}{what}" in str(caught.value)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_requirements_name_other_versions_other_sources_and_another_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    photo = tmp_path / "photos" / "p.png"
    photo.write_bytes(b"other")
    requirements = Requirements(
        versions=versions() | {"numpy": "0.1", "absent": "2"},
        roots={"inimg": tmp_path / "photos"},
        known={photo: dask_executor.Fingerprint(4, 0, "")},
        probe=tmp_path / "probe",
    )
    assert requirements.missing() == [
        f"the version of numpy: found {versions()['numpy']}, expected 0.1",
        "the version of absent: found none, expected 2",
        f"{photo}: found 5 bytes, expected 4 bytes as recorded",
        f"{tmp_path}: found another folder, expected the folder that the main process sees",
    ]


def test_a_worker_without_the_package_is_named(bare, sources, tmp_path):
    (bare.folder / "handicap.py").write_text("import sys; sys.modules['shm_data'] = None")
    bare.worker("--no-nanny")
    fault = fault_of(composite_on, bare.address, options(sources), tmp_path / "out")
    assert "worker tcp://127.0.0.1:" in str(fault) and "No module named 'shm_data" in str(fault)


def test_a_scheduler_without_workers_is_an_error(bare, sources, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_executor, "_PATIENCE", 1.0)
    assert fault_of(composite_on, bare.address, options(sources), tmp_path / "out").found == "no workers in 1 s"


def test_losing_all_workers_is_an_error(bare, sources, tmp_path, monkeypatch):
    worker = bare.worker("--no-nanny")
    (bare.folder / "pace").write_text("0.05")
    address = bare.address
    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=30)
    monkeypatch.setattr(dask_executor, "_PATIENCE", 1.0)
    fault = fault_of(composite_on, address, options(sources), tmp_path / "out", progress=after(2, worker.kill))
    assert fault.found == "all workers lost, and no new one in 1 s"


def test_workers_that_leave_before_the_first_task_are_awaited(bare, sources, tmp_path, truth, monkeypatch):
    first, later = bare.worker("--no-nanny"), Dataset.adopt

    def leave(dataset, plan):
        first.kill()
        with distributed.Client(bare.address, set_as_default=False) as client:
            until(lambda: not client.nthreads(), "the worker left")
        bare.worker("--no-nanny")
        return later(dataset, plan)

    monkeypatch.setattr(Dataset, "adopt", leave)
    composite_on(bare.address, options(sources), tmp_path / "out")
    assert contents(tmp_path / "out") == truth


def test_a_lost_scheduler_is_one_sentence_and_the_same_command_resumes(bare, sources, tmp_path, truth):
    (bare.folder / "pace").write_text("0.05")
    bare.worker("--no-nanny")
    line = command(sources, tmp_path / "out", bare.address)
    run = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: len(list((tmp_path / "out").glob("input/*.png"))) > 3, "samples were made")
    bare.scheduler.kill()
    out, err = run.communicate(timeout=20)
    assert (run.returncode, out) == (1, "")
    lines = [text for text in err.splitlines() if not text.startswith(("reading", "compositing"))]
    assert len(lines) == 1 and lines[0].startswith(f"Error: the scheduler at {bare.address} is gone")
    made = len(list((tmp_path / "out" / "input").iterdir()))
    assert 0 < made < 36
    bare.close()
    again = Grid(bare.folder, port=int(bare.address.rpartition(":")[2]))
    (bare.folder / "pace").unlink()
    again.worker("--no-nanny")
    assert again.address == bare.address
    ended = subprocess.run(line, check=False, capture_output=True, text=True, timeout=60)
    again.close()
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path / "out") == truth


def test_an_interrupted_run_cancels_its_tasks(slow, sources, tmp_path, truth):
    line = command(sources, tmp_path / "out", slow.address)
    run = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: list((tmp_path / "out").glob("input/*.png")), "a sample was made")
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=20)
    assert (run.returncode, out) == (130, "")
    assert (
        err.splitlines()[-1] == "Interrupted. Every written file is complete; run the same command again to resume."
    )
    assert "Traceback" not in err
    with distributed.Client(slow.address, set_as_default=False) as client:
        left = functools.partial(client.run_on_scheduler, lambda dask_scheduler: len(dask_scheduler.tasks))
        until(lambda: left() == 0, "all was released")
    assert len(list((tmp_path / "out" / "input").iterdir())) < 36
    composite_on(slow.address, options(sources), tmp_path / "out")
    assert contents(tmp_path / "out") == truth


def test_an_invalid_address_is_one_sentence(sources, tmp_path):
    line = command(sources, tmp_path / "out", "here")
    ended = subprocess.run(line, check=False, capture_output=True, text=True, timeout=30)
    message = "--cluster: found here, expected the address of a Dask scheduler, such as tcp://10.0.0.1:8786"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"Error: {message}\n")


def test_without_a_scheduler_nothing_is_written(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_executor, "_ANSWER", 0.5)
    assert "tcp://127.0.0.1:1" in str(fault_of(composite_on, "tcp://127.0.0.1:1", options(sources), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_worker_is_no_scheduler(two, sources, tmp_path):
    with distributed.Client(two.address, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=30)
        worker = min(client.nthreads())
    assert fault_of(composite_on, worker, options(sources), tmp_path / "out").found == "a Worker"


def test_a_server_with_another_protocol_is_no_scheduler(sources, tmp_path):
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            with server.accept()[0] as caller:
                caller.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                caller.recv(1000)

        threading.Thread(target=greet, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert address in str(fault_of(composite_on, address, options(sources), tmp_path / "out"))


def test_without_the_extra_its_name_is_printed(sources, tmp_path):
    script = "import sys; sys.modules['distributed'] = None; from cli.data import main; main()"
    line = [sys.executable, "-c", script, *command(sources, tmp_path / "out", "tcp://127.0.0.1:1")[3:]]
    ended = subprocess.run(line, check=False, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stderr) == (
        1,
        "Error: distributed is not installed: run pip install 'shm-matting[cluster]'\n",
    )


def test_a_part_of_a_cluster_is_refused(sources, tmp_path):
    line = [*command(sources, tmp_path / "out", "tcp://127.0.0.1:1"), "--part", "1/2"]
    ended = subprocess.run(line, check=False, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert ended.stderr == "Error: --part and --cluster exclude each other: a cluster divides the work by itself\n"
