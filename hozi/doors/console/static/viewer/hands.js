// Pointers and wheel on a picture: what dragging does is chosen; two fingers always zoom and move.
import * as measure from "./measure.js";
import { tell } from "./page.js";

export const hands = { tool: matchMedia("(pointer: coarse)").matches ? "scroll" : "window" };

const held = new Map();

export function choose(tool) {
  hands.tool = tool;
  tell("tool", tool);
}

const place = (pane, event) => {
  const box = pane.element.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

// How far the window moves with one pixel of a drag: less in narrow windows.
export function windowBy(pane, across, down, from = pane.window()?.width) {
  const before = pane.window();
  if (!before) return;
  const step = from < 4 ? from / 400 : Math.max(from / 400, 0.02);
  const width = Math.max(before.width + across * step, before.width < 4 ? 0.001 : 1);
  pane.change({ window: { center: before.center + down * step, width, name: "", way: before.way ?? "", chosen: true } });
}

const ACTS = {
  window: (pane, drag, dx, dy) => windowBy(pane, dx, dy, (drag.from ??= pane.window()?.width)),
  pan: (pane, drag, dx, dy) => pane.change({ x: pane.view.x + dx, y: pane.view.y + dy }),
  zoom: (pane, drag, dx, dy) => pane.zoomAt(Math.exp(-dy / 160), ...drag.start),
  scroll: (pane, drag, dx, dy) => {
    // Through all of the stack in somewhat more than the height of the pane, but never less than 5 pixels an image.
    const step = Math.max(5, Math.min(40, (pane.element.clientHeight * 0.9) / (pane.stack?.images.length || 1)));
    drag.left = (drag.left ?? 0) + dy;
    const by = Math.trunc(drag.left / step);
    drag.left -= by * step;
    if (by) pane.go(pane.index + by);
  },
};

function pinch(pane) {
  const [a, b] = [...held.values()].filter((one) => one.pane === pane);
  return { x: (a.at[0] + b.at[0]) / 2, y: (a.at[1] + b.at[1]) / 2, apart: Math.hypot(a.at[0] - b.at[0], a.at[1] - b.at[1]) };
}

const fingers = (pane) => [...held.values()].filter((one) => one.pane === pane).length;

function down(pane, event) {
  if (event.target.closest("a, button, iframe, video")) return;
  tell("activate", pane);
  pane.element.focus({ preventScroll: true });
  if (!pane.image) return;
  event.preventDefault();
  pane.element.setPointerCapture(event.pointerId);
  const at = place(pane, event);
  const act = pane.bare ? "scroll" : event.button === 1 ? "pan" : event.button === 2 ? "zoom" : event.shiftKey && event.button === 0 ? "pan" : hands.tool;
  const drag = { pane, at, start: at, act, moved: 0 };
  held.set(event.pointerId, drag);
  if (fingers(pane) === 2) {
    for (const one of held.values()) {
      if (one.mark) {
        measure.end(pane, one.mark);
        measure.remove(pane);
      }
      one.mark = null;
      one.act = "pinch";
    }
  } else if (measure.tools.includes(act)) {
    drag.mark = measure.begin(pane, act, ...at);
  }
}

function moved(pane, event) {
  const drag = held.get(event.pointerId);
  const at = place(pane, event);
  if (!drag) {
    const waits = measure.open(pane);
    if (waits?.kind === "angle" && event.pointerType === "mouse") measure.move(pane, { mark: waits, index: waits.points.length - 1 }, ...at);
    return;
  }
  const [dx, dy] = [at[0] - drag.at[0], at[1] - drag.at[1]];
  drag.moved += Math.abs(dx) + Math.abs(dy);
  if (fingers(pane) === 2 && drag.act === "pinch") {
    const before = pinch(pane);
    drag.at = at;
    const now = pinch(pane);
    pane.change({ x: pane.view.x + now.x - before.x, y: pane.view.y + now.y - before.y });
    if (before.apart > 10) pane.zoomAt(now.apart / before.apart, now.x, now.y);
    return;
  }
  drag.at = at;
  if (drag.mark) measure.move(pane, drag.mark, ...at);
  else ACTS[drag.act]?.(pane, drag, dx, dy);
}

function up(pane, event) {
  const drag = held.get(event.pointerId);
  if (!drag) return;
  held.delete(event.pointerId);
  if (drag.mark) measure.end(pane, drag.mark);
}

export function handle(pane) {
  const { element } = pane;
  element.addEventListener("pointerdown", (event) => down(pane, event));
  element.addEventListener("pointermove", (event) => moved(pane, event));
  element.addEventListener("pointerup", (event) => up(pane, event));
  element.addEventListener("pointercancel", (event) => up(pane, event));
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("focus", () => tell("activate", pane));
  element.addEventListener("dblclick", (event) => !event.target.closest("a, button") && !measure.tools.includes(hands.tool) && tell("alone", pane));
  let rest = 0;
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    tell("activate", pane);
    const delta = event.deltaY * (event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1);
    if (event.ctrlKey) {
      pane.zoomAt(Math.exp(-delta / 300), ...place(pane, event));
      return;
    }
    rest += delta;
    const by = Math.trunc(rest / 50) || (Math.abs(delta) >= 50 ? Math.sign(delta) : 0);
    if (!by) return;
    rest = 0;
    pane.apart = event.shiftKey;
    pane.go(pane.index + Math.sign(by) * Math.min(Math.abs(by) > 4 ? Math.abs(by) : 1, 10));
    pane.apart = false;
  }, { passive: false });
}
