"use strict";

// Everything is read from the page itself: #data is JSON, and every series of activations is a
// script element of its own, decoded when it is first looked at.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const chars = Array.from(data.text); // code points, as Python counts
const signed = new Set(["h", "c", "g", "n"]);
const names = {
  h: "h, output", c: "c, memory", i: "i, input gate", f: "f, forget gate", g: "g, candidate",
  o: "o, output gate", r: "r, reset gate", z: "z, update gate", n: "n, candidate",
};
const state = {
  layer: 0, quantity: "h", unit: 0, // what is chosen
  values: null, scale: 1, // its series, a byte a character; null if it is not in the file
  holds: null, // the property, if it is underlined
  cursor: -1, column: null, hovered: -1, matches: [], match: -1, searchLength: 0,
};

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// ---------------------------------------------------------------- data

const cache = new Map();

async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

async function series(layer, quantity, unit) {
  const key = `s-${layer}-${quantity}-${unit}`;
  if (!cache.has(key)) {
    await arrived(key);
    const element = $(key);
    cache.set(key, element && new Uint8Array(await inflate(element.textContent)));
  }
  return cache.get(key);
}

// The series stand behind this script: until the file is read, one may still come.
async function arrived(id) {
  if ($(id) || document.readyState !== "loading") return;
  await new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true }));
}

const stored = (layer, quantity, unit) => $(`s-${layer}-${quantity}-${unit}`) !== null;

// The value of what is chosen after character t, in its own units.
function valueAt(t) {
  if (!state.values) return null;
  const byte = state.values[t];
  return signed.has(state.quantity) ? ((byte - 127) / 127) * state.scale : byte / 255;
}

let predictions = null;
async function loadPredictions() {
  const { tokens, probabilities, right } = data.predictions;
  const read = async (text) => new Uint16Array(await inflate(text));
  predictions = {
    tokens: await read(tokens), probabilities: await read(probabilities), right: await read(right),
  };
  predictions.top = predictions.tokens.length / chars.length;
}

// ---------------------------------------------------------------- the text

// Lines become spans when they come near the window, so that long texts open at once.
const lines = []; // { start, end, element, spans }
const near = new Set();
let lineOf = null; // of every character

function layOut() {
  lineOf = new Uint32Array(chars.length);
  let start = 0;
  const all = document.createDocumentFragment();
  for (let t = 0; t < chars.length; t++) {
    lineOf[t] = lines.length;
    if (chars[t] !== "\n" && t + 1 < chars.length) continue;
    const element = make("div", { class: "line" });
    element.textContent = chars.slice(start, chars[t] === "\n" ? t : t + 1).join("");
    element.line = lines.length;
    lines.push({ start, end: t + 1, element, spans: null });
    all.append(element);
    start = t + 1;
  }
  $("text").append(all);
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) near.add(target.line);
      else near.delete(target.line);
      if (isIntersecting) paint(target.line);
    }
  }, { root: $("text"), rootMargin: "300px" });
  for (const line of lines) observer.observe(line.element);
}

const shown = { "\n": "↵", "\t": "⇥", " ": "␣", "\r": "␍", "\f": "␌" };
const glyph = (c) => make("span", { class: "glyph" }, shown[c] ?? c);

function spansOf(number) {
  const line = lines[number];
  if (!line.spans) {
    line.spans = [];
    for (let t = line.start; t < line.end; t++) {
      const span = document.createElement("span");
      span.textContent = chars[t] === "\n" ? "↵" : chars[t];
      if (chars[t] === "\n") span.className = "end";
      span.t = t;
      line.spans.push(span);
    }
    line.element.replaceChildren(...line.spans);
  }
  return line.spans;
}

