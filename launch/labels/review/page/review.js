"use strict";
const find = (selector) => document.querySelector(selector);
const TOKEN = "regionstack-token";
const SHOWN = 5;
const embedded = JSON.parse(find("#data").textContent);

let data = null;
let at = 0;
let storage = null;
const decisions = new Map();
const undone = [];
const unsaved = new Set();

function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") element.textContent = value;
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const keyOf = (page) => `${page.split}\n${page.id}`;
const nameOf = (label) => (label === null ? "no label" : data.names.get(label) ?? `class ${label}`);
const isPool = () => data.kind === "pool";

// ---- Decisions ------------------------------------------------------------------------------------------------------

function stored() {
  try {
    return JSON.parse(storage.getItem(data.key)) || {};
  } catch {
    return {};
  }
}

function store() {
  const kept = {
    at: data.pages[at] && keyOf(data.pages[at]), by: find("#by").value, unsaved: [...unsaved],
    decisions: Object.fromEntries(decisions),
  };
  try {
    storage.setItem(data.key, JSON.stringify(kept));
  } catch {
    warn("storage", "This browser does not keep the decisions: download them before you close the page.");
  }
}

function loadDecisions() {
  try {
    storage = window.localStorage;
  } catch {
    storage = null;
  }
  const kept = stored();
  const known = new Map(data.pages.map((page) => [keyOf(page), page]));
  const usable = (decision, page) => page && decision && decision.given === page.label
    && ["keep", "relabel", "exclude", "unsure"].includes(decision.decision)
    && (decision.decision !== "relabel" || data.names.has(decision.label));
  for (const decision of data.decisions) decisions.set(keyOf(decision), decision);
  // The service's table is what counts, but for decisions that did not reach it.
  for (const key of data.serve ? kept.unsaved || [] : Object.keys(kept.decisions || {})) {
    const decision = (kept.decisions || {})[key];
    const before = decisions.get(key);
    // Of two decisions about a page, in the file and in the browser, the later one counts.
    if (usable(decision, known.get(key)) && !(before && before.time >= decision.time)) {
      decisions.set(key, decision);
      if (data.serve) unsaved.add(key);
    }
  }
  find("#by").value = kept.by || "";
  const last = data.pages.findIndex((page) => keyOf(page) === kept.at);
  at = last >= 0 ? last : Math.max(0, nextOpen(-1));
}

function nextOpen(from) {
  const open = (place) => !decisions.has(keyOf(data.pages[place]));
  const order = [...data.pages.keys()];
  const found = [...order.slice(from + 1), ...order.slice(0, from + 1)].find(open);
  return found === undefined ? -1 : found;
}

function decide(decision, label = null) {
  const page = data.pages[at];
  if (decision === "keep" && isPool()) return decide("relabel", page.likely);
  if (decision === "relabel" && label === page.label) return decide("keep");
  const key = keyOf(page);
  undone.push({ key, before: decisions.get(key), at });
  decisions.set(key, {
    id: page.id, split: page.split, decision, label: decision === "relabel" ? label : null, given: page.label,
    by: find("#by").value.trim(), time: new Date().toISOString(),
  });
  changed(key);
  const next = nextOpen(at);
  if (next >= 0) at = next;
  show();
  say(`${said(decisions.get(key))}: ${page.id}${next < 0 ? ". All pages are reviewed." : ""}`);
}

function undo() {
  const last = undone.pop();
  if (!last) return say("Nothing to undo");
  if (last.before) decisions.set(last.key, last.before);
  else decisions.delete(last.key);
  changed(last.key);
  at = last.at;
  show();
  say(`Undone: ${data.pages[at].id}`);
}

function changed(key) {
  if (data.serve) unsaved.add(key);
  store();
  if (data.serve) save();
}

const said = (decision) => ({
  keep: () => "Kept", relabel: () => `Labeled ${nameOf(decision.label)}`, exclude: () => "Excluded", unsure: () => "Not sure",
})[decision.decision]();

// ---- The service ----------------------------------------------------------------------------------------------------

let saving = false;

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...(options.headers || {}), ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) {
    sessionStorage.removeItem(TOKEN);
    find("#token").hidden = false;
    find("#token input").focus();
  }
  return response;
}

