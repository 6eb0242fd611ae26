"use strict";

// ---------------------------------------------------------------- the equations

// seqjax.cells.lstm for one unit: steps of { g, f, i, o }, c0 -> states of { c, h, slope }, where slope
// is the derivative of c with respect to c0: the product of the forget gates.
function lstm(steps, c0) {
  let [c, slope] = [c0, 1];
  return steps.map(({ g, f, i, o }) => {
    c = f * c + i * g;
    slope *= f;
    return { c, h: o * Math.tanh(c), slope };
  });
}

// seqjax.cells.gru_reset_before for one unit whose input weight is 1: steps of { x, r, z }, the
// recurrent weight u of its candidate, h0 -> states of { n, h, slope }, the last that of h by h0.
function gru(steps, h0, u) {
  let [h, slope] = [h0, 1];
  return steps.map(({ x, r, z }) => {
    const n = Math.tanh(x + u * (r * h));
    h = (1 - z) * n + z * h;
    slope *= z + (1 - z) * (1 - n * n) * u * r;
    return { n, h, slope };
  });
}

// ---------------------------------------------------------------- presets

const LENGTH = 8;
const fill = (value) => Array(LENGTH).fill(value);
const at = (base, changes) => fill(base).map((v, t) => changes[t + 1] ?? v);
const plain = ["1", "2", "3", "4", "5", "6", "7", "8"];

const PRESETS = {
  lstm: {
    "Plural to singular": {
      about: "A usual classroom example, in numbers of ours. “dogs” writes plural (+0.9). At “cat” the forget gate is small"
        + " and the input gate large: the memory goes from plural to singular in one step.",
      words: ["the", "dogs", "bark", ".", "the", "cat", "sleeps", "."],
      start: 0, step: 6,
      g: at(0, { 2: 1, 6: -0.9 }), f: at(1, { 2: 0, 6: 0.1 }), i: at(0, { 2: 0.9, 6: 0.9 }), o: fill(0.9),
    },
    Freeze: {
      about: "One write, then f = 1 and i = 0: whatever comes as g, the memory stays. The output gate"
        + " shows it only at the end.",
      words: plain, start: 0, step: 8,
      g: [0.8, -0.6, 0.9, -0.9, 0.3, 0.7, -0.8, 0.5], f: fill(1), i: at(0, { 1: 1 }), o: at(0, { 8: 1 }),
    },
    Flow: {
      about: "f = 1 and i = 1: the memory adds up all that comes, and can count.",
      words: plain, start: 0, step: 8, g: fill(0.3), f: fill(1), i: fill(1), o: fill(1),
    },
    Reset: {
      about: "The same, but at step 5 the forget gate is 0: what was there is gone, and it starts again.",
      words: plain, start: 0, step: 5, g: fill(0.3), f: at(1, { 5: 0 }), i: fill(1), o: fill(1),
    },
    Fade: {
      about: "f = 0.5 halves the memory at every step, and the gradient with it: after eight, 1/256 of each is left.",
      words: plain, start: 1, step: 8, g: fill(0), f: fill(0.5), i: fill(0), o: fill(1),
    },
  },
  gru: {
    "Case 1: keep": {
      about: "A usual classroom case, in numbers of ours: 0.9 of the state 0.8 is kept, the candidate is −0.5: 0.67 after"
        + " one step, close to the old state.",
      words: plain, start: 0.8, step: 1, u: 0, x: fill(Math.atanh(-0.5)), r: fill(1), z: fill(0.9),
    },
    "Case 2: replace": {
      about: "The second. Only 0.1 is kept: −0.37 after one step, close to the candidate.",
      words: plain, start: 0.8, step: 1, u: 0, x: fill(Math.atanh(-0.5)), r: fill(1), z: fill(0.1),
    },
    Freeze: {
      about: "z = 1: the state stays whatever the input is.",
      words: plain, start: 0.8, step: 8, u: 1, x: [1, -1, 2, -2, 1, -1, 2, -2], r: fill(1), z: fill(1),
    },
    Reset: {
      about: "A strong recurrent weight holds the state up. At step 5 the reset gate is 0: the candidate"
        + " is made from the input alone, and the past is gone.",
      words: plain, start: 0, step: 5, u: 2.5, x: at(0, { 1: 1, 5: -0.3 }), r: at(1, { 5: 0 }), z: fill(0.1),
    },
  },
};

