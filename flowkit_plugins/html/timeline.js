// The timeline: a row per task; a mapped one shows how many ran at once, and opens into its elements.
const BINS = 240;

function timelineSection(open) {
  if (!nodes.length) return null;
  const span = nodes.reduce((most, node) => Math.max(most, node.end), Math.max(run.duration, 1e-4));
  const says = h("p", { class: "says", "aria-live": "polite" }, "Point at a row, or move with the arrow keys; Enter opens it.");
  const pane = h("div", { class: "pane", role: "list" }), frame = h("div", { class: "window" }, pane);
  const opened = new Set();
  const many = (task) => (task.nodes.length > 1 ? 22 + task.nodes.length.toLocaleString("en").length * 7 : 0);
  const label = Math.min(320, 72 + Math.max(...tasks.map((task) => task.name.length * 7.6 + many(task))));
  const gantt = h("div", { class: "gantt", style: { "--label": `${label}px` } }, axis(span), frame);
  const show = windowed(pane, frame, () => (narrow.matches ? 44 : 28), (row) => (row.node ? nodeRow(row) : taskRow(row)));
  const tell = (element, text) => {
    for (const name of ["mouseenter", "focus"]) element.addEventListener(name, () => { says.textContent = text(); });
    return element;
  };
  function rows() {
    const found = [];
    const started = (task) => Math.min(...task.nodes.map((node) => node.start));
    for (const task of tasks.filter((t) => t.nodes.length).map((t) => [started(t), t]).sort((a, b) => a[0] - b[0]).map((p) => p[1])) {
      if (task.nodes.length === 1) { found.push({ node: task.nodes[0] }); continue; }
      found.push({ task });
      if (opened.has(task)) for (const node of task.nodes) found.push({ node, child: true });
    }
    return found;
  }
  function taskRow({ task }) {
    const toggle = () => { opened.has(task) ? opened.delete(task) : opened.add(task); show(rows()); };
    const row = h("button", { class: "row", "aria-expanded": String(opened.has(task)), onclick: toggle },
      h("span", { class: "label" }, h("span", { class: "twist", "aria-hidden": "true" }, "▸"), badge(worst(task.nodes)),
        h("span", { class: "text" }, task.name), h("span", { class: "many" }, `× ${task.nodes.length.toLocaleString("en")}`)),
      h("span", { class: "track" }, density(task, span)));
    return tell(row, () => `${task.name}: ${countsOf(task.nodes).map(([w, n]) => `${n.toLocaleString("en")} ${w}`).join(", ")}; ${busiest(task)}`);
  }
  function nodeRow({ node, child }) {
    const row = h("button", { class: `row${child ? " child" : ""}`, onclick: () => open(node), "aria-label": story(node) },
      h("span", { class: "label" }, child ? null : h("span", { class: "twist" }), badge(node.word), h("span", { class: "text" }, child ? node.element : node.id)),
      h("span", { class: "track" }, segments(node, span)));
    return tell(row, () => story(node));
  }
  show(rows());
  requestAnimationFrame(() => show(rows()));
  return h("section", { id: "timeline", "aria-labelledby": "timeline-title" },
    h("div", { class: "head" }, h("h2", { id: "timeline-title" }, "Timeline"), h("span", { class: "soft" }, `${seconds(run.duration)}, ${run.slots} at once`)),
    legend(), gantt, says);
}

function axis(span) {
  const marks = narrow.matches ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1];
  return h("div", { class: "axis", "aria-hidden": "true" }, marks.map((part) => h("span", { style: { left: `${part * 100}%` } }, part ? seconds(part * span) : "0")));
}

function legend() {
  const sample = (kind, word, wide) => h("i", { class: "sample" }, h("i", { class: `seg ${kind} ${look(word)}`, style: { left: wide ? "0" : "50%", width: wide ? "100%" : null } }));
  const has = (test) => nodes.some(test), entries = [];
  const add = (kind, word, wide, text) => entries.push(h("span", {}, sample(kind, word, wide), text));
  add("ready", "ran", true, "waits for its turn");
  const good = (same) => has((n) => (n.word === "same") === same && n.tries.some((t) => went(t.kind)));
  if (good(false)) add("run", "ran", true, "attempt that succeeded");
  if (good(true)) add("run", "same", true, "gave the same as before");
  if (has((n) => n.tries.some((t) => !went(t.kind)))) add("fail", "failed", true, "attempt that failed");
  if (has((n) => n.tries.length > 1)) add("parked", "upstream", true, "waits for its retry");
  if (has((n) => n.word === "cached")) add("tick", "cached", false, "reused");
  if (has((n) => !n.tries.length && n.word !== "cached")) add("none", "skipped", false, "not called");
  if (tasks.some((t) => t.nodes.length > 1)) {
    entries.push(h("span", {}, h("i", { class: "sample" }, s("svg", { class: "dense", viewBox: "0 0 10 10", preserveAspectRatio: "none" }, s("path", { class: "area", d: "M0 10V7L3 2L6 4L10 8V10z" }))), "elements running at once"));
  }
  return h("div", { class: "legend" }, entries);
}

