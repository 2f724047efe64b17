// The dashboard: what the admin API tells, drawn. It asks every few seconds while it is looked at, and
// at once when an event comes; 50 endpoints a page, so that 500 are as smooth as five. Where answers
// take long it asks less often: at most a tenth of the time is spent on it.

import { ago, bytes, clock, element, money, moment, noteOf, readyReplicas, reasonOf, setText, span, stateOf } from "./words.js";
import { starts, strip } from "./drawing.js";
import { showHeld, turnHeld } from "./held.js";
import { keyCosts, showKeys } from "./keys.js";
import { cells, fill } from "./rows.js";

const EVERY = 3000;
const DAY_EVERY = 60000;
const SOON = 250;
const REST = 9;
const MOST_REST = 60000;
const PAGE = 50;
const KEPT_EVENTS = 200;
const ENDED = ["succeeded", "failed", "cancelled", "expired"];

const $ = (id) => document.getElementById(id);
const seen = { endpoints: null, one: null, problems: [], days: new Map(), events: [], page: 0 };
let source = null;
let timer = null;
let due = Infinity;
let rested = 0;
let asking = false;
let again = null;

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function call(path, options = {}) {
  const answer = await fetch(path, { headers: { Accept: "application/json", "Content-Type": "application/json" },
    credentials: "same-origin", cache: "no-store", ...options });
  const told = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, told?.detail || `the activator answers ${answer.status}`);
  return told;
}

// --- asking --------------------------------------------------------------------------------------

function chosen() {
  const [, kind, name] = location.hash.split("/");
  return kind === "endpoint" && name ? decodeURIComponent(name) : null;
}

// Never later than it is due already: events that come all the time would put it off for ever. 0:
// somebody has done something, and is not to wait.
function soon(after = SOON) {
  const now = performance.now();
  const at = after ? Math.max(now + after, rested) : now;
  if (at >= due) return;
  stop();
  due = at;
  timer = setTimeout(refresh, at - now, after);
}

function stop() {
  clearTimeout(timer);
  due = Infinity;
}

async function refresh(after = 0) {
  due = Infinity;
  if (asking) { again = Math.min(again ?? after, after); return; }
  asking = true;
  const began = performance.now();
  try {
    const name = chosen();
    await (name ? askForOne(name) : askForAll());
    const told = performance.now();
    rested = told + Math.min(REST * (told - began), MOST_REST);
    follow();
    show();
  } catch (problem) {
    if (problem.status === 401) { askToLogIn(); return; }
    link("lost", problem.status ? problem.message : "the activator does not answer; trying again");
  } finally {
    asking = false;
  }
  if (!document.hidden) soon(again ?? EVERY);
  again = null;
}

async function askForAll() {
  const told = await call("/api/endpoints");
  seen.endpoints = told.endpoints;
  seen.problems = told.configuration.problems;
  if (Date.now() > (seen.daysAt ?? 0) + DAY_EVERY) {
    const days = await call("/api/history");
    seen.days = new Map(Object.entries(days.endpoints));
    seen.daysAt = Date.now();
  }
}

async function askForOne(name) {
  const path = encodeURIComponent(name);
  const [one, history, jobs, held, keys] = await Promise.allSettled([call(`/api/endpoints/${path}`),
    call(`/api/endpoints/${path}/history`), call(`/api/jobs?endpoint=${path}&limit=50`),
    call(`/api/endpoints/${path}/held?${turnHeld(name)}`), keyCosts(name, call)]);
  if (one.reason && one.reason.status !== 404) throw one.reason;
  seen.one = { name, status: one.value ?? null, history: history.value ?? null, jobs: jobs.value?.jobs ?? [],
    held: held.value ?? null, keys: keys.value ?? null };
}

function follow() {
  if (source && source.readyState !== EventSource.CLOSED) return;
  const last = seen.events.at(-1)?.id ?? 0;
  source = new EventSource(`/api/events?since=${last}`);
  source.onopen = () => link("live", "live");
  source.onerror = () => link("lost", "connection lost; trying again");
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.id <= (seen.events.at(-1)?.id ?? 0)) return;
    seen.events.push(event);
    if (seen.events.length > 5 * KEPT_EVENTS) seen.events.splice(0, KEPT_EVENTS);
    soon();
  };
}

function link(state, words) {
  $("link").dataset.state = state;
  setText($("link"), words);
}

