// What the map asks of a browser, for node: elements without a layout, and a canvas that keeps pixels and no letters.
"use strict";
class Context {
  measureText(text) { return { width: 7 * Array.from(text).length }; }
  createImageData(width, height) { return { data: new Uint8ClampedArray(4 * width * height) }; }
  putImageData(image) { this.image = image; }
  getImageData() { return this.image; }
}
for (const name of ["setTransform", "clearRect", "strokeText", "fillText", "beginPath", "arc", "stroke"]) Context.prototype[name] = () => {};

class Node {
  constructor(kind) {
    Object.assign(this, { kind, nodes: [], parent: null, style: {}, dataset: {}, attributes: {}, className: "", hidden: false });
    Object.assign(this, { clientWidth: 375, clientHeight: 400, offsetLeft: 0, offsetTop: 0, offsetWidth: 0, offsetHeight: 0 });
  }
  get children() { return this.nodes.filter(node => node instanceof Node); }
  get textContent() { return this.nodes.map(node => node instanceof Node ? node.textContent : node).join(""); }
  set textContent(text) { this.nodes = [String(text)]; }
  append(...nodes) { this.put(this.nodes.length, nodes); }
  before(...nodes) { this.parent.put(this.parent.nodes.indexOf(this), nodes); }
  replaceChildren(...nodes) { this.nodes = []; this.append(...nodes); }
  put(place, nodes) {
    this.nodes.splice(place, 0, ...nodes);
    for (const node of nodes) if (node instanceof Node) node.parent = this;
  }
  all() { return this.children.flatMap(node => [node, ...node.all()]); }
  querySelectorAll(wanted) { return this.all().filter(node => node.kind === wanted || `.${node.className}` === wanted); }
  querySelector(wanted) { return this.querySelectorAll(wanted)[0]; }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  getAttribute(name) { return this.attributes[name] ?? null; }
  click() {
    let stopped = false;
    const event = { target: this, stopPropagation: () => { stopped = true; } };
    for (let node = this; node && !stopped; node = node.parent) node.onclick?.(event);
  }
  getContext() { return this.context ??= new Context(); }
  addEventListener() {}
  scrollIntoView() {}
}

const byId = {}, whenLoaded = [];
globalThis.window = globalThis;
globalThis.document = {
  body: new Node("body"), title: "Clusters of a & b",
  getElementById: id => byId[id] ??= new Node(id),
  createElement: kind => new Node(kind),
};
globalThis.matchMedia = () => ({ matches: false, addEventListener() {} });
globalThis.getComputedStyle = () => ({ backgroundColor: "white", color: "black" });
globalThis.requestAnimationFrame = () => {};
globalThis.ResizeObserver = class { observe() {} };
globalThis.addEventListener = (name, listener) => whenLoaded.push(listener);
setImmediate(() => {
  whenLoaded.forEach(listener => listener());
  console.log(document.body.dataset.report);
});
