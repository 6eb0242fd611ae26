"""Lines of handwriting, and the normalisation of any sequences, on files made here."""

import io
import re
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from seqjax.data.sequences import Example, Sequences, normalised
from seqjax.data.sets.handwriting import UNIPEN_ARRAYS, load_iam_ondb, load_unipen
from seqjax.errors import InputError
from seqjax.files.arrays import read_arrays
from tests.support.strategies import damaged, st

# ---------------------------------------------------------------- IAM-OnDB

STROKES = [[(10, 20, 5.0), (13, 20, 5.01), (13, 24, 5.03)], [(8, 24, 6.5), (9, 22, 6.52)]]


def xml(strokes):
    body = "\n".join(
        '<Stroke colour="black" start_time="0" end_time="1">\n'
        + "\n".join(f'<Point x="{x}" y="{y}" time="{t}"/>' for x, y, t in stroke)
        + "\n</Stroke>"
        for stroke in strokes
    )
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<WhiteboardCaptureSession>\n'
        '<WhiteboardDescription>\n<SensorLocation corner="top_left"/>\n</WhiteboardDescription>\n'
        f"<StrokeSet>\n{body}\n</StrokeSet>\n</WhiteboardCaptureSession>\n"
    )


FORMS = {
    "a01-000u": ["By Trevor", "Bert"],
    "a01-001": ["Ort"],
    "b02-010z": ["To"],
    "c03-020": ["Boy?"],
}
LISTS = {
    "trainset.txt": ["a01-000u"],
    "testset_v.txt": ["a01-001"],
    "testset_t.txt": ["b02-010z"],
    "testset_f.txt": ["c03-020"],
}


@pytest.fixture
def iam(tmp_path):
    """In the layout of the archives, one folder deeper than they must be."""
    root = tmp_path / "iam"
    for name, forms in LISTS.items():
        path = root / "task1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f" {form}\n" for form in forms))
    for form, lines in FORMS.items():
        folder = f"{form[:3]}/{form[:7]}"
        for number, _ in enumerate(lines, 1):
            path = root / "lineStrokes-all/lineStrokes" / folder / f"{form}-{number:02}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(xml(STROKES))
        path = root / "ascii-all/ascii" / folder / f"{form}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("OCR:\n\nsomething else\n\nCSR:\n\n" + "\n".join(lines) + "\n")
    return root


def find(root, name):
    (path,) = root.rglob(name)
    return path


def texts(sequences, split):
    return ["".join(sequences.names[i] for i in e.targets) for e in getattr(sequences, split)]


def test_iam_lines_have_their_transcriptions(iam):
    found = load_iam_ondb(iam)
    assert texts(found, "train") == ["By Trevor", "Bert"]
    assert found.names == (*sorted(set("By TrevorBert")), "<unk>")
    # what no training line has is one class, which no training line has either
    assert texts(found, "valid") == ["<unk>rt", "To"]
    assert texts(found, "test") == ["Boy<unk>"]
    assert found.train[0].targets.dtype == np.int32


def test_iam_inputs_are_steps_times_and_lifts(iam):
    inputs = load_iam_ondb(iam).train[0].inputs
    assert inputs.dtype == np.float32
    expected = [
        [0, 0, 0, 0],
        [3, 0, 0.01, 0],
        [0, 4, 0.03, 1],
        [-5, 0, 0, 0],
        [1, -2, 0.02, 1],
    ]
    np.testing.assert_allclose(inputs, expected, atol=1e-6)


@pytest.mark.parametrize("every", [1, 2, 3, 100])
def test_every_so_many_points_end_where_the_pen_ended(iam, every):
    rng = np.random.default_rng(every)
    strokes = [np.cumsum(rng.integers(0, 9, (n, 3)), 0).tolist() for n in (1, 7, 12)]
    find(iam, "a01-001-01.xml").write_text(xml(strokes))
    inputs = load_iam_ondb(iam, every=every).valid[0].inputs
    assert len(inputs) == sum(len({*range(0, n, every), n - 1}) for n in (1, 7, 12))
    ends = np.array([stroke[-1] for stroke in strokes]) - strokes[0][0]
    lifts = inputs[:, 3] == 1
    np.testing.assert_allclose(np.cumsum(inputs[:, :2], 0)[lifts], ends[:, :2])
    last = [stroke[-1][2] - stroke[0][2] for stroke in strokes]
    np.testing.assert_allclose(inputs[lifts, 2], last)


