// The page: header, counts, failures, graph, timeline, every node, what they printed.
const ICONS = { ok: "M3 8.5l3.2 3.2L13 4.8", failed: "M4 4l8 8M12 4l-8 8", interrupted: "M5 3.5v9M11 3.5v9" };
const STATUS = { ok: ["Succeeded", "ran"], failed: ["Failed", "failed"], interrupted: ["Interrupted", "timeout"] };
const FEW = 10;

function sentence() {
  const bad = nodes.filter((node) => BAD.includes(node.word)), hard = bad.filter((node) => !node.excuse);
  const hurt = nodes.filter((node) => node.word === "upstream").length;
  const parts = [];
  if (run.status === "interrupted") parts.push("Stopped by hand before it was done.");
  if (hard.length) parts.push(`${count(hard.length, "node")} of ${nodes.length.toLocaleString("en")} failed${hurt ? `, and ${hurt.toLocaleString("en")} could not run because of that` : ""}.`);
  if (data.teardowns.length) parts.push(`${count(data.teardowns.length, "resource")} could not be closed.`);
  if (run.stopped && run.status !== "interrupted") parts.push(`${run.stopped[0].toUpperCase()}${run.stopped.slice(1)}.`);
  if (run.status === "ok") parts.push(nodes.length && nodes.every((n) => n.word === "cached") ? "Nothing had to be called: every result was reused." : "All went well.");
  if (bad.length > hard.length) parts.push(`${count(bad.length - hard.length, "failure")} did not count: allowed, or a fallback stood in.`);
  return parts.join(" ");
}

