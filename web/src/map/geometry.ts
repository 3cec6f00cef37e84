// Points, polygons and boxes in the map's own coordinates.

export type Point = [number, number];

/** Rows inside a polygon by the even-odd rule; NaN is nowhere. */
export function inPolygon(x: Float32Array, y: Float32Array, polygon: Point[]): number[] {
  const xs = polygon.map((corner) => corner[0]);
  const ys = polygon.map((corner) => corner[1]);
  const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const rows: number[] = [];
  for (let row = 0; row < x.length; row++) {
    const px = x[row];
    const py = y[row];
    if (!(px >= left && px <= right && py >= bottom && py <= top)) continue;
    let isInside = false;
    for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++) {
      if (ys[a] > py !== ys[b] > py && px < ((xs[b] - xs[a]) * (py - ys[a])) / (ys[b] - ys[a]) + xs[a]) isInside = !isInside;
    }
    if (isInside) rows.push(row);
  }
  return rows;
}
