import { expect, test } from "vitest";
import { extentOf } from "./camera";
import { buildGrid, crowding, nearest, rowsIn } from "./grid";
import { random } from "./helper";

const next = random(2);
const n = 3000;
const x = Float32Array.from({ length: n }, () => next() ** 3 * 40 - 5);
const y = Float32Array.from({ length: n }, () => next());
x[11] = Number.NaN;
y[12] = Infinity;
const grid = buildGrid(x, y, extentOf(x, y)!);
const isDrawn = Uint8Array.from(x, () => (next() < 0.5 ? 1 : 0));

test("the nearest is that of all compared one by one, in pixels, and none where none is in reach", () => {
  for (let i = 0; i < 300; i++) {
    const [px, py, kx, ky, reach] = [next() * 50 - 10, next() * 1.4 - 0.2, 20, 600, 3 + 20 * next()];
    for (const mask of [null, isDrawn]) {
      let [best, least] = [-1, reach];
      for (let row = 0; row < n; row++) {
        const distance = Math.hypot((x[row] - px) * kx, (y[row] - py) * ky);
        if (distance <= least && (!mask || mask[row])) [best, least] = [row, distance];
      }
      expect(nearest(grid, px, py, kx, ky, reach, mask)).toBe(best);
    }
  }
});

test("rows in a box are all that are in it, or null of too many", () => {
  const box = { left: 0, right: 12.5, bottom: 0.25, top: 0.5 };
  const slow = [...x.keys()].filter((row) => x[row] >= 0 && x[row] <= 12.5 && y[row] >= 0.25 && y[row] <= 0.5);
  expect(rowsIn(grid, box, n)!.toSorted((a, b) => a - b)).toEqual(slow);
  expect(rowsIn(grid, box, slow.length)).toHaveLength(slow.length);
  expect(rowsIn(grid, box, slow.length - 1)).toBeNull();
  expect(rowsIn(grid, { left: 90, right: 91, bottom: 0, top: 1 }, 5)).toEqual([]);
});

test("points on one place, or on a line, have a grid too", () => {
  const same = Float32Array.of(2, 2, 2, 2, 2);
  const at = buildGrid(same, same, extentOf(same, same)!);
  expect(nearest(at, 2.01, 2, 100, 100, 12)).toBeGreaterThanOrEqual(0);
  const line = buildGrid(Float32Array.of(1, 2, 3, 4, 5), same, { left: 1, right: 5, bottom: 2, top: 2 });
  expect(nearest(line, 4, 2, 10, 10, 3)).toBe(3);
});

test("crowding is the density where it is even", () => {
  const even = random(5);
  const [a, b] = [Float32Array.from({ length: 400_000 }, even), Float32Array.from({ length: 400_000 }, even)];
  const dense = crowding(buildGrid(a, b, extentOf(a, b)!));
  expect(dense).toBeGreaterThan(400_000);
  expect(dense).toBeLessThan(1.8 * 400_000);
});
