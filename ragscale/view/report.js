// The report page of a run: everything in it comes from one JSON value; see `ragscale.view.report`.
const AXES = {
  tokens: ["total tokens", "tokens", count], serial_tokens: ["serial tokens", "tokens one after another", count],
  rounds: ["rounds", "rounds one after another", (v) => known(v) ? String(+v.toFixed(2)) : "–"],
  seconds: ["seconds", "seconds one after another", seconds], usd: ["dollars", "dollars", dollars],
};
const FINEST = {tokens: 1, serial_tokens: 1, rounds: 0.1};  // steps of an axis, so that its marks differ
const ROW = 54, BLOCK = 8;
const NEAR = 3;  // points so close are one to the eye
const PRINTED = 150;

const score = (value) => known(value) ? value.toFixed(2).replace(/^-(?=0\.00$)/, "").replace(/^(-?)0\./, "$1.").replace("-", "−") : "–";
const confidence = (level) => `${+(100 * level).toPrecision(10)} %`;
const signed = (value) => known(value) ? `${value > 0 && score(value) !== ".00" ? "+" : ""}${score(value)}` : "–";
const interval = (e, show = score) => !e || !known(e.value) ? "–"
  : known(e.low) && known(e.high) ? `${show(e.value)} [${show(e.low)}, ${show(e.high)}]` : show(e.value);