const KINDS = {
  lstm: {
    memory: "c", output: "h", startName: "c₀, before the first step", startRange: [-1, 1],
    lanes: {
      f: ["f, forget gate", 0, 1], i: ["i, input gate", 0, 1], o: ["o, output gate", 0, 1],
      g: ["g, candidate", -1, 1],
    },
  },
  gru: {
    memory: "h", output: "n", startName: "h₀, before the first step", startRange: [-1, 1],
    lanes: { z: ["z, update gate", 0, 1], r: ["r, reset gate", 0, 1], x: ["x, input", -2, 2] },
  },
};

// What a step does to the memory, in a word.
function deed(kind, { f, i, z }) {
  const [kept, taken] = kind === "lstm" ? [f, i] : [z, 1 - z];
  if (kept >= 0.9 && taken <= 0.1) return kind === "gru" && kept < 1 ? "keeps" : "freezes";
  if (kept <= 0.1 && taken <= 0.1) return "erases";
  if (kept <= 0.1) return "resets";
  if (taken <= 0.1) return "fades";
  return "flows";
}

// ---------------------------------------------------------------- the page

const show = (x) => x.toFixed(2).replace(/^-0\.00$/, "0.00").replace("-", "−");
// As `show`, with two digits that say something where the value is small.
const small = (x) => (x === 0 || Math.abs(x) >= 0.1 ? show(x) : x.toPrecision(2).replace(/-/g, "−"));
const inBrackets = (x) => (x < 0 ? `(${show(x)})` : show(x));

class Panel {
  constructor(kind) {
    this.kind = kind;
    this.settings = KINDS[kind];
    this.section = document.getElementById(kind);
    this.sliders = {}; // by lane, one a step
    this.values = {}; // by lane, one a step
    this.build();
    this.take(Object.keys(PRESETS[kind])[0]);
  }