// --- showing -------------------------------------------------------------------------------------

function show() {
  const name = chosen();
  $("login").hidden = true;
  $("overview").hidden = name !== null || !seen.endpoints;
  $("detail").hidden = name === null;
  if (name !== null) showDetail(name, statusOf(name));
  else if (seen.endpoints) showOverview();
}

// Null: there is none; undefined: it has not been asked for.
function statusOf(name) {
  return seen.one?.name === name ? seen.one.status : seen.endpoints?.find((one) => one.name === name);
}

function describe(list, rows) {
  const old = new Map([...list.children].map((one) => [one.dataset.key, one]));
  for (const [key, value] of rows) {
    const there = old.get(key);
    if (there) { setText(there.lastChild, value); old.delete(key); continue; }
    const made = element("div", { "data-key": key }, element("dt", {}, key), element("dd", {}, value));
    list.append(made);
  }
  for (const gone of old.values()) gone.remove();
}

function sum(key) {
  return seen.endpoints.reduce((total, one) => total + one[key], 0);
}

function showOverview() {
  document.title = "activator";
  const ready = seen.endpoints.reduce((total, one) => total + readyReplicas(one), 0);
  const there = seen.endpoints.reduce((total, one) => total + one.replicas.length, 0);
  const rows = [["endpoints", String(seen.endpoints.length)], ["replicas ready", `${ready} of ${there}`],
    ["in line", String(sum("held"))], ["in flight", String(sum("in_flight"))],
    ["cost today", money(sum("cost_today"))], ["saved today", money(sum("saved_today"))]];
  describe($("totals"), rows);
  const words = seen.problems.length
    ? `Refused of what is declared (what was in force before stays, where there was any):\n${seen.problems.join("\n")}` : "";
  setText($("problems"), words);
  const matching = filtered();
  const pages = Math.max(1, Math.ceil(matching.length / PAGE));
  seen.page = Math.min(seen.page, pages - 1);
  $("pages").hidden = pages === 1;
  $("none").hidden = matching.length > 0;
  $("endpoints").hidden = matching.length === 0;
  setText($("page"), `page ${seen.page + 1} of ${pages}, ${matching.length} endpoints`);
  $("previous").disabled = seen.page === 0;
  $("next").disabled = seen.page === pages - 1;
  fill($("endpoints").tBodies[0], matching.slice(seen.page * PAGE, (seen.page + 1) * PAGE), (one) => one.name, endpointRow, updateEndpoint);
}

function filtered() {
  const find = $("find").value.trim().toLowerCase();
  const state = $("state").value;
  const order = $("order").value;
  const matching = seen.endpoints.filter((one) => one.name.toLowerCase().includes(find)
    && (!state || (state === "paused" ? one.paused : one.state === state)));
  const by = (one) => (order === "state" ? one.state : Number(one[order] ?? 0));
  matching.sort((a, b) => {
    if (order === "name") return a.name.localeCompare(b.name);
    const [left, right] = [by(a), by(b)];
    const ranked = typeof left === "string" ? left.localeCompare(right) : right - left;
    return ranked || a.name.localeCompare(b.name);
  });
  return matching;
}

function endpointRow(one) {
  const name = element("a", { href: `#/endpoint/${encodeURIComponent(one.name)}` }, one.name);
  return cells(element("tr", {}, element("th", { scope: "row" }, name)),
    "State", "Replicas", "In line", "Slots", "Ready in", "Last activity", "Cost today", "Last 24 hours");
}

function updateEndpoint(row, one) {
  const [state, replicas, held, slots, eta, last, cost, day] = [...row.cells].slice(1).map((cell) => cell.firstChild);
  badge(state, one.state, `${stateOf(one)} for ${span(one.seconds_in_state)}`, noteOf(one));
  setText(replicas, replicasOf(one));
  setText(held, String(one.held));
  setText(slots, slotsOf(one));
  setText(eta, span(one.eta));
  eta.parentElement.classList.toggle("unknown", one.eta === null);
  setText(last, ago(one.last_activity));
  setText(cost, `${money(one.cost_today)}, saved ${money(one.saved_today)}`);
  const known = seen.days.get(one.name);
  if (known && day.dataset.until !== String(seen.daysAt)) {
    day.dataset.until = String(seen.daysAt);
    day.replaceChildren(strip(known));
  }
}

