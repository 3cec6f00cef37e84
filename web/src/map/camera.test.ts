import { expect, test } from "vitest";
import { extentOf, fit, inView, panned, pointSize, ticks, toData, toScreen, zoomed } from "./camera";
import { inPolygon, type Point } from "./geometry";
import { random } from "./helper";

const home = fit({ left: -3, right: 5, bottom: 10, top: 11 }, 800, 600, true);

test("a place on the screen and back is the same place", () => {
  const camera = panned(zoomed(home, home, 800, 600, 7.3, 120, 500), 33, -20);
  const [x, y] = toData(camera, 800, 600, ...toScreen(camera, 800, 600, 1.25, 10.5));
  expect(x).toBeCloseTo(1.25, 10);
  expect(y).toBeCloseTo(10.5, 10);
});

test("a fitted map is wholly in view, with equal scales, and y points up", () => {
  expect(home.kx).toBe(home.ky);
  const [left, bottom] = toScreen(home, 800, 600, -3, 10);
  const [right, top] = toScreen(home, 800, 600, 5, 11);
  expect([left, right]).toEqual([28, 772]);
  expect(top).toBeLessThan(bottom);
  const free = fit({ left: 0, right: 1, bottom: 0, top: 1000 }, 800, 600, false);
  expect(free.kx / free.ky).toBeGreaterThan(1000);
});

test("what is at the cursor stays there when zoomed, and zoom has an end", () => {
  const before = toData(home, 800, 600, 200, 100);
  const after = toData(zoomed(home, home, 800, 600, 3, 200, 100), 800, 600, 200, 100);
  expect(after[0]).toBeCloseTo(before[0], 9);
  expect(after[1]).toBeCloseTo(before[1], 9);
  expect(zoomed(home, home, 800, 600, 1e12, 0, 0).kx / home.kx).toBeCloseTo(20_000, 5);
  expect(zoomed(home, home, 800, 600, 1e-12, 0, 0).kx / home.kx).toBeCloseTo(0.4, 9);
});

test("a pan moves what was grabbed", () => {
  const [x, y] = toData(home, 800, 600, 100, 100);
  const [px, py] = toScreen(panned(home, 30, -12), 800, 600, x, y);
  expect(px).toBeCloseTo(130, 9);
  expect(py).toBeCloseTo(88, 9);
});

test("the extent leaves out rows without a place", () => {
  expect(extentOf(Float32Array.of(1, Number.NaN, 3, 99), Float32Array.of(5, 7, 4, Infinity))).toEqual({ left: 1, right: 3, bottom: 4, top: 5 });
  expect(extentOf(Float32Array.of(Number.NaN), Float32Array.of(1))).toBeNull();
  expect(inView({ x: 0, y: 0, kx: 2, ky: 1 }, 8, 6)).toEqual({ left: -2, right: 2, bottom: -3, top: 3 });
});

test("points are small where there are many and grow with the zoom, to an end", () => {
  expect(pointSize(1_000_000, 1)).toBeCloseTo(1.5, 9);
  expect(pointSize(10_000, 1)).toBeGreaterThan(3);
  expect(pointSize(10_000, 4)).toBeGreaterThan(pointSize(10_000, 1));
  expect(pointSize(10, 1e4)).toBe(10);
});

test("ticks are round and inside", () => {
  expect(ticks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
  expect(ticks(-0.35, 0.31, 4)).toEqual([-0.2, 0, 0.2]);
  expect(ticks(997, 1003, 3)).toEqual([998, 1000, 1002]);
  expect(ticks(1, 1, 5)).toEqual([]);
});

test("rows in a polygon are those of a slow test of angles", () => {
  const next = random(1);
  const polygon: Point[] = [[0.1, 0.2], [0.9, 0.1], [0.5, 0.45], [0.8, 0.9], [0.2, 0.8]];
  const x = Float32Array.from({ length: 2000 }, next);
  const y = Float32Array.from({ length: 2000 }, next);
  x[7] = Number.NaN;
  const isIn = (row: number) => {
    let turn = 0;
    polygon.forEach(([ax, ay], i) => {
      const [bx, by] = polygon[(i + 1) % polygon.length];
      const between = Math.atan2(by - y[row], bx - x[row]) - Math.atan2(ay - y[row], ax - x[row]);
      turn += Math.atan2(Math.sin(between), Math.cos(between));
    });
    return Math.abs(turn) > Math.PI;
  };
  expect(inPolygon(x, y, polygon)).toEqual([...x.keys()].filter(isIn));
});
