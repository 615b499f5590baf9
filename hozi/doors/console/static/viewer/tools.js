// What can be done, by button and by key; and what stands in the menus.
import { choose, hands, windowBy } from "./hands.js";
import * as cine from "./cine.js";
import * as cross from "./cross.js";
import * as marks from "./marks.js";
import * as measure from "./measure.js";
import { find, make, on, say, told } from "./page.js";
import { fitting } from "./paint.js";
import * as frames from "./frames.js";
import * as strip from "./strip.js";
import { arrange, LAYOUTS, put, rebase, seen, stage } from "./stage.js";
import { openStudy } from "./stack.js";
import { date } from "./texts.js";

// Windows that people expect for computed tomography: centre and width in HU.
const CT = [["Soft tissue", 40, 400], ["Lung", -600, 1500], ["Bone", 500, 2000], ["Brain", 40, 80], ["Mediastinum", 50, 350], ["Liver", 60, 160]];

const pane = () => stage.active;
const change = (changes) => pane()?.image && !pane().bare && pane().change(changes);
const turned = (by) => pane()?.image && change({ turns: (pane().view.turns + by + 4) % 4 });

const DONE = {
  window: () => choose("window"),
  scroll: () => choose("scroll"),
  zoom: () => choose("zoom"),
  pan: () => choose("pan"),
  length: () => choose("length"),
  angle: () => choose("angle"),
  ellipse: () => choose("ellipse"),
  probe: () => choose("probe"),
  remove: () => measure.remove(pane()),
  clear: () => measure.clear(pane()),
  invert: () => change({ invert: !pane().view.invert }),
  rotate: () => turned(1),
  back: () => turned(-1),
  flip: () => change({ mirrored: !pane().view.mirrored }),
  upside: () => pane()?.image && change({ mirrored: !pane().view.mirrored, turns: (pane().view.turns + 2) % 4 }),
  reset: () => {
    pane()?.reset();
    pane()?.touch();
  },
  overlays: () => change({ bare: !pane().view.bare }),
  cine: () => cine.toggle(pane()),
  faster: () => cine.faster(pane(), 1.25),
  slower: () => cine.faster(pane(), 0.8),
  mark: () => marks.toggle(),
  next_mark: () => marks.next(pane()),
  link: () => {
    stage.linked = !stage.linked;
    rebase();
    pressed();
  },
  screen: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen?.()),
  help: () => find("#help").showModal(),
  up: () => pane()?.go(pane().index - 1),
  down: () => pane()?.go(pane().index + 1),
  far_up: () => pane()?.go(pane().index - 10),
  far_down: () => pane()?.go(pane().index + 10),
  first: () => pane()?.go(0),
  last: () => pane()?.go(Infinity),
  previous: () => strip.next(-1),
  next: () => strip.next(1),
  larger: () => middle(1.25),
  smaller: () => middle(0.8),
  left: () => change({ x: pane().view.x + 40 }),
  right: () => change({ x: pane().view.x - 40 }),
  above: () => change({ y: pane().view.y + 40 }),
  below: () => change({ y: pane().view.y - 40 }),
  wider: () => pane() && windowBy(pane(), 20, 0),
  narrower: () => pane() && windowBy(pane(), -20, 0),
  higher: () => pane() && windowBy(pane(), 0, 20),
  lower: () => pane() && windowBy(pane(), 0, -20),
  pane: () => {
    const panes = seen();
    panes[(panes.indexOf(pane()) + 1) % panes.length].element.focus();
  },
};

const middle = (factor) => pane()?.image && pane().zoomAt(factor, pane().element.clientWidth / 2, pane().element.clientHeight / 2);

const KEYS = {
  w: "window", s: "scroll", z: "zoom", m: "pan", l: "length", a: "angle", e: "ellipse", p: "probe",
  Delete: "remove", Backspace: "remove", i: "invert", o: "overlays", r: "rotate", R: "back", f: "flip", F: "upside", 0: "reset",
  k: "mark", K: "next_mark", c: "cine", " ": "cine", ">": "faster", "<": "slower", y: "link", "*": "screen", "?": "help",
  ArrowUp: "up", ArrowDown: "down", PageUp: "far_up", PageDown: "far_down", Home: "first", End: "last",
  ArrowLeft: "previous", ArrowRight: "next", "+": "larger", "=": "larger", "-": "smaller",
  "]": "wider", "[": "narrower", "}": "higher", "{": "lower", n: "pane",
};
const SHIFTED = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "above", ArrowDown: "below" };

const act = (name) => DONE[name]?.();

// Windows ----------------------------------------------------------------------------------------------

function presets() {
  const image = pane()?.image;
  if (!image || pane().bare || !frames.grey(image)) return [];
  const own = (image.windows ?? []).map(([center, width, name]) => ({ center, width, name: name || say("of the image"), way: image.function ?? "" }));
  const ct = pane().stack.modality === "CT" ? CT.map(([name, center, width]) => ({ center, width, name: say(name), way: "" })) : [];
  const frame = frames.full(image);
  const fits = frame && !frame.done
    ? [{ ...fitting(frame, image), name: say("fitted") }, { ...fitting(frame, image, 0), name: say("whole range") }]
    : [];
  const all = [...own, ...ct, ...fits];
  return all.filter((one, at) => all.findIndex((other) => other.center === one.center && other.width === one.width) === at).slice(0, 12);
}

