"""Looking inside: properties, ranking, errors, and the page driven in a browser."""

import base64
import dataclasses
import json
import re
import shutil
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import char_lm, word_lm
from experiments.char_lm.network import build
from experiments.char_lm.text import load_data
from experiments.look_inside import model as look_inside_model
from experiments.look_inside import program as look_inside
from experiments.look_inside.errors import SLICES, break_down, ngram_probabilities
from experiments.look_inside.page import Series, choose, fill, quantise
from experiments.look_inside.ranking import auc, centred_ranks, rank_correlation, rank_units
from experiments.look_inside.text import Property, properties
from seqjax import InputError
from seqjax.cells import CELLS
from seqjax.models import LanguageModel
from seqjax.models.ngram import witten_bell
from seqjax.recurrence.unroll import unroll_loop
from seqjax.runs.checkpoint import Checkpoints
from seqjax.training.saved_models import SavedLanguageModel
from tests.support.randomness import randomise

CODE = '''def f(a, b=[1, 2]):  # it's (not) a bracket
    """Doc "inner" string."""
    if a == 'x\\'(' and (b or
            c):
        return {"k": r"#1"}
\tdon't = 3
'''
ODD = "<&>{}\t’é</script>\n"
_rng = np.random.default_rng(0)
TEXT = "".join(
    f'say "yes{" or no" * _rng.integers(5)}" {"and " * _rng.integers(6)}(or{" so" * _rng.integers(9)})'
    f"\n  if it{' is' * _rng.integers(9)}:\n    go on;  # a note\nthe end\n"
    for _ in range(60)
)


def marked(name, text=CODE):
    """The parts of a text where a property holds, one after the other."""
    values = properties(text)[name].values
    edges = np.flatnonzero(np.diff(np.concatenate([[0], values.astype(int), [0]])))
    return [text[a:b] for a, b in edges.reshape(-1, 2)]


# ------------------------------------------------------------ properties


def test_properties_hold_after_what_opens_and_end_at_what_closes():
    assert marked("inside quotes") == ['"""Doc "inner" string.""', "'x\\'(", '"k', '"#1']
    assert marked("inside a comment") == ["# it's (not) a bracket"]
    assert marked("inside brackets") == ["(a, b=[1, 2]", "(b or\n            c", '{"k": r"#1"']
    assert marked("inside an if") == ["f a == 'x\\'(' and (b or\n            c)"]
    assert marked("inside an if", "  if (x) {\n  } else if (y)\n") == ["f (x) ", "f (y)"]
    starts = properties("ab (c_d) 2")["word start"].values
    assert np.flatnonzero(starts).tolist() == [0, 4, 9]
    assert marked("inside a comment", "int x; /* a\nb */ y") == ["/* a\nb *"]


def test_prose_has_no_quotes_at_apostrophes_and_quotes_over_lines():
    assert marked("inside quotes", "It's Tom's.\n\"I\ndon't\" he said") == ["\"I\ndon't"]
    assert marked("inside quotes", 'an "open one\n\nends here') == ['"open one']


def test_a_text_may_begin_in_the_middle_of_a_docstring():
    text = 'the rest of it.\n"""\n' + "x = 1\n" * 9 + '"""Another."""\n' + "y = 2\n" * 9
    assert marked("inside quotes", text) == ['the rest of it.\n""', '"""Another.""']


def test_graded_properties():
    found = properties("  ab\n\tc\n")
    np.testing.assert_array_equal(found["indentation"].values, [1, 2, 2, 2, 0, 4, 4, 0])
    np.testing.assert_array_equal(found["since the newline"].values, [1, 2, 3, 4, 0, 1, 2, 0])
    np.testing.assert_allclose(
        found["position in the line"].values, [0.25, 0.5, 0.75, 1, 0, 0.5, 1, 0]
    )


@pytest.mark.parametrize(
    "text", ["", "\n", "a", '"', "'''", "\\", "((((", "]]]", "if", "\r\n\t é😀"]
)
def test_properties_of_any_text_have_its_length(text):
    for name, found in properties(text).items():
        assert found.values.shape == (len(text),), name


# ------------------------------------------------------------ ranking


