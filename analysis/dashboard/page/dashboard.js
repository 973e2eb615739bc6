// Asks for what has changed every few seconds, and only while the page is seen; all that it is told is shown as text.
const EVERY_MS = 3000;
const LIST_EVERY_MS = 5000;
const STUDY_EVERY_MS = 10000;
const cache = new Map();
let optuna = "";
let view = 0; // a view that is left behind stops asking
let plotly = null;

async function ask(path) {
  const known = cache.get(path);
  const answer = await fetch(path, { headers: known ? { "If-None-Match": known.tag } : {}, cache: "no-store" });
  if (answer.status === 304) return { value: known.value, isNew: false };
  const value = await answer.json().catch(() => ({ error: answer.status === 403 ? "The token is not this dashboard's any more: it was started anew." : `The dashboard answered ${answer.status}.` }));
  if (!answer.ok) throw new Error(value.error || `The dashboard answered ${answer.status}.`);
  cache.set(path, { tag: answer.headers.get("ETag"), value });
  return { value, isNew: true };
}

const number = (value) => (value === null || value === undefined ? "" : typeof value === "number" ? (Number.isInteger(value) ? String(value) : Number(value.toPrecision(4)).toString()) : String(value));

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  const h = Math.floor(s / 3600), m = Math.floor((s % 3600) / 60);
  return h ? `${h}:${String(m).padStart(2, "0")} h` : `${m}:${String(s % 60).padStart(2, "0")} min`;
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function row(cells, isNumber = () => false) {
  const made = element("tr");
  cells.forEach((cell, place) => {
    const td = place === 0 ? element("th", undefined, { scope: "row" }) : element("td");
    if (isNumber(place)) td.className = "number";
    td.append(cell instanceof Node ? cell : number(cell));
    made.append(td);
  });
  return made;
}

const fill = (target, nodes) => target.replaceChildren(...nodes);

function fillTable(target, rows) { // a head without rows says nothing
  fill(target, rows);
  target.closest(".scroll").hidden = !rows.length;
}

function facts(target, pairs) {
  fill(target, pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined).map(([name, value]) => {
    const made = element("div");
    made.append(element("dt", name), element("dd", value));
    return made;
  }));
}

function loadPlotly() {
  plotly ??= new Promise((resolve, reject) => {
    const script = element("script", undefined, { src: "static/plotly.js" });
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly.js did not come"));
    document.head.append(script);
  });
  return plotly;
}

function layout(x, y, traces) {
  const style = getComputedStyle(document.body);
  const color = style.getPropertyValue("--text"), line = style.getPropertyValue("--line");
  const values = traces.flatMap((trace) => trace.y).filter((value) => value !== null);
  const places = traces.flatMap((trace) => trace.x);
  const isFew = places.every(Number.isInteger) && Math.max(...places) - Math.min(...places) <= 8; // no tick at half a step
  const positive = values.filter((value) => value > 0);
  const isLog = positive.length === values.length && values.length > 1 && Math.max(...positive) / Math.min(...positive) > 16;
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  return {
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: { color, family: style.fontFamily, size: 12 },
    margin: { l: 50, r: 10, t: 10, b: 40 }, hovermode: "closest",
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" }, showlegend: traces.length > 1 && traces.length <= COLORS.length,
    xaxis: { ...axis, title: { text: x }, ...(isFew ? { dtick: 1 } : {}) }, yaxis: { ...axis, title: { text: y, standoff: 8 }, type: isLog ? "log" : "linear" },
  };
}

const COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8c6bb1"];

async function plot(target, traces, x, y) {
  target.hidden = !traces.some((trace) => trace.y.some((value) => value !== null)); // before Plotly measures it
  if (target.hidden) return;
  const library = await loadPlotly();
  await library.react(target, traces, layout(x, y, traces), { displayModeBar: false, responsive: true });
}

