"""From pictures and videos to mattes: the same for any batch and route; files whole or absent."""

import itertools
import os
import subprocess
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from nets import checkpoint, network
from small import matte, photo

from shm_data import images
from shm_data.errors import ShmDataError
from shm_data.files import locked
from shm_data.pixels.compositing import blend, fit, resize
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_model.distributed import device_named
from shm_model.predict import PredictOptions, Predictor, predict_files, video
from shm_model.predict import video_files as videos
from shm_model.predict.outputs import crop_to_cover, parse_background, render_outputs
from shm_model.predict.pipeline import group_neighbours, map_ahead
from shm_model.predict.upsample import upsample_matte
from shm_model.tnet import TNet

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


class Brightness(TNet):
    """A T-Net by brightness: what it says of a pixel is known beforehand."""

    def __init__(self):
        torch.nn.Module.__init__(self)

    def forward(self, image):
        gray = image.mean(1, keepdim=True)
        return torch.cat([-40 * (gray - 0.5), torch.full_like(gray, -9), 40 * (gray - 0.5)], 1)


PREDICTOR = Predictor(Brightness(), CPU, 64, digest="brightness")


def small_video(path, count=9, size=(48, 64), rate=12.5, codec="FFV1"):
    """A video of a photo that moves; gives its frames, RGB."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), rate, size[::-1])
    frames = [np.roll(photo(5, size), 3 * number, 1) for number in range(count)]
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return frames


def frames_of(path):
    return [frame.pixels for frame in videos.open_reader(path).frames()]


# Pixels.


@pytest.mark.parametrize("kind", ["tnet", "mnet", "shm"])
def test_several_at_once_are_predicted_as_each_alone(kind):
    predictor = Predictor(network(kind), CPU, 96)
    pictures = [photo(seed, (72, 96)) for seed in range(3)]
    trimaps = [np.uint8([0, 128, 255])[matte(seed, (72, 96)) // 86] for seed in range(3)]
    together = predictor.predict_batch(pictures, trimaps)
    for picture, trimap, one in zip(pictures, trimaps, together, strict=True):
        alone = predictor(picture, trimap)
        difference = np.abs(alone.alpha - one.alpha)
        # Two maxima that are equal but for rounding let M-Net's unpooling choose another pixel.
        assert difference.mean() <= 1e-6 and np.quantile(difference, 0.99) <= 1e-5 and difference.max() <= 1e-3
        assert np.array_equal(alone.trimap, one.trimap)
    assert np.ptp(together[0].alpha) > 0.1, "the network should say something"


@pytest.mark.parametrize("kind", ["tnet", "mnet", "shm"])
def test_half_precision_is_nearly_the_same(kind):
    whole = Predictor(network(kind), CPU, 96)
    trimap = np.uint8([0, 128, 255])[matte(1, (64, 96)) // 86]
    one, other = (each(photo(1, (64, 96)), trimap).alpha for each in (whole, replace(whole, half=True)))
    assert 0 < np.abs(one - other).mean() < 0.01


def test_half_precision_that_overflows_is_an_error():
    class Huge(Brightness):
        def forward(self, image):
            return super().forward(image) * (torch.inf if torch.is_autocast_enabled("cpu") else 1)

    predictor = Predictor(Huge(), CPU, 64)
    assert np.isfinite(predictor(photo(1)).alpha).all()
    with pytest.raises(ShmDataError) as fault:
        replace(predictor, half=True)(photo(1))
    assert fault.value.expected == "no --half"


def test_too_little_memory_is_an_error():
    class Large(Brightness):
        def forward(self, image):
            raise torch.OutOfMemoryError("as a GPU says it")

    with pytest.raises(ShmDataError) as fault:
        Predictor(Large(), CPU, 64)(photo(1))
    assert fault.value.path == "cpu" and "1 of 64x48" in fault.value.found


@pytest.mark.parametrize("name", ["cpu", "cpu:0", None])
def test_a_device_that_exists_is_used(name):
    assert device_named(name).type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["cuda:99", "cpu:1", "meta", "tpu", "cuda:x"])
def test_a_device_that_does_not_exist_is_an_error(name):
    with pytest.raises(ShmDataError, match=f"--device: found {name}"):
        device_named(name)


def test_a_matte_of_the_images_size_is_left_as_it_is_and_a_flat_one_stays_flat():
    alpha = matte(1).astype(np.float32) / 255
    assert np.array_equal(upsample_matte(alpha, photo(1), photo(1)), alpha)
    for level in (0.0, 0.4, 1.0):
        flat = np.full((24, 32), level, np.float32)
        assert np.array_equal(
            upsample_matte(flat, photo(1, (24, 32)), photo(2)), np.full((48, 64), level, np.float32)
        )


def test_an_edge_in_the_colours_is_an_edge_in_the_enlarged_matte():
    truth = np.zeros((96, 96), np.float32)
    truth[:, 42:] = 1
    image = np.where(truth[..., None] > 0, (200, 60, 30), (20, 90, 160)).astype(np.uint8)
    small, alpha = resize(image, (24, 24)), cv2.resize(truth, (24, 24), interpolation=cv2.INTER_AREA)
    plain = cv2.resize(alpha, (96, 96), interpolation=cv2.INTER_LINEAR)
    assert np.abs(upsample_matte(alpha, small, image) - truth).sum() < 0.2 * np.abs(plain - truth).sum()


def test_real_mattes_are_enlarged_with_less_error_than_by_interpolation(realdata):
    ratios = []
    for name in ("GT01", "GT04", "GT13", "GT18", "GT21", "GT25"):
        image = images.read_image(realdata / f"fg/alphamatting_gt27/input/{name}.png")
        truth = np.float32(images.read_alpha(realdata / f"fg/alphamatting_gt27/GT/{name}.png")) / 255
        size = fit(truth.shape[::-1], max(truth.shape) // 4)
        alpha = cv2.resize(truth, size, interpolation=cv2.INTER_AREA)
        plain = cv2.resize(alpha, truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
        ours = upsample_matte(alpha, resize(image, size), image)
        ratios.append(np.abs(ours - truth).sum() / np.abs(plain - truth).sum())
    assert max(ratios) < 0.9 and np.median(ratios) < 0.5


# The outputs.


def test_a_background_is_a_colour_or_a_picture(tmp_path):
    images.write_png(tmp_path / "b.png", photo(1))
    assert np.array_equal(parse_background(str(tmp_path / "b.png")), photo(1))
    for text in ("#0f0", "#00ff00", "lime", "rgb(0, 255, 0)"):
        colour = crop_to_cover(parse_background(text), (7, 5))
        assert colour.shape == (5, 7, 3) and (colour == (0, 255, 0)).all()
    with pytest.raises(ShmDataError) as fault:
        parse_background("no_such.png")
    assert fault.value.found == "no_such.png"


def test_a_composite_has_the_colours_of_the_cutout_over_the_background():
    image, alpha, behind = photo(1), matte(1).astype(np.float32) / 255, crop_to_cover(photo(2, (80, 40)), (64, 48))
    made = render_outputs(image, alpha, ("composite", "cutout", "alpha"), behind)
    assert np.array_equal(made["alpha"], matte(1)) and np.array_equal(made["cutout"][..., 3], matte(1))
    assert np.array_equal(made["cutout"][..., :3], estimate_foreground(image, matte(1)))
    assert np.array_equal(made["composite"], blend(made["cutout"][..., :3].copy(), matte(1), behind))
    assert list(render_outputs(image, alpha, ("alpha",), behind)) == ["alpha"]


# Files.


def test_only_the_chosen_outputs_are_written_and_the_same_for_any_batch(sources, tmp_path):
    images.write_png(sources / "photos" / "low.png", photo(9, (40, 64)))
    (sources / "photos" / "p2.png").write_bytes(b"broken")
    for batch in (1, 3):
        options = PredictOptions(outputs=("composite", "alpha"), batch=batch)
        with pytest.raises(ShmDataError, match=r"p2\.png"):
            predict_files(PREDICTOR, [sources / "photos"], None, tmp_path / str(batch), options=options)
    names = images.find(tmp_path / "1")
    assert names == sorted(f"{stem}{end}.png" for stem in ("p0", "p1", "p3", "low") for end in ("", "_composite"))
    assert names == images.find(tmp_path / "3")
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()
    assert np.array_equal(images.read_gray(tmp_path / "1" / "low.png") > 127, photo(9, (40, 64)).mean(2) > 127.5)


def test_no_two_outputs_share_a_name(tmp_path):
    for seed, name in enumerate(("a.png", "a_cutout.png", "b_cutout.png", "b.png", "b.bmp")):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(images.encode(photo(seed)))
    assert predict_files(PREDICTOR, [tmp_path / "in"], None, tmp_path / "out").pictures == 5
    assert len(images.find(tmp_path / "out")) == 10


@pytest.mark.parametrize("kind", ["picture", "trimap"])
def test_no_output_replaces_an_input(tmp_path, kind):
    images.write_png(tmp_path / "a.png", photo(1))
    predictor, given, trimap = PREDICTOR, tmp_path / "a.png", None
    if kind == "trimap":
        (tmp_path / "photos").mkdir()
        images.write_png(tmp_path / "photos" / "a.png", photo(1))
        given, trimap = tmp_path / "photos" / "a.png", tmp_path / "a.png"
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(ShmDataError, match=r"a\.png") as fault:
        predict_files(predictor, [given], trimap, tmp_path)
    assert fault.value.expected == "another --savedir"
    assert (tmp_path / "a.png").read_bytes() == before


def test_a_folder_without_pictures_is_an_error(tmp_path):
    with pytest.raises(ShmDataError) as fault:
        predict_files(PREDICTOR, [tmp_path], None, tmp_path / "out")
    assert (fault.value.path, fault.value.found) == (str(tmp_path), "no pictures")


# --skip-done and the record.


@pytest.fixture
def june(tmp_path):
    """A photo, its trimap, and what predicts it into `out`, skipping what is done."""
    images.write_png(tmp_path / "june.png", photo(1))
    images.write_png(tmp_path / "trimap.png", TRIMAP)

    def predict(predictor=PREDICTOR, **options):
        chosen = PredictOptions(**{"outputs": ("alpha", "composite"), "skip_done": True} | options)
        return predict_files(
            predictor, [tmp_path / "june.png"], tmp_path / "trimap.png", tmp_path / "out", options=chosen
        )

    return predict


TRIMAP = np.uint8([0, 128, 255])[matte(1) // 86]


def test_what_is_done_is_skipped(june, tmp_path):
    assert june() == (1, {}, 0)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert june() == (0, {}, 1)
    assert june(outputs=("alpha",)) == (0, {}, 1)
    assert june(skip_done=False) == (1, {}, 0), "only --skip-done skips"
    assert june(batch=3) == (0, {}, 1), "the batch changes no matte"
    assert all(
        (tmp_path / "out" / name).read_bytes() == data for name, data in before.items() if name.endswith("png")
    )


def other_photo(folder):
    images.write_png(folder / "june.png", photo(2))
    os.utime(folder / "june.png", (1, 1))  # older than its outputs, as a copy that keeps its time


def other_trimap(folder):
    images.write_png(folder / "trimap.png", TRIMAP[::-1].copy())


def truncated(folder):
    path = folder / "out" / "june.png"
    path.unlink()


@pytest.mark.parametrize("change", [other_photo, other_trimap, truncated], ids=lambda change: change.__name__)
def test_a_done_picture_is_predicted_again_when_a_file_changed(june, tmp_path, change):
    june()
    change(tmp_path)
    assert june() == (1, {}, 0)
    assert june() == (0, {}, 1)


@pytest.mark.parametrize("predictor", [replace(PREDICTOR, digest="retrained"), replace(PREDICTOR, longest=32)])
def test_a_done_picture_is_predicted_again_by_another_network_or_size(june, predictor):
    june()
    assert june(predictor) == (1, {}, 0)


def test_another_background_makes_composites_again_and_alphas_not(june, tmp_path):
    june(background=parse_background("white"))
    assert june(background=parse_background("black")) == (1, {}, 0)
    assert images.read_image(tmp_path / "out" / "june_composite.png").min() == 0
    assert june(outputs=("alpha",), background=parse_background("white")) == (0, {}, 1)


def test_a_predictor_of_unknown_weights_skips_nothing(june):
    june(replace(PREDICTOR, digest=""))
    assert june(replace(PREDICTOR, digest="")) == (1, {}, 0)


@pytest.mark.parametrize("name", ["june.png", "june_composite.png"])
def test_no_output_replaces_a_file_that_no_prediction_wrote(june, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"a mask of somebody's set")
    for skip_done in (True, False):
        with pytest.raises(ShmDataError) as fault:
            june(skip_done=skip_done)
        assert [each.path for each in fault.value.faults] == [str(tmp_path / "out" / name)]
    assert os.listdir(tmp_path / "out") == [name]
    assert (tmp_path / "out" / name).read_bytes() == b"a mask of somebody's set"


def test_a_matte_that_was_edited_is_not_replaced(june, tmp_path):
    june()
    images.write_png(tmp_path / "out" / "june.png", matte(4))
    for skip_done in (True, False):
        with pytest.raises(ShmDataError, match=r"june\.png"):
            june(skip_done=skip_done)
    assert np.array_equal(images.read_gray(tmp_path / "out" / "june.png"), matte(4))


def test_what_a_killed_run_wrote_without_recording_it_is_replaced(june, tmp_path):
    june()
    record = tmp_path / "out" / "predictions.jsonl"
    begun, alpha, _ = record.read_text().split("\n")[1:]
    record.write_text(f"\n{begun}\n{alpha[:40]}")
    assert june() == (1, {}, 0)
    assert june() == (0, {}, 1)


@pytest.mark.parametrize("line", ["[]", "null", "3", "{", '{"output": 1}', '{"begun": 7}', "\x00", "[" * 10**5])
def test_lines_of_the_record_that_are_none_vouch_for_nothing(june, tmp_path, line):
    june()
    with (tmp_path / "out" / "predictions.jsonl").open("a") as file:
        file.write(f"\n{line}\n")
    assert june() == (0, {}, 1)


def test_one_missing_trimap_does_not_stop_the_others(sources, tmp_path):
    (tmp_path / "trimaps").mkdir()
    for number in (0, 2, 3):
        images.write_png(tmp_path / "trimaps" / f"p{number}.png", TRIMAP)
    predictor = Predictor(network("mnet"), CPU, 64)
    with pytest.raises(ShmDataError, match=r"p1\.png") as fault:
        predict_files(predictor, [sources / "photos"], tmp_path / "trimaps", tmp_path / "out")
    assert len(fault.value.faults) == 1
    assert images.find(tmp_path / "out") == sorted(f"p{n}{end}.png" for n in (0, 2, 3) for end in ("", "_cutout"))


def test_leftovers_of_a_killed_run_are_removed_unless_another_run_is_at_work(sources, tmp_path):
    left = [tmp_path / f".0123456789abcdef.shm-tmp{end}" for end in ("", ".mp4")]
    for path in left:
        path.write_bytes(b"half")
    with locked(tmp_path, shared=True):
        predict_files(PREDICTOR, [sources / "photos" / "p0.png"], None, tmp_path)
    assert all(path.exists() for path in left)
    predict_files(PREDICTOR, [sources / "photos" / "p0.png"], None, tmp_path)
    assert not any(path.exists() for path in left)


# The pipeline.


def test_results_come_in_order_and_few_items_are_drawn_ahead():
    drawn = itertools.count()
    items = (next(drawn) for _ in range(50))
    for number, result in enumerate(map_ahead(lambda item: item * item, items, 3)):
        assert result == number**2
    drawn = []
    results = map_ahead(lambda item: item, (drawn.append(item) or item for item in range(50)), 3)
    for taken in range(1, 20):
        next(results)
        assert len(drawn) <= taken + 3
    results.close()
    assert len(drawn) <= 22


def test_others_work_while_the_caller_does_and_an_error_reaches_it():
    barrier = threading.Barrier(2, timeout=30)
    results = map_ahead(lambda item: item or barrier.wait(), [1, 0, 2], 2)
    assert next(results) == 1
    barrier.wait()  # with the second item, for which nobody has asked yet
    assert list(results)[1:] == [2]
    with pytest.raises(ZeroDivisionError):
        list(map_ahead(lambda item: 1 // item, [1, 0, 1], 2))


def test_neighbours_of_one_kind_go_together():
    assert list(group_neighbours("aabbbba", 3, str)) == [["a", "a"], ["b", "b", "b"], ["b"], ["a"]]


# Videos.


@pytest.mark.parametrize("batch", [1, 4])
def test_a_video_is_predicted_frame_by_frame_at_its_size_and_rate(tmp_path, batch):
    frames = small_video(tmp_path / "a.mkv")
    options = PredictOptions(video="mkv", batch=batch)
    outcome = predict_files(PREDICTOR, [tmp_path / "a.mkv"], None, tmp_path / "out", options=options)
    assert outcome == (0, {tmp_path / "a.mkv": (9, 0, None)}, 0)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a_alpha.mkv",
        "a_composite.mkv",
        "predictions.jsonl",
    ]
    alphas, composites = (frames_of(tmp_path / "out" / f"a_{kind}.mkv") for kind in ("alpha", "composite"))
    assert len(alphas) == len(composites) == 9
    assert videos.open_reader(tmp_path / "out" / "a_alpha.mkv").rate == pytest.approx(12.5)
    for frame, alpha, composite in zip(frames, alphas, composites, strict=True):
        expected = render_outputs(
            frame, PREDICTOR(frame).alpha, ("alpha", "composite"), crop_to_cover(parse_background("lime"), (64, 48))
        )
        assert np.array_equal(alpha[..., 1], expected["alpha"]) and np.array_equal(composite, expected["composite"])


@pytest.mark.parametrize(("suffix", "rate"), [("mp4", 29.97), ("avi", 25), ("mkv", 23.976)])
def test_every_kind_of_video_keeps_size_rate_and_number_of_frames(tmp_path, suffix, rate):
    frames = small_video(tmp_path / "a.avi", rate=rate, codec="MJPG")
    predict_files(
        PREDICTOR, [tmp_path / "a.avi"], None, tmp_path / "out", options=PredictOptions(("alpha",), video=suffix)
    )
    path = tmp_path / "out" / f"a_alpha.{suffix}"
    made = frames_of(path)
    assert len(made) == len(frames) and made[0].shape == frames[0].shape
    assert videos.open_reader(path).rate == pytest.approx(rate, abs=0.01)
    assert np.abs(made[4].mean(2) - 255 * PREDICTOR(frames[4]).alpha).mean() < 12


def broken_video(path, fault):
    small_video(path, count=40, codec="mp4v")
    data = path.read_bytes()
    contents = {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "text": b"no video at all, but long enough to be looked at" * 20,
        "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n",
        "noise": data[:64] + np.random.default_rng(0).bytes(len(data) - 64),
    }
    path.write_bytes(contents[fault])


@pytest.mark.parametrize("fault", ["cut", "empty", "text", "playlist", "noise"])
def test_a_broken_video_is_one_sentence_and_the_others_are_done(sources, tmp_path, fault, capfd):
    broken_video(tmp_path / "a.mp4", fault)
    given = [tmp_path / "a.mp4", sources / "photos" / "p0.png"]
    with pytest.raises(ShmDataError) as fault:
        predict_files(PREDICTOR, given, None, tmp_path / "out")
    assert str(tmp_path / "a.mp4") in str(fault.value) and "\n" not in str(fault.value)
    assert images.find(tmp_path / "out") == ["p0.png", "p0_cutout.png"] and len(os.listdir(tmp_path / "out")) == 3
    assert capfd.readouterr() == ("", "")


def test_a_video_with_fewer_frames_than_it_promises_leaves_nothing(tmp_path, monkeypatch):
    small_video(tmp_path / "a.mkv")
    opened = video.open_reader
    monkeypatch.setattr(video, "open_reader", lambda path: replace(opened(path), count=20))
    with pytest.raises(ShmDataError, match="9 frames, 11 missing"):
        predict_files(PREDICTOR, [tmp_path / "a.mkv"], None, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["predictions.jsonl"]


# In a process of its own, whose files have a size limit: writing more fails as on a full disk.
PREDICT_WITH_LITTLE_SPACE = """
import resource, signal, sys
from pathlib import Path
from test_predict import PREDICTOR
from shm_data.errors import WriteError
from shm_model.predict import PredictOptions, predict_files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), -1))
try:
    predict_files(PREDICTOR, [Path(sys.argv[1])], None, Path(sys.argv[2]), options=PredictOptions(("alpha",)))
