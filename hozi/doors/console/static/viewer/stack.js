// A series as a stack of images, each with all that is known of it; asked for once.
import { getJson } from "./link.js";
import { told } from "./page.js";

const stacks = new Map();
const studies = new Map([[told.study, Promise.resolve(told)]]);

function complete(base, own) {
  const image = { ...base, ...own };
  for (const key of Object.keys(image)) if (image[key] === null) delete image[key];
  return image;
}

// One entry for each frame: of a picture with several, the frame's own things laid over what all of them say.
function leaves(manifest) {
  const images = [];
  for (const own of manifest.images) {
    const { each, ...image } = complete(manifest.base, own);
    const count = image.video ? 1 : (image.frames ?? each?.length ?? 1);
    for (let frame = 1; frame <= count; frame++) images.push({ ...image, ...(each?.[frame - 1] ?? {}), frame });
  }
  return images;
}

const READ = { report: "report", waveform: "waveform", document: "document" };

// What is no image: read in a frame where there is a page for it.
const other = (one) => ({ ...one, frame: 1, page: READ[one.kind] ? `/objects/${one.pk}/${READ[one.kind]}/?bare=1` : "", apart: true });

export function openStack(series) {
  if (!stacks.has(series)) {
    const asked = getJson(`/view/series/${series}/`, { priority: "high" }).then((manifest) => ({ ...manifest, images: [...leaves(manifest), ...manifest.others.map(other)] }));
    asked.catch(() => stacks.delete(series));
    stacks.set(series, asked);
  }
  return stacks.get(series);
}

export function openStudy(study) {
  if (!studies.has(study)) {
    const asked = getJson(`/view/${study}/series/`);
    asked.catch(() => studies.delete(study));
    studies.set(study, asked);
  }
  return studies.get(study);
}

// Frames a second that the object recommends (PS3.3 C.7.6.5).
export function rate(image) {
  const found = image.rate || (image.frame_time > 0 ? 1000 / image.frame_time : 0) || image.cine;
  return found > 0 ? Math.min(Math.max(found, 1), 60) : 0;
}
