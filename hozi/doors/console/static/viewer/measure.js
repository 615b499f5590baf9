// Lengths, angles, areas and values, in the units of the body where the image says how large it is, else in pixels.
import { full, grey } from "./frames.js";
import { scale } from "./geometry.js";
import { draw, figure, on, say, tell } from "./page.js";
import { meant } from "./paint.js";

const POINTS = { length: 2, angle: 3, ellipse: 2, probe: 1 };
const NEAR = 14;
const marks = new Map();
let selected = null;
let draft = null;

const key = (image) => `${image.pk}/${image.frame}`;
export const of = (image) => (image && marks.get(key(image))) ?? [];
export const tools = Object.keys(POINTS);

// The size of pixels between the points of a mark; null where one of them lies where nobody knows it.
function sizes(image, points) {
  const found = points.map(([x, y]) => scale(image, x, y));
  const [first] = found;
  return first && found.every((one) => one && one.across === first.across && one.down === first.down) ? first : null;
}

const apart = (a, b, size) => Math.hypot((a[0] - b[0]) * (size?.across ?? 1), (a[1] - b[1]) * (size?.down ?? 1));

export const length = (image, [a, b]) => ({ value: apart(a, b, sizes(image, [a, b])), size: sizes(image, [a, b]) });

export function angle(image, [a, tip, b]) {
  const size = sizes(image, [a, tip, b]) ?? { across: 1, down: 1 };
  const side = (one) => [(one[0] - tip[0]) * size.across, (one[1] - tip[1]) * size.down];
  const [p, q] = [side(a), side(b)];
  return (Math.abs(Math.atan2(p[0] * q[1] - p[1] * q[0], p[0] * q[0] + p[1] * q[1])) * 180) / Math.PI;
}

// What lies in an ellipse between two corners: area, mean, standard deviation, least and greatest.
export function inside(image, [a, b]) {
  const size = sizes(image, [a, b]);
  const [cx, cy, rx, ry] = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, Math.abs(a[0] - b[0]) / 2, Math.abs(a[1] - b[1]) / 2];
  const area = Math.PI * rx * ry * (size ? size.across * size.down : 1);
  const frame = full(image);
  if (!frame || frame.done || frame.samples > 1) return { area, size };
  let [count, sum, squares, least, most] = [0, 0, 0, Infinity, -Infinity];
  const sign = frame.signed ? (frame.data instanceof Uint16Array ? 16 : 24) : 0;
  for (let row = Math.max(Math.floor(cy - ry), 0); row <= Math.min(cy + ry, frame.rows - 1); row++) {
    const within = 1 - ((row + 0.5 - cy) / (ry || 1)) ** 2;
    if (within < 0) continue;
    const half = rx * Math.sqrt(within);
    for (let column = Math.max(Math.ceil(cx - half - 0.5), 0); column + 0.5 <= Math.min(cx + half, frame.columns - 0.5); column++) {
      const stored = frame.data[row * frame.columns + column];
      const value = meant(image, sign ? (stored << sign) >> sign : stored);
      [count, sum, squares] = [count + 1, sum + value, squares + value * value];
      [least, most] = [Math.min(least, value), Math.max(most, value)];
    }
  }
  if (!count) return { area, size };
  const mean = sum / count;
  return { area, size, count, mean, deviation: Math.sqrt(Math.max(squares / count - mean * mean, 0)), least, most };
}

// The unit of the values of an image (PS3.3 C.11.1.1.2, C.8.9.1).
export function unit(image, modality) {
  if (image.unit && image.unit !== "US") return image.unit;
  if (modality === "PT" && image.units) return { BQML: "Bq/ml", CNTS: say("counts"), GML: "g/ml" }[image.units] ?? image.units;
  return modality === "CT" ? "HU" : "";
}

const CAVEATS = { detector: "at the detector", magnified: "detector, magnification", nominal: "nominal", calibrated: "", region: "", body: "" };
const caveat = (size) => (size ? (CAVEATS[size.of] ? ` (${say(CAVEATS[size.of])})` : "") : ` (${say("uncalibrated")})`);

function lengths(value, size) {
  return size ? (value >= 100 ? `${figure(value / 10, 2)} cm` : `${figure(value, 1)} mm`) : `${figure(value, 1)} ${say("pixels")}`;
}

// What a mark says, line by line.
export function words(mark, image, modality) {
  const { kind, points } = mark;
  if (kind === "length") {
    const { value, size } = length(image, points);
    return [lengths(value, size) + caveat(size)];
  }
  if (kind === "angle") return points.length < 3 ? [] : [`${figure(angle(image, points), 1)}°`];
  const named = unit(image, modality);
  if (kind === "probe") {
    const [x, y] = points[0].map(Math.floor);
    const frame = full(image);
    if (!frame || frame.done || x < 0 || y < 0 || x >= frame.columns || y >= frame.rows) return ["–"];
    const at = (y * frame.columns + x) * frame.samples;
    if (!grey(image)) return [`R ${frame.data[at]} G ${frame.data[at + 1]} B ${frame.data[at + 2]}`];
    const stored = frame.signed ? (frame.data instanceof Uint16Array ? (frame.data[at] << 16) >> 16 : (frame.data[at] << 24) >> 24) : frame.data[at];
    return [`${figure(meant(image, stored), 1)} ${named}`.trim()];
  }
  const found = inside(image, points);
  const area = found.size
    ? found.area >= 1000 ? `${figure(found.area / 100, 2)} cm²` : `${figure(found.area, 1)} mm²`
    : `${figure(found.area, 0)} ${say("square pixels")}`;
  const lines = [area + caveat(found.size)];
  if (found.count) {
    lines.push(`${say("mean")} ${figure(found.mean, 1)} ${named}`.trim(), `${say("SD")} ${figure(found.deviation, 1)} · ${figure(found.least, 0)} ${say("to")} ${figure(found.most, 0)}`);
  }
  return lines;
}