def broken_iam(name, content):
    """Writes, or removes, a file of a sound data set; then the error must name it."""

    def damage(root):
        path = find(root, name)
        path.unlink() if content is None else path.write_bytes(content)

    return damage


EMPTY = [STROKES[0], []]
BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;">]><StrokeSet>&c;</StrokeSet>'
READER = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><StrokeSet>&b;</StrokeSet>'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a01-001.txt", None, "no transcription a01-001.txt"),
        ("a01-001.txt", b"OCR:\n\nOrt\n", "a01-001.txt has no line CSR:"),
        ("a01-000u.txt", b"CSR:\n\nBy Trevor\n", "a01-000u-02.xml has no transcription"),
        ("a01-001.txt", b"CSR:\n\n\xff\n", "a01-001.txt is not UTF-8"),
        ("a01-001-01.xml", None, "no strokes a01-001-01.xml"),
        ("a01-001-01.xml", xml(EMPTY).encode(), "a01-001-01.xml has an empty stroke"),
        ("a01-001-01.xml", xml([]).encode(), "a01-001-01.xml has no strokes"),
        ("a01-001-01.xml", xml([[(1, 2, "nan")]]).encode(), "a01-001-01.xml .* at 1.0, 2.0, nan"),
        ("a01-001-01.xml", xml([[(1, "-1e300", 3)]]).encode(), "a01-001-01.xml .* -1e.300"),
        ("a01-001-01.xml", b'<?xml version="1.0" encoding="x-8"?><a/>', "a01-001-01.xml .*x-8"),
        ("a01-001-01.xml", xml([[("two", 2, 3)]]).encode(), "a01-001-01.xml .*'two'"),
        ("a01-001-01.xml", xml(STROKES).encode()[:-40], "a01-001-01.xml is no line of strokes"),
        ("a01-001-01.xml", b'<a><Point x="1" y="1" time="1"/></a>', "outside of any stroke"),
        ("a01-001-01.xml", b'<Stroke><Point x="1" y="1"/></Stroke>', "a point without 'time'"),
        ("a01-001-01.xml", BOMB.encode(), "a01-001-01.xml .*DOCTYPE"),
        ("a01-001-01.xml", BOMB.encode("utf-16"), "a01-001-01.xml .*DOCTYPE"),
        ("a01-001-01.xml", READER.encode(), "a01-001-01.xml .*DOCTYPE"),
        ("testset_t.txt", None, "no list of forms testset_t.txt"),
        ("testset_f.txt", b"", "nothing for the test split"),
    ],
)
def test_broken_iam_files_are_named(iam, name, content, message):
    broken_iam(name, content)(iam)
    with pytest.raises(InputError, match=message):
        load_iam_ondb(iam)


def test_broken_lines_are_all_named_and_may_be_left_out(iam):
    for name in ("a01-000u-01.xml", "b02-010z-01.xml"):
        find(iam, name).write_text(xml([]))
    with pytest.raises(InputError) as caught:
        load_iam_ondb(iam)
    (skip,) = re.findall(r"skip=(\S*) ", str(caught.value))
    names = skip.split(",")
    assert names == ["a01-000u-01", "b02-010z-01"]
    found = load_iam_ondb(iam, skip=names)
    assert (len(found.train), len(found.valid)) == (1, 1)
    assert len(load_iam_ondb(iam, skip=["a01-000u-01", "b02-010z"]).valid) == 1