function paint(number) {
  const matched = state.matches.length ? matchedIn(lines[number], state.searchLength) : null;
  for (const span of spansOf(number)) {
    const value = valueAt(span.t);
    const part = value === null ? 0 : signed.has(state.quantity) ? value / state.scale : value;
    span.style.backgroundColor =
      part === 0 ? "" : `rgb(var(--${part > 0 ? "high" : "low"}) / ${(0.8 * Math.abs(part)).toFixed(3)})`;
    span.classList.toggle("holds", Boolean(state.holds && state.holds[span.t]));
    span.classList.toggle("match", Boolean(matched && matched.has(span.t)));
    span.classList.toggle("cursor", span.t === state.cursor);
  }
}

function matchedIn(line, length) {
  const found = new Set();
  for (const start of state.matches) {
    if (start >= line.end) break;
    for (let t = Math.max(start, line.start); t < Math.min(start + length, line.end); t++) found.add(t);
  }
  return found;
}

const repaint = () => near.forEach(paint);

// ---------------------------------------------------------------- what is chosen

async function choose(layer, quantity, unit) {
  const size = data.sizes[layer];
  unit = Math.min(Math.max(Math.round(unit) || 0, 0), size - 1);
  if (!data.quantities[layer].includes(quantity)) quantity = "h";
  Object.assign(state, { layer, quantity, unit });
  $("layer").value = layer;
  fillQuantities();
  $("unit").max = size - 1;
  $("unit").value = unit;
  const values = await series(layer, quantity, unit);
  if (state.layer !== layer || state.quantity !== quantity || state.unit !== unit) return;
  state.values = values;
  state.scale = data.scales[layer][quantity][unit];
  const gate = !signed.has(quantity);
  $("ramp").className = gate ? "gate" : "signed";
  $("low").textContent = gate ? "0 shut" : `−${state.scale.toFixed(2)}`;
  $("high").textContent = gate ? "1 open" : state.scale.toFixed(2);
  $("status").textContent = values
    ? `layer ${layer + 1}, unit ${unit}: ${names[quantity] ?? quantity}`
    : `${quantity} of unit ${unit} is not in this file; write it with a larger --max_megabytes`;
  repaint();
  describe();
  markChosen();
}

function fillQuantities() {
  const select = $("quantity");
  const wanted = data.quantities[state.layer];
  if (select.options.length !== wanted.length)
    select.replaceChildren(...wanted.map((q) => make("option", { value: q }, names[q] ?? q)));
  select.value = state.quantity;
}

function markChosen() {
  const key = `${state.layer}-${state.quantity}-${state.unit}`;
  for (const button of $("units").querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(button.dataset.key === key));
  for (const point of document.querySelectorAll(".point"))
    point.classList.toggle("chosen", point.dataset.unit === `${state.layer}-${state.unit}`);
}

// ---------------------------------------------------------------- one character

