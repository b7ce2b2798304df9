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

// Noise lies under the clusters, and the selected cluster over all others.
const order = Uint32Array.from(clusterOf.keys()).sort((a, b) => clusterOf[a] - clusterOf[b]);
let selected = null, view = { scale: 1, x: 0, y: 0 }, width = 0, height = 0, ratio = 1, colours = null, waiting = false;

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
  for (const index of order) {
    const cluster = clusterOf[index];
    plot(index, selected !== null ? colours.faint : cluster < 0 ? colours.noise : colours.clusters[cluster]);
  }
  if (selected !== null) for (const index of order)
    if (clusterOf[index] === selected) plot(index, selected < 0 ? colours.noise : colours.clusters[selected]);
  context.putImageData(image, 0, 0);
}

function drawNames() {
  const context = nameCanvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "center";
  context.lineWidth = 3;
  context.lineJoin = "round";
  context.strokeStyle = getComputedStyle(document.body).backgroundColor;
  context.fillStyle = getComputedStyle(document.body).color;
  const taken = [];
  for (const [cluster, entry] of data.table.entries()) {
    if (taken.length >= 60) break;
    if (selected !== null && cluster !== selected) continue;
    const x = toX(entry.central[0]), y = toY(entry.central[0]);
    if (x < 0 || y < 0 || x > width || y > height) continue;
    const half = context.measureText(entry.name).width / 2 + 6;
    if (taken.some(([tx, ty, other]) => Math.abs(tx - x) < half + other && Math.abs(ty - y) < 18)) continue;
    taken.push([x, y, half]);
    context.strokeText(entry.name, x, y - 6);
    context.fillText(entry.name, x, y - 6);
  }
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
  view.scale = Math.max(0.5, Math.min(2000, view.scale * factor));
  // What lies under the pointer stays there.
  view.x += (x - width / 2) * (1 / before - 1 / side());
  view.y += (y - height / 2) * (1 / before - 1 / side());
  draw();
}
function nearest(x, y) {
  let best = -1, least = 100; // within 10 pixels
  for (let index = 0; index < count; index++) {
    if (selected !== null && clusterOf[index] !== selected) continue;
    const away = (toX(index) - x) ** 2 + (toY(index) - y) ** 2;
    if (away < least) { least = away; best = index; }
  }
  return best;
}
function showHover(x, y) {
  const index = nearest(x, y);
  hover.style.display = index < 0 ? "none" : "block";
  if (index < 0) return;
  const cluster = clusterOf[index], head = document.createElement("b"), foot = document.createElement("i");
  head.textContent = cluster < 0 ? "In no cluster" : data.table[cluster].label;
  foot.textContent = cluster < 0 ? "" : `probability ${(probability[index] / 100).toFixed(2)}`;
  hover.replaceChildren(head, data.texts[index], foot);
  hover.style.left = Math.max(0, Math.min(x + 14, width - hover.offsetWidth - 8)) + "px";
  hover.style.top = Math.max(0, y + 14 + hover.offsetHeight > height ? y - hover.offsetHeight - 14 : y + 14) + "px";
}

function select(cluster, scroll) {
  selected = selected === cluster ? null : cluster;
  for (const row of element("rows").children) {
    row.setAttribute("aria-selected", Number(row.dataset.cluster) === selected);
    if (scroll && Number(row.dataset.cluster) === selected) row.scrollIntoView({ block: "center" });
  }
  draw();
}
function makeRow(cluster, label, size, texts) {
  const row = document.createElement("tr"), about = document.createElement("td"), number = document.createElement("td");
  const dot = document.createElement("span"), list = document.createElement("ul");
  dot.className = "dot";
  about.append(dot, label, list);
  list.append(...texts.map(text => { const item = document.createElement("li"); item.textContent = text; return item; }));
  number.className = "size";
  number.textContent = size.toLocaleString("en");
  row.append(about, number);
  row.dataset.cluster = cluster;
  row.tabIndex = 0;
  row.onclick = () => select(cluster, false);
  row.onkeydown = event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); select(cluster, false); } };
  return row;
}
function paintDots() {
  for (const row of element("rows").children)
    row.querySelector(".dot").style.background = row.dataset.cluster < 0 ? "#9aa4ae" : css(Number(row.dataset.cluster));
}

const rows = data.table.map((entry, cluster) => makeRow(cluster, entry.label, entry.size, entry.central.map(index => data.texts[index])));
if (data.noise) rows.push(makeRow(-1, "In no cluster", data.noise, []));
element("rows").append(...rows);
element("search").oninput = event => {
  const wanted = event.target.value.toLocaleLowerCase();
  for (const row of rows) row.hidden = !row.textContent.toLocaleLowerCase().includes(wanted);
};

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
  if (index >= 0) select(clusterOf[index], true); else if (selected !== null) select(selected, false);
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
