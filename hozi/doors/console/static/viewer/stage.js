// The panes on the screen: how many, which one is meant, what stands in each, and how they go together.
import * as frames from "./frames.js";
import { nearest, normal, parallel, place, scout } from "./geometry.js";
import { handle } from "./hands.js";
import { clamp, draw, find, on, tell } from "./page.js";
import { Pane } from "./pane.js";
import { openStack, openStudy } from "./stack.js";

export const LAYOUTS = { "1x1": 1, "1x2": 2, "2x1": 2, "2x2": 4 };
export const stage = { panes: [], active: null, layout: "1x1", linked: true, scouts: true };

const ground = find("#stage");
let before = "1x1";

export const seen = () => stage.panes.slice(0, LAYOUTS[stage.layout]);

function paneAt(number) {
  while (stage.panes.length <= number) {
    const pane = new Pane(stage.panes.length);
    handle(pane);
    stage.panes.push(pane);
  }
  return stage.panes[number];
}

export function arrange(layout) {
  stage.layout = layout;
  ground.dataset.layout = layout;
  const count = LAYOUTS[layout];
  for (let number = 0; number < count; number++) paneAt(number);
  const first = ground.querySelectorAll(":scope > :is(#first, #lossy)");
  ground.replaceChildren(...stage.panes.slice(0, count).map((pane) => pane.element), ...first);
  ground.classList.toggle("v-many", count > 1);
  if (!seen().includes(stage.active)) activate(stage.panes[0]);
  for (const pane of seen()) pane.soon();
  rebase();
  plan();
  tell("arranged", layout);
}

export function activate(pane) {
  if (stage.active === pane) return;
  stage.active = pane;
  for (const one of stage.panes) one.element.classList.toggle("v-active", one === pane);
  tell("active", pane);
  for (const one of seen()) scouts(one);
}

// Puts a series into a pane; `begin` says at which object.
export async function put(pane, study, series, begin = {}) {
  pane.waits = series;
  const [told, stack] = await Promise.all([openStudy(study), openStack(series)]);
  if (pane.waits !== series) return;
  const index = Math.max(stack.images.findIndex((image) => image.pk === begin.object && image.frame === (begin.frame ?? 1)), 0);
  pane.show(told, stack, index);
  const beside = seen().find((one) => one !== pane && one.image && one.study.study !== study);
  if (beside && !begin.object && stage.linked) pane.index = alike(pane, beside);
  rebase();
  plan();
  tell("put", pane);
}

// Where a stack is to begin beside another one of another study: at the same place of the body, or as far through.
function alike(pane, other) {
  const images = pane.stack.images;
  if (images.length && other.image && parallel(images[0], other.image)) {
    const direction = normal(other.image);
    const places = images.map((image) => place(image, direction));
    const wanted = place(other.image, direction);
    if (wanted >= Math.min(...places) && wanted <= Math.max(...places)) return nearest(images, direction, wanted);
  }
  return Math.round((other.index / Math.max(other.stack.images.length - 1, 1)) * Math.max(images.length - 1, 0));
}

// From here on they go together.
export function rebase() {
  for (const pane of stage.panes) pane.base = pane.index;
}

let following = false;

function follow(pane) {
  if (!stage.linked || following || !pane.image) return;
  if (pane.apart || pane.playing) {
    rebase();
    return;
  }
  following = true;
  for (const other of seen()) {
    if (other === pane || !other.image || other.playing) continue;
    const to = together(pane, other);
    if (to !== null) other.go(to);
  }
  following = false;
}

// The index at which another pane shows what this one shows; null: they show nothing alike.
function together(pane, other) {
  const images = other.stack.images;
  const from = pane.stack.images[pane.base] ?? pane.image;
  if (pane.stack === other.stack) return clamp(other.base + pane.index - pane.base, 0, images.length - 1);
  if (pane.image.position && other.image.position && pane.image.orientation && other.image.orientation) {
    if (!parallel(pane.image, other.image)) return null;
    const direction = normal(pane.image);
    const at = place(pane.image, direction);
    if (pane.image.space && pane.image.space === other.image.space) return nearest(images, direction, at);
    return nearest(images, direction, place(images[other.base] ?? other.image, direction) + at - place(from, direction));
  }
  return clamp(other.base + pane.index - pane.base, 0, images.length - 1);
}

// Lines that say where the picture of the active pane lies in the others.
function scouts(pane) {
  pane.marks.querySelector("g.v-scouts")?.remove();
  const active = stage.active;
  if (!stage.scouts || !pane.image || pane.bare || !active?.image || active.bare || pane === active || active.study.study !== pane.study.study) return;
  const met = scout(pane.image, active.image);
  if (!met) return;
  const [[x1, y1], [x2, y2]] = met.map((point) => pane.outside(point));
  pane.marks.prepend(draw("g", { class: "v-scouts" }, draw("line", { x1, y1, x2, y2, class: "v-halo" }), draw("line", { x1, y1, x2, y2, class: "v-scout" })));
}

let planned = null;
export function plan() {
  planned ??= requestAnimationFrame(() => {
    planned = null;
    const wishes = seen().flatMap((pane) => {
      const later = pane === stage.active ? 0 : 0.5;
      return pane.wishes().map((wish) => ({ ...wish, priority: wish.priority + later }));
    });
    frames.want(wishes);
  });
}


on("activate", activate);
on("moved", (pane) => {
  follow(pane);
  plan();
  for (const one of seen()) if (one !== pane) scouts(one);
});
on("settled", plan);
on("painted", scouts);
on("frame", (image) => {
  for (const pane of seen()) {
    if (pane.image?.pk === image.pk && pane.image.frame === image.frame) pane.soon();
  }
});
on("progress", ({ image, part }) => {
  for (const pane of seen()) {
    if (pane.image?.pk !== image.pk || pane.image.frame !== image.frame) continue;
    pane.part = { key: `${image.pk}/${image.frame}`, part };
    pane.write();
  }
});
on("alone", (pane) => {
  if (stage.layout === "1x1") {
    if (before !== "1x1") arrange(before);
    return;
  }
  before = stage.layout;
  [stage.panes[0], stage.panes[stage.panes.indexOf(pane)]] = [pane, stage.panes[0]];
  arrange("1x1");
});
on("changed", (pane) => {
  if (pane.view.window?.chosen) plan();
});
