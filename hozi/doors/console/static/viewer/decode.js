// From what comes over the link to samples: whole values (HZV1), or a small picture in their place.

// Whole values: each row as differences from the left neighbour; of 16 bits, first all low bytes, then all high ones.
export function decoded(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== 0x485a5631) throw new Error("not HZV1");
  const rows = view.getUint16(4, true);
  const columns = view.getUint16(6, true);
  const samples = view.getUint8(8);
  const wide = view.getUint8(9) === 16;
  const signed = view.getUint8(10) === 1;
  const count = rows * columns * samples;
  const from = bytes.subarray(24);
  if (from.length < count * (wide ? 2 : 1)) throw new Error("too short");
  const data = wide ? new Uint16Array(count) : new Uint8Array(count);
  const line = columns * samples;
  for (let start = 0; start < count; start += line) {
    if (wide) {
      let value = 0;
      for (let i = start; i < start + line; i++) {
        value = (value + (from[i] | (from[i + count] << 8))) & 0xffff;
        data[i] = value;
      }
    } else if (samples === 1) {
      let value = 0;
      for (let i = start; i < start + line; i++) {
        value = (value + from[i]) & 0xff;
        data[i] = value;
      }
    } else {
      for (let i = start; i < start + line; i++) data[i] = i < start + samples ? from[i] : from[i] + data[i - samples];
    }
  }
  return { rows, columns, samples, signed, data, full: true, ...range(data, signed && wide, signed && !wide) };
}

// The least and the greatest value, as they are stored.
function range(data, wide, narrow) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < data.length; i++) {
    const value = wide ? (data[i] << 16) >> 16 : narrow ? (data[i] << 24) >> 24 : data[i];
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}

// A picture that the server made: shown as it is (`made`), or in the place of values until they are there.
export async function pictured(bytes, type, grey, more) {
  const picture = await createImageBitmap(new Blob([bytes], { type }));
  return sampled(picture, picture.width, picture.height, grey, more);
}

export function sampled(picture, columns, rows, grey, more) {
  const canvas = new OffscreenCanvas(columns, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const from = context.getImageData(0, 0, columns, rows).data;
  const samples = grey ? 1 : 3;
  const data = new Uint8Array(rows * columns * samples);
  for (let i = 0, to = 0; i < from.length; i += 4) {
    data[to++] = from[i];
    if (!grey) {
      data[to++] = from[i + 1];
      data[to++] = from[i + 2];
    }
  }
  return { rows, columns, samples, signed: false, data, low: 0, high: 255, ...more };
}

// A canvas with those pixels that two pictures have in common.
export function same(one, other) {
  const canvas = new OffscreenCanvas(one.width, one.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const read = (picture) => {
    context.drawImage(picture, 0, 0);
    return context.getImageData(0, 0, one.width, one.height);
  };
  const [common, against] = [read(one), new Uint32Array(read(other).data.buffer)];
  const pixels = new Uint32Array(common.data.buffer);
  for (let i = 0; i < pixels.length; i++) if (pixels[i] !== against[i]) pixels[i] = 0;
  context.putImageData(common, 0, 0);
  return canvas;
}
