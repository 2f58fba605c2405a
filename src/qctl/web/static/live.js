"use strict";
// Times in the reader's zone, copying, and a refresh that leaves alone what the reader is doing.
const EVERY_MS = 5000;
const FOCUSABLE = "a, button, input, select, summary, [tabindex]";
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

let running = true;
let late = "";

function clock(at) {
  const pad = (value) => String(value).padStart(2, "0");
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

function times(root) {
  for (const one of root.querySelectorAll("time[datetime]")) {
    const at = new Date(one.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const pad = (value) => String(value).padStart(2, "0");
    one.textContent = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${clock(at)}`;
    one.title = `${ZONE}; ${one.dateTime}`;
  }
}

function copying(root) {
  for (const button of root.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
        button.textContent = "Copied";
      } catch {
        // Without TLS, or without leave, a page may not write; the text is selected instead.
        const code = button.previousElementSibling;
        if (code) getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
}

// Why the page is not to be changed now.
function busy(main) {
  const active = document.activeElement;
  if (active && main.contains(active) && active.id !== "live") {
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(active.tagName)) return "you are typing";
    if (active.closest("table")) return "you are in the table";
  }
  if (main.querySelector("table:hover")) return "you point at the table";
  for (const field of main.querySelectorAll("form input:not([type=hidden]), form select")) {
    const given = field.tagName === "SELECT" ? ([...field.options].find((one) => one.defaultSelected) ?? field.options[0])?.value : field.defaultValue;
    if (field.value !== given) return "you are typing";
  }
  return getSelection().isCollapsed ? "" : "you have selected text";
}

function note(main) {
  const live = main.querySelector(".live");
  if (!live) return;
  live.hidden = false;
  const at = live.querySelector("#at");
  const asked = live.dataset.at ? clock(new Date(live.dataset.at)) : "";
  at.textContent = late ? `not refreshed since ${asked}: ${late}` : `${asked} ${ZONE}`;
  at.className = late && !late.startsWith("you ") ? "late" : "";
}

// What an element is, whatever its place: rows come and go above it.
function identity(one) {
  return [one.tagName, one.id, one.getAttribute("href"), one.dataset.copy, one.name, one.getAttribute("aria-label"), one.tagName === "SUMMARY" ? one.parentElement.id : ""].join(" ");
}

function remember(main) {
  const active = document.activeElement;
  return {
    focused: active && main.contains(active) ? identity(active) : null,
    open: new Map([...main.querySelectorAll("details")].map((one) => [one.id || one.className || "details", one.open])),
    scrolled: [...main.querySelectorAll(".scroll, pre")].map((one) => [one.getAttribute("aria-label"), one.scrollLeft, one.scrollTop]),
  };
}

function restore(main, before) {
  for (const one of main.querySelectorAll("details")) {
    const open = before.open.get(one.id || one.className || "details");
    if (open !== undefined) one.open = open;
  }
  [...main.querySelectorAll(".scroll, pre")].forEach((one, at) => {
    const [label, left, top] = before.scrolled[at] ?? [];
    if (label === one.getAttribute("aria-label")) one.scrollTo(left, top);
  });
  if (before.focused === null) return;
  [...main.querySelectorAll(FOCUSABLE)].find((one) => identity(one) === before.focused)?.focus({ preventScroll: true });
}

async function refresh(main) {
  if (!running || document.hidden) return;
  late = busy(main);
  if (late) return note(main);
  let answer;
  try {
    answer = await fetch(location.href, { headers: { "x-qctl-part": "main" }, credentials: "same-origin", redirect: "manual" });
  } catch {
    late = "qctl web does not answer";
    return note(main);
  }
  if (answer.type === "opaqueredirect" || answer.status === 401) {
    late = "sign in again";
    return note(main);
  }
  const text = await answer.text();
  const template = document.createElement("template");
  template.innerHTML = text;
  if (!answer.ok) {
    late = template.content.querySelector("[role=alert]")?.textContent ?? `HTTP ${answer.status}`;
    return note(main);
  }
  if (!running || busy(main)) return;
  const before = remember(main);
  main.replaceChildren(template.content);
  document.title = `${main.querySelector("h1")?.textContent ?? ""} · qctl`;
  start(main);
  restore(main, before);
}

function start(main) {
  times(main);
  copying(main);
  note(main);
  const box = main.querySelector("#live");
  if (!box) return;
  box.checked = running;
  box.addEventListener("change", () => {
    running = box.checked;
    late = running ? "" : "you have paused it";
    note(main);
  });
}

const main = document.getElementById("main");
if (main) {
  start(main);
  if (main.querySelector(".live")) setInterval(() => { refresh(main); }, EVERY_MS);
}
