"""The page of gates: its JavaScript against the library's cells, and its sliders in a browser."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gates_demo import program as gates_demo
from seqjax import gru_reset_before, lstm
from seqjax.cells.gru import GRUState
from seqjax.cells.lstm import LSTMState
from seqjax.recurrence.unroll import unroll_loop
from tests.support import browser


def logit(p):
    """The input that sets a gate to p; a gate at 0 or 1 gets one that rounds to it."""
    with np.errstate(divide="ignore"):
        return np.clip(np.log(p) - np.log1p(-p), -50, 50)


def library_lstm(steps, c0):
    """c and h of seqjax's LSTM whose gates are set by its inputs, in float64."""
    i, f, g, o = (np.array([step[name] for step in steps], float) for name in "ifgo")
    with jax.enable_x64(True), np.errstate(divide="ignore"):
        # tanh reaches 1 only at infinity
        xs = np.stack([logit(i), logit(f), np.clip(np.arctanh(g), -50, 50), logit(o)], -1)
        params = {"w": jnp.eye(4), "u": jnp.zeros((1, 4)), "b": jnp.zeros(4)}
        state = LSTMState(h=jnp.zeros(1), c=jnp.array([c0], float))
        cell = lstm(1)
        found = []
        for x in xs:
            state, _ = cell.step(params, state, x)
            found.append([float(state.c[0]), float(state.h[0])])
        return np.array(found)


def library_gru(steps, h0, u):
    """h of seqjax's GRU of Cho et al., its gates set by its inputs."""
    x, r, z = (np.array([step[name] for step in steps], float) for name in "xrz")
    with jax.enable_x64(True):
        params = {
            "w": jnp.eye(3),
            "u": jnp.zeros((1, 2)),
            "u_n": jnp.array([[u]], float),
            "b": jnp.zeros(3),
        }
        xs = jnp.asarray(np.stack([logit(r), logit(z), x], -1))
        return np.asarray(
            unroll_loop(gru_reset_before(1), params, xs, GRUState(h=jnp.array([h0], float)))[1][
                :, 0
            ]
        )


@pytest.fixture(scope="module")
def node():
    """Evaluates an expression after the page's script, without a page."""
    return partial(browser.evaluated, [gates_demo.HERE / "gates_demo.js"])


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = gates_demo.run(gates_demo.Config(workdir=str(tmp_path_factory.mktemp("demo") / "run")))
    with browser.opened(path) as opened:
        yield opened


def steps_of(preset):
    """A preset's lanes as one dict per step."""
    lanes = [name for name in "gfioxrz" if name in preset]
    return [
        dict(zip(lanes, column, strict=True))
        for column in zip(*(preset[n] for n in lanes), strict=True)
    ]


def random_steps(names, count=12, seed=0):
    rng = np.random.default_rng(seed)
    low = {"g": -1, "x": -2}
    return [
        {n: float(rng.uniform(low.get(n, 0), -low.get(n, -1))) for n in names} for _ in range(count)
    ]


def test_the_equations_are_the_librarys(node):
    steps = random_steps("gfio")
    found = node(f"lstm({json.dumps(steps)}, -0.7)")
    found = np.array([[s["c"], s["h"]] for s in found])
    np.testing.assert_allclose(found, library_lstm(steps, -0.7), atol=1e-12)
    steps = random_steps("xrz", seed=1)
    found = [s["h"] for s in node(f"gru({json.dumps(steps)}, 0.4, -1.7)")]
    np.testing.assert_allclose(found, library_gru(steps, 0.4, -1.7), atol=1e-12)


def test_the_slopes_are_the_librarys_gradients(node):
    """∂c_T/∂c_0 and ∂h_T/∂h_0, by differences of the library's states."""
    small = 1e-6
    steps, wide = random_steps("gfio", seed=2), random_steps("xrz", seed=3)
    found = [s["slope"] for s in node(f"lstm({json.dumps(steps)}, -0.7)")]
    up, down = (library_lstm(steps, -0.7 + d)[:, 0] for d in (small, -small))
    np.testing.assert_allclose(found, (up - down) / (2 * small), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found, np.cumprod([s["f"] for s in steps]))
    found = [s["slope"] for s in node(f"gru({json.dumps(wide)}, 0.4, -1.7)")]
    up, down = (library_gru(wide, 0.4 + d, -1.7) for d in (small, -small))
    np.testing.assert_allclose(found, (up - down) / (2 * small), rtol=1e-5, atol=1e-9)


