// The trace page: a run of one question.
const KINDS = {__proto__: null, plan: "plan", retrieve: "retrieve", read: "read", score: "score", answer: "answer", select: "select"};
const NOTHING_FOUND = /^no (relevant )?information( found)?\.?$/i;
const ODD = {
  __proto__: null,
  repeat: "asks only what was asked before", malformed: "cannot be read", enough: "nothing is missing",
  empty: "nothing found", cut: "cut off", failed: "failed", narrowed: "fewer branches", fallback: "another measure",
};
const PROBLEMS = new Set(["repeat", "malformed", "empty", "cut", "failed", "narrowed", "fallback"]);
const DIMENSIONS = [
  ["tokens", "tokens"], ["serial_tokens", "tokens one after another"], ["llm_calls", "model calls"],
  ["serial_calls", "calls one after another"], ["queries", "queries"], ["rounds", "rounds"], ["seconds", "seconds"],
  ["usd", "dollars"],
];
const SERIAL = {serial_tokens: "tokens", serial_calls: "llm_calls"};
const BOX = {width: 176, height: 92, across: 30, down: 16};
const FRAMED = location.protocol === "about:";  // in a report or a notebook: without an address of its own
const UNFOLDED = 18;

const tokens = (spend) => (spend.prompt_tokens || 0) + (spend.completion_tokens || 0);
const amount = (spend, name) => name === "tokens" ? tokens(spend) : spend[name];
const ALONG = new Set(["rounds", "seconds", "serial_tokens", "serial_calls"]);  // limits of the longest path
/** What counts against a limit: calls that were lost with a killed process do, too. */
const counted = (spend, name) => ALONG.has(name) ? amount(spend.serial, SERIAL[name] || name)
  : known(amount(spend.total, name)) ? amount(spend.total, name) + (amount(spend.lost, name) || 0) : undefined;
const shown = (name, value) => name === "seconds" ? seconds(value) : name === "usd" ? dollars(value) : count(value);

/** The run as the page works with it: moves with all their fields, boxes, the kept path. */
class Run {
  constructor(data) {
    this.data = data;
    // without a prototype: ids and names from outside may be those of an object's own methods
    this.passages = Object.assign(Object.create(null), Object.fromEntries(Object.entries(data.passages || {}).map(([id, p]) =>
      [id, {title: String((p && p.title) || ""), text: String((p && p.text) || "")}])));
    this.messages = Object.assign(Object.create(null), (data.prompts || {}).messages);
    this.spend = {total: {}, serial: {}, lost: {}, ...(data.spend || {})};
    this.limits = data.limits || {};
    this.gold = data.gold || {};
    this.moves = list(data.trace).map((event, at) => ({
      note: "", status: "", score: null, prompt: "", reserved: 0, start: 0, parent: "", branch: "", ...event,
      n: at + 1, id: event.id || `#${at}`, spend: event.spend || {}, input: texts(event.input),
      output: texts(event.output), passages: list(event.passages), hits: list(event.hits), plan: list(event.plan),
      known: list(event.known), choices: list(event.choices),
    }));
    this.byId = new Map(this.moves.map((move) => [move.id, move]));
    for (const move of this.moves) {
      move.end = move.start + (move.spend.seconds || 0);
      move.parsed = move.output.map(parsed);
      move.retried = (move.spend.llm_calls || 0) > 1 && (move.status === "failed" || Boolean(move.note));
      move.problem = PROBLEMS.has(move.status);
    }
    this.end = Math.max(0, ...this.moves.map((move) => move.end));
    this.seen = new Map();
    let cumulated = 0, waited = 0;
    for (const move of this.moves) {
      move.cumulated = cumulated += tokens(move.spend);
      move.until = waited += move.spend.seconds || 0;
      if (move.move === "retrieve") for (const id of hitIds(move)) if (!this.seen.has(id)) this.seen.set(id, move);
    }
    this.boxes = this.boxed();
    this.linked();
    this.critical = this.criticalPath();
  }

  boxed() {
    const open = new Map(), boxes = [];
    for (const move of this.moves) {
      const box = open.get(move.branch);
      const has = (kind) => box.moves.some((other) => other.move === kind);
      const fresh = !box || move.move === "plan" || move.move === "answer" || move.move === "select"
        || (move.move === "retrieve" && (has("retrieve") || has("answer"))) || has("select")
        || (has("answer") && move.move !== "score" && move.move !== "read");
      const into = fresh ? {at: boxes.length, branch: move.branch, moves: [], from: [], to: []} : box;
      if (fresh) { boxes.push(into); open.set(move.branch, into); }
      into.moves.push(move);
      move.box = into;
    }
    boxes.forEach((box) => Object.assign(box, this.told(box)));
    return boxes;
  }

  /** Sub-query, sub-answer, score and cost of a box. */
  told(box) {
    const kinds = new Set(box.moves.map((move) => move.move));
    const last = (kind) => box.moves.filter((move) => move.move === kind).at(-1);
    const retrieve = last("retrieve"), plan = last("plan"), read = last("read"), answer = last("answer");
    const select = last("select"), scored = box.moves.filter((move) => known(move.score)).at(-1);
    let asked = retrieve ? retrieve.input : plan ? plan.plan : [];
    if (read && !asked.length) asked = read.input;
    let said = "";
    if (read) said = read.output.join(" ");
    else if (answer) said = answerOf(answer);
    else if (select) said = chosen(select) || select.note;
    else if (plan && plan.status === "enough") said = "nothing is missing";
    else if (plan && !retrieve) said = plan.plan.length > 1 ? many(plan.plan.length, "query", "queries") : plan.known[0] || plan.note;
    const spend = {tokens: 0, seconds: 0};
    for (const move of box.moves) { spend.tokens += tokens(move.spend); spend.seconds += move.spend.seconds || 0; }
    const kind = answer ? "answer" : select ? "select" : kinds.has("retrieve") ? "step" : [...kinds][0];
    const name = {answer: "answer", select: "selection", plan: "plan", read: "read", score: "score"}[kind]
      || (plan || read || box.branch ? "step" : "question");
    return {kind, name, asked, said, score: scored ? scored.score : null, spend, nothing: NOTHING_FOUND.test(said.trim()),
      problems: box.moves.filter((move) => move.problem || move.retried)};
  }

  /** Edges between boxes, columns, and the path on which the answer rests. */
  linked() {
    const last = new Map();
    const inside = (name, around) => around === "" ? name !== "" : name.startsWith(`${around}.`);
    const leaves = new Map(); // branch -> boxes inside it that nothing follows yet
    for (const box of this.boxes) {
      const first = box.moves[0], before = last.get(box.branch), parent = this.byId.get(first.parent);
      let from = [];
      if (before) {
        from = this.boxes.slice(before.at + 1, box.at).filter((b) => inside(b.branch, box.branch) && !b.to.length);
        if (!from.length) from = [before];
      } else if (parent) from = [parent.box];
      else if (box.at && box.branch === "") from = this.boxes.slice(0, box.at).filter((b) => !b.to.length);
      from = from.filter((b) => b !== box);
      const select = box.moves.find((move) => move.move === "select" && move.choices.length);
      let main = from;
      if (select) {
        const names = select.choices.filter((c) => c[2] === "kept").map((c) => String(c[0]));
        const kept = names.map((name) => this.boxes.slice(0, box.at).filter((b) => b.branch === name).at(-1)
          || from.find((b) => inside(b.branch, name))).filter(Boolean);
        if (kept.length) { main = kept; from = [...new Set([...kept, ...from])]; }
      }
      box.from = from;
      box.main = main;
      box.trunk = main[0] || null;
      from.forEach((b) => b.to.push(box));
      box.rounds = Math.max(0, ...from.map((b) => b.rounds)) + (box.moves.some((m) => m.move === "retrieve") ? 1 : 0);
      box.column = from.length ? Math.max(...from.map((b) => b.column)) + 1 : 0;
      last.set(box.branch, box);
    }
    const path = [this.boxes.filter((box) => box.kind === "answer" || box.kind === "select").at(-1) || this.boxes.at(-1)];
    while (path.length) {
      const box = path.pop();
      if (!box || box.kept) continue;
      box.kept = true;
      path.push(...box.main);
    }
  }