def test_scores_are_what_they_are_defined_to_be():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, (60, 3)).astype(float)  # with ties
    holds = rng.random(60) < 0.4
    pairs = x[holds][:, None] - x[~holds][None]
    expected = np.mean((pairs > 0) + 0.5 * (pairs == 0), axis=(0, 1))
    np.testing.assert_allclose(auc(centred_ranks(x), holds[:, None])[0], expected)
    stats = pytest.importorskip("scipy.stats")
    values = rng.integers(0, 4, 60).astype(float)
    expected = [stats.spearmanr(x[:, u], values).statistic for u in range(3)]
    found = rank_correlation(centred_ranks(x), values[:, None])[0]
    np.testing.assert_allclose(found, expected)
    assert rank_correlation(centred_ranks(np.ones((60, 1))), values[:, None]) == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_unit_is_ranked_first(sign):
    found = properties(TEXT)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(len(TEXT), 20))
    x[:, 7] = sign * (found["inside quotes"].values + 0.1 * rng.normal(size=len(TEXT)))
    x[:, 3] = -np.tanh(found["since the newline"].values / 30)
    ranking = rank_units(x, found)
    best = ranking["inside quotes"].scores[0]
    assert (best.unit, best.sign) == (7, sign)
    assert best.score > 0.99 > ranking["inside quotes"].chance
    assert ranking["inside quotes"].scores[1].score < 0.7
    best = ranking["since the newline"].scores[0]
    assert (best.unit, best.sign) == (3, -1)
    assert best.score == pytest.approx(1, abs=1e-6)


def test_nothing_tracks_a_shuffled_text():
    """The same units against a text whose characters were put in random order."""
    rng = np.random.default_rng(2)
    shuffled = "".join(rng.permutation(list(TEXT)))
    x = rng.normal(size=(len(TEXT), 20))
    x[:, 7] = properties(TEXT)["inside quotes"].values
    ranking = rank_units(x, properties(shuffled))
    assert ranking
    for name, ranked in ranking.items():
        limit = 0.15 if ranked.graded else 0.65
        assert ranked.scores[0].score < limit, name


def test_the_direction_comes_from_the_first_half_alone():
    holds = np.tile([False, True], 100)
    x = np.where(holds, 1.0, -1.0)[:, None]
    x[100:] *= -1  # a unit that turns round half-way is as wrong as can be
    ranking = rank_units(x, {"p": Property(holds, False, "")})
    assert ranking["p"].scores[0] == (0, 0.0, 1)


def test_a_property_without_enough_cases_is_not_scored():
    holds = np.zeros(200, bool)
    holds[:100:2] = True  # never in the second half
    assert rank_units(np.zeros((200, 1)), {"p": Property(holds, False, "")}) == {}


# ------------------------------------------------------------ errors


def test_ngram_probabilities_are_those_of_the_baseline():
    rng = np.random.default_rng(3)
    train, test = rng.integers(0, 4, 300), rng.integers(0, 4, 50)
    found = ngram_probabilities(train, test, 4)
    for order in range(1, 5):
        mean = -np.mean(np.log(found[order - 1, 1:]))
        assert mean == pytest.approx(witten_bell(train, test, 4, order), rel=1e-12)


def test_every_error_is_in_the_slice_it_belongs_to():
    train = "abc " * 50 + "xy qzw common common common common common common "
    text = "abc qzw, common qzw.'k"
    points = {c: n for n, c in enumerate(sorted(set(train + text)))}
    ids, train_ids = (np.array([points[c] for c in s]) for s in (text, train))
    all_wrong = break_down(np.zeros(len(text)), text, train, ids, train_ids)
    assert all_wrong.errors == all_wrong.characters == len(text) - 1
    assert list(all_wrong.slices) == list(SLICES)
    assert sum(all_wrong.slices.values()) == all_wrong.errors

    def slice_of(place):
        probability = np.ones(len(text))
        probability[place] = 0.49
        found = break_down(probability, text, train, ids, train_ids)
        assert found.errors == 1
        return next(name for name, count in found.slices.items() if count)

    assert slice_of(2) == "n-gram"  # c after ab
    assert slice_of(text.rindex("qzw") + 1) in ("n-gram", "dynamic memory")
    assert slice_of(text.index("k")) == "rare word"
    assert slice_of(text.index(".")) == "rest"
    assert slice_of(text.index("'")) == "punctuation"
    right = break_down(np.full(len(text), 0.5), text, train, ids, train_ids)
    assert right.errors == 0