def test_the_presets_do_what_they_say(node):
    presets = node("PRESETS")
    for preset in presets["lstm"].values():
        steps = steps_of(preset)
        found = node(f"lstm({json.dumps(steps)}, {preset['start']})")
        found = np.array([[s["c"], s["h"]] for s in found])
        np.testing.assert_allclose(found, library_lstm(steps, preset["start"]), atol=1e-9)
        preset["c"] = found[:, 0]
    c = {name: preset["c"] for name, preset in presets["lstm"].items()}
    np.testing.assert_allclose(c["Plural to singular"][[4, 5]], [0.9, 0.1 * 0.9 - 0.9 * 0.9])
    np.testing.assert_array_equal(c["Freeze"], c["Freeze"][0])
    np.testing.assert_allclose(c["Flow"], 0.3 * np.arange(1, 9))
    np.testing.assert_allclose(c["Reset"], 0.3 * np.array([1, 2, 3, 4, 1, 2, 3, 4]))
    np.testing.assert_allclose(c["Fade"][-1], 1 / 256)
    h = {}
    for name, preset in presets["gru"].items():
        steps = steps_of(preset)
        found = node(f"gru({json.dumps(steps)}, {preset['start']}, {preset['u']})")
        h[name] = np.array([s["h"] for s in found])
        expected = library_gru(steps, preset["start"], preset["u"])
        np.testing.assert_allclose(h[name], expected, atol=1e-9)
    assert h["Case 1: keep"][0] == pytest.approx(0.9 * 0.8 + 0.1 * -0.5)
    assert h["Case 2: replace"][0] == pytest.approx(0.1 * 0.8 + 0.9 * -0.5)
    np.testing.assert_allclose(h["Freeze"], 0.8)
    assert h["Reset"][3] > 0.8
    assert h["Reset"][4] < 0  # the input's sign, for all that stood before


def test_the_page_needs_nothing_but_itself():
    page = gates_demo.page(gates_demo.HERE, "gates_demo")
    assert "{{" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_sliders_move_the_memory(page):
    def settings(kind):
        return page.evaluate(f"gatesDemo.panels.{kind}.steps()")

    def states(kind, name):
        return [s[name] for s in page.evaluate(f"gatesDemo.panels.{kind}.states()")]

    # The first preset, as it is opened: its numbers can be read.
    assert "c₆ = 0.10 · 0.90 + 0.90 · (−0.90) = −0.72" in page.inner_text("#lstm .sums")
    # Up is more: a key, and a drag of the mouse to the middle.
    page.focus("#lstm-f-6")
    page.keyboard.press("ArrowUp")
    assert settings("lstm")[5]["f"] == pytest.approx(0.11)
    slider = page.locator("#lstm-i-3")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"]
    page.mouse.move(x, y - 8)
    page.mouse.down()
    page.mouse.move(x, y - box["height"] / 2, steps=4)
    page.mouse.up()
    assert settings("lstm")[2]["i"] == pytest.approx(0.5, abs=0.05)
    page.fill("#lstm-g-3", "-0.4")
    page.fill("#lstm-start", "0.25")
    assert settings("lstm")[2]["g"] == -0.4
    expected = library_lstm(settings("lstm"), 0.25)
    np.testing.assert_allclose(states("lstm", "c"), expected[:, 0], atol=1e-9)
    np.testing.assert_allclose(states("lstm", "h"), expected[:, 1], atol=1e-9)
    label = page.get_attribute("#lstm svg", "aria-label").replace("−", "-")
    states_, slopes = (part.split(": ")[1] for part in label.split("; "))
    shown = [float(v) for v in states_.split(", ")]
    np.testing.assert_allclose(shown[1:], expected[:, 0], atol=0.0051)
    kept = np.cumprod([step["f"] for step in settings("lstm")])
    shown = [float(v) for v in slopes.split(", ")]
    np.testing.assert_allclose(shown, [1, *kept], atol=0.0051)
    assert page.locator("#lstm .presets [aria-pressed=true]").count() == 0

    page.click("#lstm >> text=Freeze")
    page.fill("#lstm-f-all", "0")
    assert [s["f"] for s in settings("lstm")] == [0] * 8
    assert states("lstm", "c")[1:] == [0] * 7

    page.click("text=Case 2: replace")
    assert "= −0.37" in page.inner_text("#gru .sums")
    page.fill("#gru-u", "1.5")
    page.fill("#gru-r-2", "0.2")
    page.fill("#gru-z-4", "1")
    expected = library_gru(settings("gru"), 0.8, 1.5)
    np.testing.assert_allclose(states("gru", "h"), expected, atol=1e-9)
    assert states("gru", "h")[3] == states("gru", "h")[2]


def test_the_page_fits_a_telephone_and_labels_its_controls(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    unlabelled = page.evaluate(
        "[...document.querySelectorAll('button, input')].filter(e => !e.labels?.length"
        " && !e.ariaLabel && !e.textContent.trim()).map(e => e.id)"
    )
    assert unlabelled == []
    grounds = set()
    for _ in range(2):
        page.click("#theme")
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