  /** Moves that the end waited for: from the last one back to those that end when the next begins. */
  criticalPath() {
    const found = new Set();
    const tiny = Math.max(this.end * 1e-6, 1e-6);
    let at = [...this.moves].sort((a, b) => b.end - a.end || b.n - a.n)[0];
    while (at && !found.has(at)) {
      found.add(at);
      const parent = this.byId.get(at.parent);
      const before = this.moves.filter((m) => m.n < at.n && !found.has(m) && Math.abs(m.end - at.start) <= tiny);
      at = before.includes(parent) ? parent : before.at(-1) || parent;
    }
    return found;
  }
}

function parsed(text) {
  const start = text.trim().match(/^(```(json)?)?\s*([[{])/);
  if (!start) return null;
  try {
    const value = JSON.parse(text.trim().replace(/^```(json)?|```$/g, ""));
    return value && typeof value === "object" ? value : null;
  } catch { return null; }
}

const hitIds = (move) => [...new Set([...move.passages, ...move.hits.flatMap((hits) => list(hits).map((hit) => hit[0]))])];
const answerOf = (move) => {
  const value = move.parsed.find((v) => v && !Array.isArray(v) && typeof v.answer === "string");
  return value ? value.answer : move.output.join(" ");
};
const chosen = (move) => move.output.join(" ");
const number = (value) => !known(value) ? "none" : Number.isInteger(value) ? String(value).replace("-", "−")
  : value.toFixed(2).replace("-", "−");

/** Selection in words: "kept 0.3: −1.41 against −1.10, −1.18 (lower: less likely that nothing is known)". */
function selection(move) {
  const kept = move.choices.filter((c) => c[2] === "kept"), rest = move.choices.filter((c) => c[2] !== "kept");
  if (!kept.length) return move.note || "nothing was chosen";
  const scores = (choices) => choices.map((c) => number(c[1])).join(", ");
  const mine = kept.map((c) => c[1]).filter(known), others = rest.map((c) => c[1]).filter(known);
  let why = "";
  if (mine.length && others.length) {
    const low = Math.max(...mine) < Math.min(...others), high = Math.min(...mine) > Math.max(...others);
    const votes = [...mine, ...others].every((value) => Number.isInteger(value) && value > 0);
    why = votes && high ? " (votes for its answer)" : votes ? " (votes: a tie)"
      : low ? " (lower: less likely that nothing is known)" : high ? " (higher is better)" : "";
  }
  return `kept ${kept.map((c) => c[0]).join(", ")}: ${scores(kept)}${rest.length ? ` against ${scores(rest)}` : ""}${why}`;
}

function verdict(run) {
  const {data, limits, spend} = run;
  const stop = data.stop_reason || "";
  const rounds = spend.serial.rounds;
  const left = DIMENSIONS.filter(([name]) => known(limits[name])).map(([name, words]) => {
    const spent = counted(spend, name);
    return known(spent) ? [words, Math.max(0, 1 - spent / limits[name])] : null;
  }).filter(Boolean);
  const spare = left.map(([words, share]) => `${Math.round(100 * share)} % of the ${words}`).join(" and ");
  const after = known(rounds) ? ` after ${many(rounds, "round")}` : "";
  if (stop === "answered") return {tone: "good", words: `Answered${after}${spare ? `; ${spare} left` : ""}.`};
  if (stop.startsWith("budget:")) {
    const name = stop.slice(7), words = (DIMENSIONS.find(([key]) => key === name) || [0, name])[1];
    const numbers = /: ([\d.,]+) would be spent(?: with the closing answer)?(?: in branch [^,\s]+)?, (?:whose share|the limit(?: of all questions together)?) is ([\d.,]+)/.exec(data.reason || "");
    const [wanted, limit] = (numbers || []).slice(1).map((number) => Number(number.replaceAll(",", "").replace(/\.$/, "")));
    const more = numbers ? wanted - limit : NaN;
    const need = known(more) && more > 0 ? `: would have needed ${shown(name, more)} more` : "";
    return {tone: "warn", words: `Stopped by ${words}${after}${need}.${data.answer ? " It answered from what it had." : ""}`};
  }
  if (stop === "failed") return {tone: "bad", words: `Failed${after}.${data.answer ? " It answered from what it had." : ""}`};
  return {tone: "warn", words: stop ? `Ended: ${stop}.` : "How it ended was not recorded."};
}

// ---- evidence ----

const STOP = new Set(("a an and are as at be by for from has he her his in is it its not of on or she that the their they this "
  + "to was were which who whom whose what when where how did does do with about "
  + "的 了 是 在 和 与 有 被 于 哪 谁 は が の を に で と も へ か た だ です ます どこ 誰").split(" "));
const SEGMENTER = Intl.Segmenter && new Intl.Segmenter(undefined, {granularity: "word"});  // knows words that are written without spaces
const UNSPACED = /[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]/u;
/** The text in parts, every other one a word, from the second. */
const split = (text) => text.split(/([\p{L}\p{M}\p{N}]+)/u).flatMap((part, at) => at % 2 && SEGMENTER && UNSPACED.test(part)
  ? [...SEGMENTER.segment(part)].flatMap(({segment}, i) => i ? ["", segment] : [segment]) : [part]);
const terms = (text) => split(plain(text).toLowerCase()).filter((word, at) => at % 2 && !STOP.has(word));

/** The passage with the answer's words marked and the sentence that supports it underlined. */
function marked(text, answer, question) {
  text = plain(text);
  const wanted = new Set(terms(answer)), around = new Set(terms(question));
  const sentences = text.split(/(?=\S)(?:(?<=[.!?؟।።]["'”’)\]]{0,4}\s+)(?![\p{Ll}\p{Nd}])|(?<=[。！？｡]["”’」』）]{0,4})(?![。！？｡"”’」』）]))/u);
  const worth = sentences.map((s) => {
    const words = new Set(terms(s));
    const said = [...wanted].filter((w) => words.has(w)).length, asked = [...around].filter((w) => words.has(w)).length;
    return 3 * said + asked;
  });
  const best = Math.max(...worth) > 1 ? worth.indexOf(Math.max(...worth)) : -1;
  return sentences.map((s, at) => {
    const parts = split(s).map((part) => wanted.has(part.toLowerCase()) ? h("mark", {}, part) : part);
    return at === best ? h("u", {title: "the sentence that fits answer and question best"}, parts) : parts;
  });
}

// ---- the page ----

class Page {
  constructor(run) {
    this.run = run;
    this.at = null;
    this.tab = "result";
    this.problems = false;
    this.found = null;
    const folding = run.boxes.length > UNFOLDED;
    this.folded = new Set(folding ? run.boxes.filter((b) => !b.kept && b.trunk && b.trunk.kept).map((b) => b.at) : []);
    this.marks = new Map(); // move number -> elements that show it
  }

  start() {
    const run = this.run;
    this.detail = h("aside", {class: "detail card", "aria-label": "Selected move", tabindex: "-1"});
    this.tree = h("div", {class: "tree", role: "group", "aria-label": "Steps as a tree"});
    this.fall = h("div", {class: "fall"});
    this.running = h("ol", {class: "known"});
    this.all = h("div", {class: "all"});
    document.body.append(h("main", {},
      this.head(), this.evidence(), this.budget(),
      h("section", {class: "work"},
        h("div", {class: "left"},
          h("div", {class: "row bar"}, h("h2", {}, "Steps"), this.tools()),
          run.moves.length ? this.tree : h("p", {class: "soft"}, "No trace was recorded."),
          run.moves.length ? [h("h2", {class: "gap"}, "Timeline"), this.legend(), this.fall] : null,
          h("h2", {class: "gap"}, "Known so far"), this.running),
        this.detail),
      h("section", {}, h("details", {class: "moves"}, h("summary", {}, h("h2", {}, `All ${many(run.moves.length, "move")}`)),
        this.all)),
      this.foot()));
    this.drawTree();
    this.drawFall();
    this.drawKnown();
    this.drawAll();
    addEventListener("keydown", (event) => this.key(event));
    addEventListener("hashchange", () => this.fromHash());
    if (FRAMED) addEventListener("message", (event) => { if (event.data === "print" && event.source === parent) print(); });
    addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
    let width = innerWidth;
    addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; this.drawFall(); this.light(); } });
    if (!this.fromHash()) {
      const first = run.moves.findLast((move) => move.box.kept && move.move === "answer") || run.moves.at(-1);
      if (first) this.select(first.n, {quiet: true}); else this.drawDetail();
    }
  }

  head() {
    const {data, gold, moves} = this.run, end = verdict(this.run);
    const facts = [
      ["mode", data.mode], ["model", data.model], ["index", list([data.index && data.index.source]).filter(Boolean)[0]],
      ["search", data.index && data.index.how], ["seed", data.seed],
      ["date", (data.started || "").slice(0, 16).replace("T", " ") + (data.started ? " UTC" : "")],
      ["ragscale", data.version],
    ];
    const odd = moves.filter((move) => move.problem || move.retried).length;
    const right = known(gold.f1) ? (gold.f1 >= 0.999 ? "good" : gold.f1 > 0 ? "warn" : "bad") : "";
    return h("header", {class: "head"},
      h("div", {class: "row top"}, h("span", {class: "brand"}, "ragscale"), h("span", {class: "chip code"}, short(data.mode || "mode not recorded", 90)),
        h("span", {class: "grow"}), themeButton()),
      h("h1", {class: "question text"}, short(data.question || "(question not recorded)", 2000)),
      h("p", {class: `answer text ${data.answer ? "" : "none"}`}, data.answer ? clamp(data.answer, 280) : "no answer"),
      list(gold.answers).length || known(gold.f1) ? h("p", {class: "gold"},
        list(gold.answers).length ? [h("span", {class: "soft"}, "right: "), h("span", {class: "text"}, gold.answers.map((a) => short(a, 200)).join(" · "))] : null,
        known(gold.em) ? h("span", {class: "chip"}, `EM ${gold.em}`) : null,
        known(gold.f1) ? h("span", {class: `chip ${right}`}, `F1 ${gold.f1.toFixed(2)}`) : null,
        known(gold.gold_recall) ? h("span", {class: "chip"}, `gold passages found: ${percent(gold.gold_recall)}`) : null) : null,
      h("p", {class: `verdict ${end.tone}`}, h("span", {class: "words"}, h("span", {class: "dot", "aria-hidden": "true"}), end.words),
        odd ? h("span", {class: "chip badge"}, `${many(odd, "move")} out of the ordinary`) : null),
      data.reason ? h("p", {class: "soft small text"}, clamp(data.reason, 400)) : null,
      data.caveat ? h("p", {class: "soft small text"}, clamp(data.caveat, 400)) : null,
      h("dl", {class: "facts"}, facts.filter(([, value]) => value !== undefined && value !== null && value !== "")
        .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {class: "text"}, short(value, 120))))));
  }

  evidence() {
    const {data, passages} = this.run, ids = list(data.citations);
    return h("section", {}, h("h2", {}, ids.length ? "Evidence cited" : "No evidence cited"),
      h("div", {class: "cited"}, ids.map((id, at) => {
        const passage = passages[id], title = passage && passage.title ? passage.title : "";
        const button = h("button", {class: "link screen", onclick: (event) => copy(citation(id, passage), event.currentTarget)}, "copy citation");
        const body = passage ? h("p", {class: "text passage"}) : h("p", {class: "soft"}, "text not recorded");
        if (passage) this.unfolding(body, (whole) => marked(whole ? passage.text : short(passage.text, 700), data.answer, data.question), passage.text.length > 700);
        return h("article", {class: "card cite", "data-passage": id, onmouseenter: () => this.glow(id), onmouseleave: () => this.glow(null), onfocusin: () => this.glow(id), onfocusout: () => this.glow(null)},
          h("div", {class: "row"}, h("span", {class: "rank"}, at + 1), h("h3", {class: "text"}, title || id),
            this.isGold(id) ? h("span", {class: "chip good"}, "gold") : null), body,
          h("div", {class: "row small source"}, h("span", {class: "mono soft"}, short(id, 60)), h("span", {class: "grow"}), button));
      })));
  }

  unfolding(element, make, longer) {
    const draw = (whole) => {
      put(element, make(whole));
      if (longer && !whole) element.append(" ", h("button", {class: "link screen", onclick: () => draw(true)}, "more"));
    };
    draw(false);
    if (longer) addEventListener("beforeprint", () => draw(true));
  }

  isGold(id) { return list(this.run.gold.supporting).includes(id); }

  budget() {
    const {spend, limits} = this.run, bars = [], plainOnes = [];
    for (const [name, words] of DIMENSIONS) {
      const key = SERIAL[name] || name, limit = limits[name];
      const total = SERIAL[name] ? amount(spend.serial, key) : amount(spend.total, key), serial = amount(spend.serial, key);
      if (!known(total) && !known(limit)) continue;
      if (known(limit)) {
        const along = ALONG.has(name), used = counted(spend, name) || 0;
        const scale = Math.max(limit, used) || 1;
        const width = (value) => `${(100 * Math.min(1, (value || 0) / scale)).toFixed(1)}%`;
        bars.push(h("div", {class: "limit"}, h("div", {class: "soft small"}, words),
          h("div", {class: "track", role: "img", "aria-label": `${words}: ${shown(name, used)} of ${shown(name, limit)}, ${shown(name, serial)} one after another`},
            h("i", {class: "total", style: {width: width(used)}}), h("i", {class: "serial", style: {width: width(serial)}})),
          h("div", {class: "num small"}, along ? shown(name, serial) : [shown(name, used), known(serial) && serial !== used ? h("span", {class: "soft"}, ` (${shown(name, serial)})`) : null],
            h("span", {class: "soft"}, ` of ${shown(name, limit)}`))));
      } else if (!SERIAL[name] && total) {
        plainOnes.push(h("div", {class: "number"}, h("b", {class: "num"}, shown(name, total)),
          known(serial) && serial !== total ? h("span", {class: "num soft small"}, ` (${shown(name, serial)})`) : null, 
          h("span", {class: "soft small"}, name === "seconds" ? " in calls" : name === "usd" ? "" : total === 1 ? ` ${words.replace(/ies$/, "y").replace(/s$/, "")}` : ` ${words}`)));
      }
    }
    const cached = spend.total.cached_tokens, lost = tokens(spend.lost || {});
    return h("section", {}, h("h2", {}, "Cost"), h("div", {class: "card budget"}, bars,
      h("div", {class: "row numbers"}, plainOnes, cached ? h("div", {class: "soft small"}, `${count(cached)} prompt tokens from the cache`) : null,
        lost ? h("div", {class: "soft small"}, `${count(lost)} tokens beside these were lost with a process that was killed; limits count them`) : null),
      tokens(spend.total) === tokens(spend.serial) ? h("p", {class: "soft small"}, "Nothing ran side by side: all that was paid was waited for.")
        : h("p", {class: "soft small legend"}, h("span", {}, bars.length ? h("i", {class: "swatch serial"}) : null, "waited for: the longest path (in brackets)"), h("span", {}, bars.length ? h("i", {class: "swatch total"}) : null, "paid: all branches"))));
  }

  tools() {
    const problems = h("button", {class: "small", "aria-pressed": "false", onclick: () => {
      this.problems = !this.problems;
      problems.setAttribute("aria-pressed", String(this.problems));
      this.light();
    }}, "only problems");
    const folds = this.run.boxes.some((b) => !b.kept) ? h("button", {class: "small", onclick: () => this.foldAll()}, "fold / unfold") : null;
    this.box = h("input", {type: "search", class: "small find", placeholder: "search", "aria-label": "Search queries, passages, answers",
      oninput: () => this.search(), onkeydown: (event) => { if (event.key === "Enter") this.next(); }});
    this.hits = h("span", {class: "soft small", "aria-live": "polite"});
    return h("div", {class: "row screen tools"}, problems, folds, this.box, this.hits);
  }

  search() {
    const wanted = this.box.value.trim().toLowerCase();
    const text = (move) => [move.input, move.output, move.plan, move.known, move.note, hitIds(move).map((id) =>
      [id, (this.run.passages[id] || {}).title, (this.run.passages[id] || {}).text])].flat(4).join("\n").toLowerCase();
    this.found = wanted ? this.run.moves.filter((move) => text(move).includes(wanted)) : null;
    this.hits.textContent = this.found ? many(this.found.length, "move") : "";
    this.light();
  }

  next() {
    if (!this.found || !this.found.length) return;
    this.select((this.found.find((move) => move.n > this.at) || this.found[0]).n);
  }

  legend() {
    return h("p", {class: "legend small soft"}, Object.keys(KINDS).filter((kind) => this.run.moves.some((m) => m.move === kind))
      .map((kind) => h("span", {}, h("i", {class: "swatch", style: {background: `var(--${kind})`}}), kind)),
      h("span", {}, h("i", {class: "swatch crit"}), "waited for"), h("span", {}, h("i", {class: "swatch hatch"}), "retried or failed, waiting"));
  }

  // -- tree --

  foldAll() {
    const off = this.run.boxes.filter((b) => !b.kept && b.trunk && b.trunk.kept).map((b) => b.at);
    this.folded = new Set(this.folded.size ? [] : off);
    this.drawTree();
  }

  drawTree() {
    const {boxes} = this.run;
    if (!boxes.length) return;
    const children = new Map(boxes.map((box) => [box, []]));
    const roots = [];
    for (const box of boxes) (box.trunk ? children.get(box.trunk) : roots).push(box);
    const under = (box) => [box, ...children.get(box).flatMap(under)];
    // Folded side branches of one parent become one stub. Each subtree moves up until one of its columns is in the way.
    const stubs = [];
    const beside = (into, tree, shift) => {
      for (const [box, y] of tree.boxes) into.boxes.push([box, y + shift]);
      for (const [column, [top, bottom]] of tree.columns) {
        const [high, low] = into.columns.get(column) || [Infinity, -Infinity];
        into.columns.set(column, [Math.min(high, top + shift), Math.max(low, bottom + shift)]);
      }
    };
    const room = (into, tree) => Math.max(0, ...[...tree.columns].map(([column, [top]]) => into.columns.has(column) ? into.columns.get(column)[1] - top : 0));
    const placing = (box) => {
      const all = children.get(box), folded = all.filter((c) => this.folded.has(c.at)), rest = all.filter((c) => !this.folded.has(c.at));
      if (folded.length) stubs.push({from: box, boxes: folded, hidden: folded.flatMap(under)});
      const tree = {boxes: [[box, 0]], columns: new Map([[box.column, [0, folded.length ? 1.35 : 1]]])};
      // the kept path first, so that it is a straight line where it can be
      const order = rest.filter((c) => c.kept).concat(rest.filter((c) => !c.kept));
      order.forEach((child, at) => { const one = placing(child); beside(tree, one, at ? Math.max(1, room(tree, one)) : room(tree, one)); });
      return tree;
    };
    const whole = {boxes: [], columns: new Map()};
    for (const root of roots) { const tree = placing(root); beside(whole, tree, room(whole, tree)); }
    const placed = whole.boxes.map(([box, y]) => { box.y = y; return box; });
    const columns = [...new Set(placed.map((b) => b.column))].sort((a, b) => a - b);
    const x = new Map(columns.map((c, at) => [c, at * (BOX.width + BOX.across)]));
    const top = 22, step = BOX.height + BOX.down;
    const y = (value) => top + value * step;
    const width = columns.length * (BOX.width + BOX.across) - BOX.across + 8;
    const height = y(Math.max(...placed.map((b) => b.y), ...stubs.map((s) => s.from.y + 0.3), 0)) + BOX.height + 10;
    const edges = svg("svg", {width, height, class: "edges", "aria-hidden": "true"});
    const line = (a, b, kept) => {
      const x1 = x.get(a.column) + BOX.width, y1 = y(a.y) + BOX.height / 2, x2 = x.get(b.column), y2 = y(b.y) + BOX.height / 2;
      const mid = x2 - BOX.across / 2;
      edges.append(svg("path", {class: kept ? "edge kept" : "edge", d: `M${x1} ${y1} H${mid - 12} C${mid + 4} ${y1} ${mid - 4} ${y2} ${mid + 12} ${y2} H${x2}`}));
    };
    for (const pass of [false, true]) for (const box of placed) for (const from of box.from) {
      const kept = Boolean(box.kept && from.kept && box.main.includes(from));
      if (kept === pass && placed.includes(from)) line(from, box, kept);
    }
    const scores = placed.map((b) => b.score).filter(known), low = Math.min(...scores), high = Math.max(...scores);
    this.nodes = new Map();
    const drawn = placed.sort((a, b) => a.at - b.at).map((box) => {
      const node = this.boxNode(box, scores.length ? high > low ? (box.score - low) / (high - low) : 0.5 : null);
      Object.assign(node.style, {left: `${x.get(box.column)}px`, top: `${y(box.y)}px`});
      this.nodes.set(box, node);
      return node;
    });
    const stubbed = stubs.map((stub) => {
      const best = stub.hidden.map((b) => b.score).filter(known);
      const label = `${count(stub.boxes.length)} more${best.length ? `, best ${number(this.bestOf(best))}` : ""}`;
      const left = x.get(stub.from.column) + 24, at = y(stub.from.y) + BOX.height + 7;
      edges.append(svg("path", {class: "edge", d: `M${left - 10} ${at - 7} V${at + 12} H${left}`}));
      return h("button", {class: "stub small", style: {left: `${left}px`, top: `${at}px`}, title: `${many(stub.hidden.length, "step")} folded`,
        onclick: () => { stub.boxes.forEach((b) => this.folded.delete(b.at)); this.drawTree(); }}, label);
    });
    const heads = columns.map((c, at) => h("div", {class: "round soft", style: {left: `${x.get(c)}px`}}, this.roundName(placed, c)));
    put(this.tree, h("div", {class: "canvas", style: {width: `${width}px`, height: `${height}px`, "--paper-zoom": Math.min(0.62, 680 / width).toFixed(3)}}, edges, heads, drawn, stubbed));
    this.light();
  }

  roundName(placed, column) {
    const here = placed.filter((b) => b.column === column);
    if (here.every((b) => b.kind === "answer")) return "answer";
    if (here.every((b) => b.kind === "select")) return "selection";
    const looking = here.filter((b) => b.moves.some((m) => m.move === "retrieve"));
    if (!looking.length) return here[0].name;
    const low = Math.min(...looking.map((b) => b.rounds)), high = Math.max(...looking.map((b) => b.rounds));
    return low === high ? `round ${low}` : `rounds ${low} to ${high}`;
  }

  bestOf(scores) {
    const select = this.run.moves.find((m) => m.choices.length > 1 && /lower/.test(selection(m)));
    return select ? Math.min(...scores) : Math.max(...scores);
  }

  boxNode(box, share) {
    const go = () => this.select((box.moves.find((m) => m.n === this.at) || box.moves.find((m) => ["read", "answer", "select", "retrieve"].includes(m.move)) || box.moves[0]).n);
    const badges = [...new Set(box.problems.map((m) => ODD[m.status] || (m.retried ? "retried" : "note")))];
    const scored = known(box.score);
    return h("button", {class: `box ${box.kept ? "kept" : "side"} ${box.nothing ? "nothing" : ""}`, onclick: go,
      "aria-label": `${box.name} ${box.branch ? `of branch ${box.branch}` : ""}: ${short(box.asked.join("; "), 200)}: ${short(box.said, 200)}`},
      h("span", {class: "asked"}, h("span", {class: "tag", style: {color: `var(--${box.kind === "step" ? "retrieve" : KINDS[box.kind] || "plan"})`}}, box.name, box.branch ? ` ${short(box.branch, 14)}` : ""),
        " ", h("span", {class: "own"}, short(box.asked.join(" · "), 120))),
      h("span", {class: "said own"}, short(box.said || (box.kind === "step" ? many(new Set(box.moves.flatMap((m) => m.move === "retrieve" ? hitIds(m) : [])).size, "passage") : "–"), 90)),
      h("span", {class: "costs num"},
        scored ? h("span", {class: "meter", title: `score ${number(box.score)}`}, h("i", {style: {width: `${Math.round(8 + 92 * (share ?? 0))}%`}})) : null,
        scored ? number(box.score) : null,
        h("span", {class: "grow"}), [box.spend.tokens ? `${count(box.spend.tokens)} tok` : "", box.spend.seconds >= 0.05 ? seconds(box.spend.seconds) : ""].filter(Boolean).join(" · ")),
      badges.length ? h("span", {class: "badges"}, badges.map((text) => h("span", {class: "chip badge"}, text))) : null);
  }

  // -- waterfall --

  drawFall() {
    const {moves, critical} = this.run;
    if (!moves.length) return;
    const timed = this.run.end > 0;
    const begin = (m) => timed ? m.start : m.n - 1, end = (m) => timed ? m.end : m.n;
    const most = timed ? this.run.end : moves.length;
    const lanes = [...new Set(moves.map((m) => m.branch))];
    const tall = lanes.length > 24 ? 13 : 20, names = Math.min(110, 16 + 7 * Math.max(...lanes.map((l) => (l || "trunk").length)));
    const width = Math.max(320, this.fall.clientWidth || 700), across = width - names - 14;
    const x = (t) => names + across * t / most;
    const height = lanes.length * tall + 26;
    const ticks = niceTicks(most, width < 500 ? 3 : 6);
    this.bars = new Map();
    const picture = svg("svg", {width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Timeline of all moves"},
      svg("defs", {}, svg("pattern", {id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)"},
        svg("rect", {width: 2.2, height: 6, class: "stripe"}))),
      ticks.map((t) => [svg("line", {class: "grid", x1: x(t), x2: x(t), y1: 0, y2: height - 20}),
        svg("text", {class: "tick", x: x(t), y: height - 6, "text-anchor": t === 0 ? "start" : "middle"}, timed ? `${+t.toPrecision(6)} s` : t || "")]));
    lanes.forEach((lane, at) => {
      const mine = moves.filter((m) => m.branch === lane), y = at * tall;
      picture.append(svg("text", {class: "lane", x: names - 8, y: y + tall / 2 + 4, "text-anchor": "end"}, short(lane || "trunk", 14)));
      mine.forEach((move, i) => {
        const before = mine[i - 1];
        if (timed && before && begin(move) - end(before) > most * 0.004)
          picture.append(svg("rect", {class: "wait", x: x(end(before)), y: y + tall / 2 - 2, width: x(begin(move)) - x(end(before)), height: 4, fill: "url(#hatch)"}));
      });
      for (const move of mine) {
        const wide = Math.max(2.5, x(end(move)) - x(begin(move)) - 1);
        const bar = svg("g", {class: "bar", "data-move": move.n, onclick: () => this.select(move.n)},
          svg("title", {}, `${move.n}. ${move.move}${timed ? `, ${seconds(move.spend.seconds || 0)}` : ""}${move.note ? `: ${short(move.note, 200)}` : ""}`),
          svg("rect", {x: x(begin(move)), y: y + 2, width: wide, height: tall - 4, rx: 2, class: `kind ${critical.has(move) ? "crit" : ""}`, fill: `var(--${KINDS[move.move] || "select"})`}),
          move.retried || move.status === "failed" ? svg("rect", {x: x(begin(move)), y: y + 2, width: wide, height: tall - 4, fill: "url(#hatch)"}) : null);
        this.bars.set(move.n, bar);
        picture.append(bar);
      }
    });
    put(this.fall, picture);
  }

  // -- the selected move --

  select(n, {quiet = false} = {}) {
    const move = this.run.moves[n - 1];
    if (!move) return;
    this.at = n;
    if (!quiet) try { history.replaceState(null, "", `#move-${n}`); } catch { /* a frame without a place of its own */ }
    let box = move.box;
    if (!this.nodes.has(box)) { // unfold what hides it
      for (let b = box; b; b = b.trunk) this.folded.delete(b.at);
      this.drawTree();
    }
    this.drawDetail();
    this.drawKnown();
    this.light();
    if (!quiet) {
      this.nodes.get(box).scrollIntoView({block: "nearest", inline: "nearest"});
      if (innerWidth < 1000) this.detail.scrollIntoView({block: "nearest"});
    }
  }

  fromHash() {
    const found = /^#move-(\d+)$/.exec(location.hash);
    if (found) this.select(Number(found[1]));
    return Boolean(found && this.at);
  }

  key(event) {
    if (event.target.matches("input, textarea, select") || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape" && FRAMED) parent.postMessage("close", "*");
    if (event.target.matches("[role=tab]") && ["ArrowRight", "ArrowLeft"].includes(event.key)) return;
    const to = {ArrowRight: this.at + 1, ArrowDown: this.at + 1, ArrowLeft: this.at - 1, ArrowUp: this.at - 1, Home: 1, End: this.run.moves.length}[event.key];
    if (event.key === "/") { event.preventDefault(); this.box.focus(); }
    if (to === undefined || !this.run.moves.length) return;
    event.preventDefault();
    this.select(Math.min(this.run.moves.length, Math.max(1, to || 1)));
  }

  /** Which boxes, bars and rows are lit or dimmed. */
  light() {
    const dim = (moves) => (this.problems && !moves.some((m) => m.problem || m.retried)) || (this.found && !moves.some((m) => this.found.includes(m)));
    const current = this.run.moves[this.at - 1];
    if (this.nodes) for (const [box, node] of this.nodes) {
      node.classList.toggle("dim", Boolean(dim(box.moves)));
      node.classList.toggle("on", Boolean(current && current.box === box));
      if (current && current.box === box) node.setAttribute("aria-current", "true"); else node.removeAttribute("aria-current");
    }
    if (this.bars) for (const move of this.run.moves) {
      this.bars.get(move.n).classList.toggle("dim", Boolean(dim([move])));
      this.bars.get(move.n).classList.toggle("on", move.n === this.at);
    }
    if (this.rows) for (const move of this.run.moves) {
      this.rows.get(move.n).classList.toggle("hidden", Boolean(dim([move])));
      this.rows.get(move.n).classList.toggle("on", move.n === this.at);
    }
  }

  /** Evidence flow: every step that retrieved, read or cited a passage. */
  glow(id) {
    const lit = id === null ? [] : this.run.moves.filter((m) => hitIds(m).includes(id));
    if (this.nodes) for (const [box, node] of this.nodes) node.classList.toggle("glow", lit.some((m) => m.box === box));
    if (this.bars) for (const move of this.run.moves) this.bars.get(move.n).classList.toggle("glow", lit.includes(move));
    document.querySelectorAll("[data-passage]").forEach((e) => e.classList.toggle("glow", id !== null && e.dataset.passage === id));
  }

  drawDetail() {
    const move = this.run.moves[this.at - 1];
    if (!move) { put(this.detail, h("p", {class: "soft"}, "No moves were recorded.")); return; }
    const tabs = [["result", "Result"], ["prompt", "Prompt"], ["raw", "Raw reply"], ["cost", "Cost"]];
    const panel = h("div", {class: "panel", role: "tabpanel"}, this[`${this.tab}Tab`](move));
    const tabBar = h("div", {class: "tabs row", role: "tablist", onkeydown: (event) => {
      const by = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (!by) return;
      this.tab = tabs[(tabs.findIndex(([k]) => k === this.tab) + by + tabs.length) % tabs.length][0];
      this.drawDetail();
      this.detail.querySelector("[aria-selected=true]").focus();
      event.stopPropagation();
    }}, tabs.map(([key, words]) => h("button", {class: "small", role: "tab", "aria-selected": String(this.tab === key), tabindex: this.tab === key ? "0" : "-1",
      onclick: () => { this.tab = key; this.drawDetail(); }}, words)));
    const link = FRAMED ? null : h("button", {class: "small", title: "Copy a link to this move", onclick: (event) => copy(`${location.href.split("#")[0]}#move-${move.n}`, event.currentTarget)}, "link");
    const badge = move.status && move.status !== "kept" ? h("span", {class: `chip ${move.problem ? "badge" : ""} ${move.status === "failed" ? "bad" : ""}`}, ODD[move.status] || move.status) : null;
    put(this.detail,
      h("div", {class: "row"}, h("span", {class: "kind-name", style: {"--kind": `var(--${KINDS[move.move] || "select"})`}}, move.move),
        h("span", {class: "soft small"}, `move ${move.n} of ${this.run.moves.length}`, move.branch ? ` · branch ${short(move.branch, 40)}` : " · trunk", this.run.end ? ` · at ${seconds(move.start)}` : ""), badge,
        h("span", {class: "grow"}),
        h("span", {class: "row screen"}, h("button", {class: "small", "aria-label": "Move before", onclick: () => this.select(Math.max(1, move.n - 1))}, "←"),
          h("button", {class: "small", "aria-label": "Next move", onclick: () => this.select(Math.min(this.run.moves.length, move.n + 1))}, "→"), link)),
      move.note ? h("p", {class: "note small text"}, clamp(move.note, 500)) : null,
      tabBar, panel);
  }

  resultTab(move) {
    const rows = [], add = (name, value) => { if (value !== null && value !== undefined && value !== "" && !(Array.isArray(value) && !value.length)) rows.push([name, value]); };
    const items = (values) => h("ul", {}, values.map((v) => h("li", {class: "text"}, clamp(v, 600))));
    const one = (values) => values.length > 1 ? items(values) : values.length ? h("div", {class: "text"}, clamp(values[0], 1500)) : null;
    const objects = move.parsed.filter((v) => v && !Array.isArray(v));
    const field = (name) => [...new Set(objects.map((v) => v[name]).filter((v) => typeof v === "string" && v))];
    add("asked", one(move.input));
    if (move.move === "retrieve") return [this.fields(rows), this.hitList(move)];
    if (move.move === "plan") {
      add("known", one(move.known.length ? move.known : field("known")));
      add("missing", one(field("missing")));
      add("thought", one(field("think")));
      add("queries", one(move.plan));
      if (!move.plan.length && !move.parsed.some(Boolean)) add("reply", one(move.output));
      if (move.status === "enough") add("decision", "nothing is missing");
      if (known(move.score)) add("log-probability", number(move.score));
    } else if (move.move === "select") {
      add("selection", selection(move));
      add("result", one(move.output));
      if (move.choices.length) add("branches", this.choices(move));
    } else if (move.move === "score") {
      add("score", known(move.score) ? number(move.score) : "none");
      add("reply", one(move.output));
    } else if (move.move === "answer") {
      add("answer", h("b", {class: "text"}, clamp(answerOf(move), 600)));
      const documents = objects.map((v) => v.documents).find(Array.isArray);
      if (documents) add("from documents", documents.map((d) => `[${short(d, 8)}]`).join(" "));
      add("known", one(field("known")));
    } else {
      const said = move.output.join(" ");
      add(NOTHING_FOUND.test(said.trim()) ? "result" : "sub-answer", NOTHING_FOUND.test(said.trim()) ? h("span", {class: "soft"}, said) : h("b", {class: "text"}, one(move.output)));
      add("noted", one(move.plan));
    }
    if (!["plan", "answer", "retrieve"].includes(move.move) && move.known.length) add("known", one(move.known));
    const used = new Set(["known", "missing", "think", "queries", "answer", "documents", "query", "search"]);
    for (const object of objects) for (const [key, value] of Object.entries(object)) if (!used.has(key)) add(key, typeof value === "object" ? JSON.stringify(value) : String(value));
    return [this.fields(rows), move.passages.length ? [h("h3", {class: "gap"}, `Shown to the model: ${many(move.passages.length, "passage")}`), this.hitRows(move, move.passages.map((id) => [id, "", null]))] : null];
  }

  fields(rows) {
    return h("dl", {class: "fields"}, rows.map(([name, value]) => [h("dt", {}, short(name, 40)), h("dd", {}, typeof value === "string" ? h("span", {class: "text"}, clamp(value, 1500)) : value)]));
  }

  choices(move) {
    return h("table", {class: "small num"}, h("tbody", {}, move.choices.map((c) => h("tr", {class: c[2] === "kept" ? "strong" : "soft"},
      h("td", {}, c[2] === "kept" ? "● " : "○ ", h("button", {class: "link", onclick: () => { const to = this.run.moves.findLast((m) => m.branch === String(c[0]) && m.n < move.n); if (to) this.select(to.n); }}, short(c[0], 30))),
      h("td", {}, number(c[1])), h("td", {}, c[2])))));
  }

  hitList(move) {
    const lists = move.hits.length ? move.hits : [move.passages.map((id) => [id, "", null])];
    return lists.map((hits, at) => [lists.length > 1 ? h("h3", {class: "gap text"}, short(move.input[at] || `query ${at + 1}`, 200)) : null,
      list(hits).length ? this.hitRows(move, hits) : h("p", {class: "soft"}, "no hits")]);
  }

  hitRows(move, hits) {
    const scores = hits.map((hit) => hit[2]).filter(known), most = Math.max(...scores, 0) || 1;
    const shownRows = hits.slice(0, 50);
    return h("ol", {class: "hits"}, shownRows.map((hit, at) => {
      const id = String(hit[0]), passage = this.run.passages[id], first = this.run.seen.get(id);
      const title = hit[1] || (passage && passage.title) || id;
      const ranks = [[hit[3], "dense"], [hit[4], "BM25"]].filter(([r]) => known(r)).map(([r, name]) => `${name} ${r}`).join(", ");
      const old = move.move === "retrieve" ? (first === move ? h("span", {class: "chip new"}, "new")
        : first ? h("button", {class: "chip", onclick: () => this.select(first.n)}, `seen in move ${first.n}`) : null) : null;
      const body = h("p", {class: "text small passage hidden"});
      const open = h("button", {class: "plain title text", "aria-expanded": "false", onclick: () => {
        body.classList.toggle("hidden");
        open.setAttribute("aria-expanded", String(!body.classList.contains("hidden")));
        if (!body.firstChild) this.unfolding(body, (whole) => passage ? marked(whole ? passage.text : short(passage.text, 900), this.run.data.answer, move.input.join(" ")) : "text not recorded", passage && passage.text.length > 900);
      }}, short(title, 120));
      return h("li", {"data-passage": id, onmouseenter: () => this.glow(id), onmouseleave: () => this.glow(null), onfocusin: () => this.glow(id), onfocusout: () => this.glow(null)},
        h("div", {class: "row"}, h("span", {class: "rank"}, at + 1), open, this.isGold(id) ? h("span", {class: "chip good"}, "gold") : null,
          list(this.run.data.citations).includes(id) ? h("span", {class: "chip cited-chip"}, "cited") : null, old, h("span", {class: "grow"}),
          ranks ? h("span", {class: "soft small num"}, ranks) : null,
          known(hit[2]) ? h("span", {class: "num small meterbox", title: `score ${hit[2]}`}, h("span", {class: "meter"}, h("i", {style: {width: `${Math.max(0, 100 * hit[2] / most).toFixed(0)}%`}})), +hit[2].toPrecision(3)) : null),
        body);
    }), hits.length > 50 ? h("li", {class: "soft"}, `${hits.length - 50} more`) : null);
  }

  promptTab(move) {
    if (!move.prompt) return h("p", {class: "soft"}, "No model call.");
    const stored = this.run.data.prompts || {}, messages = this.run.messages[move.prompt];
    if (!messages) return h("p", {class: "soft"}, `The messages were not recorded. Their digest: ${move.prompt}`);
    const lines = list(stored.lines);
    const whole = list(messages).map((m) => ({...m, content: Array.isArray(m.content) ? m.content.map((at) => lines[at] ?? "").join("\n") : String(m.content ?? "")}));
    const length = whole.reduce((sum, m) => sum + m.content.length, 0);
    const {cached_tokens: cached = 0, prompt_tokens: prompt = 0} = move.spend;
    let left = prompt ? Math.round(length * cached / prompt) : 0;
    return [cached ? h("p", {class: "small soft"}, `${count(cached)} of ${count(prompt)} prompt tokens came from the cache: shaded, by length.`) : null,
      whole.map((m) => {
        const cut = Math.min(left, m.content.length);
        left -= cut;
        return h("div", {class: "message"}, h("div", {class: "role"}, short(m.role || "?", 20), m.tool_calls ? h("span", {class: "mono"}, ` ${short(JSON.stringify(m.tool_calls), 400)}`) : null),
          h("div", {class: "text mono"}, cut ? h("span", {class: "cachedpart"}, m.content.slice(0, cut)) : null, m.content.slice(cut)));
      })];
  }

  rawTab(move) {
    if (move.move === "retrieve") return h("p", {class: "soft"}, "A retrieval has no reply of the model.");
    if (!move.output.length) return h("p", {class: "soft"}, "No reply was recorded.");
    return move.output.map((text, at) => h("div", {class: "message"}, move.output.length > 1 ? h("div", {class: "role"}, `sample ${at + 1}`) : null, h("div", {class: "text mono"}, text)));
  }

  costTab(move) {
    const s = move.spend, total = tokens(this.run.spend.total);
    const rows = [["", "this move", "up to here"],
      ["tokens", count(tokens(s)), `${count(move.cumulated)}${total ? ` (${percent(move.cumulated / total)})` : ""}`],
      ["prompt + completion", `${count(s.prompt_tokens || 0)} + ${count(s.completion_tokens || 0)}`, ""],
      ["from the cache", count(s.cached_tokens || 0), ""], ["thought", count(s.reasoning_tokens || 0), ""], ["model calls", count(s.llm_calls || 0), ""],
      ["queries", count(s.queries || 0), ""], ["seconds", seconds(s.seconds || 0), seconds(move.until)]];
    if (known(s.usd)) rows.push(["dollars", dollars(s.usd), ""]);
    const used = move.reserved ? tokens(s) / move.reserved : null;
    return [h("table", {class: "num"}, h("tbody", {}, rows.map((row, at) => h("tr", {}, row.map((cell, i) => h(at === 0 || i === 0 ? "th" : "td", {}, cell)))))),
      move.reserved ? [h("p", {class: "small gap"}, `Reserved ${count(move.reserved)} tokens for all attempts, settled at ${count(tokens(s))} (${percent(used)}).`),
        h("div", {class: "track"}, h("i", {class: "total", style: {width: "100%"}}), h("i", {class: "serial", style: {width: `${Math.min(100, 100 * used).toFixed(1)}%`}}))] : null];
  }

  // -- known so far, all moves, foot --

  drawKnown() {
    const said = new Map();
    for (const move of this.run.moves) {
      for (const text of move.known) if (!said.has(text)) said.set(text, move);
      if (move.move === "read") for (const text of move.output) if (text && !NOTHING_FOUND.test(text.trim()) && !said.has(text)) said.set(text, move);
    }
    const rows = [...said].map(([text, move]) => h("li", {class: this.at && move.n > this.at ? "later" : ""},
      h("span", {class: "text"}, clamp(text, 300)), " ", h("button", {class: "link small", onclick: () => this.select(move.n)}, `move ${move.n}`)));
    put(this.running, rows.length ? rows : h("li", {class: "soft none"}, "Nothing was noted."));
  }

  drawAll() {
    this.rows = new Map();
    const body = this.run.moves.map((move) => {
      const result = move.move === "retrieve" ? `${many(hitIds(move).length, "passage")}: ${hitIds(move).map((id) => (this.run.passages[id] || {}).title || id).join("; ")}`
        : move.move === "answer" ? answerOf(move) : move.move === "plan" && move.plan.length ? move.plan.join(" · ") : move.move === "select" ? selection(move) : move.output.join(" · ");
      const row = h("tr", {onclick: () => this.select(move.n)}, h("td", {class: "num soft"}, h("a", {href: `#move-${move.n}`}, move.n)), h("td", {class: "soft"}, short(move.branch || "trunk", 20)),
        h("td", {}, h("span", {class: "kind-name", style: {"--kind": `var(--${KINDS[move.move] || "select"})`}}, move.move)),
        h("td", {class: "text"}, short(move.input.join(" · "), 160)), h("td", {class: "text"}, short(result, 300), known(move.score) ? ` ${number(move.score)}` : "", move.problem ? h("span", {class: "chip badge"}, ODD[move.status]) : null),
        h("td", {class: "num right"}, tokens(move.spend) ? count(tokens(move.spend)) : ""), h("td", {class: "num right"}, move.spend.seconds ? seconds(move.spend.seconds) : ""));
      this.rows.set(move.n, row);
      return row;
    });
    put(this.all, h("table", {class: "small"}, h("thead", {}, h("tr", {}, ["#", "branch", "move", "asked", "result", "tokens", "time"].map((t) => h("th", {}, t)))), h("tbody", {}, body)));
  }

  foot() {
    const {data} = this.run;
    const name = `trace-${(data.mode || "run").replace(/[^\w]+/g, "-").slice(0, 40)}`;
    const moves = () => [["n", "id", "parent", "branch", "move", "status", "input", "output", "score", "tokens", "seconds", "start", "note"].join(","),
      ...this.run.moves.map((m) => [m.n, m.id, m.parent, m.branch, m.move, m.status, m.input.join(" | "), m.output.join(" | "), m.score ?? "", tokens(m.spend), m.spend.seconds || 0, m.start, m.note]
        .map((v) => typeof v === "number" ? v : `"${String(v).replace(/^[=+@-]/, "'$&").replaceAll('"', '""')}"`).join(","))].join("\n");
    const mermaid = () => ["flowchart LR", ...this.run.boxes.map((b) => `  b${b.at}["${plain(`${b.name}: ${short(b.asked.join("; "), 60)}`).replace(/["\\<>&#;\n]/g, " ")}"]`),
      ...this.run.boxes.flatMap((b) => b.from.map((f) => `  b${f.at} ${b.kept && f.kept && b.main.includes(f) ? "==>" : "-.->"} b${b.at}`))].join("\n");
    return h("footer", {class: "soft small row screen"}, "Keys: arrows walk through the moves, / searches. Export:",
      h("button", {class: "small", onclick: () => download(`${name}.json`, "application/json", JSON.stringify(data, null, 1))}, "JSON"),
      h("button", {class: "small", onclick: () => download(`${name}.csv`, "text/csv", moves())}, "CSV of moves"),
      h("button", {class: "small", onclick: () => download(`${name}.mmd`, "text/plain", mermaid())}, "Mermaid"),
      this.run.boxes.length ? h("button", {class: "small", onclick: () => download(`${name}-tree.svg`, "image/svg+xml", treePicture(this.tree))}, "SVG of the tree") : null,
      this.run.boxes.length ? h("button", {class: "small", onclick: () => pixels(`${name}-tree.png`, treePicture(this.tree))}, "PNG of the tree") : null,
      this.run.moves.length ? h("button", {class: "small", onclick: () => download(`${name}-timeline.svg`, "image/svg+xml", picture(this.fall.querySelector("svg")))}, "SVG of the timeline") : null,
      this.run.moves.length ? h("button", {class: "small", onclick: () => pixels(`${name}-timeline.png`, picture(this.fall.querySelector("svg")))}, "PNG of the timeline") : null);
  }
}

/** A drawing that looks the same without the page's style. */
function picture(drawn) {
  const copied = drawn.cloneNode(true);
  const from = [drawn, ...drawn.querySelectorAll("*")], to = [copied, ...copied.querySelectorAll("*")];
  from.forEach((element, at) => {
    const style = getComputedStyle(element);
    for (const name of ["fill", "stroke", "stroke-width", "opacity", "font-size", "font-family"]) to[at].setAttribute(name, style.getPropertyValue(name).replaceAll('"', "'"));
  });
  return new XMLSerializer().serializeToString(copied);
}

/** Downloads a drawing as PNG, two pixels wide and high for each of its own, fewer where browsers allow no more. */
function pixels(name, drawing) {
  const image = new Image();
  image.onload = () => {
    const {width, height} = image, scale = Math.min(2, 16000 / Math.max(width, height), Math.sqrt(1e8 / (width * height)));
    const canvas = h("canvas", {width: Math.round(scale * width), height: Math.round(scale * height)}), pen = canvas.getContext("2d");
    pen.fillStyle = getComputedStyle(document.body).backgroundColor;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((made) => download(name, "image/png", made), "image/png");
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawing)}`;
}

/** The tree as it is unfolded now, as a drawing of its own: lines, boxes, and their texts as they are broken here. */
function treePicture(tree) {
  const canvas = tree.querySelector(".canvas"), origin = canvas.getBoundingClientRect();
  const look = (element, name) => getComputedStyle(element).getPropertyValue(name).replaceAll('"', "'");
  const placed = (element) => { const r = element.getBoundingClientRect(); return {x: r.left - origin.left, y: r.top - origin.top, width: r.width, height: r.height}; };
  const lines = [...canvas.querySelectorAll(".edge")].map((edge) => svg("path", {d: edge.getAttribute("d"), fill: "none", stroke: look(edge, "stroke"), "stroke-width": look(edge, "stroke-width")}));
  const boxes = [...canvas.querySelectorAll(".box, .stub")].map((box) => svg("rect", {...placed(box), rx: 8, fill: look(box, "background-color"), stroke: look(box, "border-top-color"), "stroke-width": look(box, "border-top-width")}));
  const bars = [...canvas.querySelectorAll(".meter i")].map((bar) => svg("rect", {...placed(bar), fill: look(bar, "background-color")}));
  const words = [], range = document.createRange(), walker = document.createTreeWalker(canvas, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const parent = node.parentElement, end = parent.closest(".asked, .said, .costs, .chip, .stub, .round").getBoundingClientRect().bottom;
    let line = null, at = 0;
    for (const letter of node.data) {
      range.setStart(node, at);
      range.setEnd(node, at += letter.length);
      const r = range.getBoundingClientRect();
      if (r.bottom > end + 1 || !r.width) continue;  // beyond the last line that is shown
      const begins = !line || Math.abs(line.bottom - r.bottom) > 2;
      if (begins && !letter.trim()) continue;
      if (begins) words.push(line = {parent, text: "", x: r.left - origin.left, bottom: r.bottom, high: r.height});
      line.text += letter;
    }
  }
  const [width, height] = [origin.width + 16, origin.height + 16];
  const drawn = svg("svg", {width, height, viewBox: `-8 -8 ${width} ${height}`}, svg("rect", {x: -8, y: -8, width, height, fill: look(tree, "background-color")}), lines, boxes, bars,
    words.map(({parent, text, x, bottom, high}) => svg("text", {x, y: bottom - origin.top - 0.24 * high, fill: look(parent, "color"), "font-size": look(parent, "font-size"),
      "font-weight": look(parent, "font-weight"), "font-style": look(parent, "font-style"), "font-family": look(parent, "font-family")}, text)));
  return new XMLSerializer().serializeToString(drawn);
}

function clamp(text, most) {
  text = plain(text);
  if (text.length <= most) return text;
  most = cut(text, most);
  const rest = h("span", {class: "hidden"}, text.slice(most));
  const more = h("button", {class: "link screen", onclick: () => { rest.classList.remove("hidden"); more.remove(); }}, "… more");
  return [text.slice(0, most), rest, more];
}

function citation(id, passage) {
  return passage ? `“${plain(passage.text)}” — ${plain(passage.title || id)} [${plain(id)}]` : `[${plain(id)}]`;
}

function niceTicks(most, wanted) {
  const rough = most / wanted, ten = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((f) => f * ten).find((s) => s >= rough) || ten;
  const ticks = [];
  for (let t = 0; t <= most + 1e-9; t += step) ticks.push(t);
  return ticks;
}

stored("data").then((data) => new Page(new Run(data)).start()).catch(failed);
