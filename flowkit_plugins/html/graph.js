// The graph: tasks from top to bottom in layers, a mapped task as one box with counts.
const MOST_BOXES = 400;

function arrange(boxes, lines, gapX, gapY) {
  // Sugiyama: layers by longest path, points where long lines pass, barycentres for the order, then alignment.
  const layers = [];
  for (const box of boxes) {
    box.layer = Math.max(0, ...box.ups.map((up) => boxes[up].layer + 1));
    (layers[box.layer] ||= []).push(box);
    box.above = []; box.below = [];
  }
  for (const line of lines) {
    line.way = [line.from];
    for (let layer = line.from.layer + 1; layer < line.to.layer; layer++) {
      const point = { width: 8, layer, above: [], below: [], point: true };
      layers[layer].push(point);
      line.way.push(point);
    }
    line.way.push(line.to);
    for (let i = 1; i < line.way.length; i++) { line.way[i - 1].below.push(line.way[i]); line.way[i].above.push(line.way[i - 1]); }
  }
  const rank = () => layers.forEach((layer) => layer.forEach((spot, i) => { spot.at = i; }));
  const crossings = () => {
    let sum = 0;
    for (const layer of layers) {
      const passed = [];
      for (const spot of layer) {
        const ends = spot.below.map((b) => b.at);
        for (const end of ends) for (const other of passed) if (other > end) sum++;
        passed.push(...ends);
      }
    }
    return sum;
  };
  rank();
  let best = layers.map((l) => [...l]), fewest = crossings();
  for (let sweep = 0; sweep < 10 && fewest; sweep++) {
    const down = sweep % 2 === 0;
    for (const layer of down ? layers : [...layers].reverse()) {
      for (const spot of layer) {
        const beside = down ? spot.above : spot.below;
        spot.wish = beside.length ? beside.reduce((sum, b) => sum + b.at, 0) / beside.length : spot.at;
      }
      layer.sort((a, b) => a.wish - b.wish);
      layer.forEach((spot, i) => { spot.at = i; });
    }
    const now = crossings();
    if (now < fewest) { fewest = now; best = layers.map((l) => [...l]); }
  }
  best.forEach((layer, i) => { layers[i] = layer; });
  rank();
  for (const layer of layers) { let x = 0; for (const spot of layer) { spot.x = x + spot.width / 2; x += spot.width + gapX; } }
  for (let turn = 0; turn < 14; turn++) {
    for (const layer of turn % 2 ? [...layers].reverse() : layers) {
      const wished = layer.map((spot) => {
        const beside = (turn % 2 ? spot.below : spot.above).length ? (turn % 2 ? spot.below : spot.above) : turn % 2 ? spot.above : spot.below;
        const xs = beside.map((b) => b.x).sort((a, b) => a - b), middle = xs.length >> 1;
        return !xs.length ? spot.x : xs.length % 2 ? xs[middle] : (xs[middle - 1] + xs[middle]) / 2;
      });
      let offset = 0;
      const offsets = layer.map((spot, i) => { if (i) offset += (layer[i - 1].width + spot.width) / 2 + gapX; return offset; });
      const blocks = []; // pool adjacent violators: as near to the wishes as the order allows
      wished.forEach((wish, i) => {
        let mean = wish - offsets[i], many = 1;
        while (blocks.length && blocks[blocks.length - 1][0] > mean) { const [m, c] = blocks.pop(); mean = (m * c + mean * many) / (c + many); many += c; }
        blocks.push([mean, many]);
      });
      let i = 0;
      for (const [mean, many] of blocks) for (let k = 0; k < many; k++, i++) layer[i].x = mean + offsets[i];
    }
  }
  const spots = layers.flat();
  const left = Math.min(...spots.map((spot) => spot.x - spot.width / 2));
  for (const spot of spots) spot.x -= left;
  layers.forEach((layer, i) => { for (const spot of layer) spot.y = i * gapY; });
  return { width: Math.max(...spots.map((spot) => spot.x + spot.width / 2)), height: layers.length * gapY };
}

