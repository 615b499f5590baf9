// From samples to what is seen: a table from each value to its grey, as PS3.3 C.11.2 says, and a pass through it.

const table = new Uint32Array(65536);
const GREY = 0x00010101;
const OPAQUE = 0xff000000;

// The value that a stored sample means.
export const meant = (image, stored) => stored * (image.slope ?? 1) + (image.intercept ?? 0);

export const inverted = (image) =>
  image.shape === "INVERSE" || (image.photometric === "MONOCHROME1" && image.shape !== "IDENTITY");

// 0 to 255 for a value in a window.
export function through(value, { center, width, way }) {
  if (way === "SIGMOID") return 255 / (1 + Math.exp((-4 * (value - center)) / width));
  if (width <= 1 && way !== "LINEAR_EXACT") return value <= center - 0.5 ? 0 : 255;
  const shown =
    way === "LINEAR_EXACT" ? (value - center) / width + 0.5 : (value - (center - 0.5)) / Math.max(width - 1, 1e-6) + 0.5;
  return shown <= 0 ? 0 : shown >= 1 ? 255 : shown * 255;
}

// Fills the table for the values of a frame. A small picture holds greys of the window in which it was made.
function filled(frame, image, window, invert) {
  const turn = inverted(image) !== invert;
  const [least, most] = image.padding ?? [1, 0];
  const grey = (value) => {
    const shown = Math.round(through(value, window));
    return (OPAQUE | ((turn ? 255 - shown : shown) * GREY)) >>> 0;
  };
  if (!frame.full) {
    const { center, width } = frame.made ?? window;
    const was = inverted(image);
    for (let i = 0; i < 256; i++) table[i] = grey(center - width / 2 + ((was ? 255 - i : i) / 255) * width);
    return;
  }
  const mask = frame.data instanceof Uint16Array ? 0xffff : 0xff;
  for (let stored = frame.low; stored <= frame.high; stored++) table[stored & mask] = grey(meant(image, stored));
  for (let stored = Math.max(least, frame.low); stored <= Math.min(most, frame.high); stored++) table[stored & mask] = OPAQUE;
}

// The frame as RGBA, every `step`th pixel of it. Pictures of colours, and those that are finished, go through as they are.
export function painted(frame, image, window, invert, step = 1) {
  const { rows, columns, samples, data } = frame;
  const wide = Math.ceil(columns / step);
  const high = Math.ceil(rows / step);
  const picture = new ImageData(wide, high);
  const to = new Uint32Array(picture.data.buffer);
  let at = 0;
  if (samples === 1) {
    if (frame.done || !window) {
      for (let i = 0; i < 256; i++) table[i] = (OPAQUE | ((invert ? 255 - i : i) * GREY)) >>> 0;
    } else {
      filled(frame, image, window, invert);
    }
    if (step === 1) {
      for (const count = rows * columns; at < count; at++) to[at] = table[data[at]];
    } else {
      for (let row = 0; row < rows; row += step) {
        for (let i = row * columns; i < (row + 1) * columns; i += step) to[at++] = table[data[i]];
      }
    }
    return picture;
  }
  const turn = invert ? 0x00ffffff : 0;
  const deep = data instanceof Uint16Array ? Math.max((image.bits ?? 16) - 8, 0) : 0;
  for (let row = 0; row < rows; row += step) {
    for (let column = 0; column < columns; column += step) {
      const i = (row * columns + column) * 3;
      to[at++] = (OPAQUE | (((data[i] >> deep) | ((data[i + 1] >> deep) << 8) | ((data[i + 2] >> deep) << 16)) ^ turn)) >>> 0;
    }
  }
  return picture;
}

// The window in which nearly all values have room, for images that offer none.
export function fitting(frame, image, part = 0.005) {
  const { low, high, data } = frame;
  const span = high - low + 1;
  const counts = new Uint32Array(span);
  const sign = low < 0 ? (data instanceof Uint16Array ? 16 : 24) : 0;
  const [least, most] = image.padding ?? [1, 0];
  let all = 0;
  for (let i = 0; i < data.length; i++) {
    const value = sign ? (data[i] << sign) >> sign : data[i];
    if (value >= least && value <= most) continue;
    counts[value - low] += 1;
    all += 1;
  }
  const at = (share) => {
    let left = share * all;
    for (let i = 0; i < span; i++) if ((left -= counts[i]) < 0) return low + i;
    return high;
  };
  let [from, to] = part ? [at(part), at(1 - part)] : [at(0), high];
  if (to <= from) [from, to] = [low, high];
  const ends = [meant(image, from), meant(image, to)].sort((a, b) => a - b);
  return { center: (ends[0] + ends[1] + 1) / 2, width: Math.max(ends[1] - ends[0] + 1, 1), name: "", way: "" };
}