async function save() {
  if (saving || !unsaved.size) return;
  saving = true;
  try {
    while (unsaved.size) {
      const keys = [...unsaved];
      const rows = keys.map((key) => {
        const [split, ...id] = key.split("\n");
        return decisions.get(key) || { id: id.join("\n"), split, decision: null };
      });
      const response = await ask("decisions", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(rows),
      });
      if (!response.ok) throw new Error((await response.json().catch(() => ({}))).detail || `status ${response.status}`);
      for (const [place, key] of keys.entries()) {
        const now = decisions.get(key);
        if ((now ? now.time : null) === (rows[place].time || null)) unsaved.delete(key);
      }
    }
    warn("save", "");
  } catch (error) {
    warn("save", `Not saved yet: ${unsaved.size} decision${unsaved.size === 1 ? "" : "s"} (${error.message}). `
      + "They are kept in this browser and saved with the next decision.");
  } finally {
    saving = false;
    store();
    progress();
  }
}

const warnings = new Map();

function warn(what, text) {
  warnings.set(what, text);
  const lines = [...warnings.values()].filter(Boolean);
  find("#alert").textContent = lines.join(" ");
  find("#alert").hidden = !lines.length;
}

// ---- The table ------------------------------------------------------------------------------------------------------

const FORMULA = /^[=+\-@\t\r]/;

