"use strict";
const main = document.getElementById("page"), dialog = document.getElementById("node");
// What all parts of the page use. Texts enter the page as text nodes only, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const { run, tasks, reasons, details } = data;

const nodes = data.nodes.map((n, index) => ({
  index, task: n[0], element: n[1], word: n[2], reason: reasons[n[3]], ready: n[4], end: n[5], saved: n[6],
  excuse: n[7],
  tries: Array.from({ length: n[8].length / 3 }, (_, i) => ({ start: n[8][3 * i], end: n[8][3 * i + 1], kind: n[8][3 * i + 2] })),
}));
for (const node of nodes) {
  const task = tasks[node.task];
  node.id = task.name + (node.element === "" && !task.axes.length ? "" : `[${node.element}]`);
  node.full = data.flows.length > 1 ? `${data.flows[task.flow]}::${node.id}` : node.id;
  node.start = node.tries.length ? node.tries[0].start : node.end;
  const last = node.tries[node.tries.length - 1];
  node.took = last ? last.end - last.start : 0;
  node.waited = node.tries.length || node.word === "cached" ? node.start - node.ready : 0;
}
for (const task of tasks) task.nodes = [];
for (const node of nodes) tasks[node.task].nodes.push(node);

// Letter and form of each word: no state is told by its colour alone.
const WORDS = {
  failed: { letter: "F", says: "raised, or called fail()" },
  timeout: { letter: "T", says: "took too long" },
  error: { letter: "E", says: "a resource, a stored input or the worker failed" },
  upstream: { letter: "u", hollow: true, says: "not run, because of a failure above it" },
  ran: { letter: "✓", says: "was called" },
  same: { letter: "=", says: "was called, and gave what it gave before" },
  cached: { letter: "c", round: true, says: "its result was reused" },
  skipped: { letter: "s", hollow: true, says: "skipped itself, or its condition was not met" },
  "not run": { letter: "–", hollow: true, says: "the run ended before it did" },
};
const ORDER = Object.keys(WORDS);
const BAD = ["failed", "timeout", "error"];
const look = (word) => `w-${word.replace(" ", "")}`;

function h(tag, facts, ...children) {
  const element = document.createElement(tag);
  return dress(element, facts, children);
}
function s(tag, facts, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), facts, children);
}
function dress(element, facts, children) {
  for (const [name, value] of Object.entries(facts || {})) {
    if (name === "style") for (const [k, v] of Object.entries(value)) element.style.setProperty(k, v);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c != null && c !== false));
  return element;
}

function badge(word) {
  const w = WORDS[word];
  const form = (w.hollow ? " hollow" : "") + (w.round ? " round" : "");
  return h("span", { class: `badge ${look(word)}${form}`, "aria-hidden": "true" }, w.letter);
}
function seconds(value) {
  if (value < 0.0005) return "<1 ms";
  if (value < 1) return `${Number((value * 1000).toPrecision(value < 0.1 ? 2 : 3))} ms`;
  if (value < 59.95) return `${value.toFixed(value < 10 ? 2 : 1)} s`;
  const whole = Math.round(value), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
}
const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
function countsOf(list) {
  const found = {};
  for (const node of list) found[node.word] = (found[node.word] || 0) + 1;
  return ORDER.filter((word) => found[word]).map((word) => [word, found[word]]);
}
const worst = (list) => (list.length ? countsOf(list)[0][0] : "not run");
function traceback(text) {
  const pre = h("pre", { tabindex: 0 });
  for (const line of text.split("\n")) {
    const wrong = line && !/^[\s|+]/.test(line) && !/^(Traceback|During handling|The above)/.test(line);
    pre.append(wrong ? h("span", { class: "wrong" }, line) : line, "\n");
  }
  return pre;
}
const NAMES = { success: "succeeded", skip: "skipped itself", error: "failed", timeout: "took too long", setup: "failed in set-up", lost: "lost its worker", pickle: "could not be handed over", cancelled: "was stopped" };
const went = (kind) => kind === "success" || kind === "skip";

// Thousands of rows in a scrolling window: only those in sight exist.
function windowed(pane, frame, height, make) {
  let list = [], shown = new Map();
  function draw() {
    const first = Math.max(0, Math.floor(frame.scrollTop / height()) - 6);
    const last = Math.min(list.length, first + Math.ceil(frame.clientHeight / height()) + 12);
    const before = shown;
    shown = new Map();
    for (let i = first; i < last; i++) {
      let row = before.get(i);
      if (!row) {
        row = make(list[i], i);
        row.style.top = `${i * height()}px`;
        row.style.height = `${height()}px`;
        row.dataset.row = i;
        pane.append(row);
      }
      before.delete(i);
      shown.set(i, row);
    }
    for (const row of before.values()) row.remove();
  }
  function show(fresh) {
    const at = pane.contains(document.activeElement) ? Number(document.activeElement.dataset.row) : -1;
    list = fresh;
    for (const row of shown.values()) row.remove();
    shown = new Map();
    pane.style.height = `${list.length * height()}px`;
    draw();
    if (at >= 0) shown.get(at)?.focus({ preventScroll: true });
  }
  frame.addEventListener("scroll", draw, { passive: true });
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12, Home: -Infinity, End: Infinity }[event.key];
    if (!step || !event.target.dataset.row) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(list.length - 1, Number(event.target.dataset.row) + step));
    if (to * height() < frame.scrollTop) frame.scrollTop = to * height();
    if ((to + 1) * height() > frame.scrollTop + frame.clientHeight) frame.scrollTop = (to + 1) * height() - frame.clientHeight;
    draw();
    shown.get(to)?.focus({ preventScroll: true });
  });
  addEventListener("resize", () => show(list));
  return show;
}
const narrow = matchMedia("(max-width: 640px)");
