// What a task prints while it runs. All of it becomes text nodes, never markup, and a page keeps no more than the end of it.

const MOST = 400_000;
const PIECE = 8_000;
const section = document.querySelector("[data-output]");
const pre = document.getElementById("live-output");
const status = document.getElementById("output-status");
let source = null;
let kept = 0;

// Cuts from the beginning what is too much, whole nodes at a time.
function trim() {
  while (kept > MOST && pre.childNodes.length > 1) {
    kept -= pre.firstChild.textContent.length;
    pre.firstChild.remove();
  }
}

function add(kind, text) {
  const last = pre.lastChild;
  if (last && last.dataset.kind === kind && kind !== "gap" && last.textContent.length < PIECE) {
    last.firstChild.appendData(text);
  } else {
    const span = document.createElement("span");
    span.dataset.kind = kind;
    span.className = kind;
    span.append(document.createTextNode(text));
    pre.append(span);
  }
  kept += text.length;
}

function clear() {
  pre.replaceChildren();
  kept = 0;
}

// The page tells more than the output: what it says of the task is of another time now.
function reload() {
  close();
  // An answer is shared for a second.
  setTimeout(() => location.reload(), 1200);
}

function show(event) {
  if (event.begin) {
    clear();
    if (event.is_cut) add("gap", "… only the end of the output is kept …");
  }
  if (event.pieces) {
    // Who reads further up is not moved.
    const isAtEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 30;
    for (const [kind, text] of event.pieces) add(kind, text);
    trim();
    pre.hidden = false;
    if (isAtEnd) pre.scrollTop = pre.scrollHeight;
  }
  if (!event.phase) return;
  status.textContent = event.status;
  if (event.phase === "over" || (event.phase === "runs" && section.dataset.phase === "waits")) reload();
}

function open() {
  if (source) return;
  source = new EventSource(section.dataset.output);
  source.onmessage = (message) => show(JSON.parse(message.data));
  source.onerror = () => {
    if (source?.readyState !== EventSource.CLOSED) {
      status.textContent = "not live; retrying";
      return;
    }
    // Refused: too many are followed, or the session has ended, which the other stream finds out.
    close();
    status.textContent = "cannot be followed now; retrying later";
    setTimeout(() => { if (!document.hidden) open(); }, 15_000);
  };
}

function close() {
  source?.close();
  source = null;
}

// As with the figures: a hidden page costs nobody anything.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) close();
  else open();
});
addEventListener("pagehide", close);
addEventListener("pageshow", (event) => { if (event.persisted) open(); });
if (!document.hidden) open();