function cell(value) {
  const text = String(value ?? "");
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// The same page by another spelling, which is no formula in a spreadsheet.
const idCell = (id) => cell(FORMULA.test(id) ? `./${id}` : id);
const textCell = (text) => cell(FORMULA.test(text) ? `'${text}` : text);

function newLabel(page, decision) {
  if (decision.decision === "exclude") return "exclude";
  const label = decision.decision === "keep" ? page.label : decision.label;
  return label === page.original ? "keep" : String(label);
}

function table() {
  const rows = data.pages.map((page) => [page, decisions.get(keyOf(page))]).filter(([, decision]) => decision);
  const lines = isPool()
    ? rows.filter(([, decision]) => decision.decision === "relabel").map(([page, decision]) => [idCell(page.id),
      decision.label, textCell(nameOf(decision.label)), textCell(decision.by), decision.time, textCell(data.run), page.score])
    : rows.filter(([, decision]) => decision.decision !== "unsure").map(([page, decision]) => [idCell(page.id), page.split,
      page.original, newLabel(page, decision), textCell(decision.by), decision.time, textCell(data.run), page.score]);
  return `${[data.columns, ...lines].map((line) => line.join(",")).join("\n")}\n`;
}

function download() {
  const url = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
  const link = make("a", { href: url, download: data.file });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  say(`Downloaded ${data.file}`);
}

// ---- What is shown --------------------------------------------------------------------------------------------------

const say = (text) => { find("#decision").textContent = text; };

function show() {
  const page = data.pages[at];
  store();
  progress();
  find("#place").textContent = `Page ${at + 1} of ${data.pages.length} · rank ${page.rank} of ${data.total} · score `
    + `${page.score.toFixed(3)}${isPool() ? "" : ` · ${page.split}`}`;
  showSheet(page);
  showLabels(page);
  showModels(page);
  showNearest(page);
  const decision = decisions.get(keyOf(page));
  say(decision ? `Decided: ${said(decision)}${decision.by ? ` (${decision.by})` : ""}` : "");
  for (const button of document.querySelectorAll("#actions [data-do]")) {
    const chosen = decision && (button.dataset.do === decision.decision);
    if (["keep", "relabel", "exclude", "unsure"].includes(button.dataset.do)) button.setAttribute("aria-pressed", String(!!chosen));
  }
  find("[data-do=keep]").hidden = isPool();
  find("[data-do=likely]").hidden = page.likely === page.label;
  find("#likely-text").textContent = nameOf(page.likely);
  find("[data-do=relabel] span").textContent = isPool() ? "Label" : "Relabel";
}

function progress() {
  const done = data.pages.filter((page) => decisions.has(keyOf(page))).length;
  find("#bar").max = data.pages.length;
  find("#bar").value = done;
  const counts = {};
  for (const page of data.pages) {
    const decision = decisions.get(keyOf(page));
    if (decision) counts[decision.decision] = (counts[decision.decision] || 0) + 1;
  }
  const words = isPool() ? { relabel: "labeled", exclude: "excluded", unsure: "not sure" }
    : { keep: "kept", relabel: "relabeled", exclude: "excluded", unsure: "not sure" };
  const parts = Object.entries(words).filter(([name]) => counts[name]).map(([name, word]) => `${counts[name]} ${word}`);
  find("#count").textContent = `${done} of ${data.pages.length}${parts.length ? ` · ${parts.join(", ")}` : ""}`;
}

function showSheet(page) {
  const zoom = find("#zoom");
  zoom.setAttribute("aria-pressed", "false");
  zoom.replaceChildren(page.picture
    ? make("img", { src: page.picture, alt: `page ${page.id}`, class: page.small ? "small" : "" })
    : make("span", { class: "none", text: "This page can no longer be read." }));
  zoom.disabled = !page.picture;
  find("#caption").textContent = page.id + (page.picture && page.small ? " · as stored for training, the original cannot be read" : "");
  const after = data.pages[at + 1];
  if (after && after.picture) new Image().src = after.picture;
}

function kindOf(label, page) {
  return label === page.label ? "given" : label === page.likely ? "likely" : "";
}

function showLabels(page) {
  const same = page.label === page.likely;
  const given = make("div", { class: same ? "both" : "given" }, make("dt", { text: same ? "Given and most likely" : "Given label" }),
    make("dd", { text: nameOf(page.label) }));
  const likely = make("div", { class: "likely" }, make("dt", { text: `Most likely, by ${page.scored_by}` }),
    make("dd", { text: nameOf(page.likely) }));
  find("#labels").replaceChildren(...(isPool() ? [likely] : same ? [given] : [given, likely]));
}

function topClasses(shares, page) {
  const order = shares.map((share, place) => ({ share, place, label: data.classes[place].id }))
    .sort((a, b) => b.share - a.share || a.place - b.place);
  const shown = order.slice(0, SHOWN);
  return [...shown, ...order.slice(SHOWN).filter((one) => one.label === page.label)];
}

function bars(shares, page, most, numbered) {
  const list = make("dl", { class: "bars" });
  const top = topClasses(shares, page);
  const rows = numbered ? top : [...top.slice(0, most), ...top.slice(most).filter((one) => one.label === page.label)];
  for (const [place, { share, label }] of rows.entries()) {
    const kind = kindOf(label, page);
    const name = make("dt", {}, nameOf(label));
    if (kind) name.append(make("em", { class: kind, text: kind }));
    const fill = make("div", { class: `fill ${kind}` });
    fill.style.width = `${(100 * share).toFixed(1)}%`;
    const track = make("div", { class: "track" }, fill);
    const value = make("dd", { text: percent(share) });
    if (numbered) list.append(place < SHOWN ? make("kbd", { text: String(place + 1) }) : make("span"), name, track, value);
    else list.append(name, value, track);
  }
  return list;
}

function showModels(page) {
  const names = Object.keys(page.probabilities);
  const first = names.includes("stack") ? "stack" : names.includes(page.scored_by) ? page.scored_by : names[0];
  const order = [first, ...names.filter((name) => name !== first)].filter((name) => name !== undefined);
  find("#models").replaceChildren(...order.map((name) => make("section",
    { class: name === first ? "model stack" : "model", "aria-label": `Model ${name}` },
    make("h3", { text: name }), bars(page.probabilities[name], page, 3, name === first))));
}

function showNearest(page) {
  const list = make("ol");
  for (const one of page.nearest) {
    const kind = kindOf(one.label, page);
    list.append(make("li", { class: kind, title: `${one.id}, similarity ${one.similarity.toFixed(3)}` },
      data.thumbs[one.id] ? make("img", { src: data.thumbs[one.id], alt: `training page ${one.id}` })
        : make("div", { class: "none", text: "no picture" }),
      make("div", { text: nameOf(one.label) + (kind ? ` (${kind})` : "") })));
  }
  find("#nearest").replaceChildren(...(page.nearest.length ? [make("h3", { text: "Nearest training pages, with their labels" }), list] : []));
}

// ---- Choosing a class -----------------------------------------------------------------------------------------------

let options = [];
let chosen = 0;

function openChoice() {
  find("#filter").value = "";
  filterClasses();
  find("#choose").showModal();
  find("#filter").focus();
}

function filterClasses() {
  const page = data.pages[at];
  const shares = page.probabilities.stack || page.probabilities[page.scored_by] || [];
  const wanted = find("#filter").value.trim().toLowerCase();
  options = data.classes.map(({ id, name }, place) => ({ id, name, share: shares[place] ?? 0 }))
    .filter(({ id, name }) => !wanted || name.toLowerCase().includes(wanted) || String(id) === wanted)
    .sort((a, b) => b.share - a.share);
  chosen = Math.max(0, wanted ? 0 : options.findIndex(({ id }) => id !== page.label));
  showOptions();
}

function showOptions() {
  find("#classes").replaceChildren(...options.map(({ id, name, share }, place) => {
    const item = make("li", { role: "option", id: `class-${place}`, "aria-selected": String(place === chosen) },
      make("span", { text: name + (id === data.pages[at].label ? " (given)" : "") }), make("span", { text: percent(share) }));
    item.addEventListener("click", () => choose(place));
    return item;
  }));
  find("#filter").setAttribute("aria-activedescendant", options.length ? `class-${chosen}` : "");
  find(`#class-${chosen}`)?.scrollIntoView({ block: "nearest" });
}

function choose(place) {
  if (!options[place]) return;
  find("#choose").close();
  decide("relabel", options[place].id);
}

find("#filter").addEventListener("input", filterClasses);
find("#choose").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && options.length) {
    chosen = (chosen + step + options.length) % options.length;
    showOptions();
  } else if (event.key === "Enter") choose(chosen);
  else return;
  event.preventDefault();
});