const worded = (text) => plain(text).split(/`([^`]+)`/).map((part, at) => at % 2 ? h("code", {}, part) : part);
const said = (answer) => (answer || "").trim() || "no answer";
const stopWords = (stop) => stop.startsWith("budget:") ? `limit of ${stop.slice(7).replaceAll("_", " ")}` : stop;
/** Colour of a family: of the second dozen those of the first, nearer to that of the letters. */
const hue = (at) => at < 12 ? `var(--f${Math.max(0, at)})` : `color-mix(in oklab, var(--f${at % 12}) 55%, var(--ink))`;
const LEFT_OUT = "(text left out)";  // as `ragscale report --without-texts` has it
const heat = (value) => !known(value) ? "var(--sunk)" : value >= 0.5
  ? `color-mix(in oklab, var(--hit) ${Math.round(200 * (value - 0.5))}%, var(--half))` : `color-mix(in oklab, var(--half) ${Math.round(200 * value)}%, var(--miss))`;

class ReportPage {
  constructor(data, traces) {
    this.data = data;
    this.traces = traces;
    this.cells = data.cells;
    this.questions = data.questions;
    this.families = [...new Set(this.cells.map((c) => c.family))];
    this.only = null;
    this.several = data.runs.length > 1;
    this.colour = (cell) => hue(this.families.indexOf(cell.family));
  }

  name(at) {
    const cell = this.cells[at];
    return cell ? (this.several ? `${this.data.runs[cell.run].name}: ` : "") + cell.key : "–";
  }

  /** Colour and name of a cell. */
  named(at) {
    return h("span", {class: "named"}, h("i", {class: "dot", style: {"--colour": this.colour(this.cells[at])}}), h("span", {}, breaking(this.name(at))));
  }

  start() {
    const d = this.data;
    const sections = [
      ["answer", "The answer", this.answer()], ["cost", "Score against cost", this.charts()],
      ["equal", "At equal cost", this.equal()], ["problem", "Does it depend on the problem?", this.problem()],
      d.changes.length ? ["changes", "What changed between the runs", this.changes()] : null,
      ["ends", "How runs ended, and what they cost", this.ends()], ["limits", "What this run cannot say", this.limits()],
      ["questions", "Every question", this.table()],
    ].filter(Boolean);
    document.body.append(h("main", {},
      h("header", {}, h("div", {class: "row"}, h("span", {class: "brand"}, "ragscale"), h("span", {class: "soft small"}, "report"), h("span", {class: "grow"}), themeButton()),
        h("h1", {class: "text"}, short(d.title, 300)),
        h("p", {class: "soft small"}, [`${many(this.questions.length, "question")}, ${many(this.cells.length, "cell")}`, `${confidence(d.level)} intervals`, plain(d.made).slice(0, 16).replace("T", " ") + (d.made ? " UTC" : ""), `ragscale ${plain(d.ragscale)}`].join(" · ")),
        h("nav", {class: "screen", "aria-label": "Sections"}, sections.map(([id, words]) => h("a", {href: `#${id}`}, words)))),
      sections.map(([id, words, parts]) => h("section", {id, class: id === "answer" ? "lead" : ""}, h("h2", {}, words), parts))));
    this.dialog = h("dialog", {"aria-label": "Run of one question", onclose: () => this.closed()}, h("div", {class: "row bar"}, (this.opened = h("span", {class: "mono"})), h("span", {class: "grow"}),
      (this.back = h("button", {class: "small", onclick: () => this.step(-1)}, "← question before")), (this.on = h("button", {class: "small", onclick: () => this.step(1)}, "next question →")),
      (this.printing = h("button", {class: "small", onclick: () => this.dialog.querySelector("iframe")?.contentWindow.postMessage("print", "*")}, "print")),
      h("button", {class: "small", onclick: () => this.dialog.close()}, "close")), (this.showing = h("div", {})));
    addEventListener("message", (event) => { if (event.data === "close" && event.source === this.dialog.querySelector("iframe")?.contentWindow) this.dialog.close(); });
    document.body.append(this.dialog);
    this.drawChart();
    this.levels.forEach((draw) => draw());
    this.filter();
    document.getElementById(location.hash.slice(1))?.scrollIntoView();  // the browser looked for it before it was drawn
    addEventListener("beforeprint", () => { document.querySelectorAll("details").forEach((e) => { e.open = true; }); this.forPrint(); });
  }

  answer() {
    const d = this.data;
    return h("div", {class: "words"}, d.answer.length ? d.answer.map((text) => h("p", {}, worded(text))) : h("p", {class: "soft"}, "No answer can be given yet."));
  }

  // ---- charts ----

  charts() {
    const d = this.data;
    this.axis = d.charts.length ? d.charts[0].axis : null;
    this.picture = h("figure", {class: "chart card"});
    this.about = h("div", {class: "about small", "aria-live": "polite"});
    this.axisButtons = d.charts.map((chart) => h("button", {class: "small", "aria-pressed": String(chart.axis === this.axis), onclick: () => {
      this.axis = chart.axis;
      this.axisButtons.forEach((b, at) => b.setAttribute("aria-pressed", String(d.charts[at].axis === this.axis)));
      this.drawChart();
    }}, AXES[chart.axis][0]));
    this.familyButtons = this.families.map((family, at) => h("button", {class: "small", "aria-pressed": "false", onclick: () => {
      this.only = this.only === family ? null : family;
      this.familyButtons.forEach((b, i) => { b.setAttribute("aria-pressed", String(this.families[i] === this.only)); });
      this.drawChart();
    }}, h("i", {class: "dot", style: {"--colour": hue(at)}}), h("span", {class: "mono"}, breaking(family))));
    if (!d.charts.length) return h("p", {class: "soft"}, "Nothing to draw yet.");
    this.chartNote = h("p", {class: "soft small"});
    return [h("p", {class: "soft small"}, `Mean ${d.score} of a question with its ${confidence(d.level)} interval. Filled: no cell is better at no more cost. Dashed: the fit a·log(x + b) + c of a family.`),
      h("div", {class: "row axes screen"}, this.axisButtons),
      h("div", {class: "charting"}, h("div", {}, this.picture, this.chartNote,
        h("div", {class: "printed", "aria-hidden": "true"}, (this.others = h("div", {})))),
        h("div", {}, h("ul", {class: this.families.length > 12 ? "families many" : "families"}, this.familyButtons.map((b) => h("li", {}, b))), this.about))];
  }

  drawChart() {
    if (!this.axis) return;
    const chart = this.data.charts.find((c) => c.axis === this.axis);
    put(this.picture, this.drawn(chart, true));
    put(this.chartNote, worded(chart.note));
    this.aboutCell(null);
  }

  drawn(chart, live) {
    const show = AXES[chart.axis][2], points = chart.points.map((p) => ({...p, of: this.cells[p.cell], cost: (this.cells[p.cell].cost || {})[chart.axis]}))
      .filter((p) => p.cost && known(p.cost.value) && known(p.of.score.value));
    if (!points.length) return h("p", {class: "soft"}, `No cell has a known cost in ${AXES[chart.axis][0]}.`);
    const width = 820, height = 430, left = 46, right = 16, top = 14, bottom = 44;
    const xs = points.flatMap((p) => [p.cost.value, p.cost.low, p.cost.high]).filter((v) => known(v) && v >= 0);
    const positive = xs.filter((v) => v > 0);
    const log = positive.length === xs.length && Math.max(...positive) / Math.min(...positive) > 4 && chart.axis !== "rounds";
    const t = log ? Math.log10 : (v) => v;
    let low = t(Math.min(...(log ? positive : xs))), high = t(Math.max(...xs));
    const finest = FINEST[chart.axis] || 0, span = Math.max(high - low, log ? 0 : 4 * finest || high / 4), pad = (span - (high - low)) / 2 + 0.06 * span;
    low -= pad; high += pad;
    if (!log) low = Math.max(0, low);
    const ys = points.flatMap((p) => [p.of.score.value, p.of.score.low, p.of.score.high]).filter(known);
    const yLow = Math.max(0, Math.floor(10 * (Math.min(...ys) - 0.02)) / 10), yHigh = Math.min(1, Math.ceil(10 * (Math.max(...ys) + 0.02)) / 10);
    const x = (v) => left + (width - left - right) * (t(v) - low) / (high - low || 1), y = (v) => top + (height - top - bottom) * (yHigh - v) / (yHigh - yLow || 1);
    const picture = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${this.data.score} against ${AXES[chart.axis][0]}`});
    for (let v = yLow; v <= yHigh + 1e-9; v += yHigh - yLow > 0.5 ? 0.2 : 0.1) picture.append(svg("line", {class: "frame", x1: left, x2: width - right, y1: y(v), y2: y(v)}), svg("text", {class: "tick", x: left - 7, y: y(v) + 4, "text-anchor": "end"}, score(v)));
    for (const v of ticks(low, high, log, finest)) picture.append(svg("line", {class: "frame", x1: x(v), x2: x(v), y1: top, y2: height - bottom}), svg("text", {class: "tick", x: x(v), y: height - bottom + 16, "text-anchor": "middle"}, show(v).replace(/\.0+ s/, " s")));
    picture.append(svg("text", {class: "tick", x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle"}, `${AXES[chart.axis][1]} a question${log ? " (logarithmic)" : ""}`));
    const front = points.filter((p) => p.front).sort((a, b) => a.cost.value - b.cost.value);
    if (front.length > 1) picture.append(svg("path", {class: "steps", d: front.map((p, at) => `${at ? `H${x(p.cost.value)} V` : `M${x(p.cost.value)} `}${y(p.of.score.value)}`).join(" ")}));
    for (const curve of chart.curves) {
      const dots = [];
      for (let i = 0; i <= 48; i++) {
        const from = Math.max(curve.low, 1e-9), v = log ? from * (curve.high / from) ** (i / 48) : curve.low + (curve.high - curve.low) * i / 48;
        const fit = curve.a * Math.log(v + curve.b) + curve.c;
        if (known(fit) && fit >= yLow - 0.05 && fit <= yHigh + 0.05) dots.push(`${dots.length ? "L" : "M"}${x(v).toFixed(1)} ${y(fit).toFixed(1)}`);
      }
      picture.append(svg("path", {class: `fit ${this.only && this.only !== curve.family ? "dim" : ""}`, style: {color: hue(this.families.indexOf(curve.family))}, d: dots.join("")}));
    }
    const named = [];
    for (const p of [...points].sort((a, b) => a.front - b.front)) {
      const cx = x(p.cost.value), cy = y(p.of.score.value), e = p.of.score;
      const near = points.filter((o) => o !== p && Math.hypot(x(o.cost.value) - cx, y(o.of.score.value) - cy) < NEAR).map((o) => o.cell);
      const tell = () => live && this.aboutCell(p.cell, chart, p, near);
      const mark = svg("g", {class: `point ${p.front ? "front" : ""} ${this.only && this.only !== p.of.family ? "dim" : ""}`, style: {color: this.colour(p.of)}, tabindex: live ? "0" : null,
        role: live ? "button" : null, "aria-label": `${this.name(p.cell)}: ${interval(e)} at ${show(p.cost.value)}`, onmouseenter: tell, onfocus: tell, onclick: tell},
        known(e.low) && known(e.high) ? svg("line", {x1: cx, x2: cx, y1: y(Math.min(yHigh, e.high)), y2: y(Math.max(yLow, e.low))}) : null,
        known(p.cost.low) && known(p.cost.high) && (!log || p.cost.low > 0) ? svg("line", {x1: x(p.cost.low), x2: x(p.cost.high), y1: cy, y2: cy}) : null,
        svg("circle", {cx, cy, r: p.front ? 5.5 : 4.5}));
      picture.append(mark);
      if (p.front) named.push({cx, cy, text: brief(p.of.family, 26), colour: this.colour(p.of), share: p.share});
    }
    // A label stands where it covers no point and no other label; where there is no such place, pointing at the cell tells.
    const taken = points.map((p) => ({x1: x(p.cost.value) - 6, x2: x(p.cost.value) + 6, y1: y(p.of.score.value) - 6, y2: y(p.of.score.value) + 6}));
    const labels = [];
    for (const n of named.sort((a, b) => a.cy - b.cy)) {
      const text = n.text + (known(n.share) ? ` ${percent(n.share)}` : ""), wide = 6.6 * text.length;
      if (labels.some((o) => o.text === text && Math.hypot(o.cx - n.cx, o.cy - n.cy) < NEAR)) continue;  // budgets that change nothing
      labels.push({...n, text});
      const places = [[9, -7], [-9, -7], [9, 16], [-9, 16], [9, -21], [-9, -21], [9, 30], [-9, 30]].map(([dx, dy]) => ({
        x: n.cx + dx, y: n.cy + dy, end: dx < 0, x1: n.cx + dx - (dx < 0 ? wide : 0), x2: n.cx + dx + (dx < 0 ? 0 : wide), y1: n.cy + dy - 10, y2: n.cy + dy + 3}));
      const at = places.find((b) => b.x1 > left && b.x2 < width && b.y1 > 0 && b.y2 < height - bottom && !taken.some((o) => b.x1 < o.x2 && o.x1 < b.x2 && b.y1 < o.y2 && o.y1 < b.y2));
      if (!at) continue;
      taken.push(at);
      picture.append(svg("text", {class: "label", x: at.x, y: at.y, "text-anchor": at.end ? "end" : "start", style: {color: n.colour}}, text));
    }
    return picture;
  }

  aboutCell(at, chart, point, near = []) {
    if (at === null) { put(this.about, h("p", {class: "soft screen"}, "Point at a cell. The percentage beside a filled one: in how many bootstrap samples it is on the front.")); return; }
    const cell = this.cells[at];
    put(this.about, h("p", {class: "mono"}, this.name(at)), h("dl", {class: "facts num"},
      h("dt", {}, this.data.score), h("dd", {}, interval(cell.score)), h("dt", {}, "exact match"), h("dd", {}, interval(cell.em)),
      Object.entries(cell.cost).map(([axis, e]) => [h("dt", {}, AXES[axis] ? AXES[axis][0] : axis), h("dd", {}, AXES[axis] ? AXES[axis][2](e.value) : count(e.value))]),
      h("dt", {}, "front"), h("dd", {}, point.front ? `yes${known(point.share) ? `, in ${percent(point.share)} of samples` : ""}` : `no${known(point.share) ? `, in ${percent(point.share)} of samples` : ""}`),
      h("dt", {}, "questions"), h("dd", {}, count(cell.score.n)),
      near.length ? [h("dt", {}, "same place"), h("dd", {class: "mono"}, near.map((c) => h("div", {}, breaking(this.name(c)))))] : null));
  }

  // ---- equal cost ----

  /** A value with its interval as a line; `zero` draws the place of no difference. */
  span(e, low, high, zero = null) {
    if (!e || !known(e.value)) return null;
    const x = (v) => 4 + 112 * (Math.min(high, Math.max(low, v)) - low) / (high - low || 1);
    return svg("svg", {width: 120, height: 16, "aria-hidden": "true"}, zero === null ? null : svg("line", {class: "span-zero", x1: x(zero), x2: x(zero), y1: 0, y2: 16}),
      known(e.low) && known(e.high) ? svg("line", {class: "span-line", x1: x(e.low), x2: x(e.high), y1: 8, y2: 8}) : null, svg("circle", {class: "span-dot", cx: x(e.value), cy: 8, r: 3.5}));
  }

  compared(level, first, second) {
    const found = level.comparisons.find((c) => c.first === first && c.second === second);
    if (found) return found;
    const other = level.comparisons.find((c) => c.first === second && c.second === first);
    if (!other) return null;
    const minus = (v) => known(v) ? -v : v, e = other.difference;
    return {...other, first, second, difference: {value: minus(e.value), low: minus(e.high), high: minus(e.low), n: e.n},
      verdict: {better: "worse", worse: "better"}[other.verdict] || other.verdict};
  }

  verdict(c) {
    if (!c) return h("span", {class: "soft"}, "not compared");
    if (c.same) return h("span", {class: "verdict equivalent"}, `the same ${c.same}`);
    return [h("span", {class: `verdict ${c.verdict}`}, c.verdict), known(c.needed) && c.verdict === "undecided" ? h("span", {class: "soft small"}, `; about ${many(c.needed, "more question")} would tell`) : null];
  }

  equal() {
    this.levels = [];
    if (!this.data.equal.length) return h("p", {class: "soft"}, "There are not two cells of equal cost.");
    return h("div", {}, this.data.equal.map((table) => h("div", {class: "equal"},
      h("h3", {}, `Equal ${table.axis === "serial_tokens" ? "serial" : table.axis === "tokens" ? "total" : ""} cost: ${AXES[table.axis][1]}`),
      h("p", {class: "soft small"}, `${plain(table.method)} Equivalent: within ±${score(table.margin)}. `, worded(table.note)),
      table.levels.map((level) => this.level(table, level)))));
  }

  level(table, level) {
    const body = h("tbody", {});
    const choose = h("select", {class: "small screen", "aria-label": "Compare with", onchange: () => draw(Number(choose.value))}, level.cells.map((c) => h("option", {value: c, selected: c === level.reference}, brief(this.name(c), 70))));
    const scores = level.cells.flatMap((c) => [this.cells[c].score.low, this.cells[c].score.high, this.cells[c].score.value]).filter(known);
    const low = Math.min(...scores, 1), high = Math.max(...scores, 0), show = AXES[table.axis][2];
    const draw = (reference) => put(body, level.cells.map((c) => {
      const cell = this.cells[c], compared = c === reference ? null : this.compared(level, c, reference), e = cell.cost[table.axis];
      return h("tr", {class: c === reference ? "ref" : ""}, h("td", {class: "name"}, this.named(c)),
        h("td", {class: "num"}, interval(cell.score)), h("td", {}, this.span(cell.score, low, high)), h("td", {class: "num r"}, e ? show(e.value) : "–"),
        c === reference ? h("td", {class: "soft small", colspan: 3}, "compared with this one") : [h("td", {class: "num"}, compared ? `${signed(compared.difference.value)} [${signed(compared.difference.low)}, ${signed(compared.difference.high)}]` : ""),
          h("td", {class: "num small soft"}, compared && known(compared.p) ? `p ${compared.p < 0.001 ? "< .001" : score(compared.p) === ".00" ? compared.p.toFixed(3).slice(1) : score(compared.p)}` : ""), h("td", {class: "says"}, this.verdict(compared))]);
    }));
    this.levels.push(() => draw(level.reference));
    return h("div", {class: "level"}, h("div", {class: "row"}, h("h3", {class: "small"}, plain(level.label)), h("span", {class: "grow"}), h("label", {class: "small soft screen"}, "compare with ", choose)),
      h("div", {class: "scroll"}, h("table", {class: "figures small"}, h("thead", {}, h("tr", {}, ["cell", this.data.score, "", AXES[table.axis][0], "difference", "", "verdict"].map((t, i) => h("th", {class: i === 3 ? "r" : ""}, t)))), body)));
  }

  // ---- problem ----

  problem() {
    const p = this.data.problem;
    return [p.words ? h("p", {class: "words"}, worded(p.words)) : null,
      h("div", {class: "pair"}, p.strata.map((s) => this.strata(s)), p.recall.length ? this.recall(p) : null),
      p.oracle ? this.oracle(p.oracle) : null,
      !p.strata.length && !p.recall.length && !p.oracle ? h("p", {class: "soft"}, "The questions have no hops, types or breadths, so this run cannot tell.") : null];
  }

  heatTable(cells, heads, values, best = () => false) {
    return h("div", {class: "scroll"}, h("table", {class: "heat small num"}, h("thead", {}, h("tr", {}, h("th", {}), heads)),
      h("tbody", {}, cells.map((c, row) => h("tr", {}, h("td", {class: "name"}, this.named(c)),
        values.map((column, at) => { const e = column[row]; return h("td", {class: `v ${best(at, c) ? "best" : ""}`, style: {background: heat(e ? e.value : null)}}, e ? score(e.value) : "–", e && known(e.low) ? h("small", {}, `${score(e.low)} to ${score(e.high)}`) : null); }))))));
  }

  strata(s) {
    return h("div", {}, h("h3", {}, `${this.data.score} by ${plain(s.by)}`),
      this.heatTable(s.cells, s.strata.map((one) => h("th", {}, plain(one.label), h("small", {class: "soft"}, `n ${one.n}`))), s.strata.map((one) => one.scores), (at, c) => s.strata[at].best === c),
      s.strata.some((one) => one.best !== null) ? h("p", {class: "small"}, "Framed: better than all others.") : null,
      s.strata.filter((one) => one.words).map((one) => h("p", {class: "small"}, worded(one.words))),
      s.interaction ? h("p", {class: "small"}, h("b", {}, "Interaction: "), worded(s.interaction.words), h("span", {class: "soft"}, ` (${plain(s.interaction.test)}${known(s.interaction.p) ? `, p ${s.interaction.p < 0.001 ? "< .001" : s.interaction.p.toPrecision(2)}` : ""})`)) : null);
  }

  recall(p) {
    return h("div", {}, h("h3", {}, "All gold passages retrieved, by their number"),
      this.heatTable(p.recall_cells, p.recall.map((one) => h("th", {}, many(one.gold, "passage"), h("small", {class: "soft"}, `n ${one.n}`))), p.recall.map((one) => one.rates)));
  }

  oracle(o) {
    return h("div", {class: "card apart"}, h("h3", {}, "The oracle: a bound, not a result"),
      h("p", {}, `The best cell of each question, chosen after the fact, has ${interval(o.score)}; the best single cell is `, h("code", {}, this.name(o.best)), `, ${interval(this.cells[o.best].score)}.`),
      h("p", {class: "small"}, worded(o.words)),
      h("p", {class: "small soft"}, "Cost a question: ", Object.entries(o.cost).filter(([, v]) => known(v)).map(([axis, v]) => axis === "seconds" || axis === "usd" ? AXES[axis][2](v) : `${AXES[axis] ? AXES[axis][2](v) : count(v)} ${AXES[axis] ? AXES[axis][0] : axis}`.replace(/^1 rounds$/, "1 round")).join(", ")),
      o.picks.length ? h("p", {class: "small soft"}, "It picks ", o.picks.map((pick) => `${plain(pick.name)}: ${plain(pick.value)}`).join(", "), ".") : null);
  }

  changes() {
    const rows = this.data.changes, all = rows.flatMap((r) => [r.comparison.difference.low, r.comparison.difference.high, r.comparison.difference.value, 0]).filter(known);
    const low = Math.min(...all), high = Math.max(...all);
    return h("div", {class: "scroll"}, h("table", {class: "figures small"}, h("thead", {}, h("tr", {}, ["cell", "difference", "", "verdict", "cost"].map((t) => h("th", {}, t)))),
      h("tbody", {}, rows.map(({comparison: c, cost}) => h("tr", {}, h("td", {class: "name"}, breaking(this.name(c.first)), " against ", breaking(this.name(c.second))),
        h("td", {class: "num"}, `${signed(c.difference.value)} [${signed(c.difference.low)}, ${signed(c.difference.high)}]`), h("td", {}, this.span(c.difference, low, high, 0)), h("td", {class: "says"}, this.verdict(c)),
        h("td", {class: "num says"}, Object.entries(cost).filter(([, e]) => known(e.value)).map(([axis, e]) => `${e.value > 0 ? "+" : e.value < 0 ? "−" : ""}${AXES[axis][2](Math.abs(e.value))} ${AXES[axis][0]}`).join(", ")))))));
  }

  // ---- ends ----

  ends() {
    const d = this.data, reasons = [...new Set(d.stopped.flatMap((s) => Object.keys(s.stops)))].sort((a, b) => (b === "answered") - (a === "answered"));
    const colour = (reason) => reason === "answered" ? "var(--answer)" : reason === "failed" ? "var(--bad)" : ["var(--read)", "var(--plan)", "var(--retrieve)", "var(--score)"][reasons.filter((r) => r.startsWith("budget:")).indexOf(reason) % 4];
    const money = d.stopped.some((s) => known(s.charged.usd));
    const spent = (all) => [`${count(all.tokens)} tokens`, seconds(all.seconds), money && dollars(all.usd)];
    const amounts = (parts) => h("td", {class: "amounts"}, parts.filter(Boolean).map((part, at) => [at ? ", " : "", h("span", {}, part)]));
    const overruns = d.stopped.reduce((sum, s) => sum + s.overruns, 0);
    return [
      h("p", {class: "small"}, reasons.map((r) => [h("i", {class: "key", style: {background: colour(r)}}), stopWords(plain(r))]), h("span", {class: overruns ? "verdict worse" : "soft"}, ` · ${overruns ? many(overruns, "question") : "no question"} was charged more than its limit.`)),
      h("div", {class: "scroll"}, h("table", {class: "figures small num"}, h("thead", {}, h("tr", {}, ["cell", "ends", "answered", "failed", "overruns", "an answered question", "charged", "paid"].map((t) => h("th", {}, t)))),
        h("tbody", {}, d.stopped.map((s) => h("tr", {}, h("td", {class: "name"}, this.named(s.cell)),
          h("td", {}, h("div", {class: "stack", role: "img", "aria-label": Object.entries(s.stops).map(([r, n]) => `${stopWords(r)} ${n}`).join(", "), title: Object.entries(s.stops).map(([r, n]) => `${stopWords(r)}: ${n}`).join("\n")}, reasons.map((r) => s.stops[r] ? h("i", {style: {width: `${100 * s.stops[r] / (s.n || 1)}%`, background: colour(r)}}) : null))),
          h("td", {}, `${count(s.stops.answered || 0)} of ${count(s.n)}`), h("td", {class: s.stops.failed ? "verdict worse" : ""}, count(s.stops.failed || 0)), h("td", {class: s.overruns ? "verdict worse" : ""}, count(s.overruns)),
          amounts([`${count(s.answered_tokens)} tokens`, money && dollars(s.answered_usd)]), amounts(spent(s.charged)), amounts(spent(s.paid))))))),
      d.dropped.length ? [h("h3", {}, "Dropped by racing"), h("ul", {class: "cannot small"}, d.dropped.map((x) => h("li", {}, h("code", {}, this.name(x.cell)), ` after ${many(x.after, "question")}${x.by === null ? "" : `, dominated by ${this.name(x.by)}`}. `, worded(x.words))))] : null,
      d.runs.map((run) => [h("h3", {class: "text"}, this.several ? `Run ${plain(run.name)}` : "Settings"),
        run.codes.length > 1 ? h("p", {class: "warning"}, `Rows of ${run.codes.length} versions of the source: they are not comparable.`) : null,
        h("dl", {class: "facts"}, [{name: "folder", value: run.path}, {name: "rows", value: `${count(run.rows)}, of ${many(run.questions, "question")}`}, {name: "charged", value: this.money(run.charged)}, {name: "paid", value: this.money(run.paid)}, ...run.settings, ...run.codes.map((c) => ({name: `code ${c.name}`, value: c.value}))]
          .map((pair) => [h("dt", {}, plain(pair.name)), h("dd", {class: "text"}, short(pair.value, 500))]))])];
  }

  money(spend) {
    return Object.entries(spend).filter(([, v]) => known(v)).map(([name, v]) => name === "usd" ? dollars(v) : name === "seconds" ? seconds(v) : `${count(v)} ${name.replace(/^llm_/, "model_").replaceAll("_", " ")}`).join(", ") || "–";
  }

  limits() {
    const d = this.data;
    return d.limits.length ? h("ul", {class: "cannot"}, d.limits.map((text) => h("li", {}, worded(text)))) : h("p", {class: "soft"}, "Nothing was noted.");
  }

  // ---- questions ----

  table() {
    const pick = (label, options, make = (v) => plain(v)) => {
      const select = h("select", {class: "small", onchange: () => this.filter()}, h("option", {value: ""}, "all"), options.map((o) => h("option", {value: String(o)}, brief(make(o), 60))));
      return {select, label: h("label", {}, label, select)};
    };
    const values = (key) => [...new Set(this.questions.map((q) => q[key]).filter((v) => v !== null && v !== undefined))].sort((a, b) => a < b ? -1 : 1);
    this.search = h("input", {type: "search", class: "small", placeholder: "search questions and answers", "aria-label": "Search questions and answers", oninput: () => { clearTimeout(this.wait); this.wait = setTimeout(() => this.filter(), 120); }});
    this.picks = {};
    const bar = [this.search];
    const stops = [...new Set(this.cells.flatMap((c) => c.runs.stop))].filter(Boolean).sort();
    this.picks.stop = pick("ended", stops, stopWords);
    bar.push(this.picks.stop.label);
    for (const key of ["hops", "type", "breadth"]) if (values(key).length > 1) { this.picks[key] = pick(key, values(key)); bar.push(this.picks[key].label); }
    const cells = this.cells.map((_, at) => at), base = this.data.baseline ?? 0;
    const best = cells.reduce((a, b) => (this.cells[b].score.value ?? -1) > (this.cells[a].score.value ?? -1) ? b : a, 0);
    this.wrong = pick("wrong in", cells, (at) => this.name(at));
    this.right = pick("right in", cells, (at) => this.name(at));
    bar.push(this.wrong.label, this.right.label);
    const told = (at) => brief(this.cells[base].mode === this.cells[best].mode ? this.name(at) : this.cells[at].mode, 30);
    if (best !== base) bar.push(h("button", {class: "small", onclick: () => { this.wrong.select.value = String(base); this.right.select.value = String(best); this.filter(); }}, `${told(base)} wrong, ${told(best)} right`));
    this.sort = h("select", {class: "small", onchange: () => this.filter()}, h("option", {value: ""}, "as asked"), h("option", {value: "split"}, "most disagreement"), cells.map((at) => h("option", {value: String(at)}, `${brief(this.name(at), 60)}, worst first`)));
    bar.push(h("label", {}, "order", this.sort), h("button", {class: "small", onclick: () => { this.search.value = ""; for (const s of [...Object.values(this.picks), this.wrong, this.right]) s.select.value = ""; this.sort.value = ""; this.filter(); }}, "reset"));
    this.told = h("p", {class: "small soft", "aria-live": "polite"});
    this.gridHead = h("div", {class: "grid-head", role: "row"});
    this.gridBody = h("div", {class: "body"});
    this.grid = h("div", {class: "grid-table", role: "grid", "aria-label": "Answers of all cells", onscroll: () => this.drawRows(), onkeydown: (event) => this.walk(event)}, this.gridHead, this.gridBody);
    this.gridBody.addEventListener("focusin", ({target}) => { if (target.matches(".cell")) this.stand(Number(target.dataset.row), Number(target.dataset.column)); });
    addEventListener("resize", () => { this.drawn_ = null; this.spread(); this.drawRows(); });
    this.lower = this.questions.map((q, i) => [q.question, ...q.gold, q.id, ...this.cells.map((c) => c.runs.answer[i] || "")].join("\n").toLowerCase());
    this.forPaper = h("table", {class: "printed table"});
    return [h("p", {class: "soft small"}, `Colour: ${this.data.score} from `, h("i", {class: "key", style: {background: heat(0)}}), "0 to ", h("i", {class: "key", style: {background: heat(1)}}), "1. ", h("span", {class: "screen"}, "A click opens the run; arrow keys walk through the answers, Enter opens one.")),
      h("div", {class: "row filters screen"}, bar), this.told, h("div", {class: "screen"}, this.grid), this.forPaper];
  }

  filter() {
    const wanted = this.search.value.trim().toLowerCase(), {stop, ...plainPicks} = this.picks;
    const wrong = this.wrong.select.value, right = this.right.select.value, ended = stop.select.value;
    const is = (at, i, good) => { const f = this.cells[at].runs.f1[i], em = this.cells[at].runs.em[i]; return known(f) && (good ? em === 1 || f >= 0.8 : em !== 1 && f < 0.5); };
    this.rows = this.questions.map((_, i) => i).filter((i) => (!wanted || this.lower[i].includes(wanted))
      && Object.entries(plainPicks).every(([key, p]) => !p.select.value || String(this.questions[i][key]) === p.select.value)
      && (!ended || this.cells.some((c) => c.runs.stop[i] === ended)) && (!wrong || is(Number(wrong), i, false)) && (!right || is(Number(right), i, true)));
    const by = this.sort.value;
    if (by === "split") {
      const split = (i) => { const f = this.cells.map((c) => c.runs.f1[i]).filter(known); const mean = f.reduce((a, b) => a + b, 0) / (f.length || 1); return f.reduce((a, b) => a + (b - mean) ** 2, 0); };
      const worth = new Map(this.rows.map((i) => [i, split(i)]));
      this.rows.sort((a, b) => worth.get(b) - worth.get(a));
    } else if (by) this.rows.sort((a, b) => (this.cells[by].runs.f1[a] ?? 2) - (this.cells[by].runs.f1[b] ?? 2));
    this.told.textContent = `${count(this.rows.length)} of ${many(this.questions.length, "question")}${this.rows.length < this.questions.length ? "; the means below are of these" : ""}.`;
    put(this.gridHead, h("div", {class: "q", role: "columnheader"}, "question, right answers"), this.cells.map((cell, at) => {
      const f = this.rows.map((i) => cell.runs.f1[i]).filter(known);
      return h("div", {class: "c", role: "columnheader"}, h("button", {title: `${this.name(at)}: worst first`, onclick: () => { this.sort.value = this.sort.value === String(at) ? "" : String(at); this.filter(); }}, breaking(brief(this.name(at), 60))),
        h("div", {class: "mean num"}, f.length ? score(f.reduce((a, b) => a + b, 0) / f.length) : "–"));
    }));
    this.spread();
    this.gridBody.style.height = `${this.rows.length * ROW}px`;
    this.grid.setAttribute("aria-rowcount", String(this.rows.length + 1));
    this.grid.scrollTop = 0;
    this.place = [0, 0];
    this.drawn_ = null;
    this.drawRows();
  }

  /** Columns as wide as there is room for. */
  spread() {
    const room = this.grid.clientWidth - this.gridHead.firstChild.offsetWidth;
    this.grid.style.setProperty("--c", `${Math.floor(Math.max(88, Math.min(260, room / this.cells.length)))}px`);
  }

  /** The answer at which the Tab key enters the table: one for all, as a table may have thousands. */
  stand(row, column) {
    this.gridBody.querySelector(".cell[tabindex='0']")?.setAttribute("tabindex", "-1");
    this.place = [row, column];
    this.cellAt(row, column)?.setAttribute("tabindex", "0");
  }

  cellAt(row, column) { return this.gridBody.querySelector(`.cell[data-row="${row}"][data-column="${column}"]`); }

  /** Arrow keys walk through the answers. */
  walk(event) {
    if (!event.target.matches(".cell") || event.altKey || event.metaKey) return;
    const [row, column] = this.place, last = this.rows.length - 1, end = this.cells.length - 1;
    const page = Math.max(1, Math.floor((this.grid.clientHeight - this.gridHead.offsetHeight) / ROW) - 1);
    const to = {ArrowDown: [row + 1, column], ArrowUp: [row - 1, column], ArrowRight: [row, column + 1], ArrowLeft: [row, column - 1],
      PageDown: [row + page, column], PageUp: [row - page, column], Home: [event.ctrlKey ? 0 : row, 0], End: [event.ctrlKey ? last : row, end]}[event.key];
    if (!to) return;
    event.preventDefault();
    const [down, across] = [Math.min(last, Math.max(0, to[0])), Math.min(end, Math.max(0, to[1]))];
    const lowest = down * ROW, highest = lowest + ROW - (this.grid.clientHeight - this.gridHead.offsetHeight);
    this.grid.scrollTop = Math.min(lowest, Math.max(highest, this.grid.scrollTop));
    this.stand(down, across);
    this.drawRows();
    this.cellAt(down, across).focus();
  }

  drawRows() {
    const first = Math.floor(this.grid.scrollTop / ROW / BLOCK) * BLOCK;  // drawn anew once a block, not once a row
    const from = Math.max(0, first - BLOCK), to = Math.min(this.rows.length, first + Math.ceil((this.grid.clientHeight || 700) / ROW) + 2 * BLOCK);
    const [row, column] = this.place, drawn = [from, to, row < from || row >= to ? row : -1];
    if (String(this.drawn_) === String(drawn)) return;
    this.drawn_ = drawn;
    const held = this.gridBody.contains(document.activeElement);
    const rows = this.rows.slice(from, to).map((i, at) => [i, from + at]);
    if (drawn[2] >= 0 && this.rows.length) rows.push([this.rows[row], row]);  // out of sight, but the keyboard is there
    put(this.gridBody, rows.map(([i, at]) => {
      const line = h("div", {class: "line", role: "row", "aria-rowindex": at + 2}, this.asked(i), this.cells.map((cell, c) => h("div", {class: "c", role: "gridcell"}, this.cell(cell, c, i, at))));
      line.style.top = `${at * ROW}px`;
      return line;
    }));
    if (held) this.cellAt(row, column)?.focus({preventScroll: true});
  }

  /** The words of a question; its id where those are left out. */
  asks(i) { return this.questions[i].question === LEFT_OUT ? this.questions[i].id : this.questions[i].question; }

  asked(i) {
    const q = this.questions[i], kind = [known(q.hops) ? many(q.hops, "hop") : null, q.type, known(q.breadth) ? `breadth ${q.breadth}` : null].filter(Boolean).map((t) => short(t, 30)).join(" · ");
    return h("div", {class: "q", role: "rowheader", title: short(this.asks(i), 1000)}, h("div", {class: "text"}, short(this.asks(i), 180)),
      h("div", {class: "tags"}, q.gold.length ? h("b", {class: "own"}, q.gold.map((g) => short(g, 60)).join(" · ")) : null, q.gold.length && kind ? " · " : "", kind));
  }

  cell(cell, c, i, row) {
    const r = cell.runs, f = r.f1[i], stop = r.stop[i];
    const place = {"data-row": row, "data-column": c, tabindex: row === this.place[0] && c === this.place[1] ? "0" : "-1"};
    if (stop === null || stop === undefined) return h("div", {class: "cell none", title: "not run", role: "img", "aria-label": `${this.name(c)}: not run`, ...place});
    const ended = stop === "answered" ? "" : ` · ${stop === "failed" ? "failed" : `${stop.slice(7).replaceAll("_", " ")} spent`}`;
    const told = `${this.name(c)}: ${short(said(r.answer[i]), 200)}, ${this.data.score} ${score(f)}${ended}`;
    return h("button", {class: "cell", style: {background: heat(f)}, onclick: () => this.open(c, i), "aria-label": told, title: told, ...place},
      h("span", {class: "a own"}, short(said(r.answer[i]), 70)), h("span", {class: "s num"}, `${score(f)}${ended}`));
  }

  closed() {
    if (this.dialog.open) return;  // the event comes late: another run was opened since
    this.latest = null;
    put(this.showing);
  }

  /** Opens the question before or after the one that is shown, of those that the filters leave. */
  step(by) {
    const [c, i] = this.latest, to = this.rows[this.rows.indexOf(i) + by];
    if (to !== undefined) this.open(c, to);
  }

  async open(c, i) {
    const opened = this.latest = [c, i];  // a later click, or the end of the dialog, wins over a page that is still being unpacked
    const cell = this.cells[c], run = this.data.runs[cell.run], q = this.questions[i], packed = this.traces.runs[`${c}:${i}`];
    put(this.opened, breaking(brief(this.name(c), 120)));
    for (const [button, at] of [[this.back, 0], [this.on, this.rows.length - 1]]) button.setAttribute("aria-disabled", String(this.rows[at] === i));
    put(this.showing);
    this.printing.hidden = !packed;
    if (!this.dialog.open) this.dialog.showModal();
    if (packed) {
      const page = (await unzipped(this.traces.page)).replace("@DATA@", () => packed);
      const theme = document.documentElement.dataset.theme, frame = h("iframe", {sandbox: "allow-scripts allow-downloads allow-modals", title: "Trace page"});
      frame.srcdoc = theme ? page.replace("<html ", `<html data-theme="${theme}" `) : page;
      if (this.latest === opened) put(this.showing, frame);
    } else {
      const quote = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
      const command = `ragscale trace ${quote(run.path)} --cell ${quote(cell.key)} --question ${quote(q.id)}`, r = cell.runs;
      put(this.showing, h("div", {class: "command"}, h("p", {class: "soft text"}, short(this.asks(i), 1000)), h("h1", {class: "text"}, short(said(r.answer[i]), 400)),
        h("p", {}, `${this.data.score} ${score(r.f1[i])} · ${stopWords(r.stop[i] || "")} · ${count(r.tokens[i])} tokens (${count(r.serial_tokens[i])} one after another), ${many(r.rounds[i], "round")}, ${seconds(r.seconds[i])}`),
        h("p", {}, "right: ", h("span", {class: "text"}, q.gold.map((g) => short(g, 200)).join(" · "))),
        list(r.reason)[i] ? h("p", {class: "text"}, short(r.reason[i], 1000)) : null,
        h("p", {class: "gap"}, "The moves of this run are not in this file. Where the run has kept them, they are shown by"), h("pre", {}, plain(command)),
        h("button", {class: "small", onclick: (event) => copy(command, event.currentTarget)}, "copy the command")));
    }
  }

  forPrint() {
    const charts = this.data.charts.filter((c) => c.axis !== this.axis);
    if (this.others) put(this.others, charts.map((chart) => h("figure", {class: "chart"}, h("h3", {}, AXES[chart.axis][0]), this.drawn(chart, false))));
    put(this.forPaper, h("thead", {}, h("tr", {}, h("th", {}, this.rows.length > PRINTED ? `the first ${PRINTED} of ${count(this.rows.length)}` : "question"), this.cells.map((_, c) => h("th", {}, breaking(brief(this.name(c), 60)))))),
      h("tbody", {}, this.rows.slice(0, PRINTED).map((i) => h("tr", {}, h("td", {class: "own"}, short(this.asks(i), 120)), this.cells.map((cell) => h("td", {class: "own", style: {background: heat(cell.runs.f1[i])}}, short(cell.runs.answer[i] || "–", 40)))))));
  }
}

function ticks(low, high, log, finest) {
  if (!log) {
    const rough = Math.max(finest, (high - low) / 6), ten = 10 ** Math.floor(Math.log10(rough || 1)), step = [1, 2, 5, 10].map((f) => f * ten).find((s) => s >= rough) || ten;
    const found = [];
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) found.push(+v.toPrecision(12));
    return found;
  }
  const found = [];
  for (let e = Math.floor(low); e <= Math.ceil(high); e++) for (const f of high - low > 2.2 ? [1] : [1, 2, 5]) { const v = f * 10 ** e; if (Math.log10(v) >= low && Math.log10(v) <= high) found.push(v); }
  return found;
}

Promise.all([stored("data"), stored("traces")]).then(([data, traces]) => new ReportPage(data, traces).start()).catch(failed);
