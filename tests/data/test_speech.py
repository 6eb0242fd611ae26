"""Recordings, their features, and the frames' classes, on files made here."""

import ast
import inspect
import math
import struct
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from seqjax.data.features import mfcc as mfcc_module
from seqjax.data.features.audio import read_audio
from seqjax.data.features.mfcc import ENERGY, FEATURES, decibels, mfcc, window_and_step
from seqjax.data.sets.speech import CORE_TEST, DEVELOPMENT, PHONES, load_fsdd, load_timit
from seqjax.errors import InputError
from tests.support.strategies import damaged, st

RATE = 16_000
WINDOW, STEP = 400, 160


@pytest.fixture(scope="module")
def librosa():
    return pytest.importorskip("librosa")


def noise(samples, seed=0, scale=1000):
    return (scale * np.random.default_rng(seed).normal(size=samples)).astype(np.int16)


# ---------------------------------------------------------------- files


def sphere(samples, *, order="01", rate=RATE, **changes):
    fields = {
        "database_id": "-s5 TIMIT",
        "channel_count": "-i 1",
        "sample_count": f"-i {len(samples)}",
        "sample_rate": f"-i {rate}",
        "sample_n_bytes": "-i 2",
        "sample_byte_format": f"-s2 {order}",
        "sample_sig_bits": "-i 16",
    } | changes
    lines = "".join(f"{name} {value}\n" for name, value in fields.items() if value)
    head = f"NIST_1A\n   1024\n{lines}end_head\n".encode().ljust(1024)
    return head + samples.astype({"01": "<i2", "10": ">i2"}[order]).tobytes()


def riff(samples, *, rate=RATE, channels=1, kind=1):
    data = samples.astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * 2 * channels, 2 * channels, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", len(body) + len(data)) + body + data


FORMATS = {
    "sphere": sphere,
    "sphere, high byte first": lambda x: sphere(x, order="10"),
    "sphere that says pcm": lambda x: sphere(x, sample_coding="-s3 pcm"),
    "riff": riff,
}


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_recordings_are_read(tmp_path, write):
    samples = noise(1000, scale=20_000)
    path = tmp_path / "a.wav"
    path.write_bytes(write(samples))
    found, rate = read_audio(path)
    assert (found.dtype, rate) == (np.int16, RATE)
    np.testing.assert_array_equal(found, samples)
    soundfile = pytest.importorskip("soundfile")
    theirs, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    np.testing.assert_array_equal(found, theirs)


SOUND = noise(1000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (sphere(SOUND)[:-1], "cut off: 999 of 1000"),
        (sphere(SOUND)[:1024], "cut off: 0 of 1000"),
        (sphere(SOUND)[:1000], "header is cut off"),
        (riff(SOUND)[:-700], "cut off: 650 of 1000"),
        (riff(SOUND)[:30], "it ends too soon"),
        (sphere(SOUND, sample_count="-i 1001"), "cut off: 1000 of 1001"),
        (sphere(SOUND, sample_count=""), "no sample_count"),
        (sphere(SOUND, sample_count="-i many"), "'many'"),
        (sphere(SOUND, sample_rate="-i 0"), "a rate of 0"),
        (sphere(SOUND, channel_count="-i 2"), "not PCM of 16 bits in one channel"),
        (sphere(SOUND, sample_n_bytes="-i 1"), "not PCM of 16 bits in one channel"),
        (sphere(SOUND, sample_coding="-s26 pcm,embedded-shorten-v2.00"), "not PCM"),
        (sphere(SOUND).replace(b"end_head", b"end_hand"), "no end_head"),
        (riff(SOUND, channels=2), "not PCM of 16 bits in one channel"),
        (riff(SOUND, kind=3), "unknown format: 3"),
        (b"fLaC" + bytes(100), "does not start with RIFF"),
        (b"", "it ends too soon"),
    ],
)
def test_broken_recordings_are_named(tmp_path, content, message):
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"broken.wav .*{message}"):
        read_audio(path)


@settings(suppress_health_check=list(HealthCheck))
@given(damaged(st.sampled_from([sphere(SOUND[:40]), riff(SOUND[:40])])))
def test_damaged_recordings_are_refused_or_read(tmp_path, content):
    path = tmp_path / "damaged.wav"
    path.write_bytes(content)
    try:
        samples, rate = read_audio(path)
    except InputError as error:
        message = str(error)
    else:
        message = str(path)
        assert samples.nbytes <= len(content)
        assert rate > 0
    assert str(path) in message


