"""After any disk error a job ends with one sentence, leaves whole files, and can be resumed once the cause is gone.

Where the tests may mount file systems, disks are small and real; elsewhere errors of the kernel are simulated.
"""

import dataclasses
import errno
import functools
import os
import re
import resource
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import pytest
from forked import AtChange, Ended, Fail, FewFiles, Forbid, Take, Unprivileged, shm_data
from torture import everything, faults, faults_of_next_run, few, finish_forked

from shm_data.building.build import composite
from shm_data.options import CompositeOptions

PAGE = 4096
PROGRESS = r"[a-z ]+: \d+ (in|of) .*"


@pytest.fixture(scope="module")
def small_jobs(tmp_path_factory):
    """Small jobs with what they leave; their sources stay as they are."""
    folder = tmp_path_factory.mktemp("few")
    made = few(folder)
    before = everything(folder)
    yield made
    assert everything(folder) == before


@pytest.fixture(scope="module", params=["composite", "trimap"])
def small(request, small_jobs):
    """A small job and what it leaves, one of two."""
    return small_jobs[request.param]


@pytest.fixture
def work(tmp_path):
    """Return an empty folder for one test."""
    yield tmp_path
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "home", "taken", "disk", "elsewhere", "nowhere"}


@pytest.fixture
def disk(work):
    """Mounts a small disk; where that is not permitted the test is skipped."""
    folder = work / "disk"
    folder.mkdir()

    def mount(options):
        if fault := mounted(folder, options):
            pytest.skip(f"mounting is not permitted: {fault}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "--recursive", "--lazy", folder], check=True)


def mounted(folder, options):
    """Mounts a small disk in a folder; what the system says against it."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    return subprocess.run(command, check=False, capture_output=True, text=True).stderr.strip()


def remount(folder, options):
    """Changes a mounted disk; whether the kernel let it."""
    done = subprocess.run(["mount", "-o", f"remount,{options}", folder], check=False, capture_output=True)
    return done.returncode == 0


def assert_reported(ended, *words):
    """The command ended with one sentence that says what happened."""
    messages = [line for line in ended.err.splitlines() if not re.fullmatch(PROGRESS, line)]
    assert ended.code == 1 and len(messages) == 1 and messages[0].startswith("Error: "), ended
    assert all(word in messages[0] for word in words), messages[0]


def assert_resumes(job, truth, root):
    """The same command, with nothing in its way, completes what is there to what was to be."""
    assert faults_of_next_run(job, root, truth, finish_forked) == []


# A disk that is full.


def test_on_a_disk_that_grows_page_by_page_a_job_completes(small, disk):
    job, truth = small
    root = disk(f"size={PAGE}") / "out"
    (root.parent / "ballast").write_bytes(bytes(PAGE))
    named = set()
    for pages in range(2, 200):
        ended = shm_data(*job.arguments, root)
        assert faults(root, truth) == []
        if ended.code == 0:
            break
        assert_reported(ended, "No space left on device", str(root))
        named |= set(re.findall(re.escape(f"{root}/") + r"([\w.]+)", ended.err))
        assert remount(root.parent, f"size={pages * PAGE}")
    assert everything(root) == (truth.files, truth.facts)
    if job.name == "composite":
        # Lists are as large as a page, which the record before them has just freed; their tables are larger.
        assert {"recipes.jsonl", "local.json", "dataset.json", "input", "train.csv"} <= named


def test_on_a_disk_that_allows_one_more_file_each_time_a_job_completes(small, disk):
    job, truth = small
    root = disk("nr_inodes=2") / "out"
    for inodes in range(3, 100):
        ended = shm_data(*job.arguments, root)
        assert faults(root, truth) == []
        if ended.code == 0:
            break
        assert_reported(ended, "No space left on device", str(root))
        assert remount(root.parent, f"nr_inodes={inodes}")
    assert everything(root) == (truth.files, truth.facts)


@pytest.mark.parametrize("size", [700, 2000, 2 * PAGE])
def test_a_file_that_must_not_grow_further_is_not_left_half(small, work, size):
    """Not a full disk, but it fails in the middle of a file as one does."""
    job, truth = small
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))
    ended = shm_data(*job.arguments, work / "out", before=limit)
    assert faults(work / "out", truth) == []
    if ended.code:
        assert_reported(ended, "File too large", str(work / "out"))
    assert (ended.code == 0) == (max(map(len, truth.files.values())) <= size)
    assert_resumes(job, truth, work / "out")


# A disk that refuses.


@pytest.mark.parametrize(
    ("number", "lasting"), [(errno.ENOSPC, False), (errno.EROFS, True)], ids=["once full", "read-only from then on"]
)
def test_whichever_change_fails_a_job_reports_it_and_is_resumed_later(small, work, number, lasting):
    job, truth = small
    root = work / "out"
    # Each file is opened and renamed or linked, the record twice; folders are made.
    for change in range(1, 2 * len(truth.files) + 10):
        shutil.rmtree(root, ignore_errors=True)
        ended = shm_data(*job.arguments, root, before=AtChange(root, change, Fail(number), lasting=lasting))
        assert faults(root, truth) == []
        if ended.code:
            assert_reported(ended, os.strerror(number), str(root))
        assert_resumes(job, truth, root)


@pytest.mark.parametrize(
    ("change", "name"), [(2, "EDQUOT"), (5, "EIO"), (9, "EACCES"), (15, "EPERM"), (22, "ENOTCONN"), (30, "ESTALE")]
)
def test_every_error_is_reported_in_the_words_of_the_system(small_jobs, work, change, name):
    job, truth = small_jobs["composite"]
    number = getattr(errno, name)
    ended = shm_data(*job.arguments, work / "out", before=AtChange(work / "out", change, Fail(number), lasting=True))
    assert_reported(ended, os.strerror(number), str(work / "out"))
    assert faults(work / "out", truth) == []
    assert_resumes(job, truth, work / "out")


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP])
def test_a_disk_without_hard_links_gives_the_same_bytes(small_jobs, work, number):
    job, truth = small_jobs["composite"]
    without = AtChange(work / "out", 1, Fail(number, only="os.link"), lasting=True)
    ended = shm_data(*job.arguments, work / "out", before=without)
    assert ended.code == 0, ended.err
    assert everything(work / "out") == (truth.files, truth.facts)


def test_what_is_written_is_renamed_within_its_folder_only(small, disk):
    """Folders of one data set may lie on several disks, between which there are no renames and no links."""
    job, truth = small
    root = disk("size=8m") / "out"
    assert finish_forked(job, root)[0] == 0
    for folder in {path.parent for path in root.rglob("*.png")}:
        shutil.rmtree(folder)
        folder.mkdir()
        assert mounted(folder, "size=1m") == ""
    assert_resumes(job, truth, root)


def test_a_read_only_disk_is_reported_before_anything_else_happens(small, disk):
    job, truth = small
    root = disk("ro") / "out"
    assert_reported(shm_data(*job.arguments, root), "Read-only file system", str(root))
    assert remount(root.parent, "rw")
    assert_resumes(job, truth, root)


def test_a_disk_that_turns_read_only_in_the_middle_stops_a_job(small_jobs, disk):
    job, truth = small_jobs["composite"]
    folder = disk("size=64m")
    for attempt in range(30):  # no remount succeeds while a file is open, so a job may end before
        root = folder / f"out{attempt}"
        process = job.start(root)
        while process.poll() is None and not root.exists():
            time.sleep(0.0005)
        while process.poll() is None and not remount(folder, "ro"):
            time.sleep(0.0005)
        _, errors = process.communicate(timeout=60)
        if process.returncode:
            break
        remount(folder, "rw")
    assert faults(root, truth) == []
    assert_reported(Ended(process.returncode, "", errors), "Read-only file system", str(root))
    assert remount(root.parent, "rw")
    assert_resumes(job, truth, root)


# Rights and folders that are lost.


@pytest.mark.parametrize("change", [1, 3, 17, 30])
def test_permission_lost_in_the_middle_is_reported(small_jobs, work, change):
    job, truth = small_jobs["composite"]
    root = work / "home" / "out"
    root.parent.mkdir()
    ended = shm_data(*job.arguments, root, before=Unprivileged(AtChange(root, change, Forbid(root.parent))))
    assert_reported(ended, "Permission denied", str(root))
    for folder in (root.parent, *(path for path in root.parent.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    assert faults(root, truth) == []
    assert_resumes(job, truth, root)


@pytest.mark.parametrize("gone", [".", "input", "mask", "trimap"])
@pytest.mark.parametrize("change", [2, 9, 11, 12, 14, 20, 32])
def test_a_folder_that_is_taken_away_in_the_middle_is_made_again(small_jobs, work, gone, change):
    job, truth = small_jobs["composite"]
    root, taken = work / "out", work / "taken"
    ended = shm_data(*job.arguments, root, before=AtChange(root, change, Take(root / gone, taken)))
    if ended.code:
        assert_reported(ended, str(root))
    assert [fault for fault in faults(root, truth) if "says complete" not in fault] == []
    assert not taken.exists() or faults(taken, _within(truth, gone)) == []
    assert_resumes(job, truth, root)


def _within(truth, folder):
    """What is to be in a folder of a data set."""
    if folder == ".":
        return truth
    inside = {name.partition("/")[2]: data for name, data in truth.files.items() if name.startswith(f"{folder}/")}
    return dataclasses.replace(truth, files=inside)


# Files instead of folders, and folders instead of files.


@pytest.mark.parametrize("name", [".", "..", "input", "mask", "trimap"])
@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
def test_a_file_instead_of_a_folder_is_reported_and_kept(small_jobs, work, name, begun):
    job, truth = small_jobs["composite"]
    root = work / "home" / "out"
    if begun:
        assert finish_forked(job, root)[0] == 0
    path = Path(os.path.normpath(root / name))
    if path.exists():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    assert_reported(shm_data(*job.arguments, root), str(work / "home"))
    assert path.read_bytes() == b"mine"
    path.unlink()
    assert_resumes(job, truth, root)


@pytest.mark.parametrize(
    "name", "recipes.jsonl dataset.json local.json train.txt train.csv val.txt README.md input mask trimap".split()
)
@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
def test_a_folder_instead_of_a_file_is_reported_and_kept(small_jobs, work, name, begun):
    job, truth = small_jobs["composite"]
    root = work / "out"
    if begun:
        assert finish_forked(job, root)[0] == 0
    path = root / (name if "." in name else f"{name}/p00.png")
    kept = path.read_bytes() if begun else b""
    path.unlink(missing_ok=True)
    (path / "mine").mkdir(parents=True)
    assert_reported(shm_data(*job.arguments, root), str(root))
    assert (path / "mine").is_dir()
    shutil.rmtree(root if not begun else path)
    if name in ("recipes.jsonl", "dataset.json") and begun:
        path.write_bytes(kept)
    assert_resumes(job, truth, root)


def test_a_dangling_link_is_reported_and_kept(small, work):
    job, truth = small
    (work / "out").symlink_to(work / "nowhere")
    assert_reported(shm_data(*job.arguments, work / "out"), str(work / "out"))
    assert (work / "out").readlink() == work / "nowhere" and not (work / "nowhere").exists()
    (work / "nowhere").mkdir()
    assert_resumes(job, truth, work / "out")


def test_a_link_to_a_folder_is_as_good_as_the_folder(small, work):
    job, truth = small
    (work / "elsewhere").mkdir()
    (work / "out").symlink_to(work / "elsewhere")
    assert finish_forked(job, work / "out")[0] == 0
    assert everything(work / "elsewhere") == (truth.files, truth.facts)
    assert_resumes(job, truth, work / "out")


# Limits.


@pytest.mark.parametrize("more", [0, 2, 4, 8])
@pytest.mark.parametrize("cores", [1, 8])
def test_a_job_that_may_open_few_files_fails_or_makes_the_same(small, work, more, cores):
    job, truth = small
    ended = shm_data(*job.arguments[:-1], "--jobs", cores, "--savedir", work / "out", before=FewFiles(more))
    assert faults(work / "out", truth) == []
    if ended.code:
        assert "Too many open files" in ended.err and "Traceback" not in ended.err
    else:
        assert everything(work / "out") == (truth.files, truth.facts)
    assert_resumes(job, truth, work / "out")


@pytest.mark.parametrize("number", [errno.EIO, errno.ENFILE])
@pytest.mark.parametrize("kind", ["photos", "alphas", "places"])
@pytest.mark.parametrize("time", [1, 2, 3, 4, 6, 8])
def test_a_source_that_cannot_be_read_just_now_is_not_skipped_for_good(small_jobs, work, number, kind, time):
    """The machine is at fault, not the file: a plan without it would never be mended."""
    job, truth = small_jobs["composite"]
    folder = next(path for path in job.arguments if isinstance(path, Path) and path.name == kind)
    unread = AtChange(folder, time, Fail(number), reading=True)
    ended = shm_data(*job.arguments, work / "out", before=unread)
    assert faults(work / "out", truth) == []
    if ended.code:
        assert "Traceback" not in ended.err and os.strerror(number) in ended.err
    assert_resumes(job, truth, work / "out")


# What Lustre, CIFS, NFS and a damaged ext4 answer, and the kernel without memory.
NETWORK = ("ESHUTDOWN", "EHOSTDOWN", "EHOSTUNREACH", "EREMOTEIO", "EUCLEAN", "ENOMEM")


@pytest.mark.parametrize("name", NETWORK)
def test_a_background_that_the_machine_cannot_read_stops_the_job(small_jobs, work, name):
    job, truth = small_jobs["composite"]
    number = getattr(errno, name)
    places = next(path for path in job.arguments if isinstance(path, Path) and path.name == "places")
    # Each is opened for its size first, and then for its pixels.
    unread = AtChange(places, len(list(places.iterdir())) + 1, Fail(number), reading=True)
    ended = shm_data(*job.arguments, work / "out", before=unread)
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith(f"Error: cannot continue: {os.strerror(number)}: {places}")
    assert_resumes(job, truth, work / "out")


@pytest.mark.parametrize("fault", [MemoryError(), cv2.error("no memory")])
def test_too_little_memory_is_no_fault_of_a_background(sources, tmp_path, monkeypatch, fault):
    def refuse(*_, **__):
        raise fault

    if isinstance(fault, cv2.error):
        fault.code = -4  # cv2.Error.STS_NO_MEM
    folders = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",)}
    monkeypatch.setattr("shm_data.images.opening.open_image", refuse)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)) as raised:
        composite(CompositeOptions(**folders, numbg=1), tmp_path / "out")
    assert raised.value.errno == errno.ENOMEM
