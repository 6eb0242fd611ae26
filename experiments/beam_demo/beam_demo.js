// ---------------------------------------------------------------- the models

// A model: words, the first of which ends a string and is read first; start() -> state;
// step(state, word) -> [state, log-probabilities of the words].

const logSoftmax = (x) => {
  const top = Math.max(...x);
  const total = Math.log(x.reduce((sum, v) => sum + Math.exp(v - top), 0)) + top;
  return x.map((v) => v - total);
};

// A Markov chain: { word: { next: probability } }, "" is the beginning.
function chainModel(chain, end) {
  const inside = new Set(Object.values(chain).flatMap((row) => Object.keys(row)));
  const words = [end, ...[...inside].filter((word) => word !== end)];
  const rows = new Map(Object.entries(chain).map(([word, row]) =>
    [word, words.map((next) => Math.log(row[next] ?? 0))]));
  return {
    words, start: () => null,
    step: (_, word) => [null, rows.get(word === 0 ? "" : words[word]) ?? words.map((_, k) => (k ? -Infinity : 0))],
  };
}

// seqjax.cells.lstm and a linear head: z = x w + h u + b, gates i, f, g, o; c = f c + i g; h = o tanh(c).
function lstmModel({ words, arrays }) {
  const { embedding, w, u, b, head, head_bias: headBias } = arrays;
  const size = u.length;
  const times = (x, matrix, bias) => bias.map((start, k) => x.reduce((sum, v, j) => sum + v * matrix[j][k], start));
  const sigmoid = (v) => 1 / (1 + Math.exp(-v));
  const inputs = embedding.map((x) => times(x, w, b)); // of each word, made once
  return {
    words,
    start: () => ({ h: Array(size).fill(0), c: Array(size).fill(0) }),
    step: ({ h, c }, word) => {
      const z = times(h, u, inputs[word]);
      const part = (gate) => z.slice(gate * size, (gate + 1) * size);
      const [i, f, g, o] = [part(0), part(1), part(2), part(3)];
      const next = c.map((v, k) => sigmoid(f[k]) * v + sigmoid(i[k]) * Math.tanh(g[k]));
      const out = next.map((v, k) => sigmoid(o[k]) * Math.tanh(v));
      return [{ h: out, c: next }, logSoftmax(times(out, head, headBias))];
    },
  };
}

const makeModel = (entry, end) => (entry.chain ? chainModel(entry.chain, end) : lstmModel(entry.network));

// ---------------------------------------------------------------- the search

const PENALTIES = {
  none: () => 1,
  average: (count) => count,
  wu: (count, alpha) => ((5 + count) / 6) ** alpha,
};

// As seqjax.decode.beam_search: of all extensions of the kept strings, those among the first K that end are
// finished, and the K best others go on. Each group of K / groups beams searches for itself, and pays
// `diversity` for every word that an earlier group has chosen at the same step. `forced` words come first.
// Returns { steps: [[node]], best: [node] }; a node has word, total, parent, state, kind and count.
function beamSearch(model, { width, length, penalty = "none", alpha = 0.6, groups = 1, diversity = 0, forced = [] }) {
  const beams = width / groups;
  const score = (total, count) => total / PENALTIES[penalty](count, alpha);
  const root = { word: 0, total: 0, parent: null, state: model.start(), count: 0, kind: "live" };
  const search = Array.from({ length: groups }, () => ({ live: [root], done: [] }));
  const steps = [];
  for (let time = 0; time < length; time++) {
    const reach = (g) => g.live.length > 0
      && score(Math.max(...g.live.map((n) => n.total)), length) > (g.done[beams - 1]?.score ?? -Infinity);
    if (!search.some(reach)) break;
    const column = [];
    const chosen = model.words.map(() => 0);
    search.forEach((group, number) => {
      const all = group.live.flatMap((parent) => {
        const [state, logP] = model.step(parent.state, parent.word);
        return logP.map((p, word) => ({
          word, parent, state, group: number, count: time + 1, kind: "gone",
          total: parent.total + (time < forced.length && word !== forced[time] ? -Infinity : p),
        }));
      }).filter((node) => node.total > -Infinity);
      all.forEach((node) => { node.wanted = node.total - diversity * chosen[node.word]; });
      all.sort((a, b) => b.wanted - a.wanted); // stable: of equals the first
      const top = all.slice(0, 2 * beams);
      top.slice(0, beams).filter((node) => node.word === 0).forEach((node) => {
        Object.assign(node, { kind: "done", score: score(node.total, node.count) });
        group.done.push(node);
      });
      group.done.sort((a, b) => b.score - a.score);
      group.done = group.done.slice(0, beams);
      group.live = top.filter((node) => node.word !== 0).slice(0, beams);
      group.live.forEach((node) => { node.kind = "live"; chosen[node.word] += 1; });
      column.push(...top);
    });
    steps.push(column);
  }
  const best = search.flatMap((group) => {
    const cut = steps.length === length ? group.live : [];
    cut.forEach((node) => { node.score = score(node.total, length); });
    return [...group.done, ...cut].sort((a, b) => b.score - a.score).slice(0, beams);
  });
  best.sort((a, b) => b.score - a.score);
  return { steps, best };
}