function describe() {
  const t = state.hovered >= 0 ? state.hovered : state.cursor;
  if (t < 0 || !predictions) return;
  const line = lines[lineOf[t]];
  const value = valueAt(t);
  $("place").replaceChildren("After ", glyph(chars[t]),
    ` (line ${lineOf[t] + 1}, column ${t - line.start + 1}), ${state.quantity} of unit ${state.unit} is `,
    make("b", { id: "value" }, value === null ? "not stored" : value.toFixed(3)));
  const items = [];
  const next = chars[t + 1];
  let hit = false;
  for (let k = t * predictions.top; k < (t + 1) * predictions.top; k++) {
    const token = data.tokens[predictions.tokens[k]];
    const p = predictions.probabilities[k] / 65535;
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${(100 * p).toFixed(1)}%`;
    const item = make("li", {}, make("span", {}, glyph(token)), bar, make("b", {}, percent(p)));
    if (token === next) {
      hit = true;
      item.className = "hit";
      item.append(make("span", { class: "hidden" }, "(this came)"));
    } else bar.classList.add("other");
    items.push(item);
  }
  $("predictions").replaceChildren(...items);
  $("right").replaceChildren(...(next === undefined ? ["The text ends here."]
    : ["What came: ", glyph(next), `, given ${percent(predictions.right[t] / 65535)}`,
       hit ? "." : ", not among these."]));
}

const percent = (p) => (p < 0.0005 ? "<0.1%" : `${(100 * p).toFixed(1)}%`);

function moveTo(t, { reveal = true } = {}) {
  const before = state.cursor;
  state.cursor = Math.min(Math.max(t, 0), chars.length - 1);
  state.column = null;
  if (before >= 0) spanAt(before).classList.remove("cursor");
  const span = spanAt(state.cursor);
  span.classList.add("cursor");
  if (reveal) span.scrollIntoView({ block: "nearest", inline: "nearest" });
  describe();
}

const spanAt = (t) => spansOf(lineOf[t])[t - lines[lineOf[t]].start];

function moveByLines(count) {
  const t = Math.max(state.cursor, 0);
  const column = state.column ?? t - lines[lineOf[t]].start; // kept through shorter lines
  const line = lines[Math.min(Math.max(lineOf[t] + count, 0), lines.length - 1)];
  moveTo(Math.min(line.start + column, line.end - 1));
  state.column = column;
}

// ---------------------------------------------------------------- search

function search() {
  const wanted = Array.from($("search").value.toLowerCase());
  state.searchLength = wanted.length;
  state.matches = [];
  state.match = -1;
  if (wanted.length) {
    const lower = chars.map((c) => c.toLowerCase());
    for (let t = 0; t + wanted.length <= lower.length; t++)
      if (wanted.every((c, k) => lower[t + k] === c)) state.matches.push(t);
  }
  repaint();
  if (state.matches.length) goToMatch(1);
  else $("found").textContent = wanted.length ? "not found" : "";
}

function goToMatch(by) {
  const count = state.matches.length;
  if (!count) return;
  const after = state.matches.findIndex((t) => t >= state.cursor); // -1: none, begin again
  const from = state.match >= 0 ? state.match : after - (by > 0 && after >= 0 ? 1 : 0);
  state.match = (((from + by) % count) + count) % count;
  $("found").textContent = `${state.match + 1} of ${count}`;
  moveTo(state.matches[state.match]);
}

// ---------------------------------------------------------------- units that track a property

async function showProperty() {
  const name = $("property").value;
  const ranked = data.ranking[name];
  $("rule").textContent = data.rules[name];
  if (!ranked) {
    $("units").replaceChildren();
    $("chance").textContent = "Too rare in one half of this text to be scored.";
  } else {
    $("units").replaceChildren(...ranked.units.map(([layer, quantity, unit, score, sign]) => {
      const direction = sign > 0 ? "high" : "low";
      const button = make("button", { type: "button", "data-key": `${layer}-${quantity}-${unit}` },
        make("span", {}, (data.sizes.length > 1 ? `${layer + 1}: ` : "") + `${quantity} ${unit}`),
        make("span", {}, direction), make("span", {}, score.toFixed(3)));
      button.addEventListener("click", () => choose(layer, quantity, unit));
      return make("li", {}, button);
    }));
    const what = ranked.graded ? "Rank correlation" : "AUC";
    $("chance").textContent = `${what} on the second half of the text, the direction chosen on the`
      + ` first. Best of all units against the property moved along the text:`
      + ` ${ranked.chance.toFixed(3)}.`;
  }
  state.holds = $("mark").checked ? new Uint8Array(await inflate(data.marks[name])) : null;
  repaint();
  markChosen();
}

// ---------------------------------------------------------------- figures

const SVG = "http://www.w3.org/2000/svg";
function draw(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function drawSaturation() {
  const place = $("saturation");
  if (!data.saturation.some((gates) => Object.keys(gates).length)) {
    place.append(make("p", {}, "This cell has no gates."));
    return;
  }
  const plots = make("div", { class: "plots" });
  const rows = [];
  data.saturation.forEach((gates, layer) => {
    for (const [gate, { below, above }] of Object.entries(gates)) {
      const prefix = data.sizes.length > 1 ? `layer ${layer + 1}: ` : "";
      plots.append(scatter(layer, gate, below, above, prefix));
      const often = (shares) => shares.filter((share) => share > 0.9).length;
      rows.push([prefix + (names[gate] ?? gate), often(below), often(above), below.length]);
    }
  });
  const table = make("table", {}, make("caption", { class: "hidden" }, "Units by gate"), row("th",
    ["Gate", "shut > 90% of time", "open > 90%", "units"]));
  rows.forEach((cells) => table.append(row("td", cells)));
  place.append(make("div", { class: "beside" }, plots, table), make("p", { class: "note" },
    "Shut: the gate is below 0.1; open: above 0.9 (Karpathy, Johnson and Fei-Fei, 2015, figure 3)."
    + " A point is a unit; click one to see it in the text."));
}

function scatter(layer, gate, below, above, prefix) {
  const [left, size] = [44, 200];
  const svg = draw("svg", { viewBox: "0 0 255 245", role: "img",
    "aria-label": `${prefix}${names[gate] ?? gate}: share of time open against share of time shut` });
  svg.append(draw("path", { class: "axis", d: `M${left} 5v${size}h${size}M${left} 5L${left + size} ${5 + size}` }));
  for (const tick of [0, 0.5, 1]) {
    svg.append(draw("text", { x: left + size * tick, y: size + 19, "text-anchor": "middle" }, tick),
      draw("text", { x: left - 6, y: 9 + size * (1 - tick), "text-anchor": "end" }, tick));
  }
  svg.append(draw("text", { x: left + size / 2, y: size + 34, "text-anchor": "middle" }, "share of time open (> 0.9)"),
    draw("text", { x: 12, y: 5 + size / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${5 + size / 2})` },
      "share of time shut (< 0.1)"));
  below.forEach((shut, unit) => {
    const [x, y] = [left + size * above[unit], 5 + size * (1 - shut)];
    const point = draw("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: 3, class: "point", "data-unit": `${layer}-${unit}` });
    point.append(draw("title", {}, `unit ${unit}: open ${above[unit].toFixed(2)}, shut ${shut.toFixed(2)}`));
    point.addEventListener("click", () => {
      choose(layer, stored(layer, gate, unit) ? gate : "h", unit);
      $("reader").scrollIntoView({ block: "end" });
    });
    svg.append(point);
  });
  return make("figure", {}, make("figcaption", {}, prefix + (names[gate] ?? gate)), svg);
}

