"use strict";
// The viewer: one row with its video, over the table; the rows around it are a key away.

const viewer = byId("viewer");
const video = byId("video");
let current = null;

function view(row, play) {
  current = row;
  byId("viewer-id").replaceChildren(named(row.id));
  byId("viewer-status").replaceChildren(statusMark(row));
  byId("viewer-text").textContent = row.text || "";
  byId("viewer-message").textContent = visible(row.message);
  byId("viewer-message").className = `message ${row.status}`;
  byId("facts").replaceChildren(...facts(row));
  byId("wave").replaceChildren(...wave(row));
  const place = found.indexOf(row);
  byId("before").disabled = place <= 0;
  byId("after").disabled = place < 0 || place >= found.length - 1;
  load(row, play);
  if (viewer.open) return;
  viewer.showModal();
  if (!video.hidden) video.focus(); // the space bar plays and pauses
}

function load(row, play) {
  byId("fault").hidden = true;
  byId("screen").hidden = !row.url && !row.missing;
  if (!row.url) {
    unload();
    fault(row.missing ? [`${visible(row.name)} is not beside this report any more.`] : []);
    return;
  }
  video.hidden = false;
  video.poster = picture(row);
  video.src = row.url;
  if (play) video.play().catch(() => {}); // a fault is told by the error event
}

function unload() {
  video.pause();
  video.removeAttribute("src");
  video.removeAttribute("poster");
  video.load();
}

function fault(parts) {
  video.hidden = true;
  byId("fault").hidden = !parts.length;
  byId("fault").replaceChildren(...parts);
}

function facts(row) {
  const told = [
    ["Line", String(row.line)],
    ["Reference", visible(row.ref)],
    ["File", row.url && make("a", { href: row.url }, visible(row.name))],
    ["Length", row.seconds && duration(row.seconds)],
    ["Size", row.bytes && size(row.bytes)],
    ["Seed", String(row.seed)],
    ["Mark", visible(row.mark)],
    ["Exit code", row.code && String(row.code)],
    ["Started", localTime(row.started)],
    ["Finished", localTime(row.finished)],
    ["Attempts", row.attempts > 1 && String(row.attempts)],
    ["Worker", visible(row.worker)],
    ["Time", row.total && stageList(row)],
  ];
  return told
    .filter(([, value]) => value)
    .map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
}

function stageList(row) {
  const parts = stages
    .map((stage, k) => [stage, row.times[k], k])
    .filter(([, value]) => value > 0)
    .map(([stage, value, k]) =>
      make("li", {}, make("i", { class: `stage${k % 8}` }), visible(stage.replaceAll("_", " ")), " ", make("b", {}, duration(value))),
    );
  return make("div", {}, shares(row.times, row.total, "Time in each stage"), make("ul", {}, ...parts));
}

// Sound as bars under the video. What was played is filled; a click goes there.
function wave(row) {
  if (!row.curve || !row.url) return [];
  const bars = levels(row.curve).map((level, x) => {
    const high = 46 * height(level);
    return draw("rect", { x: 5 * x + 1, y: (24 - high / 2).toFixed(1), width: 3, height: high.toFixed(1), rx: 1.5 });
  });
  return [draw("svg", { viewBox: "0 0 600 48", preserveAspectRatio: "none", "aria-hidden": "true" }, ...bars)];
}

function follow() {
  const bars = byId("wave").querySelectorAll("rect");
  const played = video.duration ? (bars.length * video.currentTime) / video.duration : 0;
  bars.forEach((bar, k) => bar.classList.toggle("played", k + 0.5 < played));
  if (viewer.open && !video.paused) requestAnimationFrame(follow);
}

function step(by) {
  const row = found[found.indexOf(current) + by];
  if (row) view(row, true);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-play], [data-show]");
  if (button) view(rows[button.dataset.play ?? button.dataset.show], "play" in button.dataset);
});
byId("before").addEventListener("click", () => step(-1));
byId("after").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => viewer.close());
viewer.addEventListener("close", unload);
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) viewer.close(); // beside the box
});
viewer.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const by = { j: 1, k: -1 }[event.key.toLowerCase()];
  if (by) step(by);
});
for (const name of ["play", "seeked", "timeupdate", "loadedmetadata"]) video.addEventListener(name, follow);
video.addEventListener("error", () => {
  if (!current || !video.getAttribute("src")) return;
  const link = make("a", { href: current.url }, visible(current.name));
  fault(["This browser cannot play ", link, ": it was moved, is damaged, or its format is not known here."]);
});
byId("wave").addEventListener("click", (event) => {
  const box = byId("wave").getBoundingClientRect();
  const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  const seek = () => { video.currentTime = share * video.duration; };
  if (video.duration) return seek();
  video.addEventListener("loadedmetadata", seek, { once: true });
  video.play().catch(() => {});
});
