"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const bytes = encoded => Uint8Array.from(atob(encoded), letter => letter.charCodeAt(0)).buffer;
const places = new Float32Array(bytes(data.places)); // x, y of each text: 0 to 1, y downwards
const clusterOf = new Int32Array(bytes(data.clusters)); // -1 is noise
const probability = new Uint8Array(bytes(data.probability)); // in hundredths
const count = clusterOf.length;
const element = id => document.getElementById(id);
const map = element("map"), hover = element("hover"), pointCanvas = element("points"), nameCanvas = element("names");
const dark = matchMedia("(prefers-color-scheme: dark)");
const between = (least, value, most) => Math.max(least, Math.min(most, value));
const grouped = number => number.toLocaleString("en");

// Noise lies under the clusters, and the selected cluster over all others.
const order = Uint32Array.from(clusterOf.keys()).sort((a, b) => clusterOf[a] - clusterOf[b]);
let view = { scale: 1, x: 0, y: 0 }, width = 0, height = 0, ratio = 1, colours = null, waiting = false;
// What is shown: texts of the selected cluster, and those that were found where something is looked for. `chosen` is the
// text whose point was clicked.
let selected = null, chosen = -1, wanted = null, found = null;
const isFound = index => found === null || found[index] === 1;
const isShown = index => (selected === null || clusterOf[index] === selected) && isFound(index);