function header(filter) {
  const [word, tone] = STATUS[run.status];
  const fact = (name, value, wide) => value ? h("div", { class: wide ? "wide" : null }, h("dt", {}, name), h("dd", {}, value)) : null;
  const when = new Date(run.started), local = `${run.started.slice(0, 10)} ${run.started.slice(11, 19)}`;
  const counts = countsOf(nodes);
  return h("section", { "aria-label": "Run" },
    h("div", { class: "top" },
      h("span", { class: `status ${look(tone)}` }, s("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d: ICONS[run.status] })), word),
      h("h1", {}, run.flow)),
    h("p", { class: "sentence" }, sentence()),
    counts.length > 1 ? h("div", { class: "stack", "aria-hidden": "true" }, counts.map(([w, n]) => h("i", { class: `${look(w)}${WORDS[w].hollow ? " hollow" : ""}`, style: { "flex-grow": n } }))) : h("div", { class: "stack-none", style: { height: "14px" } }),
    h("div", { class: "counts" }, counts.map(([w, n]) => h("button", { class: `chip ${look(w)}`, title: WORDS[w].says, onclick: () => filter(w) }, badge(w), h("b", {}, n.toLocaleString("en")), w))),
    h("dl", { class: "facts" },
      fact("run", h("span", { class: "mono" }, run.id)),
      fact("started", h("time", { datetime: run.started, title: String(when) }, local)),
      fact("for", run.scheduled_at),
      fact("took", seconds(run.duration) + (run.saved >= 0.005 ? ` (saved ${seconds(run.saved)})` : "")),
      fact("executor", `${run.executor}, ${run.slots} at once`),
      fact("versions", `flowkit ${run.versions.flowkit}, Python ${run.versions.python}, ${run.versions.system}`),
      fact("parameters", run.params.length ? h("div", { class: "params" }, run.params.map(([n, v]) => h("code", {}, `${n} = ${v}`))) : null, true),
      fact("command", run.command ? h("code", {}, run.command) : null, true),
      fact("root", h("code", {}, run.root), true)),
    run.notes.length ? [h("h3", {}, "Notes"), h("ul", { class: "note-list" }, run.notes.map((note) => h("li", {}, note)))] : null);
}

// Failures

function failuresSection(filter) {
  const bad = nodes.filter((node) => BAD.includes(node.word));
  if (!bad.length && !data.teardowns.length) return null;
  const section = h("section", { id: "failures", "aria-labelledby": "failures-title" });
  const hard = bad.filter((node) => !node.excuse).length + data.teardowns.length;
  section.append(h("div", { class: "head" }, h("h2", { id: "failures-title" }, "Failures"),
    h("span", { class: "soft" }, hard < bad.length + data.teardowns.length ? `${hard} that count, ${bad.length + data.teardowns.length - hard} that do not` : hard.toLocaleString("en"))));
  const groups = new Map();
  for (const node of bad) groups.has(node.task) ? groups.get(node.task).push(node) : groups.set(node.task, [node]);
  const ordered = [...groups.values()].sort((a, b) => Boolean(a[0].excuse) - Boolean(b[0].excuse));
  let shown = 0;
  for (const group of ordered) {
    for (const node of group.slice(0, FEW)) section.append(failure(node, shown++ < 1));
    if (group.length > FEW) {
      section.append(h("p", { class: "soft" }, `… and ${count(group.length - FEW, "more failed element")} of ${tasks[group[0].task].name}: `,
        h("button", { class: "copy", onclick: () => filter(group[0].word, tasks[group[0].task]) }, "show all in the table")));
    }
  }
  for (const each of data.teardowns) {
    section.append(h("details", { class: "failure" },
      h("summary", {}, badge("error"), h("span", { class: "said" }, h("b", {}, `teardown of ${each.resource}`), each.error)),
      h("div", { class: "body" }, h("div", { class: "soft" }, each.where + (each.node ? `, set up for ${each.node}` : "")), traceback(each.traceback))));
  }
  return section;
}

function failure(node, open) {
  const item = h("details", { class: "failure", open }), said = details[node.index]?.error || node.reason;
  item.append(h("summary", {}, badge(node.word),
    h("span", { class: "said" }, h("b", {}, node.full), said, node.excuse ? h("span", { class: "soft" }, ` (${node.excuse})`) : null)));
  const fill = () => { if (item.children.length < 2) item.append(h("div", { class: "body" }, ...story_of(node))); };
  if (open) fill(); else item.addEventListener("toggle", fill, { once: true });
  return item;
}

function story_of(node) {
  const task = tasks[node.task], found = details[node.index] || {}, parts = [];
  const facts = [task.where, node.word];
  if (node.tries.length) facts.push(node.tries.length > 1 ? `${node.tries.length} attempts, the last took ${seconds(node.took)}` : `took ${seconds(node.took)}`);
  else facts.push("not called");
  parts.push(h("div", { class: "soft" }, facts.join(" · ")));
  if (found.arguments?.length) parts.push(h("table", { class: "args" }, found.arguments.map(([n, v]) => h("tr", {}, h("td", {}, n), h("td", {}, v)))));
  const tries = found.attempts || [];
  const earlier = h("details", { class: "earlier" }, h("summary", {}, count(tries.length - 1, "earlier attempt")));
  if (tries.length > 1) parts.push(earlier);
  const into = (i) => (i < tries.length - 1 ? { push: (...what) => earlier.append(...what) } : parts);
  tries.forEach((attempt, i) => {
    const parts = into(i);
    if (tries.length > 1) parts.push(h("h3", {}, `Attempt ${i + 1} of ${tries.length}: ${NAMES[node.tries[i].kind] || node.tries[i].kind}${attempt.again ? ` – ${attempt.again}` : ""}`));
    const last = i === tries.length - 1;
    if (attempt.traceback && (last || attempt.traceback !== tries[i + 1].traceback)) parts.push(traceback(attempt.traceback));
    else if (attempt.error) parts.push(h("pre", {}, h("span", { class: "wrong" }, attempt.error)));
    for (const [title, text] of attempt.output || []) parts.push(h("h3", {}, title), h("pre", { tabindex: 0 }, text));
  });
  if (!tries.length && found.error) parts.push(h("pre", {}, found.error));
  if (found.rerun) parts.push(h("h3", {}, "Run just this again"), again(found.rerun));
  return parts;
}

function again(command) {
  const pre = h("pre", { tabindex: 0 }, command), button = h("button", { class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(command); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(pre); button.textContent = "Selected"; }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  return h("div", { class: "again" }, pre, button);
}

// One node

function open(node) {
  const span = Math.max(node.end - Math.min(node.ready, node.start), 1e-4), from = Math.min(node.ready, node.start);
  const moved = { ...node, ready: node.ready - from, start: node.start - from, end: node.end - from, tries: node.tries.map((t) => ({ ...t, start: t.start - from, end: t.end - from })) };
  const task = tasks[node.task], key = details[node.index]?.key;
  dialog.replaceChildren(
    h("button", { class: "close", onclick: () => dialog.close() }, "Close"),
    h("h2", { id: "node-title" }, node.full),
    h("p", { class: "top" }, badge(node.word), h("span", {}, node.word, node.excuse ? ` (${node.excuse})` : "", node.reason ? `: ${node.reason}` : "")),
    ...(node.tries.length ? [h("div", { class: "strip", "aria-hidden": "true" }, segments(moved, span)), h("div", { class: "soft" }, story(node))] : []),
    task.doc ? h("p", {}, task.doc) : "",
    ...story_of(node),
    key ? h("p", { class: "soft" }, "key ", h("code", {}, key)) : "");
  dialog.showModal();
  dialog.scrollTop = 0;
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

// Every node

function nodesSection() {
  let words = new Set(), only = null, sort = "", upwards = true;
  const input = h("input", { type: "search", placeholder: "Filter by node or reason", "aria-label": "Filter by node or reason", oninput: () => refresh() });
  const chips = new Map(countsOf(nodes).map(([word, n]) => [word, h("button", { class: `chip ${look(word)}`, "aria-pressed": "false", onclick: () => { words.has(word) ? words.delete(word) : words.add(word); refresh(); } }, badge(word), word, h("b", {}, n.toLocaleString("en")))]));
  const all = h("button", { class: "copy", onclick: () => { words = new Set(); only = null; input.value = ""; refresh(); } }, "Show all");
  const shown = h("span", { class: "soft", role: "status" });
  const pane = h("div", { class: "pane", role: "list" }), frame = h("div", { class: "window" }, pane);
  const show = windowed(pane, frame, () => (narrow.matches ? 52 : 32), (node) => h("button", { class: "nrow", role: "listitem", onclick: () => open(node) },
    h("span", { class: "state" }, badge(node.word), node.word), h("span", { class: "id", title: node.full }, node.full),
    h("span", { class: "num took" }, node.tries.length ? seconds(node.took) : ""), h("span", { class: "num waited" }, node.waited > 0.0005 ? seconds(node.waited) : ""),
    h("span", { class: "num tries" }, node.tries.length || ""), h("span", { class: "why", title: node.reason }, BAD.includes(node.word) ? details[node.index]?.error || node.reason : node.reason)));
  const keys = { state: (n) => ORDER.indexOf(n.word), node: (n) => n.index, took: (n) => -n.took, waited: (n) => -n.waited, calls: (n) => -n.tries.length, reason: (n) => n.reason };
  const columns = Object.keys(keys).map((name) => h("span", { class: ["took", "waited", "calls"].includes(name) ? "num" : null }, h("button", {
    "aria-label": `Sort by ${name}`, onclick: () => { upwards = sort === name ? !upwards : true; sort = name; refresh(); } }, name)));
  function refresh() {
    const text = input.value.trim().toLowerCase();
    let found = nodes.filter((n) => (!words.size || words.has(n.word)) && (!only || tasks[n.task] === only)
      && (!text || n.full.toLowerCase().includes(text) || n.reason.toLowerCase().includes(text) || (details[n.index]?.error || "").toLowerCase().includes(text)));
    if (sort) {
      const key = keys[sort], sign = upwards ? 1 : -1;
      found = found.map((n) => [key(n), n]).sort((a, b) => sign * (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0)).map((p) => p[1]);
    }
    for (const [word, chip] of chips) chip.setAttribute("aria-pressed", String(words.has(word)));
    columns.forEach((c, i) => { const own = Object.keys(keys)[i]; c.firstChild.textContent = own + (sort === own ? (upwards ? " ▾" : " ▴") : ""); });
    shown.textContent = (found.length === nodes.length ? count(nodes.length, "node") : `${found.length.toLocaleString("en")} of ${count(nodes.length, "node")}`) + (only ? ` · ${only.name}` : "");
    all.classList.toggle("hidden", found.length === nodes.length);
    frame.scrollTop = 0;
    show(found);
  }
  const section = h("section", { id: "nodes", "aria-labelledby": "nodes-title" },
    h("div", { class: "head" }, h("h2", { id: "nodes-title" }, "Nodes"), shown),
    h("div", { class: "tools" }, input, ...chips.values(), all),
    h("div", { class: "grid" }, h("div", { class: "cols" }, columns), frame));
  const choose = (word, task) => { words = new Set(word ? [word] : []); only = task || null; input.value = ""; refresh(); section.scrollIntoView({ block: "start" }); input.focus({ preventScroll: true }); };
  requestAnimationFrame(refresh);
  return { section, choose };
}

// What was printed

function outputSection() {
  const spoke = nodes.filter((n) => details[n.index]?.attempts?.some((a) => a.output?.length));
  if (!spoke.length) return null;
  const MOST = 50;
  return h("section", { id: "output", "aria-labelledby": "output-title" },
    h("div", { class: "head" }, h("h2", { id: "output-title" }, "Output"), h("span", { class: "soft" }, `of ${count(spoke.length, "node")}`)),
    spoke.slice(0, MOST).map((node) => {
      const item = h("details", { class: "out" }, h("summary", {}, node.full));
      item.addEventListener("toggle", () => {
        if (item.children.length > 1) return;
        details[node.index].attempts.forEach((attempt, i) => (attempt.output || []).forEach(([title, text]) => item.append(
          h("div", { class: "soft" }, node.tries.length > 1 ? `${title}, attempt ${i + 1}` : title), h("pre", { tabindex: 0 }, text))));
      });
      return item;
    }),
    spoke.length > MOST ? h("p", { class: "soft" }, `… and ${count(spoke.length - MOST, "more node")}: open them from the table.`) : null);
}

const table = nodesSection();
const choose = (task) => (task.nodes.length === 1 && !task.axes.length ? open(task.nodes[0]) : table.choose(null, task));
main.replaceChildren(...[
  header((word) => table.choose(word)), failuresSection(table.choose), graphSection(choose), timelineSection(open),
  nodes.length ? table.section : null, outputSection(),
].filter(Boolean));
requestAnimationFrame(() => { document.documentElement.dataset.drawn = String(nodes.length); });  // rows came with this frame