# ---------------------------------------------------------------- features


def mel(hertz):
    return 2595 * np.log10(1 + hertz / 700)


def cepstrum(samples, rate):
    """Coefficients 1-12, frame by frame and filter by filter, as the textbooks say it."""
    window, step = round(0.025 * rate), round(0.01 * rate)
    x = samples / 2**15
    x = x - 0.97 * np.concatenate([[0], x[:-1]])
    hamming = 0.54 - 0.46 * np.cos(2 * math.pi * np.arange(window) / window)
    corners = 700 * (10 ** (np.linspace(0, mel(rate / 2), 28) / 2595) - 1)
    hertz = np.arange(window // 2 + 1) * rate / window
    rows = []
    for start in range(0, len(x) - window + 1, step):
        power = np.abs(np.fft.rfft(x[start : start + window] * hamming)) ** 2
        levels = []
        for low, peak, high in zip(corners, corners[1:], corners[2:], strict=False):
            rise, fall = (hertz - low) / (peak - low), (high - hertz) / (high - peak)
            triangle = np.maximum(0, np.minimum(rise, fall)) * 2 / (high - low)
            levels.append(10 * np.log10(triangle @ power))
        place = (np.arange(26) + 0.5) / 26
        rows.append(
            [math.sqrt(2 / 26) * np.cos(math.pi * k * place) @ levels for k in range(1, 13)]
        )
    return np.array(rows)


@pytest.mark.parametrize("rate", [8000, 16_000])
@pytest.mark.whole
def test_cepstral_coefficients_are_their_definition(librosa, rate):
    samples = noise(rate // 4, scale=3000)
    found = mfcc(samples, rate)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, :ENERGY], cepstrum(samples, rate), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("samples", [WINDOW, WINDOW + STEP - 1, WINDOW + STEP, 5000])
@pytest.mark.whole
def test_every_whole_window_is_a_frame(librosa, samples):
    assert mfcc(noise(samples), RATE).shape == (1 + (samples - WINDOW) // STEP, FEATURES)


@pytest.mark.whole
def test_loudness_moves_the_energy_alone(librosa):
    samples = noise(8000, scale=500)
    difference = mfcc(4 * samples, RATE) - mfcc(samples, RATE)
    expected = np.zeros(FEATURES)
    expected[ENERGY] = 2 * math.log(4)
    np.testing.assert_allclose(difference, np.tile(expected, (48, 1)), atol=2e-3)


@pytest.mark.whole
def test_derivatives_of_steady_growth(librosa):
    """ln energy of a tone that grows as exp(a t) is a line: its slope is 2a, its curvature 0."""
    t = np.arange(RATE // 2)
    growth = 3 / len(t)  # per sample
    samples = (1000 * np.exp(growth * t) * np.sin(2 * math.pi * 1000 / RATE * t)).astype(np.int16)
    inner = mfcc(samples, RATE)[4:-4]
    np.testing.assert_allclose(inner[:, ENERGY + 13], 2 * growth * STEP, rtol=1e-2)
    np.testing.assert_allclose(inner[:, ENERGY + 26], 0, atol=1e-3)


@pytest.mark.whole
def test_silence_is_finite(librosa):
    assert np.isfinite(mfcc(np.zeros(1000, np.int16), RATE)).all()


@pytest.mark.whole
def test_too_short_a_recording_is_refused(librosa):
    with pytest.raises(InputError, match="399 samples is shorter than a window of 400"):
        mfcc(noise(399), RATE)


def test_librosa_is_imported_only_where_it_is_called(monkeypatch):
    monkeypatch.setitem(sys.modules, "librosa", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"speech needs librosa: pip install -e '\.\[audio\]'"):
        mfcc(noise(1000), RATE)
    top = ast.parse(inspect.getsource(mfcc_module)).body
    imports = [ast.unparse(node) for node in top if isinstance(node, ast.Import | ast.ImportFrom)]
    assert "import numpy as np" in imports
    assert not any("librosa" in line for line in imports)


# ---------------------------------------------------------------- TIMIT

SPOKEN = [(0, 1000, "h#"), (1000, 1480, "sh"), (1480, 3001, "ix"), (3001, 4950, "h#")]


def phn(rows):
    return "".join(f"{start} {end} {phone}\n" for start, end, phone in rows)


def put(folder, sentence, *, write=sphere, upper=True, rows=SPOKEN, samples=5000):
    case = str.upper if upper else str.lower
    folder.mkdir(parents=True, exist_ok=True)
    (folder / case(f"{sentence}.wav")).write_bytes(write(noise(samples)))
    (folder / case(f"{sentence}.phn")).write_text(phn(rows))


@pytest.fixture
def timit(tmp_path):
    root = tmp_path / "timit" / "TIMIT"
    put(root / "TRAIN/DR1/FCJF0", "SX37")
    put(root / "TRAIN/DR1/FCJF0", "SI1027", write=riff)
    put(root / "TRAIN/DR1/FCJF0", "SA1")
    put(root / "TEST/DR1/FAKS0", "SX43", samples=6000)
    put(root / "TEST/DR2/MABW0", "SX44")  # of neither list
    put(root / "TEST/DR1/MDAB0", "SX49")
    put(root / "TEST/DR1/MDAB0", "SA2")
    return root


@pytest.mark.whole
def test_timit_splits(librosa, timit):
    found = load_timit(timit.parent)
    assert [len(split) for split in found[:3]] == [2, 1, 1]
    assert found.names == PHONES


@pytest.mark.whole
def test_timit_in_small_letters(librosa, tmp_path):
    put(tmp_path / "train/dr1/fcjf0", "sx37", upper=False)
    put(tmp_path / "test/dr1/faks0", "sx43", upper=False)
    put(tmp_path / "test/dr1/mdab0", "sx49", upper=False)
    assert [len(split) for split in load_timit(tmp_path)[:3]] == [1, 1, 1]


@pytest.mark.whole
def test_a_copy_beside_the_recording_is_not_a_second_one(librosa, timit):
    (timit / "TRAIN/DR1/FCJF0/SX37.WAV.wav").write_bytes(riff(noise(5000)))
    assert len(load_timit(timit).train) == 2


@pytest.mark.whole
def test_the_same_name_in_capitals_and_not_is_refused(librosa, timit):
    put(timit / "TRAIN/DR1/FCJF0", "SX37", upper=False)
    with pytest.raises(InputError, match="is there twice"):
        load_timit(timit)


@pytest.mark.whole
def test_a_frame_has_the_phone_at_its_centre(librosa, timit):
    for example, samples in (
        (load_timit(timit).train[0], 5000),
        (load_timit(timit).valid[0], 6000),
    ):
        expected = []
        for start in range(0, samples - WINDOW + 1, STEP):
            centre = start + WINDOW // 2
            expected += [phone for first, end, phone in SPOKEN if first <= centre < end]
        assert [PHONES[i] for i in example.targets] == expected
        assert example.inputs.shape == (len(expected), FEATURES)
        assert example.targets.dtype == np.int32


@pytest.mark.whole
def test_a_small_gap_belongs_to_the_phone_before_it(librosa, timit):
    rows = [(0, 1000, "h#"), (1100, 5000, "sh")]
    (timit / "TRAIN/DR1/FCJF0/SX37.PHN").write_text(phn(rows))
    names = [PHONES[i] for i in load_timit(timit).train[1].targets]
    assert names == ["h#" if t * STEP + 200 < 1100 else "sh" for t in range(len(names))]


def test_the_lists_are_those_of_timit():
    assert (len(PHONES), len(set(PHONES))) == (61, 61)
    assert (len(CORE_TEST), len(DEVELOPMENT)) == (24, 50)
    assert not CORE_TEST & DEVELOPMENT
    # of every dialect region a woman and two men
    assert sum(name[0] == "f" for name in CORE_TEST) == 8


FIRST, SECOND, *REST = SPOKEN


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("SX37.PHN", None, "SX37.WAV has no phones"),
        ("SX37.WAV", None, "SX37.PHN has no recording"),
        ("SX37.WAV", sphere(SOUND)[:-2], "SX37.WAV is cut off"),
        ("SX37.WAV", sphere(SOUND), "SX37.PHN lies outside .* 1000 to 1480 of 1000"),
        ("SX37.WAV", sphere(noise(399)), "SX37.WAV must have .* got 16000 and 399"),
        ("SX37.WAV", sphere(noise(5000), rate=8000), "SX37.WAV must have .* got 8000 and 5000"),
        ("SX37.PHN", phn([*SPOKEN, (4950, 9000, "h#")]), "line 5 of .*SX37.PHN lies outside"),
        ("SX37.PHN", phn([FIRST, (1000, 1000, "sh"), *REST]), "line 2 of .*SX37.PHN lies outside"),
        ("SX37.PHN", phn([FIRST, (1000, 1480, "zzz"), *REST]), "line 2 of .*SX37.PHN has 'zzz'"),
        ("SX37.PHN", phn([FIRST, *REST]), "line 2 of .*SX37.PHN starts at 1480.* ends at 1000"),
        ("SX37.PHN", phn([SECOND, *REST]), "line 1 of .*SX37.PHN starts at 1000"),
        ("SX37.PHN", phn([FIRST, SECOND, FIRST]), "line 3 of .*SX37.PHN starts at 0"),
        ("SX37.PHN", "0 5000\n", "line 1 of .*SX37.PHN must be .* '0 5000'"),
        ("SX37.PHN", "-5 5000 h#\n", "line 1 of .*SX37.PHN must be"),
        ("SX37.PHN", "", "SX37.PHN names no phone"),
        ("SX37.PHN", "0 150 h#", "SX37.PHN names no phone at the centre of the first frame"),
    ],
)
@pytest.mark.whole
def test_broken_timit_files_are_named(librosa, timit, name, content, message):
    path = timit / "TRAIN/DR1/FCJF0" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        load_timit(timit)


@pytest.mark.whole
def test_timit_without_a_split_is_refused(librosa, timit):
    for path in (timit / "TEST/DR1/MDAB0").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="nothing for the test split"):
        load_timit(timit)
    with pytest.raises(InputError, match="no directory"):
        load_timit(timit / "nowhere")