function segments(node, span) {
  const found = [], at = (time) => `${(100 * time) / span}%`;
  const bar = (kind, word, from, to) => found.push(h("i", { class: `seg ${kind} ${look(word)}`, style: { left: at(from), width: `${(100 * Math.max(0, to - from)) / span}%` } }));
  const mark = (kind, word, time) => found.push(h("i", { class: `seg ${kind} ${look(word)}`, style: { left: at(time) } }));
  if (node.waited > 0) bar("ready", "ran", node.ready, node.start);
  node.tries.forEach((attempt, i) => {
    if (i) bar("parked", "upstream", node.tries[i - 1].end, attempt.start);
    const last = i === node.tries.length - 1;
    const word = went(attempt.kind) ? (last ? node.word : "ran") : BAD.includes(node.word) ? node.word : "failed";
    bar(went(attempt.kind) ? "run" : "fail", attempt.kind === "cancelled" ? "not run" : word, attempt.start, attempt.end);
  });
  if (!node.tries.length) mark(node.word === "cached" ? "tick" : "none", node.word, node.end);
  return found;
}

function story(node) {
  const parts = [];
  if (node.waited > 0.0005) parts.push(`waited ${seconds(node.waited)} for its turn`);
  node.tries.forEach((attempt, i) => {
    if (i) parts.push(`waited ${seconds(attempt.start - node.tries[i - 1].end)} for its retry`);
    parts.push(`${node.tries.length > 1 ? `attempt ${i + 1} ` : ""}${NAMES[attempt.kind] || attempt.kind} after ${seconds(attempt.end - attempt.start)}`);
  });
  if (!node.tries.length && node.word === "cached") parts.push(`reused${node.saved ? `, saved ${seconds(node.saved)}` : ""}`);
  else if (!node.tries.length) parts.push(node.word);
  if (node.reason) parts.push(node.reason);
  return `${node.full}: ${parts.join(", ")}`;
}

function load(task, span) {
  // Seconds that its elements ran, waited, failed in each bin: together a picture, whatever their number.
  if (task.load) return task.load;
  const running = new Float64Array(BINS + 1), waiting = new Float64Array(BINS + 1), wrong = new Uint32Array(BINS), hit = new Uint32Array(BINS);
  const bin = (time) => Math.max(0, Math.min(BINS - 1, Math.floor((time / span) * BINS)));
  const fill = (into, from, to) => {
    const width = span / BINS;
    for (let b = bin(from); b <= bin(to); b++) into[b] += Math.max(Math.min(to, (b + 1) * width) - Math.max(from, b * width), 0) / width;
  };
  for (const node of task.nodes) {
    for (const attempt of node.tries) {
      fill(running, attempt.start, attempt.end);
      if (!went(attempt.kind) && attempt.kind !== "cancelled") wrong[bin(attempt.end)]++;
    }
    if (node.waited > 0) fill(waiting, node.ready, node.start);
    if (node.word === "cached") hit[bin(node.end)]++;
  }
  return (task.load = { running, waiting, wrong, hit, most: Math.max(...running) });
}

function busiest(task) {
  const most = task.load ? Math.ceil(task.load.most - 1e-9) : 0;
  const first = Math.min(...task.nodes.map((n) => n.start)), last = Math.max(...task.nodes.map((n) => n.end));
  return `${most ? `at most ${most} at once, ` : ""}from ${seconds(first)} to ${seconds(last)}`;
}

function density(task, span) {
  const found = load(task, span), top = Math.max(found.most, 0.05);
  const area = (values, high) => {
    let path = "M0 100";
    for (let b = 0; b < BINS; b++) { const y = 100 - 100 * Math.min(1, values[b] / high); path += `L${b} ${y.toFixed(1)}H${b + 1}`; }
    return `${path}V100z`;
  };
  const svg = s("svg", { class: "dense", viewBox: `0 0 ${BINS} 100`, preserveAspectRatio: "none", "aria-hidden": "true" });
  if (found.waiting.some((v) => v > 0)) {
    const flat = found.waiting.map((v) => (v > 0.02 ? 1 : 0));
    svg.append(s("path", { class: "waits", d: area(flat, 12) }));
  }
  if (found.most > 0) svg.append(s("path", { class: "area", d: area(found.running.map((v) => (v > 0 ? Math.max(v, top * 0.12) : 0)), top * 1.05) }));
  const marks = (values, kind, y, tall) => {
    let path = "";
    values.forEach((v, b) => { if (v) path += `M${b} ${y}h1v${tall}h-1z`; });
    if (path) svg.append(s("path", { class: kind, d: path }));
  };
  marks(found.hit, "hit", 30, 40);
  marks(found.wrong, "bad", 0, 34);
  return svg;
}
