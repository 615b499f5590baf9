// Where images lie in the body, how large their pixels are, and what is seen from which side (PS3.3 C.7.6.2).

export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const plus = (a, b, factor) => [a[0] + b[0] * factor, a[1] + b[1] * factor, a[2] + b[2] * factor];

export const alongRow = (image) => image.orientation?.slice(0, 3);
export const downColumn = (image) => image.orientation?.slice(3);
export const normal = (image) => (image.orientation ? cross(alongRow(image), downColumn(image)) : null);

// How far along a direction an image lies, in mm.
export const place = (image, direction) => (image.position && direction ? dot(image.position, direction) : null);

// Whether two images show slices that lie side by side, seen from the same side or from behind.
export function parallel(one, other) {
  const [a, b] = [normal(one), normal(other)];
  return Boolean(a && b && Math.abs(dot(a, b)) > 0.95);
}

const LETTERS = [["L", "R"], ["P", "A"], ["H", "F"]];
const OPPOSITE = { A: "P", P: "A", L: "R", R: "L", H: "F", F: "H", T: "B", B: "T" };

// The sides of the body that a direction goes to, the main one first.
function letters(direction) {
  return direction
    .map((size, axis) => [Math.abs(size), LETTERS[axis][size > 0 ? 0 : 1]])
    .filter(([size]) => size > 0.25)
    .sort((a, b) => b[0] - a[0])
    .slice(0, 2)
    .map(([, letter]) => letter)
    .join("");
}

const turned = (text) => [...text].map((letter) => OPPOSITE[letter] ?? letter).join("");

// What is seen at the right and at the bottom of an image as it is stored, or null where nobody says.
function sides(image) {
  if (image.orientation) return [letters(alongRow(image)), letters(downColumn(image))];
  const parts = (image.towards ?? "").split("\\");
  return parts.length === 2 && parts.every((part) => /^[APLRHFTB]{1,3}$/.test(part)) ? parts : null;
}

// The letters at the edges of the pane: right, bottom, left, top, with the image turned by quarters and mirrored.
export function edges(image, { turns, mirrored }) {
  const found = sides(image);
  if (!found) return null;
  const [right, bottom] = found;
  let around = [right, bottom, turned(right), turned(bottom)];
  if (mirrored) around = [around[2], around[1], around[0], around[3]];
  for (let i = 0; i < turns; i++) around = [around[3], around[0], around[1], around[2]];
  return around;
}

// How large a pixel is where a point lies: mm across and down, and what that rests on; null: nobody knows.
export function scale(image, x, y) {
  if (image.regions) {
    const region = image.regions.find(([left, top, right, bottom]) => x >= left && x <= right && y >= top && y <= bottom);
    return region ? { across: region[4], down: region[5], of: "region" } : null;
  }
  if (image.spacing) return { across: image.spacing[1], down: image.spacing[0], of: image.imager ? "calibrated" : "body" };
  if (image.imager) {
    const by = image.magnified > 0 ? image.magnified : 1;
    return { across: image.imager[1] / by, down: image.imager[0] / by, of: by === 1 ? "detector" : "magnified" };
  }
  if (image.nominal) return { across: image.nominal[1], down: image.nominal[0], of: "nominal" };
  return null;
}

// How much taller than wide a pixel is to be shown.
export function tall(image) {
  const pair = image.aspect ?? image.spacing ?? image.imager ?? image.nominal;
  const ratio = pair && pair[1] > 0 ? pair[0] / pair[1] : 1;
  return ratio >= 0.1 && ratio <= 10 ? ratio : 1;
}

// The line in which another image's plane meets this one, in this one's pixels; null: it does not, or they are parallel.
export function scout(image, other) {
  if (!image.position || !other.position || !image.spacing || !other.spacing || image.space !== other.space || !image.space) return null;
  const [u, v] = [alongRow(image), downColumn(image)];
  if (Math.abs(dot(normal(image), normal(other))) > 0.94) return null;
  // The edges of the other image's rectangle, cut by this one's plane.
  const n = normal(image);
  const across = other.spacing[1] * (other.columns - 1);
  const down = other.spacing[0] * (other.rows - 1);
  const first = other.position;
  const right = plus(first, alongRow(other), across);
  const corners = [first, right, plus(right, downColumn(other), down), plus(first, downColumn(other), down)];
  const found = [];
  for (let i = 0; i < 4; i++) {
    const [a, b] = [corners[i], corners[(i + 1) % 4]];
    const [da, db] = [dot(minus(a, image.position), n), dot(minus(b, image.position), n)];
    if (da === db || da * db > 0) continue;
    const met = plus(a, minus(b, a), da / (da - db));
    const seen = minus(met, image.position);
    found.push([dot(seen, u) / image.spacing[1] + 0.5, dot(seen, v) / image.spacing[0] + 0.5]);
  }
  return found.length >= 2 ? [found[0], found[1]] : null;
}

// The index of the image nearest to a place along a direction; -1: none has a place.
export function nearest(images, direction, at) {
  let best = -1;
  let least = Infinity;
  images.forEach((image, index) => {
    const found = place(image, direction);
    if (found !== null && Math.abs(found - at) < least) [best, least] = [index, Math.abs(found - at)];
  });
  return best;
}