# ------------------------------------------------------------ the file


def test_what_is_stored_first():
    layers = [{"h": np.zeros((3, 2)), "f": np.zeros((3, 2))} for _ in range(2)]
    order = list(choose(layers, [Series(1, "h", 0)]))
    assert order[0] == (1, "h", 0)
    assert order[4] == (1, "f", 0)
    assert [s.quantity for s in order] == ["h"] * 4 + ["f"] * 4
    assert len(set(order)) == 8


def test_quantising_keeps_values_to_half_a_level():
    x = np.random.default_rng(4).normal(size=500).astype(np.float32)
    levels, scale = quantise("c", x)
    np.testing.assert_allclose((levels.astype(float) - 127) / 127 * scale, x, atol=scale / 253)
    gate = 1 / (1 + np.exp(-x))
    levels, _ = quantise("f", gate)
    np.testing.assert_allclose(levels / 255, gate, atol=1 / 509)


def test_a_template_is_filled_once():
    assert fill("a{{x}}b{{y}}", x="{{y}}", y="2") == "a{{y}}b2"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run as char_lm saves it, of two layers with random parameters."""
    directory = tmp_path_factory.mktemp("trained")
    (directory / "text.txt").write_text(ODD + TEXT, encoding="utf-8")
    config = char_lm.Config(
        layers=2,
        hidden_size=12,
        optimizer="rmsprop",
        clip_value=1.0,
        batch_size=4,
        validation_fraction=0.3,
        data=str(directory / "text.txt"),
    )
    vocabulary = load_data(config).vocabulary
    state = build(config, len(vocabulary), 10, 1).state
    state = state._replace(params=jax.tree.map(jnp.asarray, randomise(state.params, 5)))
    checkpoints = Checkpoints(directory / "run" / "checkpoints" / "best")
    record = {"config": dataclasses.asdict(config), "vocabulary": vocabulary.tokens}
    checkpoints.save(state, record)
    checkpoints.close()
    return directory / "run"


class Written(NamedTuple):
    path: Path
    results: dict
    text: str
    loaded: SavedLanguageModel
    ids: np.ndarray
    reading: look_inside_model.Reading


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
    """The page of the run on a text, too small to hold all gates; and the model's reading."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    text = ODD + "if (so):\n" + TEXT[:1500]
    path.with_name("text.txt").write_text(text, encoding="utf-8")
    config = look_inside.Config(
        checkpoint=str(trained),
        data=str(trained.parent / "text.txt"),
        text=str(path.with_name("text.txt")),
        output=str(path),
        max_megabytes=0.13,
    )
    results = look_inside.run(config)
    loaded = look_inside_model.load(str(trained))
    ids = loaded.vocabulary.encode(text).ids
    return Written(path, results, text, loaded, ids, look_inside_model.read(loaded.model, ids))


def test_reading_is_the_model_itself(written):
    model, ids = written.loaded.model, written.ids[:15]
    xs = model.embedding(ids)
    for layer, q, shares in zip(
        model.layers, written.reading.layers, written.reading.saturation, strict=True
    ):
        assert list(q) == ["h", "c", "i", "f", "o", "g"]
        final, ys = unroll_loop(layer.cell, layer.arrays(), xs)
        close = {"rtol": 1e-4, "atol": 1e-4}  # another order of sums
        np.testing.assert_allclose(q["h"][: len(ids)], ys, **close)
        np.testing.assert_allclose(q["c"][len(ids) - 1], final.c, **close)
        np.testing.assert_allclose(q["h"], q["o"] * np.tanh(q["c"]), **close)
        kept = q["f"][1:] * q["c"][:-1] + q["i"][1:] * q["g"][1:]
        np.testing.assert_allclose(q["c"][1:], kept, **close)
        for name, (below, above) in shares.items():
            np.testing.assert_allclose(below, (q[name] < 0.1).mean(0), atol=2e-3)
            np.testing.assert_allclose(above, (q[name] > 0.9).mean(0), atol=2e-3)
        xs = ys
    np.testing.assert_allclose(np.exp(written.reading.log_probs).sum(1), 1, atol=1e-4)
    expected = _softmax(model(ids[None])[1][0, -1])
    np.testing.assert_allclose(np.exp(written.reading.log_probs[len(ids) - 1]), expected, atol=1e-5)


