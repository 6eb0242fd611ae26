"""Labels of frames in small: films of a dot, their ceilings, and films of gestures."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.common.intervals import interval
from experiments.common.study_run import open_study
from experiments.frames.films import load_films, new_films
from experiments.frames.program import Config, ceiling, finish, most_frequent, run
from seqjax import InputError, lstm
from seqjax.data.sets.gestures import NUM_COORDINATES, PHASES, load_gestures, read_gestures
from seqjax.models import FrameLabeller, ImageEncoder
from seqjax.tasks.motion import MOVES, SIDE, bounces, moving_dots
from tests.support.tiers import long_only

SMALL = {"films": 200, "length": 8, "hidden_size": 16, "batch_size": 10, "epochs": 4}


def places(films):
    """Rows and columns of the dots `[N, T, 2]`."""
    assert np.all(films.frames.sum((2, 3, 4)) == 1)
    flat = films.frames.reshape(*films.labels.shape, -1).argmax(-1)
    return np.stack([flat // SIDE, flat % SIDE], -1)


def test_a_dot_comes_from_where_its_label_says():
    films = moving_dots(400, 30, seed=0)
    at = places(films)
    assert np.all((at[:, :-1] + MOVES[films.labels[:, 1:]]) % SIDE == at[:, 1:])
    changes = np.mean(films.labels[:, 1:] != films.labels[:, :-1])
    assert changes == pytest.approx(1 / 8, abs=0.015)
    # a frame tells nothing of its label: of each place, each direction is as probable
    counts = np.zeros((4, SIDE // 4))
    np.add.at(counts, (films.labels.ravel(), at[..., 0].ravel() // 4), 1)
    assert counts.std() / counts.mean() < 0.1


def test_bounces_are_counted():
    films = bounces(50, 60, seed=1)
    at = places(films)
    for row in range(50):
        hits = 0
        for t in range(1, 60):
            steps = at[row, t] - at[row, t - 1]
            assert set(np.abs(steps)) == {1}
            if t > 1:
                hits += int(np.sum(steps != at[row, t - 1] - at[row, t - 2]))
            else:
                first = films.labels[row, 1]
            assert films.labels[row, t] == (first + hits) % 3


@pytest.mark.parametrize("data", ["dots", long_only("bounces")])
@pytest.mark.whole
def test_it_writes_what_was_found(tmp_path, data):
    config = Config(**SMALL, data=data, sights="frame,forward", workdir=str(tmp_path / "run"))
    results = run(config)
    assert set(results["networks"]) == {f"{data}, {s}, seed 0" for s in ("frame", "forward")}
    if data == "dots":
        assert results["networks"]["dots, frame, seed 0"]["accuracy"] < 0.35
    assert (tmp_path / "run" / "frames.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "run" / "results.json").read_text())["results"] == results


def test_ceilings():
    (dots,) = load_films(Config(**SMALL | {"films": 20}, data="dots"))
    assert ceiling(dots, "frame", 5) == ceiling(dots, "window", 1) == 0.25
    assert ceiling(dots, "forward", 5) == ceiling(dots, "window", 5) == 7.25 / 8
    assert ceiling(dots, "both", 5) == (7 + 7 / 8) / 8
    assert most_frequent(dots) == pytest.approx(0.25, abs=0.05)


def test_who_sees_the_second_direction_guesses_the_first_seven_times_of_eight():
    labels = moving_dots(20_000, 2, seed=0).labels
    assert np.mean(labels[:, 0] == labels[:, 1]) == pytest.approx(7 / 8, abs=0.01)


def write_gestures(folder, films=3, frames=30):
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(films):
        lines = ["\ufeff" + ",".join("abcdefghijklmnopqr") + ",timestamp,phase"]
        for t in range(frames):
            phase = PHASES[t * 5 // frames].replace(
                "Preparation", "Preparação" if number else "Preparation"
            )
            values = random.normal(size=NUM_COORDINATES) + t * 5 // frames * 3
            lines.append(",".join(f"{v:.4f}" for v in values) + f",{t},{phase}")
        (folder / f"film{number}_raw.csv").write_text("\n".join(lines), encoding="utf-8")
    return str(folder)


@pytest.mark.long
def test_gestures_leave_one_film_out(tmp_path):
    data = write_gestures(tmp_path / "data")
    films = load_gestures(data)
    assert [film.name for film in films] == ["film0", "film1", "film2"]
    assert films[0].frames.shape == (30, 36)
    np.testing.assert_allclose(
        films[0].frames[:, 9:12], 0
    )  # the spine is where all is measured from
    changes = {"data": data, "sights": "both", "films": Config.films, "length": 12}
    results = run(Config(**SMALL | changes, workdir=str(tmp_path / "run")))
    assert len(results["networks"]) == 3
    assert all(0 <= row["macro_f1"] <= 1 for row in results["networks"].values())
    one = load_films(Config(**SMALL | changes))[1]
    assert np.array_equal(one.sets.test.labels[0], films[1].labels)
    assert np.array_equal(one.sets.validation.labels[0], films[2].labels)
    assert one.sets.train.inputs.shape[1:] == (12, 36)


def test_seeds_of_one_film_are_one_observation(tmp_path):
    config = Config(
        data=write_gestures(tmp_path / "data"),
        sights="both",
        seeds=2,
        workdir=str(tmp_path / "run"),
    )
    networks, rows = {}, {}
    for filmed, mean in zip(load_films(config), (0.2, 0.4, 0.9), strict=True):
        for seed, away in ((0, -0.1), (1, 0.1)):
            networks[f"{filmed.name}, {seed}"] = (filmed, "both", seed)
            rows[f"{filmed.name}, {seed}"] = {"accuracy": mean + away, "macro_f1": mean}
    with open_study("frames", config, expect="") as study:
        finish(study, networks, rows)
    table = (tmp_path / "run" / "table.txt").read_text()
    assert table.count(interval(np.array([0.2, 0.4, 0.9]))) == 2
    assert "6" in table.split("both")[1].split()


def test_lines_that_are_none(tmp_path):
    write_gestures(tmp_path / "data", films=2)
    with pytest.raises(InputError, match="must have three films"):
        load_gestures(tmp_path / "data")
    bad = tmp_path / "bad_raw.csv"
    bad.write_text("head\n1,2,3,Rest\n")
    with pytest.raises(InputError, match="line 2: write 18 numbers, a time and a phase"):
        read_gestures(bad)
    bad.write_text("head\n" + ",".join(["1"] * 19) + ",Dance\n")
    with pytest.raises(InputError, match=r"got .*Dance"):
        read_gestures(bad)


def test_gestures_are_read_as_published(data_dir):
    films = load_gestures(data_dir / "gesture_phase")
    counts = np.bincount(np.concatenate([film.labels for film in films]))
    assert len(films) == 7
    assert dict(zip(PHASES, counts.tolist(), strict=True)) == {
        **{"Rest": 2769, "Preparation": 2097, "Stroke": 2950},
        **{"Hold": 998, "Retraction": 1087},
    }


@pytest.mark.parametrize(("window", "sees"), [(1, 1), (3, 3)])
def test_a_window_sees_so_many_frames(window, sees):
    model = FrameLabeller(3, [], frame=(4,), hidden_size=5, window=window, rngs=nnx.Rngs(0))
    frames = jax.random.normal(jax.random.key(0), (1, 8, 4))
    gradient = jax.jacobian(lambda f: model(f)[0, 6].sum())(frames)[0]
    assert [bool(np.any(g != 0)) for g in gradient] == [6 - sees < t <= 6 for t in range(8)]


def test_a_recurrent_labeller_and_its_padding():
    encoder = ImageEncoder(1, (4, 4), rngs=nnx.Rngs(1))
    model = FrameLabeller(
        3,
        [lstm(4)],
        frame=(8, 8, 1),
        hidden_size=5,
        bidirectional=True,
        encoder=encoder,
        rngs=nnx.Rngs(0),
    )
    frames = jax.random.normal(jax.random.key(0), (2, 5, 8, 8, 1))
    logits = model(frames, np.array([5, 3]))
    assert logits.shape == (2, 5, 3)
    broken = frames.at[1, 3:].set(np.nan)
    np.testing.assert_allclose(model(broken, np.array([5, 3]))[1, :3], logits[1, :3], rtol=1e-5)
    with pytest.raises(InputError, match="frames must be of shape"):
        model(frames[..., 0])

    def loss(model):
        return jnp.sum(model(broken, np.array([5, 3]))[:, :3] ** 2)

    assert all(np.all(np.isfinite(a)) for a in jax.tree.leaves(nnx.grad(loss)(model)))


def test_what_a_labeller_refuses():
    how = {"hidden_size": 5, "rngs": nnx.Rngs(0)}
    with pytest.raises(InputError, match=r"frames of pixels \(Y, X, channels\), got \(8,\)"):
        FrameLabeller(3, [], frame=(8,), encoder=ImageEncoder(1, rngs=nnx.Rngs(1)), **how)
    with pytest.raises(InputError, match="dropout must lie in"):
        FrameLabeller(3, [], frame=(8,), dropout=1.5, **how)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sights": "past"}, "unknown name 'past' in --sights"),
        ({"data": "nowhere"}, "--films has no use"),
        ({"data": "nowhere", "films": Config.films}, "is no folder that can be read"),
    ],
)
def test_bad_input_is_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(Config(**SMALL | changes, workdir=str(tmp_path / "run")))


def test_films_of_later_epochs_are_neither_those_of_the_validation_nor_of_the_test():
    config = Config(**SMALL | {"films": 500}, data="dots")
    (dots,) = load_films(config)
    held_out = {films.inputs[:5].tobytes() for films in (dots.sets.validation, dots.sets.test)}
    epochs = [new_films(config, "dots", epoch).inputs[:5].tobytes() for epoch in range(4)]
    assert epochs[0] == dots.sets.train.inputs[:5].tobytes()
    assert len(held_out.union(epochs)) == 6