function row(tag, cells) {
  return make("tr", {}, ...cells.map((cell) =>
    cell instanceof Node || cell === "ours, published" ? make(tag, { class: "wide" }, cell)
      : make(tag, tag === "th" ? { scope: "col" } : {}, String(cell))));
}

function showErrors() {
  const place = $("errors");
  const errors = data.errors;
  if (!errors) {
    place.append(make("p", {}, "The text that the model was trained on is not there any more, without"
      + " which n-gram models and rare words cannot be counted."));
    return;
  }
  const share = (x) => `${(100 * x).toFixed(0)}%`;
  const table = make("table", {}, make("caption", { class: "hidden" }, "Errors by slice"),
    row("th", ["Slice, in order", "characters", "share", "published", "ours, published"]));
  for (const [name, count, published] of errors.slices) {
    const part = errors.errors ? count / errors.errors : 0;
    const bars = make("div", { class: "bars", "aria-hidden": "true" });
    for (const [kind, width] of [["bar", part], ["bar other", published ?? 0]]) {
      const bar = make("div", { class: kind });
      bar.style.width = `${200 * width}%`; // none is above a half, but for odd texts
      bars.append(bar);
    }
    table.append(row("td", [name, count, share(part), published === null ? "–" : share(published), bars]));
  }
  place.append(make("p", {}, `${errors.errors} of ${errors.characters} characters`
    + ` (${share(errors.errors / errors.characters)}) were given less than ½. Published: 42% of 330,000.`),
    table, make("p", { class: "note" }, "Each slice is cut from what those before left: an n-gram model"
    + " (n ≤ 9) gives more than ½; the word stood in the last 1000 characters (not its first character); the word occurs five"
    + " times or less in training; after a space, newline or quote; after another mark. Published:"
    + " Karpathy, Johnson and Fei-Fei (2015), their best LSTM, on War and Peace: another text, Kneser-Ney"
    + " n-grams, and a memory whose window is not the same."));
}

