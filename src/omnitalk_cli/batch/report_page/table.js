"use strict";
// The table: which rows, in which order, and a page of them at a time.

const PRINTED = 1000;
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const rank = { failed: 0, running: 1, pending: 2, done: 3, skipped: 4 };

// Columns: title, class, what to sort by, what to show.
const columns = {
  line: { title: "Line", value: (row) => row.line, show: (row) => String(row.line) },
  video: { title: "Video", value: (row) => row.name, show: thumbnail },
  id: { title: "Id", value: (row) => row.id, show: idButton },
  ref: { title: "Reference", value: (row) => row.ref, show: (row) => row.ref && named(row.ref) },
  text: { title: "Text", value: (row) => row.message || row.text, show: textCell },
  status: { title: "Status", value: (row) => rank[row.status], show: statusMark },
  length: { title: "Length", value: (row) => row.seconds, show: (row) => row.seconds && duration(row.seconds) },
  sound: { title: "Sound", value: loudness, show: outline },
  time: { title: "Time", value: (row) => row.total || undefined, show: timeBar },
  seed: { title: "Seed", value: (row) => Number(row.seed), show: (row) => String(row.seed) },
  mark: { title: "Mark", value: (row) => row.mark, show: (row) => visible(row.mark) },
};

const fresh = { query: "", status: "", sort: "line", down: false, page: 0, size: 50 };
const state = { ...fresh };
let found = rows;
const byId = (id) => document.getElementById(id);

function idButton(row) {
  return make("button", { type: "button", class: "id", "data-show": row.index }, named(row.id));
}

function textCell(row) {
  const parts = [];
  if (row.text) parts.push(make("p", { class: "said", dir: "auto" }, row.text));
  if (row.message) parts.push(make("p", { class: `message ${row.status}` }, visible(row.message)));
  return make("div", {}, ...parts);
}

// Choosing

for (const row of rows) {
  const parts = [row.id, row.ref, row.text, row.message, row.name, row.mark, row.seed, row.worker];
  row.hay = parts.filter((part) => part !== undefined).join("\n").normalize("NFKC").toLowerCase();
}

function choose() {
  const terms = state.query.normalize("NFKC").toLowerCase().split(/\s+/).filter(Boolean);
  const { value } = columns[state.sort];
  found = rows.filter(
    (row) => (!state.status || row.status === state.status) && terms.every((term) => row.hay.includes(term)),
  );
  const keys = new Map(found.map((row) => [row, value(row)]));
  const sense = state.down ? -1 : 1;
  found.sort((one, other) => compare(keys.get(one), keys.get(other), sense) || one.index - other.index);
  state.page = Math.min(state.page, Math.max(0, Math.ceil(found.length / state.size) - 1));
}

// What is empty comes last, whichever way round.
function compare(one, other, sense) {
  const [bare, otherBare] = [one, other].map((key) => key === undefined || key === "" || Number.isNaN(key));
  if (bare || otherBare) return bare - otherBare;
  return sense * (typeof one === "string" ? collator.compare(one, other) : one - other);
}

// Showing

function change(values) {
  Object.assign(state, { page: 0 }, values);
  choose();
  render();
  remember();
}

function render(first = state.page * state.size, count = state.size) {
  const shown = found.slice(first, first + count);
  byId("table").tBodies[0].replaceChildren(...shown.map(tableRow));
  for (const cell of byId("table").tHead.rows[0].cells) {
    const sorted = cell.dataset.column === state.sort;
    cell.toggleAttribute("aria-sort", sorted);
    if (sorted) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
  }
  for (const button of byId("statuses").children) {
    button.setAttribute("aria-pressed", button.value === state.status);
  }
  byId("sort").value = state.sort;
  byId("order").textContent = state.down ? "↓" : "↑";
  byId("size").value = state.size;
  if (document.activeElement !== byId("query")) byId("query").value = state.query;

  const all = found.length === rows.length;
  byId("shown").textContent = all
    ? `${rows.length.toLocaleString()} rows`
    : `${found.length.toLocaleString()} of ${rows.length.toLocaleString()} rows`;
  byId("table").hidden = !shown.length;
  byId("empty").hidden = Boolean(shown.length);
  byId("empty").textContent = rows.length ? "No row matches the filter." : "This batch has no rows.";
  byId("pages").hidden = found.length <= state.size;
  const last = Math.min(first + count, found.length);
  byId("place").textContent =
    `${(first + 1).toLocaleString()}–${last.toLocaleString()} of ${found.length.toLocaleString()}`;
  for (const button of byId("pages").querySelectorAll("button")) {
    const back = ["first", "previous"].includes(button.dataset.go);
    button.disabled = back ? first === 0 : last >= found.length;
  }
}