function graphSection(choose) {
  const mapped = tasks.filter((task) => task.axes.length).length;
  const note = count(tasks.length, "task") + (mapped ? `, ${mapped.toLocaleString("en")} of them mapped` : "");
  const section = h("section", { id: "graph", "aria-labelledby": "graph-title" },
    h("div", { class: "head" }, h("h2", { id: "graph-title" }, "Graph"), h("span", { class: "soft" }, note)));
  if (!tasks.length) return null;
  if (tasks.length > MOST_BOXES) {
    section.append(h("p", { class: "soft" }, `More than ${MOST_BOXES} tasks make no drawing one can read; timeline and table have them all.`));
    return section;
  }
  const frame = h("div", { class: "graph", tabindex: 0, role: "group", "aria-label": "Graph of the tasks; each box leads to its nodes" });
  data.flows.forEach((path, flow) => frame.append(drawFlow(path, flow, choose)));
  section.append(frame);
  requestAnimationFrame(() => { frame.scrollLeft = (frame.scrollWidth - frame.clientWidth) / 2; });
  return section;
}

function noteOf(task) {
  if (!task.nodes.length) return task.axes.length ? "no elements" : "not called";
  if (!task.axes.length) {
    const [node] = task.nodes;
    const time = node.tries.length ? ` in ${seconds(node.took)}` : "";
    return `${node.word}${time}${node.tries.length > 1 ? `, ${node.tries.length} attempts` : ""}`;
  }
  const counts = countsOf(task.nodes);
  return counts.length === 1 ? `${task.nodes.length.toLocaleString("en")} ${counts[0][0]}`
    : counts.map(([word, n]) => `${n.toLocaleString("en")} ${word}`).join(", ");
}

function drawFlow(path, flow, choose) {
  const HEIGHT = 44, boxes = [], of = new Map();
  tasks.forEach((task, i) => { if (task.flow === flow) { of.set(i, boxes.length); boxes.push({ task, index: i }); } });
  const lines = [];
  for (const box of boxes) {
    const name = box.task.name + (box.task.axes.length ? ` [${box.task.axes.join(" × ")}]` : "");
    box.title = name.length > 34 ? `${name.slice(0, 33)}…` : name;
    box.note = noteOf(box.task);
    if (box.note.length > 44) box.note = `${box.note.slice(0, 43)}…`;
    box.width = Math.max(96, 44 + Math.max(box.title.length * 7.6, box.note.length * 6.3));
    box.ups = [];
    for (const [up, kind] of box.task.ups) {
      if (!of.has(up)) continue;
      box.ups.push(of.get(up));
      lines.push({ from: boxes[of.get(up)], to: box, dash: kind === "collected" });
    }
  }
  for (const box of boxes) { // a fallback stands below what it stands in for
    const other = of.get(box.task.fallback);
    if (other !== undefined && !reaches(boxes, other, boxes.indexOf(box))) {
      boxes[other].ups.push(boxes.indexOf(box));
      lines.push({ from: box, to: boxes[other], dash: true, says: "fallback" });
    }
  }
  const sorted = upstreamFirst(boxes);
  const place = new Map(sorted.map((box, i) => [box, i]));
  for (const box of sorted) box.ups = box.ups.map((up) => place.get(boxes[up]));
  const size = arrange(sorted, lines, 26, 82);
  const top = data.flows.length > 1 ? 26 : 4;
  const width = Math.ceil(size.width) + 12, height = Math.ceil(size.height) - 82 + HEIGHT + top + 10;
  const least = narrow.matches ? 0.8 : 0.7; // smaller than that nobody can read it: then it scrolls
  const scale = Math.max(least, Math.min(1, (main.clientWidth - 90) / width));
  const svg = s("svg", { width: width * scale, height: height * scale, viewBox: `-6 ${-top} ${width} ${height}`, role: "presentation" });
  if (data.flows.length > 1) svg.append(s("text", { class: "flowname", x: 0, y: -10 }, path));
  for (const line of lines) drawLine(svg, line, HEIGHT);
  for (const box of sorted) svg.append(drawBox(box, HEIGHT, choose, lines));
  return svg;
}