def _softmax(x):
    e = np.exp(np.asarray(x) - np.max(x))
    return e / e.sum()


@pytest.mark.parametrize(
    ("cell", "quantities"),
    [
        ("gru", ["h", "r", "z", "n"]),
        ("lstm_cifg", ["h", "c", "i", "f", "o", "g"]),
        ("lstm_fgr", ["h", "c", "i", "f", "o", "g"]),
    ],
)
def test_other_cells(cell, quantities):
    model = _small_model(cell)
    reading = look_inside_model.read(model, np.arange(6) % 5)
    assert list(reading.layers[0]) == quantities
    assert all(x.shape == (6, 4) for x in reading.layers[0].values())


def _small_model(cell):
    return LanguageModel(5, [CELLS[cell](4)], embedding_size=4, rngs=nnx.Rngs(0))


def test_the_file_holds_what_was_found_within_its_size(written):
    assert written.path.stat().st_size <= 130_000
    page = written.path.read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["text"] == written.text
    series = dict(re.findall(r'id="s-([^"]*)">([^<]*)<', page))
    assert 2 * 2 * 12 < len(series) < 2 * 6 * 12
    assert "{}-{}-{}".format(*data["first"]) in series
    assert "http" not in re.sub(r"http://www\.w3\.org/2000/svg|http-equiv", "", page)
    for key, text in series.items():
        layer, name, unit = key.split("-")
        stored = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
        x = written.reading.layers[int(layer)][name][:, int(unit)]
        expected, scale = quantise(name, x)
        assert np.abs(stored.astype(int) - expected).max() <= 1
        assert data["scales"][int(layer)][name][int(unit)] == pytest.approx(scale, rel=1e-4)
    bits = look_inside_model.mean_bits(written.reading.log_probs, written.ids)
    assert written.results["bits_per_char"] == pytest.approx(bits, rel=1e-5)
    errors = written.results["errors"]
    assert errors.characters == len(written.ids) - 1
    right = written.reading.log_probs[np.arange(len(written.ids) - 1), written.ids[1:]]
    assert errors.errors == (right < np.log(0.5)).sum()


# ------------------------------------------------------------ bad input


def test_bad_input_is_one_sentence(trained, tmp_path):
    def fails(message, **changes):
        given = {"checkpoint": str(trained), "output": str(tmp_path / "page.html")} | changes
        with pytest.raises(InputError, match=message) as caught:
            look_inside.run(look_inside.Config(**given))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "page.html").exists()

    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "other.txt").write_text("say yes ΩΩ ж")
    fails("give --checkpoint=RUN", checkpoint="")
    fails("no checkpoint in .*nowhere", checkpoint=str(tmp_path / "nowhere"))
    fails("empty.txt must have two or more characters, .* got 0", text=str(tmp_path / "empty.txt"))
    fails(
        r"not in the model's vocabulary: 'Ω' 2x, 'ж' 1x; remove", text=str(tmp_path / "other.txt")
    )
    fails("there is no file", text=str(tmp_path / "absent.txt"))
    fails("must name a file", output=str(tmp_path / "absent" / "page.html"))
    fails("--chars must", chars=0)


@pytest.mark.long
def test_a_word_model_is_refused(tmp_path):
    (tmp_path / "text.txt").write_text("one two three\n" * 40)
    config = word_lm.Config(
        data=str(tmp_path / "text.txt"),
        workdir=str(tmp_path / "run"),
        hidden_size=3,
        seq_len=4,
        batch_size=2,
        epochs=1,
    )
    word_lm.run(config)
    with pytest.raises(InputError, match=r"is no run of experiments\.char_lm"):
        look_inside_model.load(config.workdir)


