// SPDX-License-Identifier: Apache-2.0
// The status page: asks /status every two seconds and draws it. Texts from the server are only ever set as text.
"use strict";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const PERIOD = 2000;
let token = sessionStorage.getItem("token") || "";
let timer = 0;
let asking = false;
let last = null; // what the server said last, with its tag

function make(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "onclick") e.addEventListener("click", value);
    else if (value !== null && value !== undefined) e.setAttribute(key, value);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return (i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + " " + units[i];
}

function ago(seconds) {
  const s = Math.max(0, Date.now() / 1000 - seconds);
  if (s < 2) return "just now";
  if (s < 60) return Math.floor(s) + " s ago";
  if (s < 3600) return Math.floor(s / 60) + " min ago";
  if (s < 86400) return Math.floor(s / 3600) + " h ago";
  return Math.floor(s / 86400) + " d ago";
}

function lasting(seconds) {
  if (!isFinite(seconds)) return "";
  if (seconds < 60) return Math.ceil(seconds) + " s left";
  if (seconds < 3600) return Math.ceil(seconds / 60) + " min left";
  return (seconds / 3600).toFixed(1) + " h left";
}

function say(text, refused) {
  const box = $("message");
  box.textContent = text;
  box.classList.toggle("refused", !!refused);
  box.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { box.hidden = true; }, 6000);
}

function headers(more) {
  return Object.assign(token ? {"X-Auth-Token": token} : {}, more);
}

async function reason(response) {
  try {
    return (await response.json()).error.message;
  } catch (e) {
    return "status " + response.status;
  }
}

// A change: METHOD on /v2/cache/ID REST.
async function change(method, id, rest, done) {
  try {
    const path = "/v2/cache/" + encodeURIComponent(id) + rest;
    const response = await fetch(path, {method, headers: headers({"X-Glance-Cache": "page"})});
    say(response.ok ? done : "Not done: " + await reason(response), !response.ok);
    ask();
    return response.ok;
  } catch (e) {
    say("Not done: the server does not answer.", true);
    ask();
    return false;
  }
}

// A button that asks "Sure?" first when it takes something away. KEY: which button of the image it is, whatever it is called now.
function action(label, key, id, careful, run) {
  const button = make("button", {type: "button", "aria-label": label + " " + id, "data-key": key + " " + id}, label);
  const question = (asked) => {
    button.classList.toggle("sure", asked);
    button.textContent = asked ? "Sure?" : label;
    button.setAttribute("aria-label", (asked ? "Sure? " : "") + label + " " + id);
  };
  let patience = 0;
  button.addEventListener("click", (event) => {
    if (button.hasAttribute("aria-disabled")) return;
    if (careful && !button.classList.contains("sure")) {
      question(true);
      clearTimeout(patience);
      patience = setTimeout(() => question(false), 6000);
    } else if (!careful || event.detail < 2) { // the second half of a double click is no answer
      question(false);
      button.setAttribute("aria-disabled", "true"); // and not disabled, which would lose the focus
      run();
    }
  });
  button.addEventListener("keydown", (event) => {
    if (event.repeat && (event.key === "Enter" || event.key === " ")) event.preventDefault(); // neither is a key held down
    if (event.key === "Escape") question(false);
  });
  return button;
}

// Puts CHILDREN in place. What did not change stays, as does a question to the person; the focus stays at the same button, or, when
// that has gone, at the one that took its place, or at the heading.
function replace(parent, ...children) {
  if (parent.querySelector("button.sure")) return;
  const old = [...parent.childNodes];
  if (old.length === children.length && old.every((node, i) => node === children[i] || node.isEqualNode(children[i]))) return;
  const active = parent.contains(document.activeElement) ? document.activeElement : null;
  const place = [...parent.querySelectorAll("button")].indexOf(active);
  arrange(parent, children);
  if (active === null || document.activeElement === active) return;
  const buttons = [...parent.querySelectorAll("button")], key = active.getAttribute("data-key");
  const next = buttons.find((b) => b.getAttribute("data-key") === key) || buttons[Math.min(Math.max(place, 0), buttons.length - 1)] ||
    parent.closest("section").querySelector("h2");
  next.focus();
}

