// The page: what /events says, in tables and on the map. All text of users goes through textContent.

import {drawCurves} from "./charts.js";
import {CoreMap, UserColours} from "./map.js";

const MOST_ROWS = 200;
const MOST_POINTS = 360;
const AGAIN_MS = 2000;
const SILENT_MS = 10000;
const TOKEN_KEY = "sublet-token";

const at = (id) => document.getElementById(id);
const colours = new UserColours();
let overview = null;
let tick = null;
let points = [];
let clockAhead = 0; // of the manager's clock, in ms
let chosenLease = null;
let chosenUser = null;
let stream = null;

const map = new CoreMap(at("map"), at("map-canvas"), colours, showNode);

function token() {
  return sessionStorage.getItem(TOKEN_KEY) || "";
}

function headers() {
  return token() === "" ? {} : {Authorization: "Bearer " + token()};
}

// ---- texts ----

function span(ms) {
  if (ms <= 0) return "0 s";
  const s = Math.ceil(ms / 1000);
  if (s < 120) return s + " s";
  if (s < 7200) return Math.floor(s / 60) + " min " + String(s % 60).padStart(2, "0") + " s";
  return Math.floor(s / 3600) + " h " + String(Math.floor((s % 3600) / 60)).padStart(2, "0") + " min";
}

function time(ns) {
  if (ns <= 0) return "-";
  if (ns < 1e3) return ns.toFixed(0) + " ns";
  if (ns < 1e6) return (ns / 1e3).toFixed(1) + " µs";
  if (ns < 1e9) return (ns / 1e6).toFixed(1) + " ms";
  return (ns / 1e9).toFixed(2) + " s";
}

function amount(value) {
  if (value >= 1e6) return (value / 1e6).toFixed(2) + " M";
  if (value >= 1e4) return (value / 1e3).toFixed(1) + " k";
  return value >= 10 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

// ---- tables ----

function cell(row, text, isNumber) {
  const made = document.createElement("td");
  made.textContent = text;
  if (isNumber) made.className = "number";
  row.append(made);
  return made;
}

function button(text, action) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "plain";
  made.textContent = text;
  made.addEventListener("click", action);
  return made;
}

function withSwatch(where, user) {
  const swatch = document.createElement("span");
  swatch.className = "swatch";
  swatch.style.backgroundColor = colours.of(user);
  swatch.setAttribute("aria-hidden", "true");
  where.prepend(swatch);
}

/** Puts rows in place of those of before, and gives the focus back to the one that had it. */
function replaceRows(body, rows) {
  const focused = body.contains(document.activeElement) ? document.activeElement : null;
  const key = focused && focused.closest("tr") ? focused.closest("tr").dataset.key : null;
  const which = focused ? [...focused.closest("tr").querySelectorAll("button")].indexOf(focused) : -1;
  body.replaceChildren(...rows);
  if (key === null || which < 0) return;
  const again = rows.find((row) => row.dataset.key === key);
  const target = again && again.querySelectorAll("button")[which];
  if (target) target.focus();
}


function leaseNodes() {
  const names = overview.leases.map(() => []);
  for (const node of overview.nodes) {
    for (const [lease] of node.leases) {
      if (names[lease][names[lease].length - 1] !== node.name) names[lease].push(node.name);
    }
  }
  return names;
}

function showLeases() {
  const wanted = at("filter").value.trim().toLowerCase();
  const nodes = leaseNodes();
  const rows = [];
  let fitting = 0;
  const order = overview.leases.map((lease, i) => i);
  order.sort((a, b) => overview.leases[a].expires - overview.leases[b].expires);
  for (const place of order) {
    const lease = overview.leases[place];
    const user = overview.users[lease.user];
    const text = [lease.id, user, lease.state, lease.job || "", ...nodes[place]].join(" ").toLowerCase();
    if (wanted !== "" && !text.includes(wanted)) continue;
    if (++fitting > MOST_ROWS) continue;
    rows.push(leaseRow(lease, user, nodes[place]));
  }
  replaceRows(at("leases"), rows);
  const hidden = fitting > MOST_ROWS ? ", the first " + MOST_ROWS + " to end are shown" : "";
  const others = overview.sees_all ? "" : "; others' are not listed";
  at("leases-count").textContent = fitting + " of " + overview.leases.length + hidden + others;
}