function path(node) {
  const words = [];
  for (let n = node; n.parent; n = n.parent) words.unshift(n.word);
  return words;
}

// ---------------------------------------------------------------- the page

const show = (x) => x.toFixed(2).replace(/^-0\.00$/, "0.00").replace("-", "−");
const COLUMN = 112;
const ROW = 46;

class Page {
  constructor(data) {
    this.data = data;
    this.models = Object.fromEntries(Object.entries(data.models).map(([name, entry]) => [name, makeModel(entry, data.end)]));
    this.options = { penalty: "none", alpha: 0.6, groups: 1, diversity: 0 };
    this.build();
    this.take(Object.keys(data.models)[0]);
  }

  build() {
    const box = document.getElementById("models");
    for (const name of Object.keys(this.data.models)) {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => this.take(name));
      box.append(button);
    }
    this.controls = document.getElementById("controls");
    this.slider("width", "K", 1, 8, 1);
    this.slider("length", "steps at most", 1, 14, 1);
    this.slider("upTo", "steps shown", 1, 14, 1);
    this.choice("penalty", "length penalty", Object.keys(PENALTIES));
    this.slider("alpha", "α of wu", 0, 2, 0.1);
    this.choice("groups", "groups", ["1", "2", "3", "4"]);
    this.slider("diversity", "diversity", 0, 3, 0.1);
  }

  slider(name, title, min, max, step) {
    const input = make("input", { type: "range", min, max, step, id: name });
    const output = make("output", { for: name });
    input.addEventListener("input", () => this.set(name, input.valueAsNumber));
    this.controls.append(make("label", {}, title, input, output));
  }

  choice(name, title, values) {
    const select = make("select", { id: name }, ...values.map((value) => make("option", { value }, value)));
    select.addEventListener("change", () => this.set(name, name === "groups" ? Number(select.value) : select.value));
    this.controls.append(make("label", {}, title, select));
  }

  take(name) {
    const entry = this.data.models[name];
    this.name = name;
    this.forced = [];
    Object.assign(this.options, { width: entry.width, length: entry.length, upTo: entry.length, groups: 1, diversity: 0 });
    for (const button of document.getElementById("models").children)
      button.setAttribute("aria-pressed", String(button.textContent === name));
    document.getElementById("about").textContent = entry.about;
    this.render();
  }

  set(name, value) {
    this.options[name] = value;
    if (name === "length") this.options.upTo = value;
    if (name === "upTo") this.options.upTo = Math.min(value, this.options.length);
    if (name === "width" || name === "groups") // groups divide the beams
      while (this.options.width % this.options.groups) this.options.groups -= 1;
    this.render();
  }

  force(words) {
    this.forced = words;
    this.render();
  }

  search(changes = {}) {
    return beamSearch(this.models[this.name], { ...this.options, forced: this.forced, ...changes });
  }

  render() {
    for (const [name, value] of Object.entries(this.options)) {
      const field = document.getElementById(name);
      field.value = value;
      if (field.nextSibling) field.nextSibling.textContent = name === "alpha" || name === "diversity" ? value.toFixed(1) : value;
    }
    document.getElementById("alpha").disabled = this.options.penalty !== "wu";
    document.getElementById("diversity").disabled = this.options.groups === 1;
    const found = this.search();
    this.renderForced();
    this.renderTree(found);
    this.renderResults(found);
  }

  renderForced() {
    const { words } = this.models[this.name];
    const box = document.getElementById("forced");
    if (!this.forced.length) {
      box.replaceChildren("No word is forced.");
      return;
    }
    const clear = make("button", { type: "button", id: "clear" }, "Free again");
    clear.addEventListener("click", () => this.force([]));
    box.replaceChildren(`Forced: ${this.forced.map((word) => words[word]).join(" ")} `, clear);
  }

  renderTree({ steps, best }) {
    const { words } = this.models[this.name];
    const winner = new Set();
    for (let n = best[0]; n; n = n.parent) winner.add(n);
    const shown = steps.slice(0, this.options.upTo);
    const rows = Math.max(1, ...shown.map((column) => column.length));
    const [width, height] = [shown.length * COLUMN + 8, rows * ROW + 4];
    const lines = draw("svg", { width, height, "aria-hidden": "true" });
    const canvas = make("div", { class: "canvas" }, lines);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const places = new Map();
    shown.forEach((column, t) => {
      // children stand beside their parents, in the order of these
      const order = [...column].sort((a, b) => (places.get(a.parent) ?? 0) - (places.get(b.parent) ?? 0) || b.total - a.total);
      order.forEach((node, k) => {
        const y = k * ROW + 4;
        places.set(node, y);
        if (t) {
          const [x1, y1, x2] = [t * COLUMN - 18, (places.get(node.parent) ?? 0) + 17, t * COLUMN + 4];
          lines.append(draw("path", { class: node.kind, d: `M${x1} ${y1}C${x1 + 12} ${y1} ${x2 - 12} ${y + 17} ${x2} ${y + 17}` }));
        }
        const button = make("button", {
          type: "button", class: `node ${node.kind}`,
          "aria-label": `step ${t + 1}: ${path(node).map((w) => words[w]).join(" ")}, ${show(node.total)}, ${
            { live: "kept", done: "finished", gone: "dropped" }[node.kind]}; press to force it`,
        }, words[node.word], make("small", {}, show(node.total)));
        button.style.left = `${t * COLUMN + 4}px`;
        button.style.top = `${y}px`;
        if (winner.has(node)) button.style.outline = "2px solid var(--ink)";
        button.addEventListener("click", () => this.force(path(node)));
        canvas.append(button);
      });
    });
    document.getElementById("tree").replaceChildren(canvas);
  }

  renderResults({ best }) {
    const { words } = this.models[this.name];
    const line = (name, node) => make("tr", {},
      make("td", {}, name),
      make("td", {}, path(node).map((word) => words[word]).join(" ")),
      ...[node.total, Math.exp(node.total), node.score].map((value, k) =>
        make("td", { class: "number" }, k === 1 ? value.toPrecision(3) : show(value))));
    const head = make("tr", {}, make("th", {}, ""), make("th", {}, "string"),
      ...["log p", "p", "score"].map((title) => make("th", { class: "number" }, title)));
    const greedy = this.search({ width: 1, groups: 1, diversity: 0, penalty: "none" }).best;
    const rows = best.map((node, k) => line(`${k + 1}`, node));
    document.getElementById("results").replaceChildren(
      make("table", {}, head, ...rows, ...greedy.map((node) => line("greedy", node))));
  }
}

globalThis.beamDemo = { beamSearch, chainModel, lstmModel, makeModel, path };

if (typeof document !== "undefined") globalThis.beamDemo.page = new Page(DATA);