function escapeLabel(text) { // Plotly reads a few tags in names
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function showList(content, searches) {
  const find = (name) => content.querySelector(`[data-${name}]`);
  find("empty").hidden = searches.length > 0;
  const focused = content.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  fill(find("rows"), searches.map((one) => {
    const link = element("a", one.name, { href: `#${encodeURIComponent(one.name)}` });
    const state = element("span", one.state, { class: `state ${one.state}`, title: one.why || "" });
    const trials = one.max_trials ? `${one.ended} of ${one.max_trials}` : number(one.ended);
    const begun = one.made_at ? new Date(one.made_at * 1000).toLocaleString() : "";
    return row([link, state, trials, one.running || "", one.failed || "", one.best, begun, one.where || ""], (place) => place >= 3 && place <= 5);
  }));
  if (focused) [...find("rows").querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
}

function showQuick(content, one) {
  const find = (name) => content.querySelector(`[data-${name}]`);
  const state = find("state");
  state.textContent = one.state;
  state.className = `state ${one.state}`;
  find("why").textContent = one.why;
  find("trouble").textContent = one.trouble || "";
  const total = one.max_trials || one.ended + one.running.length || 1;
  fill(find("tally"), one.outcomes.map((outcome) => {
    const kind = outcome.is_failure ? "failed" : outcome.name;
    return element("span", undefined, { class: kind, style: `flex: 0 0 ${(100 * outcome.number) / total}%`, title: `${outcome.number} ${outcome.name}` });
  }));
  const meter = content.querySelector(".meter");
  meter.setAttribute("aria-valuemax", total);
  meter.setAttribute("aria-valuenow", one.ended);
  const parts = one.outcomes.map((outcome) => `${outcome.number} ${outcome.name}`);
  find("counts").textContent = `${one.ended}${one.max_trials ? ` of ${one.max_trials}` : ""} trials ended${parts.length ? `: ${parts.join(", ")}` : ""}${one.state === "running" ? `; ${one.running.length} running` : ""}`;
  facts(find("facts"), [
    ["Objective", `${one.objective.metric} (${one.objective.mode === "min" ? "small" : "large"} is good)`],
    ["Best", one.best ? `${number(one.best.value)} (${one.best.whose})` : ""],
    ["About left", duration(one.eta_s)],
    ["Slots in use", one.slots && one.state === "running" ? `${one.running.length} of ${one.slots}` : ""],
    ["Wave", number(one.wave)],
    ["Core-hours", number(one.core_hours)],
    ["Where", one.where],
    ["Method", one.trainable],
  ]);
  const machine = one.machine;
  facts(find("machine"), [
    ...(machine.disks || []).map((disk) => [`Disk: ${disk.roles.join(", ")}`, `${number(disk.free_gb)} GB of ${number(disk.total_gb)} GB free`]),
    ["Memory available", machine.memory_gb ? `${number(machine.memory_free_gb)} GB of ${number(machine.memory_gb)} GB` : ""],
    ["Cleaned between waves", machine.cleanings ? `${number(machine.freed_gb)} GB, ${machine.cleanings} ${machine.cleanings === 1 ? "time" : "times"}` : ""],
  ]);
  fillTable(find("running"), one.running.map((entry) => row([String(entry.trial), entry.step, entry.objective], (place) => place > 0)));
  const best = one.best ? one.best.trial : null;
  const isRunning = new Set(one.running.map((entry) => entry.trial));
  find("run-note").textContent = one.running.length ? (one.running.length > one.curves.length && one.running.length > 24 ? "The first 24 as curves." : "") : `No trial runs now${one.curves.length ? "; the curve is that of the best" : ""}.`;
  const traces = one.curves.map((curve, place) => ({
    type: "scatter", mode: "lines+markers", x: curve.points.map((point) => point[0]), y: curve.points.map((point) => point[1]),
    name: `trial ${curve.trial}${curve.trial === best && !isRunning.has(curve.trial) ? " (best)" : ""}`,
    line: { color: COLORS[place % COLORS.length], width: curve.trial === best ? 3 : 1.5, dash: isRunning.has(curve.trial) ? "solid" : "dot" },
  }));
  plot(find("curves"), traces, "optimiser step", escapeLabel(one.objective.metric)).catch((error) => said("plot", error));
}

function showStudy(content, study) {
  const find = (name) => content.querySelector(`[data-${name}]`);
  const isNumber = (place) => place > 0 && study.best.rows.some((one) => typeof one.values[place - 1] === "number");
  fill(find("best-head"), ["Trial", ...study.best.columns].map((name, place) => element("th", name, { scope: "col", ...(isNumber(place) ? { class: "number" } : {}) })));
  find("best-note").textContent = !study.best.rows.length ? "No trial has completed yet." : study.has_repeats ? "Ranked by the means of complete sets of seeds; trials of other sets follow." : "";
  fillTable(find("best"), study.best.rows.map((one) => row([String(one.trial), ...one.values], isNumber)));
  fill(find("failures"), study.failures.length ? study.failures.map((group) => {
    const made = element("div", undefined, { class: "failure" });
    const head = element("p");
    head.append(element("span", `${group.number} × ${group.outcome}`, { class: "outcome" }), group.where ? ` at ${group.where}` : "");
    made.append(head, element("p", group.what), element("p", `${group.number === 1 ? "trial" : "trials"} ${group.trials.join(", ")}${group.number > group.trials.length ? " and more" : ""}`, { class: "quiet" }));
    return made;
  }) : [element("p", "No trial has failed.")]);
  find("waves-note").textContent = study.waves.length ? "" : "No wave has ended yet.";
  fillTable(find("waves"), study.waves.slice(-40).reverse().map((wave) => row([wave.job ? `${wave.job}/${wave.wave}` : String(wave.wave), wave.trials, duration(wave.trials_s), wave.slots, wave.utilisation === null ? "" : `${Math.round(100 * wave.utilisation)} %`], () => true)));
  find("nodes-head").hidden = !study.nodes.length;
  fill(find("nodes"), study.nodes.map((node) => element("li", `${node.host}: ${node.trials} ${node.trials === 1 ? "trial" : "trials"}`)));
  find("peak").textContent = study.peak_memory_mb ? `The largest trial needed ${number(study.peak_memory_mb / 1000)} GB of memory.` : "";
  find("course-note").textContent = !study.course.length ? "No trial has completed yet." : study.has_repeats ? "Of single trials, not of the means over seeds." : "";
  plot(find("course"), study.course.length ? [
    { type: "scatter", mode: "markers", x: study.course.map((point) => point.place), y: study.course.map((point) => point.value), text: study.course.map((point) => `trial ${point.trial}`), name: "completed trial", marker: { color: "#8a949d", opacity: 0.55, size: 6, symbol: study.course.map((point) => (point.feasible ? "circle" : "x-thin-open")) } },
    { type: "scatter", mode: "lines", x: study.course.map((point) => point.place), y: study.course.map((point) => point.best), name: "best so far", line: { color: COLORS[0], shape: "hv", width: 3 } },
  ] : [], "trials completed", escapeLabel(study.objective.metric)).catch((error) => said("plot", error));
}

const troubles = new Map(); // by what has failed, so that one success does not hide another's failure

function tell() { // only what has changed: a screen reader says it aloud
  const text = [...new Set(troubles.values())].join(" ");
  const place = document.getElementById("said");
  if (place.textContent !== text) place.textContent = text;
}

function said(what, error) {
  troubles.set(what, error instanceof TypeError ? "The dashboard does not answer: has it ended?" : error.message);
  tell();
}

function fresh(what) {
  troubles.delete(what);
  tell();
  document.getElementById("fresh").textContent = `As of ${new Date().toLocaleTimeString()}`;
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const seen = () => document.hidden ? new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true })) : null;

