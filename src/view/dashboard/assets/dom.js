// Elements. All text comes ready to be shown and is set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

// Where the dashboard is, with a slash at the end; addresses begin there.
export const at = (path) => document.documentElement.dataset.root + path.slice(1);

// The server's time, by which the data go: a viewer's clock may be wrong.
let ahead = 0;
export const now = () => Date.now() / 1000 + ahead;
export function setNow(seconds) { ahead = seconds - Date.now() / 1000; }

export const byId = (id) => document.getElementById(id);
export const one = (selector, within = document) => within.querySelector(selector);
export const all = (selector, within = document) => within.querySelectorAll(selector);

export function setText(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

export function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

export function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export function setBar(rect, percent) {
  const width = `${percent ?? 0}%`;
  if (rect && rect.getAttribute("width") !== width) rect.setAttribute("width", width);
}

export function bar(tone) {
  const svg = shape("svg", { class: `bar ${tone}`, "aria-hidden": "true" });
  svg.append(shape("rect", { class: "fill", height: "100%", width: "0%" }));
  return svg;
}

// Columns of tables: how a cell is made, and how it is set from the data of its row.

export const meter = (tone) => (key) => ({
  make: (cell) => { cell.className = "m"; cell.append(bar(tone), element("span")); },
  set: (cell, row) => { setBar(cell.querySelector("rect"), row[`${key}_percent`]); setText(cell.lastChild, row[key]); },
});

export const plain = (key, className) => ({
  make: (cell) => { cell.className = className ?? ""; },
  set: (cell, row) => setText(cell, row[key]),
});

export const badge = (kind, tone, text) => ({
  make: (cell) => cell.append(element("span")),
  set: (cell, row) => { cell.firstChild.className = `${kind} ${row[tone]}`; setText(cell.firstChild, row[text]); },
});

// A row whose head is a link.
export function makeRow(name, href, columns) {
  const row = element("tr");
  row.dataset.name = name;
  const head = element("th");
  head.scope = "row";
  const link = element("a", "", name);
  link.href = href;
  head.append(link);
  row.append(head);
  for (const column of columns) {
    const cell = element("td");
    row.append(cell);
    column.make(cell);
  }
  return row;
}
