// Makes an image like those of MNIST. MNIST's digits were scaled to fit into 20 × 20 pixels and then placed into
// 28 × 28 pixels such that their center of mass is in the center (http://yann.lecun.com/exdb/mnist). In the files it is
// in row 14 and column 14, counted from 0.

const side = 28;
const box = 20;
const center = 14;

/**
 * Returns the image of a drawing.
 *
 * @param {ArrayLike<number>} ink from 0 to 255 for each pixel of the drawing, row by row
 * @param {number} width of the drawing
 * @param {number} height of the drawing
 * @returns {Uint8Array | undefined} 28 × 28 bytes; `undefined` if there is no ink
 */
export function mnistImage(ink, width, height) {
  let [sum, sumX, sumY] = [0, 0, 0];
  let [left, right, top, bottom] = [width, 0, height, 0];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const value = ink[y * width + x];
      if (value === 0) continue;
      sum += value;
      sumX += value * (x + 0.5);
      sumY += value * (y + 0.5);
      [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
    }
  if (sum === 0) return undefined;
  // Pixels of the drawing per pixel of the image.
  const scale = Math.max(right - left, bottom - top) / box;
  const columns = coverage(left, sumX / sum, scale, width);
  const rows = coverage(top, sumY / sum, scale, height);
  return Uint8Array.from({ length: side * side }, (_, i) => {
    let value = 0;
    for (const [y, high] of rows[Math.floor(i / side)])
      for (const [x, wide] of columns[i % side]) value += high * wide * ink[y * width + x];
    return Math.round(value / scale ** 2);
  });
}

/**
 * Returns for each pixel of a row or column of the image which pixels of the drawing it covers, and how much of each.
 *
 * @param {number} first place in the drawing where the ink begins; it becomes the edge of a pixel
 * @param {number} mass place in the drawing of the center of mass
 * @param {number} scale pixels of the drawing per pixel of the image
 * @param {number} length of the drawing
 * @returns {[index: number, part: number][][]}
 */
function coverage(first, mass, scale, length) {
  const start = center - Math.floor((mass - first) / scale);
  return Array.from({ length: side }, (_, i) => {
    const from = first + (i - start) * scale;
    const to = from + scale;
    const parts = [];
    for (let at = Math.max(0, Math.floor(from)); at < Math.min(length, to); at++)
      parts.push([at, Math.min(to, at + 1) - Math.max(from, at)]);
    return parts;
  });
}