// Making and changing ------------------------------------------------------------------------------------

function near(pane, x, y) {
  for (const mark of of(pane.image)) {
    for (let index = 0; index < mark.points.length; index++) {
      const [px, py] = pane.outside(mark.points[index]);
      if (Math.hypot(px - x, py - y) < NEAR) return { mark, index };
    }
  }
  return null;
}

// A pointer goes down: on a point of a mark, that is moved; else a new one begins. Returns what moves with the pointer.
export function begin(pane, kind, x, y) {
  const image = pane.image;
  if (!image || pane.bare) return null;
  const held = near(pane, x, y);
  if (held && !draft) {
    selected = held.mark;
    return held;
  }
  const point = pane.inside(x, y);
  if (draft && draft.pane === pane && draft.mark.kind === kind) {
    draft.mark.points[draft.set] = point;
    draft.set += 1;
  } else {
    selected = { kind, points: kind === "probe" ? [point] : [point, [...point]] };
    draft = { pane, mark: selected, set: selected.points.length };
    marks.set(key(image), [...of(image), selected]);
  }
  return { mark: draft.mark, index: draft.mark.points.length - 1 };
}

export function move(pane, held, x, y) {
  held.mark.points[held.index] = pane.inside(x, y);
  tell("marks", pane);
}

// The pointer comes up: the mark is done when it has all its points, and none when it was only touched.
export function end(pane, held) {
  const { mark } = held;
  if (draft?.mark === mark) {
    if (draft.set >= POINTS[mark.kind]) draft = null;
    else mark.points[draft.set] = [...mark.points[draft.set - 1]];
  }
  const [a, b] = mark.points.map((point) => pane.outside(point));
  if (b && !draft && mark.points.length === 2 && Math.hypot(a[0] - b[0], a[1] - b[1]) < 3) drop(pane, mark);
  tell("marks", pane);
}

// Of an angle, the third point follows the pointer until it is set.
export const open = (pane) => (draft?.pane === pane ? draft.mark : null);

function drop(pane, mark) {
  const image = pane.image;
  marks.set(key(image), of(image).filter((one) => one !== mark));
  if (selected === mark) selected = null;
}

export function remove(pane) {
  const last = of(pane.image).at(-1);
  const mark = of(pane.image).includes(selected) ? selected : last;
  draft = null;
  if (mark) drop(pane, mark);
  tell("marks", pane);
}

export function clear(pane) {
  if (pane.image) marks.delete(key(pane.image));
  [selected, draft] = [null, null];
  tell("marks", pane);
}

// Drawing ------------------------------------------------------------------------------------------------

const line = (a, b, name) => draw("line", { x1: a[0], y1: a[1], x2: b[0], y2: b[1], class: name });

function shapes(mark, seen, pane) {
  if (mark.kind === "length") return [line(...seen, "v-halo"), line(...seen, "v-mark")];
  if (mark.kind === "angle") {
    const pairs = seen.slice(1).map((point, index) => [seen[index], point]);
    return pairs.flatMap(([a, b]) => [line(a, b, "v-halo"), line(a, b, "v-mark")]);
  }
  if (mark.kind === "ellipse") {
    const middle = mark.points[0].map((value, axis) => (value + mark.points[1][axis]) / 2);
    const [c, a, b] = [middle, [mark.points[1][0], middle[1]], [middle[0], mark.points[1][1]]].map((point) => pane.outside(point));
    const round = { cx: c[0], cy: c[1], rx: Math.hypot(a[0] - c[0], a[1] - c[1]), ry: Math.hypot(b[0] - c[0], b[1] - c[1]), transform: pane.view.turns % 2 ? `rotate(90 ${c[0]} ${c[1]})` : "" };
    return [draw("ellipse", { ...round, class: "v-halo" }), draw("ellipse", { ...round, class: "v-mark" })];
  }
  const [[x, y]] = seen;
  return [line([x - 8, y], [x + 8, y], "v-mark"), line([x, y - 8], [x, y + 8], "v-mark")];
}

function drawn(pane) {
  const { image, marks: into } = pane;
  into.querySelector("g.v-measured")?.remove();
  if (!image || pane.bare || !of(image).length) return;
  const group = draw("g", { class: "v-measured" });
  for (const mark of of(image)) {
    const seen = mark.points.map((point) => pane.outside(point));
    const name = mark === selected ? "v-one v-selected" : "v-one";
    const lines = words(mark, image, pane.stack.modality);
    const at = seen.reduce((best, point) => (point[0] > best[0] ? point : best));
    const text = draw("text", { x: Math.min(at[0] + 9, pane.element.clientWidth - 110), y: at[1] + 4, class: "v-label" },
      ...lines.map((words, index) => draw("tspan", { x: Math.min(at[0] + 9, pane.element.clientWidth - 110), dy: index ? "1.25em" : "0" }, words)));
    const dots = mark.kind === "probe" ? [] : seen.map(([x, y]) => draw("circle", { cx: x, cy: y, r: 3.5, class: "v-dot" }));
    group.append(draw("g", { class: name }, ...shapes(mark, seen, pane), ...dots, text));
  }
  into.append(group);
}

on("painted", drawn);
on("marks", drawn);
