"use strict";
// The rows: reading them, and drawing each of their parts. Texts only ever become text nodes.

const data = JSON.parse(document.querySelector("script.data").textContent);
const rows = data.rows;
const stages = Object.keys(data.totals.stages);
const words = {
  done: "Done", skipped: "Skipped", failed: "Failed", running: "Running", pending: "Waiting",
};
const signs = { done: "✓", skipped: "↷", failed: "✕", running: "▸", pending: "·" };
const LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const QUIET = 45; // dB under full scale: the foot of a curve
const LOUD = 8; // dB under full scale: its top

for (const [index, row] of rows.entries()) {
  row.index = index;
  row.total = (row.times || []).reduce((sum, value) => sum + value, 0);
}
const longest = percentile(rows.map((row) => row.total).filter((value) => value > 0), 0.95);

// Elements

function make(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

// Names and messages show the characters that would hide or turn round what they say.
function visible(text) {
  return (text || "").replace(
    /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]/g,
    (letter) => `⟨U+${letter.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`,
  );
}

// A name, which may be broken behind its signs, and whose direction is its own affair.
function named(text) {
  const parts = visible(text).split(/(?<=[-_.])/).flatMap((part) => [part, make("wbr")]);
  return make("bdi", {}, ...parts.slice(0, -1));
}

// Numbers

function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function localTime(text) {
  const time = new Date(text);
  if (!text || Number.isNaN(time.getTime())) return text || "";
  return time.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

function percentile(values, share) {
  values.sort((a, b) => a - b);
  return values.length ? values[Math.min(values.length - 1, Math.floor(share * values.length))] : 1;
}

function levels(curve) {
  return Array.from(curve, (letter) => LEVELS.indexOf(letter) - LEVELS.length + 1);
}

// Mean level in dB of full scale; undefined without sound. Reckoned when it is asked for.
function loudness(row) {
  if (!row.curve) return undefined;
  if (row.loudness === undefined) {
    const power = levels(row.curve).reduce((sum, level) => sum + 10 ** (level / 10), 0);
    row.loudness = 10 * Math.log10(power / row.curve.length);
  }
  return row.loudness;
}

// Pictures. They stand behind the scripts in the file, in blocks of rows, read when needed.

const blocks = new Map();

function picture(row) {
  const number = Math.floor(row.index / data.block);
  if (!blocks.has(number)) {
    const block = document.querySelectorAll("script.pictures")[number];
    if (!block) return "";
    blocks.set(number, JSON.parse(block.textContent));
  }
  return blocks.get(number)[row.index % data.block] || "";
}

// Parts of a row

function statusMark(row) {
  const sign = make("span", { class: "sign", "aria-hidden": "true" }, signs[row.status] || "?");
  return make("span", { class: `status ${row.status}` }, sign, words[row.status] || row.status);
}

function thumbnail(row) {
  if (!row.url) {
    return row.missing ? make("span", { class: "gone" }, "file is gone") : undefined;
  }
  const source = picture(row);
  const inside = source
    ? make("img", { src: source, alt: "" })
    : make("span", { class: "blank", "aria-hidden": "true" });
  return make(
    "button",
    { type: "button", class: "thumb", "data-play": row.index, "aria-label": `Play ${visible(row.id)}` },
    inside,
  );
}

// Loudness over time, the same up and down, as a filled outline.
function outline(row) {
  if (!row.curve) return undefined;
  const heights = levels(row.curve).map(height);
  const top = heights.map((high, x) => `${x},${(12 - high * 11.5).toFixed(1)}`);
  const low = heights.map((high, x) => `${x},${(12 + high * 11.5).toFixed(1)}`).reverse();
  return draw(
    "svg",
    { class: "outline", viewBox: "0 0 119 24", preserveAspectRatio: "none", role: "img",
      "aria-label": `Sound, ${Math.round(loudness(row))} decibels on average` },
    draw("path", { d: `M${top.join("L")}L${low.join("L")}Z` }),
  );
}

// 0 to 1; a thread of a line stays where it is quiet.
function height(level) {
  return Math.min(1, Math.max(0.04, (level + QUIET) / (QUIET - LOUD)));
}

function timeBar(row) {
  if (!row.total) return undefined;
  const told = stages
    .map((stage, k) => `${visible(stage)} ${duration(row.times[k])}`)
    .filter((text, k) => row.times[k] > 0)
    .join(", ");
  const bar = shares(row.times, Math.max(row.total, longest), told);
  const late = row.total > longest * 1.001; // a few long rows must not make all others tiny
  return make(
    "span", { class: late ? "times late" : "times" },
    bar, make("span", {}, duration(row.total)),
  );
}

// Parts side by side, each as wide as its share of ``whole``.
function shares(values, whole, label, kinds) {
  let x = 0;
  const parts = values.map((value, k) => {
    const kind = kinds ? kinds[k] : `stage${k % 8}`;
    const part = draw("rect", { x: x.toFixed(3), width: (100 * value / whole).toFixed(3), height: 1, class: kind });
    x += 100 * value / whole;
    return part;
  });
  return draw(
    "svg",
    { viewBox: "0 0 100 1", preserveAspectRatio: "none", role: "img", "aria-label": label },
    draw("title", {}, label),
    ...parts,
  );
}