// Nodes that are there already are not moved, unless they must: a node that is moved loses the focus, and its bar jumps.
function arrange(parent, nodes) {
  for (const old of [...parent.childNodes]) if (!nodes.includes(old)) old.remove();
  nodes.forEach((node, i) => { if (parent.childNodes[i] !== node) parent.insertBefore(node, parent.childNodes[i] || null); });
}

function nothing(text) {
  return make("p", {class: "soft"}, text);
}

function idCell(id, name, note) {
  const cell = make("td", {class: "id"}, id, note ? make("span", {class: "note"}, note) : null);
  if (name && name !== id) cell.append(make("div", {class: "soft"}, name));
  return cell;
}

function table(names, rows) {
  const head = make("tr", {}, ...names.map((n) => make("th", {scope: "col", class: n.class}, n.text)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

// Which parts are here: a hexadecimal digit each, how much of it. Equal neighbours are one piece, so that no seam shows.
function drawMap(map, text) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "map");
  svg.setAttribute("viewBox", "0 0 " + Math.max(1, map.length) + " 1");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", text);
  for (const run of map.matchAll(/([1-9a-f])\1*/g)) {
    const rect = document.createElementNS(SVG, "rect");
    rect.setAttribute("x", run.index);
    rect.setAttribute("width", run[0].length);
    rect.setAttribute("height", 1);
    rect.setAttribute("opacity", 0.25 + 0.75 * parseInt(run[1], 16) / 15);
    svg.append(rect);
  }
  return svg;
}

function showSpace(cache) {
  const {limit, used, disk_available: available} = cache.space;
  const percent = limit > 0 ? Math.min(100, 100 * used / limit) : 0;
  const meter = $("space-meter");
  meter.firstElementChild.style.width = percent + "%";
  meter.setAttribute("aria-valuenow", Math.round(percent));
  $("space-text").textContent = bytes(used) + " of " + bytes(limit) + " used (" + percent.toFixed(percent < 10 ? 1 : 0) + " %), " +
    bytes(available) + " free on the disk";
  const c = cache.counters, opens = c.hits + c.misses;
  const numbers = [
    ["Cached images", cache.images.cached], ["Incomplete", cache.images.incomplete], ["Queued", cache.images.queued],
    ["Failed", cache.images.invalid], ["Hits", c.hits], ["Misses", c.misses],
    ["Hit rate", opens ? (100 * c.hits / opens).toFixed(0) + " %" : "–"], ["Fetched", bytes(c.bytes_fetched)],
    ["Evictions", c.evictions], ["Open handles", c.open_handles],
  ];
  $("numbers").replaceChildren(...numbers.map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
}

function polyline(points, name) {
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", points.map(([x, y]) => x.toFixed(1) + "," + y.toFixed(1)).join(" "));
  line.setAttribute("class", name);
  return line;
}

// One chart: a line, its greatest value above, the times below. POINTS: [time, value]; FORMAT makes a value a text.
function chart(title, name, points, top, format) {
  const from = points[0][0], span = Math.max(1, points[points.length - 1][0] - from), last = points[points.length - 1][1];
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 1000 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", title + ": now " + format(last) + ", at most " + format(top));
  svg.append(polyline(points.map(([t, v]) => [1000 * (t - from) / span, 98 - 96 * Math.min(1, v / top)]), name));
  return make("figure", {}, make("figcaption", {class: "soft"}, title + ": " + format(last), make("span", {class: "top"}, format(top))), svg,
    make("div", {class: "soft times"}, make("span", {}, "−" + Math.max(1, Math.round(span / 60)) + " min"), make("span", {}, "now")));
}

// Samples: [time, hits, misses, bytes fetched], each counted since the server or the mount began.
function showHistory(samples) {
  if (samples.length < 2) {
    $("history").replaceChildren(nothing("The first samples are being taken."));
    return;
  }
  const fetched = [], hits = [];
  let rate = 100;
  for (let i = 1; i < samples.length; i++) {
    const [before, now] = [samples[i - 1], samples[i]], seconds = Math.max(1, now[0] - before[0]);
    const hit = Math.max(0, now[1] - before[1]), miss = Math.max(0, now[2] - before[2]);
    fetched.push([now[0], Math.max(0, now[3] - before[3]) / seconds]);
    if (hit + miss > 0) rate = 100 * hit / (hit + miss);
    hits.push([now[0], rate]);
  }
  const top = Math.max(1024, ...fetched.map((p) => p[1]));
  $("history").replaceChildren(chart("Fetched from the backend", "miss", fetched, top, (n) => bytes(n) + "/s"),
    chart("Opens that were hits", "hit", hits, 100, (n) => n.toFixed(0) + " %"));
}

// What is being fetched: the rows stay in place while it is, so that their bars move.
const fetchRows = new Map();

function newFetchRow(id) {
  const row = {name: make("span", {class: "id"}), bar: make("div", {}), map: make("div", {}), text: make("div", {class: "soft"})};
  row.meter = make("div", {class: "meter", role: "progressbar", "aria-label": id, "aria-valuemin": 0, "aria-valuemax": 100, "data-id": id},
    row.bar);
  row.whole = make("div", {class: "fetch"},
    make("div", {class: "fetch-line"}, row.name,
      action("Drop", "drop", id, true, () => change("DELETE", id, "/incomplete", "Dropped " + id + "."))),
    row.meter, row.map, row.text);
  return row;
}

function updateFetchRow(row, image, f) {
  const here = f ? f.bytes_cached : image.bytes_cached;
  const percent = image.size ? Math.floor(100 * here / image.size) : 0;
  let text = bytes(here) + " of " + bytes(image.size) + " (" + percent + " %)";
  if (f && f.verifying) text += ", being verified";
  else if (f && f.streams > 0) text += ", " + bytes(f.bytes_per_second) + "/s, " + lasting((image.size - here) / f.bytes_per_second);
  else text += ", no fetch under way, last progress " + ago(image.last_modified);
  row.name.textContent = image.name || image.id;
  row.meter.setAttribute("aria-valuenow", percent);
  row.bar.style.width = percent + "%";
  row.text.textContent = text;
  replace(row.map, drawMap(image.map, percent + " percent of " + image.id + " are here"));
  row.whole.querySelector("button").removeAttribute("aria-disabled");
}

function showFetches(status) {
  const under = new Map(status.cache.fetches.map((f) => [f.image, f]));
  const ids = new Set(status.incomplete.map((image) => image.id));
  for (const id of fetchRows.keys()) if (!ids.has(id)) fetchRows.delete(id);
  for (const image of status.incomplete) {
    if (!fetchRows.has(image.id)) fetchRows.set(image.id, newFetchRow(image.id));
    updateFetchRow(fetchRows.get(image.id), image, under.get(image.id));
  }
  const rows = status.incomplete.map((image) => fetchRows.get(image.id).whole);
  replace($("fetches"), ...(rows.length ? rows : [nothing("Nothing is being fetched.")]));
}

function showQueued(list) {
  const rows = list.map((q) => make("tr", {}, idCell(q.id),
    make("td", {"data-name": "State", class: "wide"}, q.state + (q.error ? ": " + q.error : "")),
    make("td", {"data-name": "Since"}, ago(q.queued)),
    make("td", {class: "actions"}, action("Remove", "remove", q.id, false, () => change("DELETE", q.id, "", "Taken off the queue.")))));
  replace($("queued"), list.length ? table([{text: "Image"}, {text: "State"}, {text: "Queued"}, {text: "Actions", class: "actions"}], rows)
    : nothing("The queue is empty."));
}

const ROWS = 50;
let page = 0, lastStatus = null;

function cachedRow(image) {
  return make("tr", {}, idCell(image.id, image.name, image.pinned ? "pinned" : ""),
    make("td", {"data-name": "Size", class: "number"}, bytes(image.size)),
    make("td", {"data-name": "Hits", class: "number"}, String(image.hits)),
    make("td", {"data-name": "Last used"}, ago(image.last_accessed)),
    make("td", {class: "actions"},
      image.pinned
        ? action("Unpin", "pin", image.id, false, () => change("DELETE", image.id, "/pin", "Unpinned " + image.id + "."))
        : action("Pin", "pin", image.id, false,
          () => change("PUT", image.id, "/pin", "Pinned " + image.id + ": it is never evicted to make room.")),
      " ", action("Evict", "evict", image.id, true,
        () => change("DELETE", image.id, "", "Evicted " + image.id + "."))));
}

// Which of N images are shown, with a way to the others.
function pages(n) {
  const last = Math.max(0, Math.ceil(n / ROWS) - 1);
  page = Math.min(page, last);
  if (last === 0) return null;
  const turn = (label, to) => {
    const button = make("button", {type: "button", "data-key": "turn " + label}, label);
    if (to < 0 || to > last) button.setAttribute("aria-disabled", "true");
    else button.addEventListener("click", () => { page = to; showCached(lastStatus); });
    return button;
  };
  return make("p", {class: "turn"}, turn("Before", page - 1),
    " " + (page * ROWS + 1) + "–" + Math.min(n, (page + 1) * ROWS) + " of " + n + " ", turn("Next", page + 1));
}

function showCached(status) {
  lastStatus = status;
  const key = $("cached-sort").value, text = $("cached-filter").value.trim().toLowerCase();
  const order = key === "id" ? (a, b) => a.id < b.id ? -1 : a.id > b.id ? 1 : 0 : (a, b) => b[key] - a[key];
  const list = status.cached.filter((i) => !text || (i.id + " " + (i.name || "")).toLowerCase().includes(text)).sort(order);
  $("cached-form").hidden = status.cached.length < 10;
  const turning = pages(list.length);
  const parts = [list.length
    ? table([{text: "Image"}, {text: "Size", class: "number"}, {text: "Hits", class: "number"}, {text: "Last used"},
      {text: "Actions", class: "actions"}], list.slice(page * ROWS, (page + 1) * ROWS).map(cachedRow))
    : nothing(status.cached.length ? "No cached image is called so." : "Nothing is cached yet.")];
  if (turning) parts.push(turning);
  if (status.cache.images.cached > status.cached.length)
    parts.push(nothing("… and " + (status.cache.images.cached - status.cached.length) + " more, used longer ago."));
  replace($("cached"), ...parts);
}

function showInvalid(list) {
  if (list.length === 0 && $("invalid-section").contains(document.activeElement)) $("fetch-title").focus();
  $("invalid-section").hidden = list.length === 0;
  const rows = list.map((image) => make("tr", {}, idCell(image.id), make("td", {class: "bad wide"}, image.reason || ""),
    make("td", {"data-name": "When"}, ago(image.since)),
    make("td", {class: "actions"},
      action("Retry", "retry", image.id, false, async () => {
        if (await change("DELETE", image.id, "/invalid", "Forgotten.")) change("PUT", image.id, "", "Queued " + image.id + " once more.");
      }), " ",
      action("Forget", "forget", image.id, false, () => change("DELETE", image.id, "/invalid", "Forgotten.")))));
  replace($("invalid"), table([{text: "Image"}, {text: "Why"}, {text: "When"}, {text: "Actions", class: "actions"}], rows));
}

function showBackend(backend) {
  const rows = (backend.endpoints || []).map((e) => {
    const parts = [e.state];
    if (e.last_ok > 0) parts.push("last answer " + ago(e.last_ok));
    if ((e.refuses || []).length) parts.push("asked without what it refuses: " + e.refuses.join(", "));
    if (e.last_error) parts.push("last error " + ago(e.last_error_at) + ": " + e.last_error);
    return make("p", {}, make("span", {class: "id"}, e.endpoint || ""), " ",
      make("span", {class: e.state === "ok" ? "soft" : "bad"}, parts.join(", ")));
  });
  $("backend").replaceChildren(make("p", {}, "Type " + backend.type + ", listing: " + backend.listing), ...rows);
}

// What is wrong, above all else; and in the title, for whoever has many of these open.
function showBanner(status) {
  const list = status.troubles || [], space = status.cache.space;
  const banner = $("banner");
  banner.hidden = list.length === 0;
  if (list.length) replace(banner, make("strong", {}, "Degraded"), make("ul", {}, ...list.map((t) => make("li", {}, t))));
  $("host").textContent = status.host || location.host;
  document.title = (status.host || location.host) + " · " + (space.limit ? Math.round(100 * space.used / space.limit) : 0) + " % · " +
    (list.length ? list[0] : "ok");
}

function show(status) {
  const cache = status.cache;
  document.body.classList.toggle("looking", !status.may_manage);
  $("login").hidden = true;
  $("content").hidden = false;
  $("state").className = "";
  $("state").textContent = "glance-cache-fs " + cache.version + ", mounted " + ago(cache.mounted_at) + " at " + status.mount +
    (cache.passthrough === "on" ? ", passed through" : "") + (cache.adopting ? ", taking over what was found" : "") +
    (status.may_manage ? "" : "; you may look at it, not change it");
  showBanner(status);
  showSpace(cache);
  showHistory(status.history);
  showFetches(status);
  showQueued(status.queued);
  showCached(status);
  showInvalid(status.invalid);
  showBackend(cache.backend);
}

// What the backend has, for the field of the queue: asked for once, when somebody comes to it.
async function offer() {
  if (offer.at && Date.now() - offer.at < 60000) return;
  offer.at = Date.now();
  try {
    const response = await fetch("/v2/images?limit=1000", {headers: headers()});
    if (!response.ok) return;
    const images = (await response.json()).images || [];
    $("available").replaceChildren(...images.map((i) => make("option", {value: i.id, label: i.name && i.name !== i.id ? i.name : null})));
  } catch (e) {
    offer.at = 0;
  }
}

function trouble(text) {
  $("state").className = "bad";
  $("state").textContent = text;
}

async function ask() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  try {
    const response = await fetch("/status", {headers: headers(last ? {"If-None-Match": last.tag} : {}), cache: "no-store"});
    if (response.status === 304) { // the times are older, all else is as it was
      show(last.status);
      return;
    }
    if (response.status === 401 || response.status === 403) {
      trouble(token ? await reason(response) : "A token is needed to see the cache.");
      token = "";
      last = null;
      sessionStorage.removeItem("token");
      $("login").hidden = false;
      $("content").hidden = true;
      return;
    }
    if (response.ok) {
      const tag = response.headers.get("ETag"), status = await response.json();
      last = tag ? {tag, status} : null;
      show(status);
    } else trouble("No status: " + await reason(response));
  } catch (e) {
    trouble("The server does not answer.");
  } finally {
    asking = false;
    if ($("login").hidden) timer = setTimeout(ask, document.hidden ? 10 * PERIOD : PERIOD);
  }
}

$("host").textContent = location.host;
$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("token", token);
  $("token").value = "";
  ask();
});
$("queue-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = $("queue-id").value.trim();
  if (id) change("PUT", id, "", "Queued " + id + ".").then((done) => { if (done && $("queue-id").value.trim() === id) $("queue-id").value = ""; });
});
$("queue-id").addEventListener("focus", offer);
$("cached-form").addEventListener("submit", (event) => event.preventDefault());
for (const id of ["cached-filter", "cached-sort"])
  $(id).addEventListener("input", () => { page = 0; if (lastStatus) showCached(lastStatus); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
ask();
