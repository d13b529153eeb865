// What makes every page easier to read: times in the zone of who looks, copy buttons, parts that keep themselves up to date, and / for the search.

// Times

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short" });
const full = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short" });
const STEPS = [[60, 1, "second"], [3600, 60, "minute"], [86_400, 3600, "hour"], [Infinity, 86_400, "day"]];
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "always", style: "short" });

function since(seconds) {
  if (seconds < 1) return relative.format(0, "second");
  const [, unit, name] = STEPS.find(([most]) => seconds < most);
  return relative.format(-Math.floor(seconds / unit), name);
}

export function showTimes(root = document) {
  for (const node of root.querySelectorAll("time[data-time]")) {
    const at = new Date(node.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const exact = full.format(at);
    const text = { ago: since((Date.now() - at) / 1000), clock: clock.format(at), full: exact }[node.dataset.time] ?? exact;
    if (node.textContent !== text) node.textContent = text;
    if (node.title !== exact && node.dataset.time !== "full") node.title = exact;
  }
}

// Copy buttons

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Over plain HTTP from another machine there is no clipboard but this.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "hidden";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("no clipboard");
  }
}

export function addCopyButtons(root = document) {
  for (const node of root.querySelectorAll("[data-copy]")) {
    if (node.nextElementSibling?.classList.contains("copy")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "copy";
    button.setAttribute("aria-label", `Copy ${node.getAttribute("aria-label") ?? node.textContent.slice(0, 60)}`);
    button.addEventListener("click", () => {
      copy(node.dataset.copy || node.textContent).then(() => "copied", () => "failed").then((said) => {
        button.textContent = said;
        setTimeout(() => { button.textContent = "copy"; }, 1500);
      });
    });
    node.after(button);
  }
}

// Parts that keep themselves up to date: the page is fetched again, and what has a name and data-refresh is taken from it.

// Times and buttons are made by this script: what is compared is the text as it came.
const came = new WeakMap();

function remember(root) {
  for (const cell of root.querySelectorAll("td, th")) came.set(cell, cell.innerHTML);
}

function replaceRows(old, fresh) {
  remember(fresh);
  const known = new Map([...old.rows].map((row) => [row.dataset.id, row]));
  const focused = document.activeElement?.closest("tr")?.dataset.id;
  const rows = [...fresh.rows].map((row) => {
    const there = known.get(row.dataset.id);
    if (!there) return document.adoptNode(row);
    [...row.cells].forEach((cell, at) => {
      const shown = there.cells[at];
      if (!shown || came.get(shown) === cell.innerHTML) return;
      came.set(shown, cell.innerHTML);
      shown.className = cell.className;
      shown.replaceChildren(...[...cell.childNodes].map((node) => document.adoptNode(node)));
    });
    return there;
  });
  const isSame = rows.length === old.rows.length && rows.every((row, at) => row === old.rows[at]);
  if (!isSame) old.replaceChildren(...rows);
  if (focused && !old.contains(document.activeElement)) [...old.rows].find((row) => row.dataset.id === focused)?.querySelector("a")?.focus();
}

function replacePart(old, fresh) {
  if (old.tagName === "TBODY") replaceRows(old, fresh);
  else if (came.get(old) !== fresh.innerHTML) {
    came.set(old, fresh.innerHTML);
    const open = [...old.querySelectorAll("details")].map((node) => node.open);
    old.replaceChildren(...[...fresh.childNodes].map((node) => document.adoptNode(node)));
    old.querySelectorAll("details").forEach((node, at) => { if (at < open.length) node.open = open[at]; });
  }
  showTimes(old);
  addCopyButtons(old);
}

// The page of an address, without running anything of it. The policy of these pages lets no text become markup; this is how a browser reads a document.
export function page(address) {
  return new Promise((got, failed) => {
    const request = new XMLHttpRequest();
    request.open("GET", address);
    request.responseType = "document";
    request.timeout = 20_000;
    request.onload = () => {
      const isThere = request.status === 200 && new URL(request.responseURL).pathname === new URL(address, location.href).pathname;
      if (isThere && request.response) got(request.response);
      else failed(new Error("no page"));
    };
    request.onerror = request.ontimeout = request.onabort = () => failed(new Error("no answer"));
    request.send();
  });
}

let refreshing = false;

export async function refresh() {
  if (refreshing) return;
  refreshing = true;
  try {
    const fresh = await page(location.href);
    for (const old of document.querySelectorAll("[data-refresh][id]")) {
      const part = fresh.getElementById(old.id);
      if (part) replacePart(old, part);
    }
    document.dispatchEvent(new CustomEvent("refreshed", { detail: fresh }));
  } catch {
    // The stream of the page says that the server is away.
  } finally {
    refreshing = false;
  }
}

for (const part of document.querySelectorAll("[data-refresh][id]")) {
  came.set(part, part.innerHTML);
  if (part.tagName === "TBODY") remember(part);
}
showTimes();
addCopyButtons();
setInterval(() => { if (!document.hidden) showTimes(); }, 1000);
const every = Math.min(...[...document.querySelectorAll("[data-refresh]")].map((part) => Number(part.dataset.refresh) || Infinity));
// Who selects text, or has a page in the background, is left alone.
if (every < Infinity) setInterval(() => { if (!document.hidden && getSelection().isCollapsed) refresh(); }, every);

addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  const box = document.getElementById("search");
  if (!box) return;
  event.preventDefault();
  box.focus();
  box.select();
});
