"use strict";
// Times in the reader's zone, copying, and a refresh that leaves alone what the reader is doing.
const EVERY_MS = 5000;

function times(root) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const one of root.querySelectorAll("time[datetime]")) {
    const at = new Date(one.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const pad = (value) => String(value).padStart(2, "0");
    one.textContent = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
    one.title = `${zone}; ${one.dateTime}`;
  }
  return zone;
}

function copying(root) {
  for (const button of root.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
}

function busy(main) {
  const active = document.activeElement;
  if (active && main.contains(active) && /^(INPUT|SELECT|TEXTAREA)$/.test(active.tagName) && active.id !== "live") return true;
  return !document.getSelection().isCollapsed;
}

function note(main, zone) {
  const live = main.querySelector(".live");
  if (!live) return null;
  live.hidden = false;
  main.querySelector("#at").textContent = `${new Date().toLocaleTimeString()} ${zone}`;
  return main.querySelector("#live");
}

let running = true;

async function refresh(main) {
  if (!running || document.hidden || busy(main)) return;
  const answer = await fetch(location.href, { headers: { "x-qctl-part": "main" }, credentials: "same-origin", redirect: "manual" });
  if (!answer.ok) return;
  const text = await answer.text();
  if (!running || busy(main)) return;
  const open = [...main.querySelectorAll("details")].map((one) => one.open);
  const focused = document.activeElement && main.contains(document.activeElement) ? [...main.querySelectorAll("a, button, input, select, summary, [tabindex]")].indexOf(document.activeElement) : -1;
  const template = document.createElement("template");
  template.innerHTML = text;
  main.replaceChildren(template.content);
  [...main.querySelectorAll("details")].forEach((one, at) => { if (at < open.length) one.open = open[at]; });
  start(main);
  if (focused >= 0) [...main.querySelectorAll("a, button, input, select, summary, [tabindex]")][focused]?.focus({ preventScroll: true });
}

function start(main) {
  const box = note(main, times(main));
  copying(main);
  if (box) {
    box.checked = running;
    box.addEventListener("change", () => { running = box.checked; });
  }
}

const main = document.getElementById("main");
if (main) {
  start(main);
  if (!location.pathname.startsWith("/acts/") && main.querySelector("form.confirm") === null) {
    setInterval(() => { refresh(main).catch(() => {}); }, EVERY_MS);
  }
}
