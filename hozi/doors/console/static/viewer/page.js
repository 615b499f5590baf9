// What the page tells its scripts: the study, the words in the person's language; and how parts tell each other.
const read = (id) => JSON.parse(document.getElementById(id).textContent);

export const told = read("told");
const words = read("words");

// A text in the person's language; {name} stands for a value.
export const say = (key, values = {}) => (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

export const find = (selector, under = document) => under.querySelector(selector);

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const make = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
export const draw = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

const hub = new EventTarget();
export const tell = (type, detail) => hub.dispatchEvent(new CustomEvent(type, { detail }));
export const on = (type, heard) => hub.addEventListener(type, (event) => heard(event.detail));

export const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

// A number as people read it: as many digits as mean something.
export const figure = (value, digits = 1) => (Number.isFinite(value) ? Number(value.toFixed(digits)).toString() : "–");