  build() {
    this.presets = make("div", { class: "presets", role: "group", "aria-label": "Presets" });
    for (const name of Object.keys(PRESETS[this.kind])) {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => this.take(name));
      this.presets.append(button);
    }
    this.about = make("p", { class: "about" });
    this.chart = draw("svg", { viewBox: "0 0 420 200", role: "img" });
    this.words = make("div", { class: "steps words" });
    this.sums = make("div", { class: "sums", "aria-live": "polite" });
    this.section.append(this.presets, this.about, this.chart, this.words, this.sums);
    for (const lane of Object.keys(this.settings.lanes)) this.section.append(this.lane(lane));
    this.section.append(this.rest());
  }

  lane(lane) {
    const [title, low, high] = this.settings.lanes[lane];
    const range = { type: "range", min: low, max: high, step: 0.01 };
    const all = make("input", { ...range, id: `${this.kind}-${lane}-all` });
    all.addEventListener("input", () => {
      this.values[lane] = fill(all.valueAsNumber);
      this.changed();
    });
    this.sliders[lane] = fill(0).map((_, t) => {
      const slider = make("input", {
        ...range, class: "upright", id: `${this.kind}-${lane}-${t + 1}`,
        "aria-label": `${title}, step ${t + 1}`, "aria-orientation": "vertical",
      });
      slider.addEventListener("input", () => {
        this.values[lane][t] = slider.valueAsNumber;
        this.step = t + 1;
        this.changed();
      });
      slider.addEventListener("focus", () => this.look(t + 1));
      slider.addEventListener("pointerenter", ({ buttons }) => buttons || this.look(t + 1));
      return slider;
    });
    this.sliders[lane].all = all;
    const cells = this.sliders[lane].map((slider) =>
      make("div", {}, slider, make("output", { for: slider.id })));
    return make("div", { class: "lane" },
      make("div", { class: "head" }, title, make("label", {}, "all steps", all)),
      make("div", { class: "steps" }, ...cells));
  }

  // What does not depend on the step: the first state, and the GRU's recurrent weight.
  rest() {
    const [low, high] = this.settings.startRange;
    const field = (id, title, min, max, set) => {
      const input = make("input", { type: "range", min, max, step: 0.01, id });
      const output = make("output", { for: id });
      input.addEventListener("input", () => { set(input.valueAsNumber); this.changed(); });
      this[id] = { input, output };
      return make("div", { class: "lane" }, make("div", { class: "head" },
        make("span", {}, title, " ", output), make("label", {}, make("span", {}, ""), input)));
    };
    const box = make("div", {}, field(`${this.kind}-start`, this.settings.startName, low, high,
      (v) => { this.start = v; }));
    this[`${this.kind}-start`].input.setAttribute("aria-label", this.settings.startName);
    if (this.kind === "gru") {
      box.append(field("gru-u", "u, recurrent weight", -3, 3, (v) => { this.u = v; }));
      this["gru-u"].input.setAttribute("aria-label", "u, recurrent weight of the candidate");
    }
    return box;
  }

  take(name) {
    const preset = PRESETS[this.kind][name];
    for (const lane of Object.keys(this.settings.lanes)) this.values[lane] = [...preset[lane]];
    Object.assign(this, { start: preset.start, u: preset.u ?? 0, step: preset.step, names: preset.words });
    this.changed();
    for (const button of this.presets.children)
      button.setAttribute("aria-pressed", String(button.textContent === name));
    this.about.textContent = preset.about;
  }

  look(step) {
    this.step = step;
    this.render();
  }

  changed() {
    for (const button of this.presets.children) button.setAttribute("aria-pressed", "false");
    this.render();
  }

  steps() {
    const lanes = Object.keys(this.settings.lanes);
    return fill(0).map((_, t) => Object.fromEntries(lanes.map((lane) => [lane, this.values[lane][t]])));
  }

  states() {
    return this.kind === "lstm" ? lstm(this.steps(), this.start) : gru(this.steps(), this.start, this.u);
  }

  render() {
    for (const [lane, sliders] of Object.entries(this.sliders)) {
      sliders.forEach((slider, t) => {
        slider.value = this.values[lane][t];
        slider.nextSibling.textContent = show(this.values[lane][t]);
      });
      const mean = this.values[lane].reduce((a, b) => a + b) / LENGTH;
      sliders.all.value = mean;
    }
    const start = this[`${this.kind}-start`];
    start.input.value = this.start;
    start.output.textContent = show(this.start);
    if (this.kind === "gru") {
      this["gru-u"].input.value = this.u;
      this["gru-u"].output.textContent = show(this.u);
    }
    const [steps, states] = [this.steps(), this.states()];
    this.words.replaceChildren(...this.names.map((word, t) =>
      make("div", t + 1 === this.step ? { class: "now" } : {}, word, make("small", {}, deed(this.kind, steps[t])))));
    this.renderSums(steps[this.step - 1], states);
    this.renderChart(steps, states);
  }

  renderSums(now, states) {
    const t = this.step;
    const { memory } = this.settings;
    const before = t > 1 ? states[t - 2][memory] : this.start;
    const after = states[t - 1];
    const lines = this.kind === "lstm"
      ? [`c${sub(t)} = ${show(now.f)} · ${inBrackets(before)} + ${show(now.i)} · ${inBrackets(now.g)} = ${show(after.c)}`,
         `h${sub(t)} = ${show(now.o)} · tanh(${show(after.c)}) = ${show(after.h)}`]
      : [`n${sub(t)} = tanh(${show(now.x)} + ${inBrackets(this.u)} · (${show(now.r)} · ${inBrackets(before)})) = ${show(after.n)}`,
         `h${sub(t)} = ${show(1 - now.z)} · ${inBrackets(after.n)} + ${show(now.z)} · ${inBrackets(before)} = ${show(after.h)}`];
    const start = `∂${memory}${sub(t)}/∂${memory}₀`;
    const factors = fill(0).slice(0, t).map((_, k) => `f${sub(k + 1)}`).join(" · ");
    lines.push(this.kind === "lstm" ? `${start} = ${factors} = ${small(after.slope)}` : `${start} = ${small(after.slope)}`);
    this.sums.replaceChildren(...lines.map((line) => make("div", {}, line)));
  }

  renderChart(steps, states) {
    const { memory, output } = this.settings;
    const memories = [this.start, ...states.map((s) => s[memory])];
    const outputs = states.map((s) => s[output]);
    const slopes = [1, ...states.map((s) => s.slope)];
    const limit = Math.max(1, ...[...memories, ...outputs, ...slopes].map(Math.abs));
    const [left, right, top, bottom] = [34, 416, 12, 176];
    const width = (right - left) / LENGTH;
    const x = (t) => left + width * (t - 0.5); // step 0 stands at the left edge
    const y = (v) => (top + bottom) / 2 - (v / limit) * ((bottom - top) / 2);
    const place = (t) => (t ? x(t) : left).toFixed(1);
    const path = (values, first) =>
      values.map((v, k) => `${k ? "L" : "M"}${place(k + first)} ${y(v).toFixed(1)}`).join("");
    const parts = [draw("rect", { class: "now", x: x(this.step) - width / 2, y: top - 8, width, height: bottom - top + 16 })];
    for (const v of [limit, 0, -limit]) {
      parts.push(draw("path", { class: "axis", d: `M${left} ${y(v)}H${right}` }),
        draw("text", { x: left - 5, y: y(v) + 4, "text-anchor": "end" }, show(v).replace(/\.?0+$/, "") || "0"));
    }
    if (this.kind === "lstm") {
      steps.forEach(({ i, g }, t) => parts.push(
        draw("path", { class: "written", d: `M${x(t + 1)} ${y(0)}V${y(i * g).toFixed(1)}` })));
    }
    parts.push(draw("path", { class: "output", d: path(outputs, 1) }),
      draw("path", { class: "memory", d: path(memories, 0) }),
      draw("path", { class: "slope", d: path(slopes, 0) }));
    outputs.forEach((v, k) => parts.push(
      draw("rect", { class: "mark", x: x(k + 1) - 3, y: y(v) - 3, width: 6, height: 6 })));
    memories.forEach((v, k) => parts.push(draw("circle", { cx: place(k), cy: y(v).toFixed(1), r: 4 })));
    const legend = this.kind === "lstm"
      ? [["memory-name", "● c, memory"], ["output-name", "■ h, output"], ["slope-name", "··· ∂c/∂c₀"], ["", "▮ i · g, written"]]
      : [["memory-name", "● h, state"], ["output-name", "■ n, candidate"], ["slope-name", "··· ∂h/∂h₀"]];
    const shift = this.kind === "lstm" ? [0, 104, 196, 286] : [0, 80, 204];
    legend.forEach(([name, text], k) =>
      parts.push(draw("text", { class: name, x: left + shift[k], y: 197 }, text)));
    this.chart.replaceChildren(...parts);
    this.chart.setAttribute("aria-label",
      `${memory} from step 0 to ${LENGTH}: ${memories.map(show).join(", ")}; its derivative by ${memory}₀: ${slopes.map(small).join(", ")}`);
  }
}

const sub = (t) => String.fromCharCode(0x2080 + t);

globalThis.gatesDemo = { lstm, gru, PRESETS };

if (typeof document !== "undefined") {
  globalThis.gatesDemo.panels = { lstm: new Panel("lstm"), gru: new Panel("gru") };
}