// ---------------------------------------------------------------- start

function toggleTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

function nextIn(select) {
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  select.dispatchEvent(new Event("change"));
}

const keys = {
  ArrowLeft: () => moveTo(state.cursor - 1), ArrowRight: () => moveTo(state.cursor + 1),
  ArrowUp: () => moveByLines(-1), ArrowDown: () => moveByLines(1),
  PageUp: () => moveByLines(-15), PageDown: () => moveByLines(15),
  Home: () => moveTo(lines[lineOf[Math.max(state.cursor, 0)]].start),
  End: () => moveTo(lines[lineOf[Math.max(state.cursor, 0)]].end - 1),
  "[": () => choose(state.layer, state.quantity, state.unit - 1),
  "]": () => choose(state.layer, state.quantity, state.unit + 1),
  q: () => nextIn($("quantity")), p: () => nextIn($("property")),
  "/": () => $("search").focus(), n: () => goToMatch(1), N: () => goToMatch(-1), t: toggleTheme,
};

function listen() {
  const text = $("text");
  text.addEventListener("pointerover", ({ target }) => {
    state.hovered = target.t ?? -1;
    describe();
  });
  text.addEventListener("pointerleave", () => { state.hovered = -1; describe(); });
  text.addEventListener("click", ({ target }) => {
    if (target.t !== undefined) moveTo(target.t, { reveal: false });
  });
  text.addEventListener("focus", () => { if (state.cursor < 0) moveTo(topmost(), { reveal: false }); });
  text.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    state.hovered = -1;
    keys[event.key]();
  });
  $("layer").addEventListener("change", () => choose(Number($("layer").value), state.quantity, state.unit));
  $("quantity").addEventListener("change", () => choose(state.layer, $("quantity").value, state.unit));
  $("unit").addEventListener("change", () => choose(state.layer, state.quantity, Number($("unit").value)));
  $("previous").addEventListener("click", () => choose(state.layer, state.quantity, state.unit - 1));
  $("next").addEventListener("click", () => choose(state.layer, state.quantity, state.unit + 1));
  $("search").addEventListener("input", search);
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") goToMatch(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") $("text").focus();
  });
  $("found-previous").addEventListener("click", () => goToMatch(-1));
  $("found-next").addEventListener("click", () => goToMatch(1));
  $("property").addEventListener("change", showProperty);
  $("mark").addEventListener("change", showProperty);
  $("theme").addEventListener("click", toggleTheme);
}

// The first character that is seen.
function topmost() {
  const top = $("text").scrollTop;
  const line = lines.find(({ element }) => element.offsetTop + element.offsetHeight > top);
  return line ? line.start : 0;
}

async function start() {
  document.title = `Looking inside: ${data.title}`;
  $("model").textContent = data.summary;
  $("layer").append(...data.sizes.map((_, n) => make("option", { value: n }, n + 1)));
  $("property").append(...Object.keys(data.rules).map((name) => make("option", { value: name }, name)));
  if (data.property) $("property").value = data.property;
  layOut();
  listen();
  if (typeof DecompressionStream === "undefined") {
    $("status").textContent = "This browser cannot unpack the data: use a newer one.";
    return;
  }
  await choose(...data.first);
  await Promise.all([loadPredictions(), showProperty()]);
  drawSaturation();
  showErrors();
  markChosen();
  document.documentElement.dataset.ready = "";
}

start();