def test_data_that_changed_needs_a_text_and_leaves_the_errors_out(trained, tmp_path):
    data, output = trained.parent / "text.txt", str(tmp_path / "page.html")
    (tmp_path / "text.txt").write_text(TEXT[:500])
    before = data.read_bytes()
    data.write_text("something else")
    try:
        with pytest.raises(InputError, match=r"the run was trained on .*: give that as --data"):
            look_inside.run(
                look_inside.Config(checkpoint=str(trained), output=output, data=str(data))
            )
        config = look_inside.Config(
            checkpoint=str(trained), output=output, data=str(data), text=str(tmp_path / "text.txt")
        )
        assert look_inside.run(config)["errors"] is None
    finally:
        data.write_bytes(before)


# ------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = pytest.importorskip("playwright.sync_api")
    if path is None:
        pytest.skip("no Chromium")
    with driver.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def opened(browser, written):
    """The page on a telephone's screen, and what it complained of or asked for."""
    page = browser.new_page(viewport={"width": 400, "height": 800})
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url))
    page.goto(written.path.as_uri())
    page.wait_for_selector("html[data-ready]")
    yield page
    assert complaints == [written.path.as_uri()]


def until(page, condition):
    """Waits for it, without the evaluation of strings that the page forbids."""
    deadline = time.monotonic() + 5
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        time.sleep(0.01)


def near(x):
    """A value of a series as the page shows it: 8 bits, three decimals."""
    return {"abs": float(np.abs(x).max()) / 250 + 6e-4}


def choose_unit(page, layer, quantity, unit):
    page.select_option("#layer", index=layer)
    page.select_option("#quantity", quantity)
    page.fill("#unit", str(unit))
    page.press("#unit", "Enter")
    shown = f"layer {layer + 1}, unit {unit}: {quantity},"
    until(page, f"document.getElementById('status').textContent.startsWith('{shown}')")


def test_the_page_shows_the_librarys_numbers(opened, written):
    page = opened
    first = written.results["first"]
    for layer, quantity, unit, t in (
        (0, "h", 3, 0),
        (1, "c", 11, 25),
        (first.layer, "f", first.unit, 60),
    ):
        choose_unit(page, layer, quantity, unit)
        line, column = page.evaluate("t => [lineOf[t], t - lines[lineOf[t]].start]", t)
        span = page.locator(".line").nth(line).locator("span").nth(column)
        span.scroll_into_view_if_needed()
        span.hover()
        x = written.reading.layers[layer][quantity][:, unit]
        scale = float(np.abs(x).max()) if quantity in "hc" else 1
        assert float(page.inner_text("#value")) == pytest.approx(float(x[t]), **near(x))
        drawn = span.evaluate("e => e.style.backgroundColor")
        alpha = float(re.search(r"/ ([0-9.]+)\)", drawn)[1])
        assert alpha == pytest.approx(0.8 * abs(float(x[t])) / scale, abs=0.005)
        assert ("--high" in drawn) == (x[t] > 0)

        probability = np.exp(written.reading.log_probs[t])
        shown = page.locator("#predictions b").all_inner_texts()
        top = np.sort(probability)[::-1][:5]
        for text, p in zip(shown, top.tolist(), strict=True):
            number = 0 if text.startswith("<") else float(text.rstrip("%"))
            assert number == pytest.approx(100 * p, abs=0.06)
        best = written.loaded.vocabulary.tokens[int(probability.argmax())]
        glyph = page.locator("#predictions .glyph").first.inner_text()
        assert glyph == {"\n": "↵", "\t": "⇥", " ": "␣"}.get(best, best)
        came = page.inner_text("#right")
        given = 0 if "<0.1%" in came else float(re.search(r"given ([0-9.]+)%", came)[1])
        p = float(probability[written.ids[t + 1]])
        assert given == pytest.approx(100 * p, abs=0.06)