@settings(suppress_health_check=list(HealthCheck))
@given(damaged(st.just(xml(STROKES).encode())), damaged(st.just(b"CSR:\n\nOrt\n")))
def test_damaged_iam_files_are_refused_or_read(iam, strokes, text):
    find(iam, "a01-001-01.xml").write_bytes(strokes)
    find(iam, "a01-001.txt").write_bytes(text)
    try:
        found = load_iam_ondb(iam)
    except InputError as error:
        message = str(error)
    else:
        message = "a01-001"
        assert np.isfinite(found.valid[0].inputs).all()
    assert "a01-001" in message


# ---------------------------------------------------------------- UNIPEN


def unipen_arrays(seed=0):
    rng = np.random.default_rng(seed)
    lengths = np.array([7, 4, 9], np.int32)
    points = rng.integers(-50, 50, (20, 3)).astype(np.int16)
    points[:, 2] = 0
    points[[2, 6, 10, 11, 19], 2] = 1
    return {
        "points": points,
        "lengths": lengths,
        "label_bytes": np.frombuffer("abcaéb".encode("latin-1"), np.uint8),
        "label_lengths": np.array([3, 1, 2], np.int32),
        "points_per_second": np.array([100, 100, 200], np.float32),
    }


@pytest.fixture
def unipen(tmp_path):
    for split in ("train", "valid", "test"):
        np.savez_compressed(tmp_path / f"unipen_{split}.npz", **unipen_arrays())
    return tmp_path


def test_unipen_lines(unipen):
    found = load_unipen(unipen)
    arrays = unipen_arrays()
    assert found.names == ("a", "b", "c", "é")
    assert texts(found, "train") == texts(found, "test") == ["abc", "a", "éb"]
    whole = np.concatenate([e.inputs for e in found.train])
    np.testing.assert_array_equal(whole[:, 3], arrays["points"][:, 2])
    first = np.array([0, 7, 11])
    inside = np.delete(np.arange(20), first)
    np.testing.assert_array_equal(whole[inside, :2], arrays["points"][inside, :2])
    assert np.all(whole[first, :2] == 0)
    seconds = [0, 0.01, 0.02, 0, 0.01, 0.02, 0.03]
    np.testing.assert_allclose(found.train[0].inputs[:, 2], seconds, atol=1e-6)
    np.testing.assert_allclose(found.train[2].inputs[:3, 2], [0, 0, 0.005], atol=1e-6)


def test_unipen_at_a_common_rate(unipen):
    found = load_unipen(unipen, points_per_second=50)
    full = load_unipen(unipen)
    # the strokes of 3 and 4 points at 100 Hz, then of 1 and 8 at 200 Hz
    assert [len(e.inputs) for e in found.train] == [2 + 3, 3, 1 + 3]
    for thin, all_points in zip(found.train, full.train, strict=True):
        np.testing.assert_allclose(thin.inputs[:, :2].sum(0), all_points.inputs[:, :2].sum(0))
        assert thin.inputs[:, 3].sum() == all_points.inputs[:, 3].sum()


def changed(**changes):
    arrays = unipen_arrays()
    return {k: v for k, v in (arrays | changes).items() if v is not None}


def with_(name, place, value):
    array = unipen_arrays()[name].copy()
    array[place] = value
    return {name: array}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": np.array([7, 4, 8], np.int32)}, "add up to the 20 points, got 19"),
        ({"lengths": np.array([27, -16, 9], np.int32)}, "at least 1"),
        ({"lengths": np.array([11, 9], np.int32)}, "2 lengths, 3 label lengths"),
        ({"label_lengths": np.array([3, 1, 1], np.int32)}, "add up to the 6 label_bytes, got 5"),
        ({"label_lengths": np.array([3, 0, 3], np.int32)}, "at least 1"),
        ({"lengths": np.array([7.0, 4, 9])}, "'lengths' must have 1 axes of int32"),
        ({"points": np.zeros((20, 2), np.int16)}, r"points must be \[N, 3\]"),
        (with_("points", (3, 2), 2), r"points must be \[N, 3\]"),
        (with_("points", (6, 2), 0), "last point must be the last one of a stroke"),
        (with_("points_per_second", 1, np.nan), "points_per_second must lie"),
        ({"label_bytes": None}, "lacks the array 'label_bytes'"),
        ({"points": np.array([{}, {}])}, "'points' must have 2 axes of int16"),
    ],
)
def test_unipen_arrays_that_do_not_fit_are_named(unipen, changes, message):
    np.savez(unipen / "unipen_valid.npz", **changed(**changes))
    with pytest.raises(InputError, match=f"unipen_valid.npz.*{message}"):
        load_unipen(unipen)