except WriteError as error:
    sys.exit(f"WriteError {error.path}")
"""


@pytest.mark.parametrize("space", [2000, 4000])
def test_a_video_for_which_there_is_too_little_space_leaves_nothing(tmp_path, space):
    small_video(tmp_path / "a.mkv", count=60)
    command = [sys.executable, "-c", PREDICT_WITH_LITTLE_SPACE, tmp_path / "a.mkv", tmp_path / "out", str(space)]
    path = {"PYTHONPATH": os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))}
    result = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and result.stderr.endswith(f"WriteError {tmp_path / 'out' / 'a_alpha.mp4'}\n")
    assert os.listdir(tmp_path / "out") == ["predictions.jsonl"]


TIMES = [0, 40, 80, 200, 233, 500, 540, 1000, 1900]  # ms
BROWSER_TIMES = np.cumsum([0, *np.random.default_rng(1).integers(20, 47, 60)]).tolist()


def recording(path, video_codec, audio_codec, times=TIMES):
    """A video with frames at irregular times, as a browser or a phone records, and with sound."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(video_codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        sound = output.add_stream(audio_codec, rate=48000, layout="stereo") if audio_codec else None
        for time in times:
            frame = av.VideoFrame.from_ndarray(photo(5), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if sound:
            size = sound.codec_context.frame_size or 1024
            for number in range(times[-1] * 48 // size):
                samples = np.random.default_rng(number).normal(0, 0.1, (2, size)).astype(np.float32)
                if audio_codec == "pcm_s16le":
                    block = av.AudioFrame.from_ndarray(np.int16(samples * 2**15).reshape(1, -1), "s16", "stereo")
                else:
                    block = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
                block.sample_rate, block.pts, block.time_base = 48000, number * size, Fraction(1, 48000)
                output.mux(sound.encode(block))
            output.mux(sound.encode())


def without_frame_duration(path):
    """Removes what a browser does not write: Matroska's DefaultDuration becomes a Void element of the same size."""
    data = path.read_bytes()
    offset = data.index(b"\x23\xe3\x83\x84")
    path.write_bytes(data[:offset] + b"\xec\x86" + bytes(6) + data[offset + 8 :])


def sound_of(path):
    """The packets of the sound, and the time of each in seconds after the first frame."""
    with av.open(str(path)) as container:
        begin = next(container.decode(video=0)).time
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.audio[0]) if packet.size]
        return [bytes(each) for each in packets], [float(each.pts * each.time_base) - begin for each in packets]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("name", "codecs"),
    [("a.mp4", ("mpeg4", "aac")), ("a.webm", ("libvpx", "libopus")), ("a.mkv", ("mpeg4", "pcm_s16le"))],
)
def test_frames_keep_their_times_and_the_sound_is_copied(tmp_path, suffix, name, codecs):
    times = BROWSER_TIMES if name.endswith("webm") else TIMES
    recording(tmp_path / name, *codecs, times)
    if name.endswith("webm"):
        without_frame_duration(tmp_path / name)
        assert cv2.VideoCapture(str(tmp_path / name)).get(cv2.CAP_PROP_FPS) == 1000, "the header has no rate"
    before = [float(frame.time) for frame in videos.open_reader(tmp_path / name).frames()]
    assert np.diff(before) * 1000 == pytest.approx(np.diff(times), abs=1)
    has_sound = codecs[1] != "pcm_s16le" or suffix == "mkv"
    outcome = predict_files(
        PREDICTOR, [tmp_path / name], None, tmp_path / "out", options=PredictOptions(video=suffix)
    )
    assert outcome.videos == {tmp_path / name: (len(times), 0, has_sound)}
    for kind in ("alpha", "composite"):
        made = tmp_path / "out" / f"a_{kind}.{suffix}"
        after = [float(frame.time) for frame in videos.open_reader(made).frames()]
        assert np.diff(after) * 1000 == pytest.approx(np.diff(times), abs=1)
        if has_sound:
            (packets, after), (expected, before) = sound_of(made), sound_of(tmp_path / name)
            assert packets == expected and after == pytest.approx(before, abs=0.002)