async function follow(mine, what, every, look) {
  while (mine === view) {
    await seen();
    try {
      await look();
      if (mine === view) fresh(what);
    } catch (error) { if (mine === view) said(what, error); }
    await wait(every);
  }
}

function open() {
  view += 1;
  troubles.clear();
  tell();
  const mine = view;
  const name = decodeURIComponent(location.hash.slice(1));
  const content = document.getElementById("content");
  content.replaceChildren(document.getElementById(name ? "one" : "list").content.cloneNode(true));
  document.getElementById("title").textContent = name || "Searches";
  document.title = name ? `${name} · swell` : "swell";
  document.getElementById("home").hidden = !name;
  let drawn = false;
  if (!name) {
    follow(mine, "list", LIST_EVERY_MS, async () => {
      const { value, isNew } = await ask("api/searches");
      if (mine !== view) return;
      if (isNew || !drawn) showList(content, value);
      drawn = true;
    });
    return;
  }
  const path = `api/searches/${encodeURIComponent(name)}`;
  let studyDrawn = false;
  content.querySelector("[data-optuna]").textContent = optuna && !optuna.startsWith("http") ? `Optuna's own dashboard, on a copy of the study: ${optuna}` : "";
  if (optuna.startsWith("http") && name === settings.first) content.querySelector("[data-optuna]").append(element("a", "Optuna's own dashboard, on a copy of the study", { href: optuna }));
  follow(mine, "now", EVERY_MS, async () => {
    const { value, isNew } = await ask(path);
    if (mine !== view) return;
    if (isNew || !drawn) showQuick(content, value);
    drawn = true;
  });
  follow(mine, "study", STUDY_EVERY_MS, async () => {
    const { value, isNew } = await ask(`${path}/study`);
    if (mine !== view) return;
    if (isNew || !studyDrawn) showStudy(content, value);
    studyDrawn = true;
  });
}

document.querySelector(".skip").addEventListener("click", (event) => { // the address's # names a search
  event.preventDefault();
  document.getElementById("content").focus();
});
const { value: settings } = await ask("api/settings").catch((error) => { said("settings", error); return { value: {} }; });
optuna = settings.optuna || "";
if (settings.first && !location.hash) history.replaceState(null, "", `#${encodeURIComponent(settings.first)}`);
window.addEventListener("hashchange", open);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", open);
open();