function preset(number) {
  const found = presets()[number];
  if (found) change({ window: { ...found, chosen: true } });
}

// Menus ------------------------------------------------------------------------------------------------

function entry(text, keys, run, current = false) {
  const button = make("button", { type: "button", class: "v-entry", "aria-pressed": current ? "true" : null }, make("span", {}, text), keys ? make("kbd", {}, keys) : "");
  button.addEventListener("click", () => {
    button.closest("[popover]").hidePopover();
    run();
    pane()?.element.focus({ preventScroll: true });
  });
  return button;
}

// A menu opens beneath its button, where there is room for it; on a phone where the style sheet says.
function beneath(menu) {
  menu.querySelector("button")?.focus();
  if (matchMedia("(max-width: 760px)").matches) return;
  const { left } = find(`[popovertarget="${menu.id}"]`).getBoundingClientRect();
  menu.style.left = `${Math.max(4, Math.min(left, innerWidth - menu.offsetWidth - 8))}px`;
}

const MENUS = {
  presets: () => {
    const found = presets();
    return found.length
      ? found.map((one, index) => entry(`${one.name} (${Math.round(one.width)} / ${Math.round(one.center)})`, index < 9 ? String(index + 1) : "", () => preset(index)))
      : [make("p", {}, say("no windows"))];
  },
  layouts: () => Object.keys(LAYOUTS).map((layout) => entry(layout.replace("x", " × "), "", () => arranged(layout), stage.layout === layout)),
  priors: () =>
    told.priors.length
      ? told.priors.map((one) => entry(`${date(one.date)} ${one.modalities.join(", ")} ${one.description}`, "", () => beside(one.pk)))
      : [make("p", {}, say("no earlier studies"))],
};

// Panes that come into view empty get the series that are not to be seen yet.
function arranged(layout) {
  arrange(layout);
  const shown = new Set(seen().map((one) => one.stack?.pk));
  const rest = told.series.filter((one) => !shown.has(one.pk) && one.kind === "image");
  for (const one of seen()) {
    strip.dropped(one);
    if (!one.stack && rest.length) put(one, told.study, rest.shift().pk);
  }
}

// Puts the series of an earlier study that is most like the one in the active pane beside it.
async function beside(study) {
  const main = pane();
  const opened = await openStudy(study);
  const fits = (series) =>
    (series.kind === "image" ? 4 : 0) + (series.modality === main.stack?.modality ? 2 : 0) + (series.description === main.stack?.description ? 1 : 0) + Math.min(series.count, 500) / 1000;
  const best = [...opened.series].sort((a, b) => fits(b) - fits(a))[0];
  if (stage.layout === "1x1") arrange(matchMedia("(max-aspect-ratio: 4/5)").matches ? "2x1" : "1x2");
  const panes = seen();
  const other = panes[(panes.indexOf(main) + 1) % panes.length];
  strip.dropped(other);
  strip.add(study);
  if (best) await put(other, study, best.pk);
}

// Buttons and keys -------------------------------------------------------------------------------------

function pressed() {
  for (const button of document.querySelectorAll("[data-act]")) {
    const name = button.dataset.act;
    const view = pane()?.view;
    const on = { link: stage.linked, invert: view?.invert, flip: view?.mirrored, cine: Boolean(pane()?.playing), mark: marks.isMarked(pane()?.image) }[name] ?? (button.dataset.tool != null ? hands.tool === name : null);
    if (on !== null && on !== undefined) button.setAttribute("aria-pressed", String(Boolean(on)));
  }
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog, [popover]:popover-open")) return;
  if (event.target.closest("button, a, summary") && [" ", "Enter"].includes(event.key)) return;
  if (cross.taken(pane(), event)) event.preventDefault();
  else if (/^[1-9]$/.test(event.key)) preset(Number(event.key) - 1);
  else {
    const name = (event.shiftKey && SHIFTED[event.key]) || KEYS[event.key];
    if (!name) return;
    act(name);
  }
  event.preventDefault();
}

export function begin() {
  for (const button of document.querySelectorAll("[data-act]")) {
    button.addEventListener("click", () => {
      act(button.dataset.act);
      if (button.dataset.act !== "help") pane()?.element.focus({ preventScroll: true });
    });
  }
  for (const [name, filled] of Object.entries(MENUS)) {
    const menu = find(`#${name}`);
    menu.addEventListener("beforetoggle", (event) => event.newState === "open" && menu.replaceChildren(...filled()));
    menu.addEventListener("toggle", (event) => event.newState === "open" && beneath(menu));
  }
  addEventListener("keydown", key);
  strip.dropped(seen()[0]);
  marks.begin();
  for (const type of ["moved", "tool", "active", "changed", "put", "cine"]) on(type, pressed);
  pressed();
}