function leaseRow(lease, user, nodes) {
  const row = document.createElement("tr");
  row.dataset.key = lease.id;
  if (lease.id === chosenLease) row.className = "chosen";
  const chooser = button(lease.id, () => {
    chosenLease = chosenLease === lease.id ? null : lease.id;
    chosenUser = null;
    map.highlight(chosenLease === null ? null : {lease: chosenLease});
    showLeases();
    showUsers();
  });
  chooser.setAttribute("aria-pressed", String(lease.id === chosenLease));
  cell(row, "").append(chooser);
  withSwatch(cell(row, user), user);
  cell(row, lease.state);
  cell(row, lease.cores, true);
  cell(row, nodes.length <= 3 ? nodes.join(", ") : nodes.slice(0, 2).join(", ") + ", … (" + nodes.length + ")");
  const left = cell(row, "", true);
  left.dataset.expires = lease.expires;
  left.textContent = span(lease.expires - now());
  const end = cell(row, "");
  if (token() !== "") {
    end.append(button("End", () => ask("End lease " + lease.id + " of " + user + "?",
      "POST", "/api/v1/leases/" + lease.id + "/release", {reason: "ended on the page"})));
  }
  return row;
}

function showUsers() {
  const held = new Map(tick === null ? [] : tick.ledger.map((user) => [user.user, user]));
  const names = [...new Set([...held.keys(), ...(overview === null ? [] : overview.users)])];
  const cores = (name) => (held.has(name) ? held.get(name).held : 0);
  names.sort((a, b) => cores(b) - cores(a) || a.localeCompare(b));
  const rows = names.slice(0, MOST_ROWS).map((name) => {
    const row = document.createElement("tr");
    row.dataset.key = name;
    if (name === chosenUser) row.className = "chosen";
    const chooser = button(name, () => {
      chosenUser = chosenUser === name ? null : name;
      chosenLease = null;
      map.highlight(chosenUser === null ? null : {user: chosenUser});
      showUsers();
      showLeases();
    });
    chooser.setAttribute("aria-pressed", String(name === chosenUser));
    const first = cell(row, "");
    first.append(chooser);
    withSwatch(first, name);
    cell(row, cores(name), true);
    cell(row, held.has(name) ? (held.get(name).core_s_today / 3600).toFixed(2) : "-", true);
    return row;
  });
  replaceRows(at("users"), rows);
}

function showWaiting() {
  replaceRows(at("waiting"), overview.waiting.map((request) => {
    const row = document.createElement("tr");
    cell(row, request.place, true);
    cell(row, request.user);
    cell(row, request.cores, true);
    cell(row, span(now() - request.since), true);
    cell(row, span(request.until - now()), true);
    return row;
  }));
}

function showDrains() {
  const items = overview.nodes.filter((node) => node.state === "draining").map((node) => {
    const item = document.createElement("li");
    item.textContent = node.name + ": " + node.used + " cores in leases still";
    return item;
  });
  if (items.length === 0) {
    const none = document.createElement("li");
    none.textContent = "none";
    items.push(none);
  }
  at("drains").replaceChildren(...items);
}

function showNode(node) {
  const shares = node.leases.map(([place, cores]) => {
    const lease = overview.leases[place];
    return overview.users[lease.user] + " " + cores + " (lease " + lease.id + ")";
  });
  const known = node.leases.reduce((sum, [, cores]) => sum + cores, 0);
  if (node.used > known) shares.push("others " + (node.used - known));
  const silent = node.silent_ms === undefined ? "" : ", not heard of for " + span(node.silent_ms);
  const gpus = node.gpus === undefined ? "" : " and " + node.used_gpus + " of " + node.gpus + " GPUs";
  at("node-text").textContent = node.name + ": " + node.state + silent + ", " + node.used + " of " +
    node.cores + " cores" + gpus + " in leases" + (shares.length === 0 ? "" : ": " + shares.join(", "));
  at("node-actions").hidden = token() === "" || node.state === "lost";
  at("drain").hidden = node.state !== "up";
  at("cancel-drain").hidden = node.state !== "draining";
}

function showOverview() {
  at("who").textContent = "version " + overview.version + ", seen as " + overview.caller +
    (overview.sees_all ? "" : " (own leases only)");
  map.show(overview);
  if (map.chosen >= 0) showNode(map.nodes[map.chosen]);
  showLeases();
  showUsers();
  showWaiting();
  showDrains();
}