def test_the_keyboard_moves_searches_and_changes_units(opened, written):
    page = opened
    choose_unit(page, 0, "c", 4)
    page.focus("#text")
    page.evaluate("moveTo(0)")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "]"):
        page.keyboard.press(key)
    until(page, "document.getElementById('place').textContent.includes('unit 5')")
    assert "line 2, column 3" in page.inner_text("#place")
    x = written.reading.layers[0]["c"][:, 5]
    t = page.evaluate("state.cursor")
    assert float(page.inner_text("#value")) == pytest.approx(float(x[t]), **near(x))
    page.evaluate("moveTo(lines[2].start + 12)")
    for key in ("ArrowDown",) * 3 + ("ArrowUp",) * 3:  # through shorter lines
        page.keyboard.press(key)
    assert page.evaluate("state.cursor - lines[2].start") == 12
    page.evaluate("moveTo(0)")
    page.keyboard.press("/")
    page.keyboard.type("A NOTE")
    count = written.text.count("a note")
    assert page.inner_text("#found") == f"1 of {count}"
    page.keyboard.press("Shift+Enter")
    assert page.inner_text("#found") == f"{count} of {count}"
    page.keyboard.press("Enter")
    assert page.inner_text("#found") == f"1 of {count}"
    until(page, "document.querySelectorAll('.match').length > 0")
    assert page.locator(".match").all_inner_texts()[:6] == list("a note")
    page.fill("#search", "absent")
    assert page.inner_text("#found") == "not found"
    page.fill("#search", "")


def test_properties_choose_units_and_are_underlined(opened, written):
    page = opened
    page.select_option("#property", "inside quotes")
    page.check("#mark")
    page.evaluate("moveTo(0)")
    page.wait_for_selector(".holds")
    line = page.locator(".line").nth(2)
    quoted = re.match('.*?"(.*?)"', TEXT)[1]
    assert "".join(line.locator(".holds").all_inner_texts()) == '"' + quoted
    button = page.locator("#units button").first
    name, _, score = button.locator("span").all_inner_texts()
    assert float(score) == pytest.approx(
        written.results["ranking"]["inside quotes"].scores[0].score, abs=6e-4
    )
    button.click()
    page.wait_for_selector("#units button[aria-pressed=true]")
    layer, quantity, unit = re.match(r"(\d): (\w) (\d+)", name).groups()
    assert page.inner_text("#status").startswith(f"layer {layer}, unit {unit}: {quantity}")
    assert page.locator("svg circle").count() == 2 * 3 * 12
    assert page.locator("#errors tr").count() == 1 + len(SLICES)


def test_a_series_that_is_not_in_the_file_is_said_to_be_missing(opened, written):
    page = written.path.read_text(encoding="utf-8")
    missing = next(u for u in range(12) if f'id="s-0-g-{u}"' not in page)
    opened.evaluate("unit => choose(0, 'g', unit)", missing)
    until(opened, "document.getElementById('status').textContent.includes('--max_megabytes')")
    opened.evaluate("moveTo(3)")
    assert opened.inner_text("#value") == "not stored"


def test_the_page_fits_a_telephone_and_has_two_themes(opened):
    page = opened
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    grounds = set()
    for _ in range(2):
        page.click("#theme")
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
    unlabelled = page.evaluate(
        "[...document.querySelectorAll('button, input, select')].filter(e => !e.labels?.length"
        " && !e.ariaLabel && !e.textContent.trim()).map(e => e.id)"
    )
    assert unlabelled == []


def test_right_to_left_marks_are_isolated_by_the_style():
    """Every element that the script makes for a character, and every line."""
    style = Path(look_inside.__file__).with_name("look_inside.css").read_text()
    rule = re.search(r"([^{}]*)\{[^{}]*unicode-bidi: isolate;[^{}]*\}", style)[1]
    for selector in (".line", ".line span", ".glyph"):
        assert re.search(rf"(^|[\s,]){re.escape(selector)}\s*(,|$)", rule.strip(), re.M), selector


@pytest.mark.parametrize("mark", ["\u202e", "\u202b", "\u2067", "\u200f", "\u05d0"])
def test_a_right_to_left_mark_turns_nothing_around(browser, mark):
    style = Path(look_inside.__file__).with_name("look_inside.css").read_text()
    spans = "".join(f"<span>{c}</span>" for c in f"ab{mark}cd, 12")
    page = browser.new_page()
    page.set_content(f"<style>{style}</style><div id=text><div class=line>{spans}</div></div>")
    places = page.evaluate(
        "[...document.querySelectorAll('span')].map(s => s.getBoundingClientRect().left)"
    )
    page.close()
    assert places == sorted(places)
