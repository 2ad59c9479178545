"""What users type: help is light, mistakes are one sentence, the seed's options work."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small import contents, matte, photo

from cli.progress import show
from cli.startup import MESSAGE
from shm_data import __version__, images

ROOT = Path(__file__).parents[1]
HEAVY = ("numpy", "cv2", "torch", "PIL", "numba", "skimage", "joblib", "pydantic")


def shm_data(*arguments, **options):
    command = [sys.executable, "-c", "from cli.data import main; main()", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, **options)


def folders(sources):
    return ["--inimg", sources / "photos", "--inalp", sources / "alphas", "--bgdir", sources / "places", "--numbg", 2]


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["composite", "--help"], ["prepare", "-h"], ["trimap", "-h"], ["report", "-h"]],
)
def test_help_loads_nothing_heavy(arguments):
    script = f"""
import sys
sys.argv = ["shm-data", *{arguments!r}]
from cli.data import main
try:
    main()
finally:
    print([name for name in {HEAVY!r} if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == "[]"


def test_version():
    assert __version__ in shm_data("--version").stdout


def test_composite_prints_what_it_made(sources, tmp_path):
    result = shm_data("composite", *folders(sources), "--savedir", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("12 samples (")
    assert "compositing: 12 in" in result.stderr
    again = shm_data("composite", *folders(sources), "--savedir", tmp_path / "out")
    assert again.returncode == 0 and again.stdout == result.stdout
    assert "compositing" not in again.stderr


def test_dry_run_writes_nothing_and_shows_recipes(sources, tmp_path):
    result = shm_data("composite", *folders(sources), "--savedir", tmp_path / "out", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "MB on disk" in result.stdout
    recipes = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert len(recipes) == 3
    assert {"name", "split", "foreground", "background"} <= set(recipes[0])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--numbg", "-1"], "--numbg: found -1, expected at least 0"),
        (["--trimap-size", "4"], "--trimap-size: found '4', expected an odd width such as 5"),
        (["--trimap-size", "big"], "--trimap-size: found 'big', expected a valid integer"),
        (["--trainsplit", "1.5"], "--trainsplit: found 1.5, expected 0 to 1"),
        (["--group", "("], "--group: found '(', expected a regular expression"),
        (["--numbg", "many"], "'many' is not a valid integer"),
        (["--inimg", "/absent"], "/absent: found no folder, expected a folder"),
        (["--jobs", "0"], "--jobs"),
        (["--nubmg", "3"], "No such option"),
        (["--vocroot", "/absent"], "/absent: found no folder"),
        (["--vocset", "trainval"], "--vocset needs --vocroot"),
        (["--trainsplit", "nan"], "--trainsplit: found nan, expected a finite number"),
        (["--trimap-size", "100001"], "--trimap-size: found '100001', expected 1 to 999 or auto"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_1(sources, tmp_path, arguments, message):
    result = shm_data("composite", *folders(sources), "--savedir", tmp_path / "out", *arguments)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ") and message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_command_without_its_folder_says_so():
    result = shm_data("composite")
    assert (result.returncode, result.stderr) == (1, "Error: Missing option '--savedir'.\n")


def test_prepare_takes_over_and_composites_in_one(sources, tmp_path):
    public = tmp_path / "public"
    public.mkdir()
    for number in range(3):
        images.write_png(public / f"q{number}.png", photo(200 + number))
        images.write_png(public / f"q{number}_matte.png", matte(number))
    published = ("--pubdir", public, "--prefix", "matte", "--augment", "none")
    result = shm_data("prepare", *published, *folders(sources), "--savedir", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    files, record = contents(tmp_path / "out")
    assert record["counts"]["samples"] == 3 + 4 * 3
    assert np.array_equal(images.read_image(tmp_path / "out" / "input" / "q1.png"), photo(201))
    assert np.array_equal(images.read_alpha(tmp_path / "out" / "mask" / "q1.png"), matte(1))
    assert {"trimap/q0.png", "trimap/q1.png", "trimap/q2.png"} <= set(files)


def test_prepare_needs_no_backgrounds_for_a_published_set_alone(tmp_path):
    (tmp_path / "public").mkdir()
    images.write_png(tmp_path / "public" / "a.png", photo(1))
    images.write_png(tmp_path / "public" / "a_matte.png", matte(1))
    result = shm_data("prepare", "--pubdir", tmp_path / "public", "--savedir", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("1 sample ")


def test_demo_overwrites_nothing_of_a_users(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "contact_sheet.png").write_bytes(b"mine")
    result = shm_data("demo", tmp_path / "mine")
    assert result.returncode == 1 and "found other files, expected a new folder" in result.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["contact_sheet.png"]


def test_demo_leaves_a_sheet_to_look_at_and_can_be_run_again(tmp_path):
    for _ in range(2):
        result = shm_data("demo", tmp_path / "demo")
        assert result.returncode == 0, result.stderr
        assert "skipped: 2 (shows a person)" in result.stdout
    assert images.read_image(tmp_path / "demo" / "contact_sheet.png").std() > 20


def test_the_summary_tells_what_to_know(sources, tmp_path):
    result = shm_data("composite", *folders(sources), "--numbg", 30, "--savedir", tmp_path / "out")
    assert "note: train has" in result.stdout and "each is used several times, with other crops" in result.stdout


def test_progress_in_a_log_tells_rate_and_time_left(monkeypatch, capsys):
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr("cli.progress.time.monotonic", lambda: float(next(clock)))
    assert list(show(range(5), 5, "making")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err.splitlines() == [
        "making: 2 of 5, 0.2/s, 18 s left",
        "making: 4 of 5, 0.2/s, 6 s left",
        "making: 5 in 36.0 s",
    ]


def test_trimap_writes_one_for_each_alpha_and_overwrites_none(tmp_path):
    (tmp_path / "alphas" / "sub").mkdir(parents=True)
    for name in ("a", "b_alpha", "sub/c"):
        images.write_png(tmp_path / "alphas" / f"{name}.png", matte(1))
    command = ["trimap", "--inalp", tmp_path / "alphas", "--savedir", tmp_path / "trimaps"]
    assert shm_data(*command).returncode == 0
    assert images.find(tmp_path / "trimaps") == ["a.png", "b_alpha.png", "sub/c.png"]
    stamp = (tmp_path / "trimaps" / "a.png").stat().st_mtime_ns
    assert shm_data(*command).returncode == 0
    assert (tmp_path / "trimaps" / "a.png").stat().st_mtime_ns == stamp
    other = shm_data(*command, "--trimap-size", 15)
    assert other.returncode == 1 and "nothing is overwritten" in other.stderr
    assert (tmp_path / "trimaps" / "a.png").stat().st_mtime_ns == stamp


def test_trimap_names_what_it_could_not_read_and_makes_the_rest(tmp_path):
    (tmp_path / "alphas").mkdir()
    images.write_png(tmp_path / "alphas" / "good.png", matte(1))
    (tmp_path / "alphas" / "bad.png").write_bytes(b"no picture")
    result = shm_data("trimap", "--inalp", tmp_path / "alphas", "--savedir", tmp_path / "trimaps")
    assert result.returncode == 1 and "bad.png" in result.stderr and "Traceback" not in result.stderr
    assert images.find(tmp_path / "trimaps") == ["good.png"]


def test_trimap_leaves_photos_and_trimaps_beside_their_alphas_out_and_says_so(tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    images.write_jpeg(folder / "a.jpg", photo(1))
    images.write_png(folder / "a_alpha.png", matte(1))
    images.write_png(folder / "a_trimap.png", matte(1) // 86 * 127)
    images.write_png(folder / "b.png", matte(2))
    result = shm_data("trimap", "--inalp", folder, "--savedir", tmp_path / "trimaps")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[:2] == [
        "note: a.jpg: skipped, by its name the photo of a_alpha.png",
        "note: a_trimap.png: skipped, by its name a trimap",
    ]
    assert images.find(tmp_path / "trimaps") == ["a_alpha.png", "b.png"]


def test_trimap_of_a_single_file_is_that_of_its_folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "alphas").mkdir(exist_ok=True)
        images.write_png(tmp_path / "alphas" / f"{name}.png", matte(ord(name)))
    whole = shm_data("trimap", "--inalp", tmp_path / "alphas", "--savedir", tmp_path / "all")
    one = shm_data("trimap", "--inalp", tmp_path / "alphas" / "b.png", "--savedir", tmp_path / "one")
    assert (whole.returncode, one.returncode) == (0, 0), whole.stderr + one.stderr
    assert images.find(tmp_path / "one") == ["b.png"]
    assert (tmp_path / "one" / "b.png").read_bytes() == (tmp_path / "all" / "b.png").read_bytes()
    beside = shm_data("trimap", "--inalp", tmp_path / "alphas" / "b.png", "--savedir", tmp_path / "alphas")
    assert beside.returncode == 1 and np.array_equal(
        images.read_alpha(tmp_path / "alphas" / "b.png"), matte(ord("b"))
    )


@pytest.mark.parametrize("names", [("a_pha", "pha_b"), ("A_PHA", "b_pha")])
def test_trimap_finds_alphas_by_the_word_of_their_names(tmp_path, names):
    folder = tmp_path / "mixed"
    folder.mkdir()
    images.write_jpeg(folder / "a.jpg", photo(1))
    images.write_jpeg(folder / "other.jpg", photo(2))
    for name in names:
        images.write_png(folder / f"{name}.png", matte(1))
    command = ["trimap", "--inalp", folder, "--savedir", tmp_path / "trimaps", "--prefix"]
    result = shm_data(*command, "pha")
    assert result.returncode == 0, result.stderr
    assert images.find(tmp_path / "trimaps") == sorted(f"{name}.png" for name in names)
    assert {line.split(":")[1].strip() for line in result.stdout.splitlines()[:-1]} == {"a.jpg", "other.jpg"}
    none = shm_data(*command, "matte")
    assert none.returncode == 1 and "Traceback" not in none.stderr and "'matte'" in none.stderr


def test_trimaps_of_real_mattes(realdata, tmp_path):
    for group in ("p3m_demo/alpha", "alphamatting_gt27/GT"):
        target = tmp_path / group
        assert shm_data("trimap", "--inalp", realdata / "fg" / group, "--savedir", target).returncode == 0
        for name in images.find(target):
            alpha, trimap = images.read_alpha(realdata / "fg" / group / name), images.read_gray(target / name)
            assert (trimap[(alpha > 0) & (alpha < 255)] == 128).all()
            assert set(np.unique(trimap)) == {0, 128, 255}


def test_training_without_torch_says_what_to_install():
    script = """
import sys
sys.modules["torch"] = None
sys.argv = ["shm-model", "predict", "--checkpoint", "x", "y"]
from cli.model import main
main()
"""
    result = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == "Error: torch is not installed: run pip install 'shm-matting[model]'\n"


PROGRAM = Path(sys.executable).with_name("shm-data")


def program(*arguments, **options):
    """The installed program, with what it prints held back as in a pipe."""
    return subprocess.Popen([PROGRAM, *map(str, arguments)], stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [["--help"], ["composite", "--help"], ["--version"], "trimap"], ids=str)
def test_an_output_that_takes_no_more_is_explained(sources, tmp_path, monkeypatch, command, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    if command == "trimap":
        command = ["trimap", "--inalp", sources / "alphas", "--savedir", tmp_path / "trimaps"]
    with Path("/dev/full").open("w") as full:
        error = program(*command, stdout=full).communicate(timeout=60)[1]
    assert error.splitlines()[-1] == "Error: cannot write to the standard output: No space left on device"
    assert "Traceback" not in error


def test_a_log_that_takes_no_more_does_not_stop_the_work(sources, tmp_path):
    command = [PROGRAM, "trimap", "--inalp", sources / "alphas", "--savedir", tmp_path / "trimaps"]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=full, timeout=60)
    assert result.stdout and len(images.find(tmp_path / "trimaps")) == 4


@pytest.mark.parametrize("command", [["composite", "--help"], "trimap"], ids=str)
def test_a_reader_that_has_gone_is_no_reason_to_complain(sources, tmp_path, command):
    if command == "trimap":
        command = ["trimap", "--inalp", sources / "alphas", "--savedir", tmp_path / "trimaps"]
    reading, writing = os.pipe()
    os.close(reading)
    error = program(*command, stdout=writing).communicate(timeout=60)[1]
    os.close(writing)
    assert not [line for line in error.splitlines() if not line.startswith("trimaps: ")]


def test_names_that_the_terminal_cannot_show_are_escaped(sources, tmp_path):
    """An old terminal, and a folder whose name is not UTF-8."""
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    for encoding, savedir, shown in (
        ("latin-1", tmp_path / "日本", r"\u65e5\u672c"),
        ("utf-8", strange, r"caf\udce9"),
    ):
        command = ["trimap", "--inalp", sources / "alphas", "--savedir", savedir]
        result = shm_data(*command, env=os.environ | {"PYTHONIOENCODING": encoding})
        assert result.returncode == 0, result.stderr
        assert result.stdout == f"The trimaps are in {tmp_path / shown}.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["click", "numpy", "cv2"])
def test_an_import_is_interrupted_in_peace(sources, tmp_path, monkeypatch, module, number):
    """The program's first import, and those that a command makes; even one that takes an exception for absence."""
    (tmp_path / f"{module}.py").write_text(
        "import time\n"
        "print('importing', flush=True)\n"
        "try:\n    time.sleep(60)\n"
        "except BaseException:\n    raise ImportError('broken')\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    command = ["trimap", "--inalp", sources / "alphas", "--savedir", tmp_path / "out"]
    with program(*command, stdout=subprocess.PIPE) as running:
        assert running.stdout.readline() == "importing\n"
        running.send_signal(number)
        error = running.communicate(timeout=60)[1]
    assert error == f"{MESSAGE}\n"
    assert running.returncode == 130


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams_are_not_taken_by_files(sources, tmp_path, closed):
    """Files get the lowest free number: what is printed must not end up in one."""
    command = f"exec {PROGRAM} trimap --inalp {sources}/alphas --savedir {tmp_path}/out {closed}"
    result = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, timeout=60)
    assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
    assert images.find(tmp_path / "out") == [f"p{number}.png" for number in range(4)]
    assert all(images.read_trimap(tmp_path / "out" / f"p{number}.png").any() for number in range(4))
    missing = command.replace("/alphas", "/absent")
    assert subprocess.run(["bash", "-c", missing], check=False, capture_output=True, timeout=60).returncode == 1


def test_an_error_stream_without_reader_is_no_reason_for_a_traceback(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [PROGRAM, "trimap", "--inalp", tmp_path / "absent", "--savedir", tmp_path / "out"]
    result = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=writing, timeout=60)
    os.close(writing)
    assert (result.returncode, result.stdout) == (1, b"")


def test_lists_hold_the_bytes_of_the_names_in_any_locale(sources, tmp_path):
    (sources / "photos" / "p1.png").rename(sources / "photos" / "é.png")
    (sources / "alphas" / "p1.png").rename(sources / "alphas" / "é.png")
    lists = []
    for number, environment in enumerate(
        ({"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    ):
        out = tmp_path / str(number) / "日本"
        with program(
            "composite", *folders(sources), "--savedir", out, stdout=subprocess.PIPE, env=os.environ | environment
        ) as run:
            printed, error = run.communicate(timeout=60)
        assert run.returncode == 0, error
        assert str(out) in printed
        names = (out / "train.txt").read_bytes().splitlines() + (out / "val.txt").read_bytes().splitlines()
        assert set(names) == {os.fsencode(path.name) for path in (out / "input").iterdir()}
        lists.append(sorted(names))
    assert lists[0] == lists[1] and "é.png".encode() in lists[0]


def test_a_host_keeps_its_handlers_and_environment():
    script = """
import gc, os, signal
def state():
    return gc.get_threshold(), dict(os.environ), [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
before = state()
import cli.data, cli.model, cli.progress
assert state() == before
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_program_keeps_opencv_to_one_thread(tmp_path):
    """So a job uses as many threads as it was given."""
    hook = "import atexit, sys\natexit.register(lambda: print(sys.modules['cv2'].getNumThreads()))"
    (tmp_path / "sitecustomize.py").write_text(hook)
    (tmp_path / "alphas").mkdir()
    images.write_png(tmp_path / "alphas" / "a.png", matte(1))
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with program(
        "trimap",
        "--inalp",
        tmp_path / "alphas",
        "--savedir",
        tmp_path / "out",
        stdout=subprocess.PIPE,
        env=environment,
    ) as run:
        out, error = run.communicate(timeout=60)
    assert out.splitlines()[-1] == "1", out + error


def test_a_limit_of_threads_is_explained_in_one_sentence(sources, tmp_path):
    """As under `ulimit -u`, which does not hold for root: no more than twenty threads at a time."""
    hook = """
import threading
start = threading.Thread.start
def refuse(self):
    if threading.active_count() > 20:
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = refuse
"""
    (tmp_path / "sitecustomize.py").write_text(hook)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = ["composite", *folders(sources), "--savedir", tmp_path / "out"]
    with program(*command, "-j", 60, stdout=subprocess.PIPE, env=environment) as run:
        error = run.communicate(timeout=60)[1]
    assert run.returncode == 1 and "Traceback" not in error
    assert error.splitlines()[-1].startswith("Error: ") and "--jobs" in error
    with program(*command, "-j", 2, stdout=subprocess.PIPE, env=environment) as run:
        assert run.communicate(timeout=60)[1] and run.returncode == 0


def test_only_the_first_of_several_processes_says_that_it_was_interrupted():
    script = """
import multiprocessing, os, signal, sys, time
def work(ready):
    ready.set()
    time.sleep(60)
if __name__ == "__main__":
    sys.argv[0] = "shm-model"
    import cli
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=work, args=(ready,))
    process.start()
    ready.wait(30)
    os.killpg(0, signal.SIGINT)
    time.sleep(60)
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
    )
    assert (result.returncode, result.stderr) == (130, f"{MESSAGE}\n")


def test_a_program_started_to_ignore_ctrl_c_ignores_it(sources, tmp_path, monkeypatch):
    lines = ("import time", "print('importing', flush=True)", "time.sleep(0.5)", "raise SystemExit(7)")
    (tmp_path / "numpy.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    command = ["trimap", "--inalp", sources / "alphas", "--savedir", tmp_path / "out"]
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    with program(*command, stdout=subprocess.PIPE, **ignoring) as running:
        assert running.stdout.readline() == "importing\n"
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    assert running.returncode == 7