function replicasOf(one) {
  return one.wanted || one.replicas.length ? `${readyReplicas(one)} of ${one.wanted} ready` : "none";
}

function slotsOf(one) {
  if (!one.concurrency) return String(one.in_flight);
  return `${one.in_flight} of ${one.concurrency * readyReplicas(one)}`;
}

function badge(node, state, words, note) {
  if (!node.firstChild) node.append(element("span", {}), element("div", { class: "note" }));
  node.firstChild.className = `badge ${state}`;
  setText(node.firstChild, words);
  setText(node.lastChild, note);
}

function showDetail(name, one) {
  document.title = `${name}: activator`;
  setText($("detail-title"), name);
  $("verbs").hidden = !one;
  $("about").hidden = one === undefined; // what is there is of the endpoint before
  if (one === null) setText($("detail-problem"), `No endpoint is called ${name}.`);
  if (!one) return;
  for (const button of $("verbs").children) {
    const verb = button.dataset.verb;
    button.hidden = (verb === "pause" && one.paused) || (verb === "resume" && !one.paused);
  }
  describe($("facts"), factsOf(one));
  fill($("replicas").tBodies[0], one.replicas, (each) => each.id,
    () => cells(element("tr", {}), "Replica", "Phase", "For", "Address", "In flight", "Detail"), updateReplica);
  const { history = null, jobs = [], held = null, keys = null } = seen.one?.name === name ? seen.one : {};
  if (history) {
    $("day").replaceChildren(strip(history.day));
    $("starts").replaceChildren(...starts(history.cold_starts));
  }
  $("replicas").hidden = !one.replicas.length;
  $("no-replicas").hidden = one.replicas.length > 0;
  showHeld(held, { change: cancelHeld, again: () => soon(0) });
  showKeys(keys);
  $("jobs").hidden = !jobs.length;
  $("no-jobs").hidden = jobs.length > 0;
  fill($("jobs").tBodies[0], jobs, (job) => job.id, jobRow, updateJob);
  const told = seen.events.filter((event) => event.endpoint === name).slice(-KEPT_EVENTS).reverse();
  if ($("events").dataset.last !== `${name} ${told[0]?.id}`) {
    $("events").dataset.last = `${name} ${told[0]?.id}`;
    $("events").replaceChildren(...told.map(eventItem));
  }
}

function factsOf(one) {
  const rows = [["State", `${stateOf(one)} for ${span(one.seconds_in_state)}`], ["Why", reasonOf(one)],
    ["In line", `${one.held} (${bytes(one.held_bytes)})`], ["Slots", slotsOf(one)],
    ["Ready in", span(one.eta)], ["A start takes", span(one.typical_start)],
    ["Last activity", ago(one.last_activity)], ["Cold starts", String(one.cold_starts)],
    ["Cost today", `${money(one.cost_today)}, saved ${money(one.saved_today)}`],
    ["Cost since this activator started", `${money(one.cost)} for ${span(one.replica_seconds)}`],
    ["Saved since then", `${money(one.cost_saved)} for ${span(one.saved_replica_seconds)}`],
    ["Fallback", one.fallback], ["Hosts", one.hosts.join(", ")], ["Paths", one.paths.join(", ")]];
  return rows.filter(([, value]) => value);
}

function updateReplica(row, one) {
  const [id, phase, since, address, flight, detail] = [...row.cells].map((cell) => cell.firstChild);
  setText(id, one.id);
  phase.className = `badge ${one.phase}`;
  setText(phase, one.phase);
  setText(since, span(one.seconds_in_phase));
  setText(address, one.address);
  setText(flight, String(one.in_flight));
  setText(detail, one.detail);
}

function jobRow(job) {
  const row = cells(element("tr", {}), "Job", "State", "Attempt", "Created", "Detail", "Change");
  const [id, , , , , change] = [...row.cells].map((cell) => cell.firstChild);
  setText(id, job.id);
  const button = element("button", { type: "button" });
  button.addEventListener("click", () => changeJob(job.id, button.dataset.verb));
  change.append(button);
  return row;
}

function updateJob(row, job) {
  const [, state, attempt, created, detail, change] = [...row.cells].map((cell) => cell.firstChild);
  state.className = `badge ${job.state}`;
  setText(state, job.state);
  setText(attempt, String(job.attempt));
  setText(created, job.created ? new Date(job.created).toLocaleString() : "");
  setText(detail, [job.reason, job.detail].filter(Boolean).join(": "));
  const verb = job.state === "failed" ? "retry" : ENDED.includes(job.state) ? "" : "cancel";
  const button = change.firstChild;
  button.hidden = !verb;
  button.dataset.verb = verb;
  setText(button, verb === "retry" ? "Retry" : "Cancel");
}