def test_a_missing_unipen_file_is_named(unipen):
    (unipen / "unipen_test.npz").unlink()
    with pytest.raises(InputError, match=r"unipen_test\.npz"):
        load_unipen(unipen)


def npz(folder, **arrays):
    np.savez_compressed(folder / "made.npz", **arrays)
    return (folder / "made.npz").read_bytes()


@settings(suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_damaged_archive_is_refused_or_read(tmp_path, data):
    """... and what is read is what was written: an archive has checksums."""
    content = data.draw(damaged(st.just(npz(tmp_path, **unipen_arrays()))))
    path = tmp_path / "damaged.npz"
    path.write_bytes(content)
    try:
        arrays = read_arrays(path, UNIPEN_ARRAYS)
    except InputError as error:
        message = str(error)
    else:
        message = str(path)
        for name, array in unipen_arrays().items():
            np.testing.assert_array_equal(arrays[name], array)
    assert str(path) in message


def test_a_header_that_promises_too_much_allocates_nothing(tmp_path):
    file = io.BytesIO()
    header = {"descr": "<i4", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(file, header)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("lengths.npy", file.getvalue() + b"1234")
    with pytest.raises(InputError, match=r"a\.npz.*which is not its size"):
        read_arrays(tmp_path / "a.npz", {"lengths": ("<i4", 1)})


def test_unipen_itself(data_dir):
    if not (data_dir / "unipen_lines").is_dir():
        pytest.skip("no unipen_lines")
    found = load_unipen(data_dir / "unipen_lines", points_per_second=20)
    assert [len(found.train), len(found.valid), len(found.test)] == [1297, 163, 162]
    assert len(found.names) == 84
    assert sum(len(e.targets) for e in found.train) == 112_152
    assert texts(found, "train")[0].startswith("Thomas N. Zinfindale")


# ---------------------------------------------------------------- normalisation


def random_sequences(seed):
    rng = np.random.default_rng(seed)

    def split(shift):
        return [
            Example((rng.normal(size=(n, 3)) * [1, 1e-3, 7] + [shift, 1e3, 0.1]).astype("f"), n)
            for n in (4, 30, 1)
        ]

    return Sequences(split(5), split(-5), split(0), ("a",))


def test_training_frames_have_mean_zero_and_variance_one():
    raw = random_sequences(0)
    found = normalised(raw)
    frames = np.concatenate([e.inputs for e in found.train])
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(frames.std(0), 1, atol=1e-5)
    # the other splits by the same map, whatever they hold
    a, b = raw.train[1].inputs, found.train[1].inputs
    slope = (b[1] - b[0]) / (a[1] - a[0])
    expected = b[0] + slope * (raw.test[1].inputs - a[0])
    np.testing.assert_allclose(found.test[1].inputs[:, 0], expected[:, 0], rtol=1e-4, atol=1e-4)
    assert found.valid[0].inputs[:, 0].mean() < -3


def test_constant_inputs_are_zero():
    raw = random_sequences(1)
    for example in (*raw.train, *raw.test):
        example.inputs[:, 1] = np.float32(0.1)  # in float32, 35 of it are not 35 times it
    raw.test[0].inputs[:, 1] = 7
    found = normalised(raw)
    assert all(np.all(e.inputs[:, 1] == 0) for e in (*found.train, *found.test))
    assert np.isfinite(found.train[0].inputs).all()


def test_nothing_to_normalise_by_is_refused():
    with pytest.raises(InputError, match="no frames"):
        normalised(Sequences([], [], [], ()))
