"use strict";
/* Fills the charts: data come as columns and become rows. Colours are variables of the style sheet,
   so that a change of theme, and paper, need no new drawing. */
const DATA = JSON.parse(document.getElementById("data").textContent);
const views = {};

/* Parts of columns as rows; what is no list is the same in all rows of its part. */
function rows(parts) {
  const found = [];
  for (const part of parts) {
    const lists = Object.entries(part).filter(([, v]) => Array.isArray(v));
    const shared = Object.fromEntries(Object.entries(part).filter(([, v]) => !Array.isArray(v)));
    const count = lists.length ? lists[0][1].length : 0;
    for (let i = 0; i < count; i++) {
      const row = { ...shared };
      for (const [key, list] of lists) row[key] = list[i];
      found.push(row);
    }
  }
  return found;
}

function timeline() {
  return rows(DATA.sets.timeline).map((row) => {
    const of = DATA.instructions[row.pc];
    const busy = row.doing === "busy";
    return {
      ...row, ...of, cycles: row.until - row.since,
      what: busy ? of.layer : "waits: " + row.doing, label: busy ? of.mnemonic : row.doing,
    };
  });
}

function set(name, sample) {
  if (name === "timeline") return timeline();
  const found = DATA.sets[name];
  return rows(Array.isArray(found) ? found : found[sample]);
}

const TEXT = {
  labelColor: "var(--quiet)", titleColor: "var(--quiet)", titleFontWeight: "normal", labelFontSize: 11,
  titleFontSize: 11,
};
const CONFIG = {
  background: "transparent", font: "system-ui, sans-serif", view: { stroke: "transparent" },
  axis: { ...TEXT, gridColor: "var(--line)", domainColor: "var(--line)", tickColor: "var(--line)", labelLimit: 200 },
  legend: { ...TEXT, orient: "bottom", symbolStrokeColor: "var(--quiet)", symbolBaseFillColor: "var(--quiet)", columns: 8 },
  header: { labelColor: "var(--ink)", labelFontSize: 12 },
  text: { color: "var(--ink)" }, rule: { color: "var(--quiet)" }, tick: { color: "var(--accent)" },
  line: { color: "var(--accent)" }, rect: { color: "var(--accent)" },
  range: { category: Array.from({ length: 10 }, (_, n) => `var(--c${n})`) },
};

async function draw(name, sample) {
  const holder = document.getElementById("chart-" + name);
  const spec = structuredClone(DATA.charts[name]);
  spec.datasets = Object.fromEntries(DATA.of[name].map((data) => [data, set(data, sample)]));
  if (spec.spec) spec.spec.width = Math.max(300, holder.clientWidth - 190);
  const result = await vegaEmbed(holder, spec, {
    actions: false, renderer: "svg", config: CONFIG, logLevel: vega.Error,
    tooltip: { theme: "custom" },
  });
  views[name] = result.view;
  holder.dataset.drawn = String((Number(holder.dataset.drawn) || 0) + 1);
}

const chosen = document.getElementById("sample");
const ofSample = Object.keys(DATA.of).filter((name) => DATA.of[name].some((d) => !Array.isArray(DATA.sets[d])));

async function drawAll() {
  for (const name of Object.keys(DATA.charts)) await draw(name, chosen && chosen.value);
  document.documentElement.dataset.ready = "yes";
}

/* The timeline: wheel zooms where the pointer is, dragging moves; so do + - and arrows. */
function stretch(factor, at) {
  const view = views.timeline, all = DATA.cycles;
  const span = view.signal("span"), start = view.signal("start");
  const next = Math.round(Math.max(Math.min(20, all), Math.min(all, span * factor)));
  const first = Math.round(Math.max(0, Math.min(all - next, start + at * (span - next))));
  view.signal("span", next).signal("start", first).runAsync();
}
function move(share) {
  const view = views.timeline, span = view.signal("span");
  const wanted = view.signal("start") + share * span;
  const first = Math.round(Math.max(0, Math.min(DATA.cycles - span, wanted)));
  view.signal("start", first).runAsync();
}
const holder = document.getElementById("chart-timeline");
function place(event) {
  const box = holder.getBoundingClientRect(), left = 90;
  return Math.max(0, Math.min(1, (event.clientX - box.left - left) / (views.timeline.width() || 1)));
}
holder.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.shiftKey && document.activeElement !== holder) return;
  event.preventDefault();
  stretch(event.deltaY < 0 ? 0.8 : 1.25, place(event));
}, { passive: false });
holder.addEventListener("dblclick", (event) => stretch(0.5, place(event)));
let last = null;
holder.addEventListener("pointerdown", (event) => { if (event.target.tagName !== "INPUT") last = event.clientX; });
addEventListener("pointerup", () => { last = null; });
holder.addEventListener("pointermove", (event) => {
  if (last === null) return;
  move((last - event.clientX) / (views.timeline.width() || 1));
  last = event.clientX;
});
holder.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT") return;
  const act = { "+": () => stretch(0.7, 0.5), "=": () => stretch(0.7, 0.5), "-": () => stretch(1.4, 0.5),
    ArrowLeft: () => move(-0.25), ArrowRight: () => move(0.25), "0": () => stretch(1e9, 0) }[event.key];
  if (act) { act(); event.preventDefault(); }
});

if (chosen) {
  chosen.addEventListener("change", async () => {
    for (const name of ofSample) await draw(name, chosen.value);
  });
}
const dark = matchMedia("(prefers-color-scheme: dark)");
function theme(name) { document.documentElement.dataset.theme = name; }
theme(dark.matches ? "dark" : "light");
document.getElementById("theme").addEventListener("click", () => {
  theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
});
drawAll();