function eventItem(event) {
  const at = new Date(event.at * 1000);
  return element("li", {}, element("time", { datetime: at.toISOString(), title: moment(event.at) }, clock(event.at)),
    element("strong", {}, event.action.replaceAll("_", " ")), event.reason ? `: ${event.reason}` : "");
}

// --- changing ------------------------------------------------------------------------------------

const ASKED = {
  activate: ["Activate", "It starts now, demand or none, and goes back to zero when idle."],
  deactivate: ["Deactivate", "It goes to zero. While requests are held or in flight it is refused."],
  force: ["Deactivate all the same", "What is in flight is broken off."],
  pause: ["Pause", "What comes is held and nothing is started until it is resumed."],
  resume: ["Resume", "What is held goes on, and starts it if need be."],
};

function confirmed(title, words, yes) {
  setText($("confirm-title"), title);
  setText($("confirm-words"), words);
  setText($("confirm-yes"), yes);
  const dialog = $("confirm");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function change(verb, name, { force = false } = {}) {
  const [yes, words] = ASKED[force ? "force" : verb];
  if (!await confirmed(`${yes}: ${name}?`, words, yes)) return;
  setText($("detail-problem"), "");
  try {
    await call(`/api/endpoints/${encodeURIComponent(name)}/${verb}`,
      { method: "POST", body: JSON.stringify(force ? { force } : {}) });
  } catch (problem) {
    if (problem.status === 401) { askToLogIn(); return; }
    setText($("detail-problem"), problem.message);
    if (verb === "deactivate" && problem.status === 409 && !force) { await change(verb, name, { force: true }); return; }
  }
  soon(0);
}

async function changeJob(id, verb) {
  const path = `/api/jobs/${encodeURIComponent(id)}`;
  if (verb === "retry") await ordered("Retry", `${id}: It is tried again, with all its attempts.`, `${path}/retry`, { method: "POST", body: "{}" });
  else await ordered("Cancel the job", `${id}: Queued, it never runs; running, its model is left.`, path, { method: "DELETE" });
}

async function cancelHeld(name, id) {
  const path = `/api/endpoints/${encodeURIComponent(name)}/held/${encodeURIComponent(id)}`;
  await ordered("Cancel the request", `${id}: Its client is told so; nothing of it reaches a model.`, path, { method: "DELETE" });
}

async function ordered(yes, words, path, options) {
  if (!await confirmed(`${yes}?`, words, yes)) return;
  try {
    await call(path, options);
    setText($("detail-problem"), "");
  } catch (problem) {
    if (problem.status === 401) { askToLogIn(); return; }
    setText($("detail-problem"), problem.message);
  }
  soon(0);
}

// --- logging in ----------------------------------------------------------------------------------

function askToLogIn() {
  stop();
  source?.close();
  source = null;
  link("lost", "not logged in");
  $("overview").hidden = $("detail").hidden = true;
  $("login").hidden = false;
  $("token").focus();
}

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await call("/api/login", { method: "POST", body: JSON.stringify({ token: $("token").value.trim() }) });
    $("token").value = "";
    setText($("login-problem"), "");
    link("connecting", "connecting");
    soon(0);
  } catch (problem) {
    setText($("login-problem"), problem.status ? problem.message : "the activator does not answer");
  }
});

$("verbs").addEventListener("click", (event) => {
  const verb = event.target.closest("button")?.dataset.verb;
  if (verb) change(verb, chosen());
});
for (const id of ["find", "state", "order"]) {
  $(id).addEventListener("input", () => { seen.page = 0; showOverview(); });
}
$("filter").addEventListener("submit", (event) => event.preventDefault());
$("previous").addEventListener("click", () => { seen.page -= 1; showOverview(); });
$("next").addEventListener("click", () => { seen.page += 1; showOverview(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(0); });
window.addEventListener("hashchange", () => {
  setText($("detail-problem"), "");
  for (const id of ["day", "starts"]) $(id).replaceChildren();
  show();
  soon(0);
  if (chosen()) $("detail-title").focus();
});
refresh();