function tableRow(row) {
  const cells = Object.entries(columns).map(([name, column]) => {
    const inside = column.show(row) || undefined;
    const attributes = { class: `c-${name}`, role: "cell", "data-title": column.title };
    return make("td", inside ? attributes : { ...attributes, "data-empty": "" }, inside);
  });
  return make("tr", { role: "row", class: row.status }, ...cells);
}

// The address keeps what is shown: a report that is loaded again stays where it was.

function remember() {
  const kept = Object.keys(fresh).filter((name) => state[name] !== fresh[name]);
  const address = new URLSearchParams(kept.map((name) => [name, String(state[name])])).toString();
  try {
    history.replaceState(null, "", address ? `#${address}` : location.pathname + location.search);
  } catch {
    // some browsers refuse this for files; nothing is lost but the convenience
  }
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  const whole = (name) => Math.max(0, Number.parseInt(kept.get(name), 10) || fresh[name]);
  Object.assign(state, {
    query: kept.get("query") || "",
    status: kept.get("status") in words ? kept.get("status") : "",
    sort: Object.hasOwn(columns, kept.get("sort")) ? kept.get("sort") : fresh.sort,
    down: kept.get("down") === "true",
    page: whole("page"),
    size: [25, 50, 100, 250].includes(whole("size")) ? whole("size") : fresh.size,
  });
}

// The frame: head, controls, totals

function sortBy(name) {
  change({ sort: name, down: state.sort === name ? !state.down : false });
}

function frame() {
  for (const [name, column] of Object.entries(columns)) {
    const button = make("button", { type: "button", "data-sort": name }, column.title);
    byId("table").tHead.rows[0].append(
      make("th", { role: "columnheader", scope: "col", class: `c-${name}`, "data-column": name }, button),
    );
    byId("sort").append(make("option", { value: name }, column.title));
  }
  const counts = data.totals.counts;
  const present = Object.keys(words).filter((status) => counts[status]);
  const choices = [["", "All", data.totals.rows], ...present.map((status) => [status, words[status], counts[status]])];
  for (const [value, word, count] of choices) {
    byId("statuses").append(
      make("button", { type: "button", value, class: value }, word, make("b", {}, count.toLocaleString())),
    );
  }
  if (data.totals.rows) {
    const told = present.map((status) => `${words[status]} ${counts[status]}`).join(", ");
    byId("statusbar").append(shares(present.map((status) => counts[status]), data.totals.rows, told, present));
  }
  stageFigure();
  for (const element of document.querySelectorAll("time")) element.textContent = localTime(element.dateTime);
  byId("controls").hidden = false;
}

function stageFigure() {
  const values = Object.values(data.totals.stages);
  const sum = values.reduce((one, other) => one + other, 0);
  if (!sum) return;
  const figure = byId("stages");
  figure.hidden = false;
  figure.querySelector(".bar").append(shares(values, sum, "Work in each stage"));
  const told = stages.map((stage, k) =>
    make(
      "li", {}, make("i", { class: `stage${k % 8}` }), visible(stage.replaceAll("_", " ")), " ",
      make("b", {}, duration(values[k])), ` ${Math.round(100 * values[k] / sum)} %`,
    ),
  );
  figure.querySelector("ul").append(...told);
}

frame();
recall();
choose();
render();
performance.mark("rows shown");
// The pictures come behind this script.
document.addEventListener("DOMContentLoaded", () => render());

let typing = 0;
byId("query").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => change({ query: byId("query").value }), 60);
});
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("sort").addEventListener("change", () => change({ sort: byId("sort").value, down: false }));
byId("order").addEventListener("click", () => change({ down: !state.down }));
byId("size").addEventListener("change", () => change({ size: Number(byId("size").value) }));
byId("statuses").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) change({ status: button.value === state.status ? "" : button.value });
});
byId("table").tHead.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) sortBy(button.dataset.sort);
});
byId("pages").addEventListener("click", (event) => {
  const go = event.target.closest("button")?.dataset.go;
  const last = Math.ceil(found.length / state.size) - 1;
  const page = { first: 0, previous: state.page - 1, next: state.page + 1, last }[go];
  if (page === undefined) return;
  change({ page });
  byId("controls").scrollIntoView({ block: "start" });
});
document.addEventListener("keydown", (event) => {
  const busy = event.ctrlKey || event.metaKey || event.altKey || byId("viewer").open;
  if (event.key !== "/" || busy || event.target.closest("input, select, textarea")) return;
  event.preventDefault();
  byId("query").focus();
});
// On paper there are no pages to turn.
window.addEventListener("beforeprint", () => render(0, Math.min(found.length, PRINTED)));
window.addEventListener("afterprint", () => render());