// ---- Keys and buttons -----------------------------------------------------------------------------------------------

const move = (step) => {
  at = Math.min(data.pages.length - 1, Math.max(0, at + step));
  show();
};
const go = (place) => {
  at = place;
  show();
};
const ACTIONS = {
  keep: () => decide("keep"),
  likely: () => decide("relabel", data.pages[at].likely),
  relabel: openChoice,
  exclude: () => decide("exclude"),
  unsure: () => decide("unsure"),
  undo,
  previous: () => move(-1),
  next: () => move(1),
  first: () => go(0),
  last: () => go(data.pages.length - 1),
  open: () => {
    const next = nextOpen(at);
    if (next < 0) say("All pages are reviewed.");
    else go(next);
  },
  zoom: () => find("#zoom").disabled || find("#zoom").setAttribute("aria-pressed", String(find("#zoom").ariaPressed !== "true")),
  download,
  help: () => find("#help").showModal(),
};
const KEYS = {
  k: "keep", l: "likely", r: "relabel", x: "exclude", u: "unsure", z: "undo", Backspace: "undo", ArrowLeft: "previous",
  p: "previous", ArrowRight: "next", n: "next", Home: "first", End: "last", o: "open", f: "zoom", d: "download", "?": "help",
};
const HELP = [
  ["K", "the given label is right"], ["L", "the most likely class"], ["1 – 5", "the class with this number"],
  ["R", "choose a class"], ["X", "exclude the page: it is of no class"], ["U", "not sure"], ["Z", "undo"],
  ["← →", "previous, next page"], ["O", "next page without a decision"], ["Home End", "first, last page"],
  ["F", "enlarge the page"], ["D", "download the decisions"],
];

function onKey(event) {
  if (!data || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, textarea, select")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (/^[1-9]$/.test(key)) {
    const page = data.pages[at];
    const name = page.probabilities.stack ? "stack" : page.scored_by;
    const one = topClasses(page.probabilities[name] || [], page)[Number(key) - 1];
    if (one && Number(key) <= SHOWN) decide("relabel", one.label);
    return;
  }
  const action = KEYS[key];
  if (!action) return;
  event.preventDefault();
  if (event.repeat && !["previous", "next"].includes(action)) return;
  ACTIONS[action]();
}

document.addEventListener("keydown", onKey);
for (const button of document.querySelectorAll("#actions [data-do]")) button.addEventListener("click", () => ACTIONS[button.dataset.do]());
find("#zoom").addEventListener("click", ACTIONS.zoom);
find("#download").addEventListener("click", download);
find("#show-help").addEventListener("click", ACTIONS.help);
find("#by").addEventListener("input", () => data && store());
find("#keys").replaceChildren(...HELP.flatMap(([keys, text]) => [make("dt", {}, make("kbd", { text: keys })), make("dd", { text })]));
find("#token").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, find("#token input").value.trim());
  find("#token").hidden = true;
  start();
});

// ---- Start ----------------------------------------------------------------------------------------------------------

async function start() {
  if (data) return void save();
  if (embedded.pages) data = embedded;
  else {
    const response = await ask("data").catch(() => null);
    if (response && response.status === 401) return;
    if (!response || !response.ok) return warn("start", "The service cannot be reached.");
    data = await response.json();
  }
  data.names = new Map(data.classes.map(({ id, name }) => [id, name]));
  const title = isPool() ? "Label pages" : "Review labels";
  find("#title").textContent = title;
  document.title = `${title} – ${data.run}`;
  const unreadable = data.unreadable ? ` · ${data.unreadable} can no longer be read` : "";
  find("#about").textContent = `${data.run} · the first ${data.pages.length} of ${data.total} pages${unreadable}`
    + `${data.serve ? ` · saved to ${data.file}` : ""}`;
  if (!data.pages.length) return warn("start", "The ranking has no page.");
  loadDecisions();
  find("#review").hidden = find("#actions").hidden = false;
  show();
  save();
}

start();