// Colours: neighbours in number are far apart in hue; lightness and saturation take turns.
function hsl(cluster) {
  const light = dark.matches ? [68, 58, 76] : [44, 54, 36];
  return [(cluster * 137.508) % 360, [75, 55, 95][cluster % 3], light[Math.floor(cluster / 3) % 3]];
}
function rgb([hue, saturation, lightness]) {
  const a = saturation / 100 * Math.min(lightness / 100, 1 - lightness / 100);
  return [0, 8, 4].map(n => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness / 100 - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}
const css = cluster => `rgb(${rgb(hsl(cluster))})`;
const pixel = ([red, green, blue]) => 255 << 24 | blue << 16 | green << 8 | red;
function makeColours() {
  const grey = dark.matches ? [74, 80, 86] : [196, 201, 206], faint = dark.matches ? [44, 48, 53] : [226, 229, 232];
  colours = { noise: pixel(grey), faint: pixel(faint), clusters: Int32Array.from(data.table, (_, index) => pixel(rgb(hsl(index)))) };
}

// The map fills the shorter side of the canvas at scale 1.
const side = () => Math.min(width, height) * 0.94 * view.scale;
const toX = index => width / 2 + (places[2 * index] - 0.5 - view.x) * side();
const toY = index => height / 2 + (places[2 * index + 1] - 0.5 - view.y) * side();

function drawPoints() {
  const w = pointCanvas.width, h = pointCanvas.height, context = pointCanvas.getContext("2d");
  if (!w || !h) return;
  const image = context.createImageData(w, h), pixels = new Int32Array(image.data.buffer);
  const dense = Math.sqrt(3000 / Math.max(count, 300)) * Math.sqrt(view.scale);
  const radius = Math.max(0.7, Math.min(5, 2.6 * dense)) * ratio, reach = Math.floor(radius), disc = [];
  for (let y = -reach; y <= reach; y++) for (let x = -reach; x <= reach; x++)
    if (x * x + y * y <= radius * radius) disc.push(y * w + x);
  const plot = (index, colour) => {
    const x = Math.round(toX(index) * ratio), y = Math.round(toY(index) * ratio);
    if (x < reach || y < reach || x >= w - reach || y >= h - reach) return;
    for (const offset of disc) pixels[y * w + x + offset] = colour;
  };
  const colourOf = index => clusterOf[index] < 0 ? colours.noise : colours.clusters[clusterOf[index]];
  const isPart = selected !== null || found !== null;
  for (const index of order) plot(index, isPart ? colours.faint : colourOf(index));
  if (isPart) for (const index of order) if (isShown(index)) plot(index, colourOf(index));
  context.putImageData(image, 0, 0);
}

// A letter with its marks is one, where the browser can tell.
const letters = text => Intl.Segmenter ? Array.from(new Intl.Segmenter().segment(text), part => part.segment) : Array.from(text);
function shortened(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  const kept = letters(text);
  while (kept.length && context.measureText(kept.join("") + "…").width > room) kept.pop();
  return kept.join("") + "…";
}
function drawNames() {
  const context = nameCanvas.getContext("2d"), buttons = element("buttons"), gap = 6, above = 14, below = 5;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "center";
  context.lineJoin = "round";
  context.strokeStyle = getComputedStyle(document.body).backgroundColor;
  context.fillStyle = getComputedStyle(document.body).color;
  // Left, top, right and bottom of what must not be written over.
  const taken = [[buttons.offsetLeft, buttons.offsetTop, buttons.offsetLeft + buttons.offsetWidth, buttons.offsetTop + buttons.offsetHeight]];
  context.lineWidth = 6; // hides the points between and around letters
  for (const { cluster, name, central, row } of entries) {
    if (taken.length > 60) break;
    if (cluster < 0 || row.hidden || selected !== null && cluster !== selected) continue;
    const pointX = toX(central[0]), pointY = toY(central[0]);
    if (pointX < 0 || pointY < 0 || pointX > width || pointY > height) continue;
    const written = shortened(context, name, width - 2 * gap), half = context.measureText(written).width / 2 + gap;
    // At the edge of the map a name is moved inwards, and stays whole; where there is no room above its point, it is below.
    const x = between(half, pointX, width - half);
    const lines = [pointY - gap, pointY + gap + above].map(line => between(above, line, height - below));
    const isFree = y => !taken.some(other => x - half < other[2] && x + half > other[0] && y - above < other[3] && y + below > other[1]);
    const y = lines.find(isFree);
    if (y === undefined) continue;
    taken.push([x - half, y - above, x + half, y + below]);
    context.strokeText(written, x, y);
    context.fillText(written, x, y);
  }
  if (chosen < 0) return;
  context.strokeStyle = context.fillStyle;
  context.lineWidth = 2;
  context.beginPath();
  context.arc(toX(chosen), toY(chosen), 8, 0, 2 * Math.PI);
  context.stroke();
}

function paint() {
  waiting = false;
  drawPoints();
  drawNames();
}
function draw() {
  if (!waiting) requestAnimationFrame(paint);
  waiting = true;
}
function fit() {
  ratio = window.devicePixelRatio || 1;
  width = map.clientWidth; height = map.clientHeight;
  for (const canvas of [pointCanvas, nameCanvas]) {
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
  }
  paint();
}
function zoom(factor, x, y) {
  const before = side();
  view.scale = between(0.5, view.scale * factor, 2000);
  // What lies under the pointer stays there.
  view.x += (x - width / 2) * (1 / before - 1 / side());
  view.y += (y - height / 2) * (1 / before - 1 / side());
  draw();
}
// Most of a cluster's points come to fill the middle of the map; single ones may lie far from the others.
function goTo(cluster) {
  if (!width || !height) return;
  const extent = axis => {
    const all = Float32Array.from(order.filter(index => clusterOf[index] === cluster), index => places[2 * index + axis]).sort();
    return [all[Math.floor(0.05 * (all.length - 1))], all[Math.ceil(0.95 * (all.length - 1))]];
  };
  const [left, right] = extent(0), [top, bottom] = extent(1), whole = 0.94 * Math.min(width, height);
  const scale = 0.6 * Math.min(width / Math.max(right - left, 0.02), height / Math.max(bottom - top, 0.02)) / whole;
  view = { scale: Math.max(1, scale), x: (left + right) / 2 - 0.5, y: (top + bottom) / 2 - 0.5 };
  draw();
}
function nearest(x, y) {
  let best = -1, least = 100; // within 10 pixels
  for (let index = 0; index < count; index++) {
    if (!isShown(index)) continue;
    const away = (toX(index) - x) ** 2 + (toY(index) - y) ** 2;
    if (away < least) { least = away; best = index; }
  }
  return best;
}
function showHover(x, y) {
  const index = nearest(x, y);
  hover.style.display = index < 0 ? "none" : "block";
  if (index < 0) return;
  const cluster = clusterOf[index], text = data.texts[index];
  const [head, body, foot] = ["b", "div", "i"].map(name => document.createElement(name));
  head.textContent = cluster < 0 ? "In no cluster" : data.table[cluster].label;
  foot.textContent = cluster < 0 ? "" : `probability ${(probability[index] / 100).toFixed(2)}`;
  body.dir = "auto";
  body.append(...marked(around(text)));
  hover.replaceChildren(head, body, foot);
  hover.style.left = Math.max(0, Math.min(x + 14, width - hover.offsetWidth - 8)) + "px";
  hover.style.top = Math.max(0, y + 14 + hover.offsetHeight > height ? y - hover.offsetHeight - 14 : y + 14) + "px";
}

// Why a text was found is seen: what was looked for is marked, and stands near the beginning of what is shown of it.
function marked(text) {
  if (!wanted) return [text];
  return text.split(wanted).map((part, number) => {
    if (number % 2 === 0) return part;
    const mark = document.createElement("mark");
    mark.textContent = part;
    return mark;
  });
}
function around(text) {
  const place = wanted ? text.search(wanted) : -1;
  if (place < 60) return text;
  const blank = text.lastIndexOf(" ", place - 20);
  let from = blank > place - 60 ? blank + 1 : place - 20;
  // Not between a letter and its marks.
  while (from > 0 && /^[\p{M}\p{Cf}\udc00-\udfff]/u.test(text[from])) from--;
  return "…" + text.slice(from);
}

const TEXTS_AT_ONCE = 50, FOUND_AT_ONCE = 3;
function makeItem(parts) {
  const item = document.createElement("li");
  item.dir = "auto";
  item.append(...parts);
  return item;
}
// All of a cluster that may be read: the text that was clicked, central ones, then those that lie deepest inside.
function textsOf({ cluster, central }) {
  const first = new Set(clusterOf[chosen] === cluster ? [chosen, ...central] : central), others = [];
  for (let index = 0; index < count; index++) if (clusterOf[index] === cluster && !first.has(index)) others.push(index);
  others.sort((a, b) => probability[b] - probability[a]);
  return [...first, ...others].filter(isFound);
}
function fillOpen(entry) {
  const texts = textsOf(entry), more = document.createElement("button"), last = makeItem([more]);
  let shown = 0;
  more.onclick = () => {
    for (const index of texts.slice(shown, shown + TEXTS_AT_ONCE)) {
      const item = makeItem(marked(data.texts[index]));
      item.className = index === chosen ? "chosen" : "";
      last.before(item);
    }
    shown = Math.min(shown + TEXTS_AT_ONCE, texts.length);
    last.hidden = shown === texts.length;
    more.textContent = `Show more (${grouped(shown)} of ${grouped(texts.length)})`;
  };
  entry.list.append(last);
  more.onclick();
}
function fill(entry) {
  entry.list.replaceChildren();
  entry.label.replaceChildren(...marked(entry.title));
  if (entry.cluster === selected) return fillOpen(entry);
  const texts = wanted ? entry.hits.slice(0, FOUND_AT_ONCE) : entry.central.slice(0, 1);
  entry.list.append(...texts.map(index => makeItem(marked(around(data.texts[index])))));
  const left = wanted ? entry.hits.length - texts.length : 0;
  if (left) entry.list.append(makeItem([`and ${grouped(left)} more with this`]));
}
function show(cluster, index) {
  const changed = entries.filter(entry => entry.cluster === selected || entry.cluster === cluster);
  selected = cluster;
  chosen = index;
  for (const entry of changed) {
    entry.row.setAttribute("aria-selected", entry.cluster === selected);
    fill(entry);
    if (entry.cluster === selected) entry.row.scrollIntoView({ block: "start" });
  }
  draw();
}
function choose(cluster) {
  if (selected === cluster) return show(null, -1);
  show(cluster, -1);
  goTo(cluster);
}

function makeEntry(cluster, { label: title, name, size, central }) {
  const [row, about, number] = ["tr", "td", "td"].map(kind => document.createElement(kind));
  const [dot, label, list] = ["span", "span", "ul"].map(kind => document.createElement(kind));
  const entry = { cluster, title, name, central, row, dot, label, list, hits: [] };
  dot.className = "dot";
  label.dir = "auto";
  about.append(dot, label, list);
  number.className = "size";
  number.textContent = grouped(size);
  row.append(about, number);
  row.tabIndex = 0;
  row.onclick = () => choose(cluster);
  row.onkeydown = event => {
    if (event.target !== row || event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(cluster);
  };
  // Texts that are open are there to be read and copied.
  list.onclick = event => { if (selected === cluster) event.stopPropagation(); };
  return entry;
}
function paintDots() {
  for (const { cluster, dot } of entries) dot.style.background = cluster < 0 ? "#9aa4ae" : css(cluster);
}

const entries = data.table.map((cluster, number) => makeEntry(number, cluster));
if (data.noise) entries.push(makeEntry(-1, { label: "In no cluster", name: "", size: data.noise, central: [] }));
entries.forEach(fill);
element("rows").append(...entries.map(entry => entry.row));

function search(query) {
  const asked = query.split(/\s+/).filter(Boolean).join(" ");
  const spellings = new Set([asked, asked.normalize("NFC"), asked.normalize("NFD")]);
  const patterns = [...spellings].map(spelling => spelling.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  wanted = asked ? new RegExp(`(${patterns.join("|")})`, "iu") : null;
  found = wanted && Uint8Array.from(data.texts, text => wanted.test(text));
  for (const entry of entries) entry.hits = [];
  if (found) found.forEach((is, index) => { if (is) entries.at(clusterOf[index]).hits.push(index); });
  for (const entry of entries) {
    const isNamed = wanted !== null && entry.cluster >= 0 && wanted.test(entry.title);
    entry.row.hidden = wanted !== null && !isNamed && !entry.hits.length;
    // A label may have a form of a word that no text has: then it stands for all its texts.
    if (isNamed && !entry.hits.length) clusterOf.forEach((cluster, index) => { if (cluster === entry.cluster) found[index] = 1; });
  }
  element("nothing").hidden = entries.some(entry => !entry.row.hidden);
  if (selected !== null && entries.at(selected).row.hidden) show(null, -1);
  for (const entry of entries) if (!entry.row.hidden) fill(entry);
  draw();
}
element("search").oninput = event => search(event.target.value);

let pressed = new Map(), moved = 0;
const at = event => { const box = map.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
map.addEventListener("wheel", event => { event.preventDefault(); zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...at(event)); }, { passive: false });
nameCanvas.onpointerdown = event => { nameCanvas.setPointerCapture(event.pointerId); pressed.set(event.pointerId, at(event)); moved = 0; };
nameCanvas.onpointermove = event => {
  const [x, y] = at(event), last = pressed.get(event.pointerId);
  if (!last) return showHover(x, y);
  hover.style.display = "none";
  const others = [...pressed].filter(([id]) => id !== event.pointerId);
  if (others.length) {
    const [[, [ox, oy]]] = others;
    zoom(Math.hypot(x - ox, y - oy) / Math.max(1, Math.hypot(last[0] - ox, last[1] - oy)), (x + ox) / 2, (y + oy) / 2);
  } else {
    view.x -= (x - last[0]) / side(); view.y -= (y - last[1]) / side();
  }
  moved += Math.abs(x - last[0]) + Math.abs(y - last[1]);
  pressed.set(event.pointerId, [x, y]);
  draw();
};
nameCanvas.onpointerup = event => {
  pressed.delete(event.pointerId);
  if (moved > 4) return;
  const index = nearest(...at(event));
  if (index < 0 || index === chosen) show(null, -1); else show(clusterOf[index], index);
};
nameCanvas.onpointercancel = event => pressed.delete(event.pointerId);
nameCanvas.onpointerleave = () => { hover.style.display = "none"; };
element("in").onclick = () => zoom(1.6, width / 2, height / 2);
element("out").onclick = () => zoom(1 / 1.6, width / 2, height / 2);
element("whole").onclick = () => { view = { scale: 1, x: 0, y: 0 }; draw(); };
dark.addEventListener("change", () => { makeColours(); paintDots(); draw(); });
makeColours();
paintDots();
new ResizeObserver(fit).observe(map);
