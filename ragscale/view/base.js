"use strict";
// Shared by the pages. Everything from outside enters the document as text nodes, never as markup.

// Characters that turn or hide what is read, and control characters, are shown by their code points.
const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff]/g;
const LONGEST = 20000, SHOWN = LONGEST - 50;  // with the words on the rest no longer than that, so that it is cut once

function plain(value) {
  let text = typeof value === "string" ? value : value === null || value === undefined ? "" : String(value);
  if (text.length > LONGEST) text = `${text.slice(0, SHOWN)} … (${count(text.length - SHOWN)} characters more)`;
  return text.replace(HIDDEN, (c) => `‹U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}›`);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style") for (const [key, to] of Object.entries(value)) element.style.setProperty(key, to);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : plain(value));
  }
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(plain(child)));
  }
  return element;
}

/** Replaces the children of an element; as `replaceChildren`, for what `h` takes. */
function put(element, ...children) {
  element.replaceChildren();
  return fill(element, null, children);
}

const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const known = (value) => typeof value === "number" && Number.isFinite(value);
const count = (value) => known(value) ? value.toLocaleString("en-US", {maximumFractionDigits: 0}) : "–";
const many = (n, one, several) => `${count(n)} ${n === 1 ? one : several || one + "s"}`;
const seconds = (value) => !known(value) ? "–" : value >= 100 ? `${count(value)} s`  // below a tenth to two digits
  : value > 0 && value < 0.1 ? `${value.toLocaleString("en", {maximumSignificantDigits: 2})} s` : `${value.toFixed(value < 10 ? 2 : 1)} s`;
const dollars = (value) => {  // to the cent, or to two digits: $1.50, $0.0012, $0.000000079
  if (!known(value)) return "–";
  const digits = value > 0 ? Math.min(20, Math.max(2, 1 - Math.floor(Math.log10(value)))) : 2;
  return `$${value.toLocaleString("en", {minimumFractionDigits: digits, maximumFractionDigits: digits})}`;
};
const percent = (value) => known(value) ? `${Math.round(100 * value)} %` : "–";
/** Where a text may be cut: not within a character beyond the first 65,536. */
const cut = (text, at) => /[\ud800-\udbff]/.test(text[at - 1] || "") ? at - 1 : at;
const short = (text, most) => { text = plain(text); return text.length > most ? `${text.slice(0, cut(text, most - 1))}…` : text; };
/** A name cut in its middle: those of cells and modes often differ in their ends only. */
const brief = (text, most) => { text = plain(text); return text.length > most ? `${text.slice(0, Math.ceil(most / 2) - 1)}…${text.slice(-Math.floor(most / 2))}` : text; };
/** A name that may be broken between its parameters. */
const breaking = (text) => plain(text).split(/(?<=[(,@])/).flatMap((part, at) => at ? [document.createElement("wbr"), part] : [part]);
const list = (value) => Array.isArray(value) ? value : [];
const texts = (value) => (Array.isArray(value) ? value : value ? [value] : []).map(String);

async function stored(id) {
  const element = document.getElementById(id);
  const text = element.textContent;
  return JSON.parse(element.dataset.encoding === "gzip" ? await unzipped(text) : text);
}

async function unzipped(base64) {
  const bytes = Uint8Array.from(atob(base64.trim()), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", {style: {position: "fixed", opacity: "0"}});
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "copied";
  setTimeout(() => { button.textContent = before; }, 1200);
}

function download(name, type, text) {
  const link = h("a", {download: name});
  link.href = URL.createObjectURL(new Blob([text], {type}));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function themeButton() {
  const dark = () => document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  return h("button", {class: "screen small", title: "Light or dark", "aria-label": "Light or dark",
    onclick: () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; }}, "◐");
}

function failed(error) {
  document.body.append(h("main", {}, h("p", {}, "This page cannot show its data: ", error && error.message)));
}
