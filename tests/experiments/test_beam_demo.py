"""The page of beams: its JavaScript against the library's search and LSTM, and the page in a browser."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.beam_demo import program as beam_demo
from experiments.beam_demo.chains import CHAINS, END
from experiments.beam_demo.network import train
from seqjax.decode import beam_search
from tests.support import browser
from tests.support.tiers import long_only


@pytest.fixture(scope="module")
def trained():
    return train(0, 30)


@pytest.fixture(scope="module")
def data(trained):
    return beam_demo.data_of(trained.for_page())


@pytest.fixture(scope="module")
def node(data):
    """Evaluates an expression after the page's script, without a page."""
    # (beside its script, a page has its data)
    return partial(browser.evaluated, [beam_demo.HERE / "beam_demo.js"], data=data)


def search_in_page(node, name, options):
    """The strings that the page finds, their log-probabilities and their scores."""
    call = (
        f"beamSearch(makeModel(DATA.models[{json.dumps(name)}], DATA.end), {json.dumps(options)})"
    )
    found = node(f"{call}.best.map((n) => [path(n), n.total, n.score])")
    return [(words, total, score) for words, total, score in found]


def library_model(trained, name):
    """`(step, state, end, number of words)`, as `beam_search` takes them."""
    if name == "Trained LSTM":
        model = trained.model
        return lambda context, state, token: model.step(token, state), model.initial_state(1), 0
    chain = CHAINS[name][0]
    inside = dict.fromkeys(word for row in chain.values() for word in row)
    words = [END, *(word for word in inside if word != END)]
    table = np.full((len(words), len(words)), -np.inf)
    for row, word in enumerate(words):
        for next_word, p in chain.get("" if row == 0 else word, {END: 1.0}).items():
            table[row, words.index(next_word)] = np.log(p)
    table = jnp.asarray(table)
    return lambda context, state, token: (state, table[token]), jnp.zeros(1), 0


SEARCHES = [
    {"width": 1, "length": 8},
    {"width": 3, "length": 8},
    {"width": 5, "length": 6, "penalty": "average"},
    {"width": 4, "length": 9, "penalty": "wu", "alpha": 0.9},
    {"width": 6, "length": 7, "groups": 3, "diversity": 0.8},
    {"width": 4, "length": 7, "groups": 4, "diversity": 2.0, "penalty": "average"},
]


@pytest.mark.parametrize("name", [long_only("Trained LSTM"), "Three beams", "Too short"])
@pytest.mark.whole
def test_the_page_searches_as_the_library_does(node, trained, name):
    step, state, end = library_model(trained, name)
    for options in SEARCHES:
        how = {key: value for key, value in options.items() if key != "penalty"}
        how["length_penalty"] = options.get("penalty", "none")
        found = beam_search(step, (), state, jnp.zeros(1, int), end=end, **how)
        wanted = [
            (tokens[:n].tolist(), float(log_p), float(score))
            for tokens, n, log_p, score in zip(*(np.asarray(a[0]) for a in found), strict=True)
            if n
        ]
        shown = search_in_page(node, name, options)
        if name == "Trained LSTM":  # (chains have ties, whose order float32 may turn)
            assert [words for words, *_ in shown] == [words for words, *_ in wanted]
        for k in (1, 2):
            np.testing.assert_allclose([s[k] for s in shown], [w[k] for w in wanted], atol=2e-4)


def test_the_pages_lstm_is_the_librarys(node, trained):
    words = [3, 7, 1, 4]
    shown = node(
        "(() => { const m = makeModel(DATA.models['Trained LSTM'], DATA.end); let s = m.start(), p;"
        f" return {words}.map((w) => {{ [s, p] = m.step(s, w); return p; }}); }})()"
    )
    _, logits = trained.model(jnp.array([words]))
    np.testing.assert_allclose(shown, jax.nn.log_softmax(logits[0]), atol=1e-4)


def test_the_presets_do_what_they_say(node):
    def best(name, **options):
        return search_in_page(node, name, {"length": 8, **options})[0]

    assert np.exp(best("Garden path", width=1)[1]) == pytest.approx(0.2)
    assert np.exp(best("Garden path", width=2)[1]) == pytest.approx(0.36)
    assert best("Too short", width=4)[0] == [0]
    assert len(best("Too short", width=4, penalty="average")[0]) > 3
    model = "makeModel(DATA.models['Three beams'], DATA.end)"
    first = node(
        f"beamSearch({model}, {{ width: 3, length: 1 }}).steps[0].filter((n) => n.kind === 'live')"
        f".map((n) => {model}.words[n.word])"
    )
    assert first == ["a", "the", "red"]


def test_forced_words_come_first_and_cost_what_they_cost(node, trained):
    forced = [5, 9]
    shown = search_in_page(node, "Trained LSTM", {"width": 3, "length": 8, "forced": forced})
    assert all(words[:2] == forced for words, *_ in shown)
    for words, total, _ in shown:
        _, logits = trained.model(jnp.array([[0, *words[:-1]]]))
        log_p = jax.nn.log_softmax(logits[0])[jnp.arange(len(words)), jnp.array(words)]
        assert total == pytest.approx(float(log_p.sum()), abs=1e-3)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    workdir = str(tmp_path_factory.mktemp("demo") / "run")
    path = beam_demo.run(beam_demo.Config(workdir=workdir, steps=20))
    with browser.opened(path) as opened:
        yield opened


def test_one_can_touch_it(page):
    def first():
        return page.inner_text("#results tr:nth-child(2)").split("\t")

    assert first()[1] == f"clever fox {END}"
    assert first()[3] == "0.360"
    page.focus("#width")
    page.keyboard.press("ArrowLeft")  # K from 2 to 1: greedy decoding
    assert first()[1] == f"nice idea {END}"
    page.click("#tree >> text=clever")
    assert "Forced: clever" in page.inner_text("#forced")
    assert first()[1] == f"clever fox {END}"
    page.focus("#clear")
    page.keyboard.press("Enter")
    assert first()[1] == f"nice idea {END}"
    page.click("text=Too short")
    assert first()[1] == END
    page.select_option("#penalty", "average")
    assert first()[1].startswith("it was raining")
    page.click("text=Trained LSTM")
    page.fill("#width", "6")
    page.select_option("#groups", "3")
    assert page.is_enabled("#diversity")
    page.fill("#diversity", "2")
    begins = page.evaluate("beamDemo.page.search().best.map((n) => beamDemo.path(n)[0])")
    assert len(set(begins)) > 1
    page.fill("#upTo", "2")
    labels = page.eval_on_selector_all("#tree button", "all => all.map(b => b.ariaLabel)")
    assert {label.split(":")[0] for label in labels} == {"step 1", "step 2"}


def test_the_page_fits_a_telephone_and_labels_its_controls(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    unlabelled = page.evaluate(
        "[...document.querySelectorAll('button, input, select')].filter(e => !e.labels?.length"
        " && !e.ariaLabel && !e.textContent.trim()).map(e => e.id)"
    )
    assert unlabelled == []
    grounds = set()
    for _ in range(2):
        page.click("#theme")
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


def test_the_page_needs_nothing_but_itself(data):
    text = beam_demo.page(beam_demo.HERE, "beam_demo", data)
    assert "{{" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
