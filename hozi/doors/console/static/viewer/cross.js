// Measuring without a pointer: a cross that the arrow keys move, and that sets points.
import { hands } from "./hands.js";
import * as measure from "./measure.js";
import { draw, on, tell } from "./page.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let cross = null;

function away() {
  const { pane } = cross;
  cross = null;
  tell("marks", pane);
  pane.marks.querySelector("g.v-cross")?.remove();
}

function shown(pane) {
  pane.marks.querySelector("g.v-cross")?.remove();
  if (cross?.pane !== pane) return;
  const { x, y } = cross;
  const line = (x1, y1, x2, y2, name) => draw("line", { x1, y1, x2, y2, class: name });
  pane.marks.append(draw("g", { class: "v-cross" },
    ...["v-halo", "v-mark"].flatMap((name) => [line(x - 12, y, x + 12, y, name), line(x, y - 12, x, y + 12, name)])));
}

function set() {
  const { pane, x, y, held } = cross;
  cross.held = null;
  if (held) measure.end(pane, held);
  else {
    const begun = measure.begin(pane, hands.tool, x, y);
    if (hands.tool === "probe" || measure.open(pane)?.points.length === 3) measure.end(pane, begun);
    else cross.held = begun;
  }
  tell("marks", pane);
}

// Whether the key was for the cross: Enter shows it and sets points, arrows move it (Shift: a little), Escape ends it.
export function taken(pane, event) {
  if (cross && (cross.pane !== pane || !measure.tools.includes(hands.tool))) away();
  if (!pane?.image || pane.bare || !measure.tools.includes(hands.tool)) return false;
  if (event.key === "Enter") {
    if (cross) set();
    else cross = { pane, x: pane.element.clientWidth / 2, y: pane.element.clientHeight / 2, held: null };
  } else if (!cross) {
    return false;
  } else if (event.key === "Escape") {
    away();
    return true;
  } else if (STEPS[event.key]) {
    const by = event.shiftKey ? 1 : 10;
    cross.x = Math.min(Math.max(cross.x + STEPS[event.key][0] * by, 0), pane.element.clientWidth);
    cross.y = Math.min(Math.max(cross.y + STEPS[event.key][1] * by, 0), pane.element.clientHeight);
    const waits = measure.open(pane);
    if (cross.held) measure.move(pane, cross.held, cross.x, cross.y);
    else if (waits) measure.move(pane, { mark: waits, index: waits.points.length - 1 }, cross.x, cross.y);
  } else {
    return false;
  }
  shown(pane);
  return true;
}

on("painted", shown);