function reaches(boxes, from, to) { // whether `to` hangs off `from`
  const stack = [to], seen = new Set();
  while (stack.length) {
    const at = stack.pop();
    if (at === from) return true;
    if (!seen.has(at)) { seen.add(at); stack.push(...boxes[at].ups); }
  }
  return false;
}

function upstreamFirst(boxes) {
  const done = new Set(), ordered = [];
  const visit = (i) => { if (!done.has(i)) { done.add(i); boxes[i].ups.forEach(visit); ordered.push(boxes[i]); } };
  boxes.forEach((_, i) => visit(i));
  return ordered;
}

function drawLine(svg, line, height) {
  let path = "";
  line.way.forEach((spot, i) => {
    if (!i) { path = `M${spot.x} ${spot.y + height}`; return; }
    const before = line.way[i - 1], fromY = before.y + height, toY = spot.y - (spot.point ? 0 : 5);
    const bend = (toY - fromY) / 2;
    path += `C${before.x} ${fromY + bend} ${spot.x} ${toY - bend} ${spot.x} ${toY}`;
    if (spot.point) path += `L${spot.x} ${spot.y + height}`;
  });
  const end = line.to;
  line.drawn = [
    s("path", { class: `edge${line.dash ? " dash" : ""}`, d: path }, line.says ? s("title", {}, line.says) : null),
    s("path", { class: "tip", d: `M${end.x - 4} ${end.y - 7}h8l-4 6z` }),
  ];
  svg.append(...line.drawn);
}

function drawBox(box, height, choose, lines) {
  const { task } = box, word = worst(task.nodes), w = WORDS[word], x = box.x - box.width / 2, y = box.y;
  const bad = BAD.includes(word), all = task.nodes.length;
  const group = s("g", {
    class: `box ${look(word)}${bad ? " bad" : ""}`, tabindex: 0, role: "button",
    "aria-label": `${box.title}: ${box.note}`, onclick: () => choose(task),
    onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(task); } },
  });
  const light = (on) => () => lines.filter((l) => l.from === box || l.to === box).forEach((l) => l.drawn.forEach((d) => d.classList.toggle("lit", on)));
  for (const [name, on] of [["mouseenter", true], ["mouseleave", false], ["focus", true], ["blur", false]]) group.addEventListener(name, light(on));
  group.append(s("title", {}, [`${task.name} (${task.where})`, task.doc, noteOf(task)].filter(Boolean).join("\n")));
  if (task.axes.length) group.append(s("rect", { class: "back", x: x + 4, y: y + 4, width: box.width, height, rx: 7 }));
  group.append(s("rect", { class: "face", x, y, width: box.width, height, rx: 7 }));
  const sign = { class: `sign${w.hollow ? " hollow" : ""}` };
  group.append(w.round ? s("circle", { ...sign, cx: x + 18, cy: y + 18, r: 9 }) : s("rect", { ...sign, x: x + 9, y: y + 9, width: 18, height: 18, rx: 4 }));
  group.append(
    s("text", { class: `letter${w.hollow ? " hollow" : ""}`, x: x + 18, y: y + 22 }, w.letter),
    s("text", { class: "name", x: x + 34, y: y + 18 }, box.title),
    s("text", { class: "note", x: x + 34, y: y + 33 }, box.note));
  if (all > 1) { // how many of each, as a strip
    let at = x + 1;
    const parts = countsOf(task.nodes), room = box.width - 2;
    for (const [each, n] of parts) {
      const wide = Math.max(3, (n / all) * (room - 3 * parts.length) + 3);
      group.append(s("rect", { class: `part ${look(each)}`, x: at + 4, y: y + height - 4.5, width: Math.max(1, Math.min(wide, x + box.width - 9 - at)), height: 3 }));
      at += wide;
    }
  }
  return group;
}