function showTick() {
  const sums = {
    up: tick.up, draining: tick.draining, lost: tick.lost, free: tick.free, leases: tick.leases,
    waiting: tick.waiting,
  };
  for (const [name, value] of Object.entries(sums)) at("sum-" + name).textContent = value;
  const share = tick.cores === 0 ? 0 : Math.round((100 * tick.held) / tick.cores);
  at("sum-held").textContent = tick.held + " of " + tick.cores + " (" + share + " %)";
  at("sum-busy").textContent = tick.busy_cores.toFixed(1);
  at("sum-calls").textContent = amount(tick.calls_per_s);
  at("sum-mean").textContent = time(tick.mean_call_ns);
  at("sum-median").textContent = time(tick.median_call_ns);
  at("sum-p99").textContent = time(tick.p99_call_ns);
  for (const left of document.querySelectorAll("td[data-expires]")) {
    left.textContent = span(Number(left.dataset.expires) - now());
  }
  if (overview !== null) {
    showUsers();
    showWaiting();
  }
}

function showHistory() {
  drawCurves(at("hour-cores"), points,
    [{column: 2, colour: "--curve"}, {column: 4, colour: "--curve-2"}], 1);
  drawCurves(at("hour-calls"), points, [{column: 3, colour: "--curve"}], null);
  if (points.length === 0) return;
  const last = points[points.length - 1];
  at("hour-cores-text").textContent = "Cores: " + last[2] + " in leases (blue), " +
    last[4].toFixed(1) + " compute (green), of " + last[1] + " (dashed)";
  at("hour-calls-text").textContent = "Calls a second: " + amount(last[3]) + " in the last ten seconds";
}

function now() {
  return Date.now() + clockAhead;
}

// ---- orders ----

function ask(question, method, path, body) {
  at("confirm-text").textContent = question;
  const dialog = at("confirm");
  dialog.returnValue = "no";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "yes") return;
    at("answer").textContent = "";
    try {
      const reply = await fetch(path, {
        method, headers: {...headers(), "Content-Type": "application/json"}, body: JSON.stringify(body),
      });
      const said = await reply.json();
      if (!reply.ok) at("answer").textContent = said.error.message;
    } catch (error) {
      at("answer").textContent = "The resource manager did not answer: " + error.message;
    }
  };
  dialog.showModal();
}

function nodeOrder(question, order, body) {
  const node = map.nodes[map.chosen];
  if (node === undefined) return;
  ask(question + node.name + "?", "POST",
    "/api/v1/nodes/" + encodeURIComponent(node.name) + "/" + order, body);
}

at("drain").addEventListener("click",
  () => nodeOrder("Drain node ", "drain", {reason: "drained on the page", own_notice: true, limit_ms: 3600000}));
at("cancel-drain").addEventListener("click",
  () => nodeOrder("Cancel the drain of node ", "cancel-drain", undefined));
at("filter").addEventListener("input", () => overview !== null && showLeases());
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN_KEY, at("token").value.trim());
  at("token").value = "";
  if (stream !== null) stream.abort();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showHistory);
addEventListener("resize", showHistory);

// ---- events ----

function take(name, data) {
  if (name === "overview") {
    overview = JSON.parse(data);
    showOverview();
  } else if (name === "history") {
    points = points.concat(JSON.parse(data).points).slice(-MOST_POINTS);
    showHistory();
  } else if (name === "tick") {
    tick = JSON.parse(data);
    clockAhead = tick.now - Date.now();
    showTick();
  }
}

function say(text, isLost) {
  at("connection").textContent = text;
  at("connection").classList.toggle("lost", isLost);
}

/** fetch in place of EventSource, which can send no token. */
async function listen() {
  stream = new AbortController();
  let silence = null;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => stream.abort(), SILENT_MS);
  };
  try {
    heard();
    const reply = await fetch("/events", {headers: headers(), signal: stream.signal});
    if (!reply.ok) {
      const said = await reply.json();
      throw new Error(said.error.message);
    }
    points = [];
    say("live", false);
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const {done, value} = await reader.read();
      if (done) break;
      heard();
      text += value;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const [first, second] = text.slice(0, end).split("\n");
        text = text.slice(end + 2);
        take(first.slice("event: ".length), second.slice("data: ".length));
      }
    }
    throw new Error("the stream has ended");
  } catch (error) {
    say("not connected: " + (error.name === "AbortError" ? "asking again" : error.message), true);
  } finally {
    clearTimeout(silence);
  }
}

async function run() {
  for (;;) {
    await listen();
    await new Promise((wake) => setTimeout(wake, AGAIN_MS));
  }
}

run();