def test_a_variable_rate_does_not_fit_into_avi(tmp_path):
    recording(tmp_path / "a.mp4", "mpeg4", None)
    with pytest.raises(ShmDataError, match="--video avi"):
        predict_files(PREDICTOR, [tmp_path / "a.mp4"], None, tmp_path / "out", options=PredictOptions(video="avi"))
    assert os.listdir(tmp_path / "out") == ["predictions.jsonl"]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_video_is_upright_as_players_show_it(tmp_path, degrees):
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(degrees)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(photo(5), "rgb24")))
        output.mux(stream.encode())
    (frame,) = frames_of(tmp_path / "a.mp4")
    _, shown = cv2.VideoCapture(str(tmp_path / "a.mp4")).read()  # turns it by itself
    assert frame.shape == shown.shape and np.abs(frame - shown[..., ::-1].astype(int)).mean() < 1


def test_frames_that_cannot_be_decoded_are_counted_and_the_command_says_so(tmp_path, shm_model):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    writer = cv2.VideoWriter(str(tmp_path / "m.avi"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for number in range(100):
        writer.write(np.roll(noise, number, 1))
    writer.release()
    data = bytearray((tmp_path / "m.avi").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 9000] = bytes(9000)
    (tmp_path / "m.avi").write_bytes(data)
    given = [
        "--checkpoint",
        checkpoint("tnet", tmp_path / "t.pt"),
        "--savedir",
        tmp_path / "out",
        "--output",
        "alpha",
    ]
    code, out, _ = shm_model("predict", tmp_path / "m.avi", *given, "--device", "cpu")
    assert code == 0
    assert "96 frames" in out.splitlines()[0] and {"100", "4"} <= set(out.splitlines()[1].split())


def test_a_gap_between_regular_times_is_missing_frames_and_one_between_irregular_times_is_not(tmp_path):
    for name, times, missing in (
        ("regular", [40 * n for n in range(60) if n not in (20, 21)], 2),
        ("irregular", TIMES, 0),
    ):
        recording(tmp_path / f"{name}.mkv", "mpeg4", None, times)
        reader = videos.open_reader(tmp_path / f"{name}.mkv")
        assert len(list(reader.frames())) == len(times) and reader.missing == missing


def test_videos_are_recognised_by_content_or_extension(tmp_path, sources):
    small_video(tmp_path / "a.avi", count=2, codec="MJPG")
    (tmp_path / "a.avi").rename(tmp_path / "film")
    (tmp_path / "b.mp4").write_bytes(b"")
    assert videos.is_video(tmp_path / "film") and videos.is_video(tmp_path / "b.mp4")
    assert not videos.is_video(sources / "photos" / "p0.png") and not videos.is_video(tmp_path / "absent.mp4")


def test_options_that_no_video_can_fulfil_are_an_error_before_anything_is_written(tmp_path, sources):
    small_video(tmp_path / "a.mkv", count=2)
    given = [sources / "photos" / "p0.png", tmp_path / "a.mkv"]
    for predictor, outputs in ((PREDICTOR, ("cutout",)), (Predictor(network("mnet"), CPU, 64), ())):
        with pytest.raises(ShmDataError) as fault:
            predict_files(predictor, given, None, tmp_path / "out", options=PredictOptions(outputs))
        assert fault.value.path == str(tmp_path / "a.mkv")
    assert not (tmp_path / "out").exists()


# The command.


def test_the_command_predicts_photos_and_videos(sources, tmp_path, shm_model):
    small_video(tmp_path / "a.mkv", count=3)
    given = ["predict", "--checkpoint", checkpoint("tnet", tmp_path / "t.pt"), sources / "photos" / "p0.png"]
    more = [tmp_path / "a.mkv", "--savedir", tmp_path / "out", "--batch", 2, "--longest", 64, "--device", "cpu"]
    code, out, _ = shm_model(*given, *more, "--output", "alpha", "--output", "composite", "--background", "white")
    assert code == 0
    assert out.splitlines() == [
        f"1 matte is in {tmp_path / 'out'}.",
        f"3 frames of a.mkv are in {tmp_path / 'out'}.",
    ]
    names = ["a_alpha.mp4", "a_composite.mp4", "p0.png", "p0_composite.png", "predictions.jsonl"]
    assert sorted(os.listdir(tmp_path / "out")) == names
    code, out, _ = shm_model(
        *given, "--savedir", tmp_path / "out", "--output", "alpha", "--skip-done", "--longest", 64
    )
    assert (code, out) == (0, f"0 mattes are in {tmp_path / 'out'}; 1 was there already.\n")


@pytest.mark.parametrize(("given", "message"), [
    ([], "predict: found neither, expected either --checkpoint or --onnx"),
    (["--checkpoint", "a", "--onnx", "b"], "predict: found both, expected either"),
    (["--onnx", "b", "--half"], "--half: found an ONNX file"),
    (["--checkpoint", "a", "--device", "tpu"], "--device: found tpu, expected cpu, cuda, cuda:1 or mps"),
    (["--checkpoint", "a", "--output", "film"], "'film' is not one of 'alpha', 'cutout', 'composite'"),
])  # fmt: skip
def test_a_mistake_is_one_sentence(given, message, shm_model):
    code, _, err = shm_model("predict", "a.png", *given)
    assert code == 1 and message in err and len(err.splitlines()) == 1