# ---------------------------------------------------------------- spoken digits


def fsdd_arrays():
    audio = noise(8000)
    audio[3000:4500] = 0  # most of the second half of the second recording
    return {
        "audio": audio,
        "lengths": np.array([1000, 4000, 1500, 1500], np.int32),
        "digit": np.array([3, 0, 9, 5], np.uint8),
        "index": np.array([10, 49, 4, 5], np.uint8),
        "speaker": np.zeros(4, np.uint8),
    }


def save(folder, **changes):
    arrays = fsdd_arrays() | changes
    np.savez(folder / "fsdd.npz", **{k: v for k, v in arrays.items() if v is not None})
    return folder


@pytest.mark.whole
def test_digits_and_silence(librosa, tmp_path):
    found = load_fsdd(save(tmp_path))
    assert [len(split) for split in found[:3]] == [2, 1, 1]
    assert found.names == (*"0123456789", "silence")
    assert set(found.train[0].targets) == {3}
    assert set(found.test[0].targets) == {9}
    assert set(found.valid[0].targets) == {5}
    window, step = window_and_step(8000)
    starts = np.arange(len(found.train[1].targets)) * step
    silent = (starts >= 2000) & (starts + window <= 3500)
    np.testing.assert_array_equal(found.train[1].targets, np.where(silent, 10, 0))


def test_decibels():
    amplitudes = np.array([1, 0.1, 0.01])
    np.testing.assert_allclose(decibels(np.log(amplitudes**2)), [0, -20, -40])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": np.array([1000, 4000, 1500, 1499], np.int32)}, "the 8000 samples, got 7999"),
        ({"lengths": np.array([1000, 5401, 1500, 99], np.int32)}, "at least 200"),
        ({"lengths": np.array([5000, 3000], np.int32)}, "2 lengths, 4 digits and 4 indices"),
        ({"digit": np.array([3, 0, 10, 5], np.uint8)}, "a digit of 10"),
        ({"audio": noise(8000) / 2**15}, "'audio' must have 1 axes of int16"),
        ({"index": None}, "lacks the array 'index'"),
        ({"index": np.array([10, 49, 14, 5], np.uint8)}, "nothing for the test split"),
    ],
)
@pytest.mark.whole
def test_broken_fsdd_is_named(librosa, tmp_path, changes, message):
    with pytest.raises(InputError, match=rf"fsdd\.npz.*{message}"):
        load_fsdd(save(tmp_path, **changes))


@pytest.mark.whole
def test_fsdd_itself(librosa, data_dir):
    if not (data_dir / "fsdd").is_dir():
        pytest.skip("no fsdd")
    found = load_fsdd(data_dir / "fsdd")
    assert [len(split) for split in found[:3]] == [2400, 300, 300]
    frames = np.concatenate([e.targets for e in found.train])
    assert set(frames) == set(range(11))
    assert 0.02 < np.mean(frames == 10) < 0.2
