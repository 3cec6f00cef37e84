import { expect, test } from "vitest";
import { NAN, painted, random, sceneOf, shadeOf, viewOf } from "./helper";
import { ramp } from "./palettes";
import { arrange, fullCount } from "./renderer";

const colorOf = (at: number) => [...ramp("viridis", false).subarray(4 * at, 4 * at + 3), 255];
const GRAY = [136, 136, 136, 255];

test("the highest value in a pixel wins, wherever it stands in the table", () => {
  for (const values of [[2, 10, 5], [10, 5, 2], [2, 5, 10]]) {
    const at = painted(sceneOf(values.map((value) => [1.5, 1.5, value])), shadeOf(), viewOf());
    expect(at(1, 4)).toEqual(colorOf(255)); // y points up
    expect(at(2, 4)).toEqual([0, 0, 0, 0]);
  }
});

test("the mean of a pixel is that of the values in it", () => {
  const at = painted(sceneOf([[1.5, 1.5, 2], [1.2, 1.8, 6], [1.9, 1.1, 7], [3.5, 1.5, 10]]), shadeOf({ overlap: "mean" }), viewOf());
  expect(at(1, 4)).toEqual(colorOf(Math.round(0.5 * 255)));
  expect(at(3, 4)).toEqual(colorOf(255));
});

test("the number in a pixel is a logarithm up to what is full", () => {
  const shade = shadeOf({ overlap: "count", crowding: 7 });
  const seven = Array.from({ length: 7 }, (): [number, number, number] => [1.5, 1.5, NAN]);
  const at = painted(sceneOf([...seven, [3.5, 1.5, 1]]), shade, viewOf());
  expect(fullCount(shade, viewOf())).toBe(7);
  expect(at(1, 4)).toEqual(colorOf(255));
  expect(at(3, 4)).toEqual(colorOf(Math.round((Math.log(2) / Math.log(8)) * 255)));
});

test("without a value a point is gray, below all that have one; without a place it is nowhere", () => {
  const points: [number, number, number][] = [[1.5, 1.5, NAN], [3.5, 1.5, 0], [3.5, 1.5, NAN], [NAN, 1.5, 5], [5.5, Infinity, 5]];
  for (const overlap of ["highest", "mean"] as const) {
    const at = painted(sceneOf(points), shadeOf({ overlap }), viewOf());
    expect(at(1, 4)).toEqual(GRAY);
    expect(at(3, 4)).toEqual(colorOf(0));
    let n = 0;
    for (let line = 0; line < 6; line++) for (let column = 0; column < 8; column++) n += at(column, line)[3] > 0 ? 1 : 0;
    expect(n).toBe(2);
  }
});

test("what is selected is in full color above what is not", () => {
  const at = painted(sceneOf([[1.5, 1.5, 10], [1.5, 1.5, 0], [3.5, 1.5, 10]], [0, 1, 0]), shadeOf(), viewOf());
  expect(at(1, 4)).toEqual(colorOf(0));
  expect(at(3, 4)).toEqual([...colorOf(255).slice(0, 3), 51]);
});

test("rows that are filtered out are not painted", () => {
  const at = painted({ ...sceneOf([[1.5, 1.5, 10], [3.5, 1.5, 10]]), rows: Uint32Array.of(1) }, shadeOf(), viewOf());
  expect(at(1, 4)[3]).toBe(0);
  expect(at(3, 4)[3]).toBe(255);
});

test("a large point is round and full, also at the edge of the picture and beyond it", () => {
  const view = viewOf({ camera: { x: 20, y: 20, kx: 1, ky: 1 }, width: 40, height: 40, size: 10 });
  const at = painted(sceneOf([[20, 20, 10], [-2, 20, 10], [40, 40, 10], [-30, 20, 10]]), shadeOf(), view);
  let covered = 0;
  for (let line = 12; line < 28; line++) for (let column = 12; column < 28; column++) covered += at(column, line)[3] / 255;
  expect(covered).toBeGreaterThan(0.93 * Math.PI * 25);
  expect(covered).toBeLessThan(1.07 * Math.PI * 25);
  expect(at(0, 20)[3]).toBe(255);
  expect(at(39, 20)[3]).toBe(0); // no disc comes out at the other side
  expect(at(39, 0)[3]).toBe(255);
});

test("points are painted in ascending order, by a sort that knows negative values and NaN", () => {
  const next = random(3);
  const values = Array.from({ length: 5000 }, (_, i) => (i % 50 === 0 ? NAN : (next() - 0.5) * 10 ** (8 * next() - 4)));
  const selected = values.map(() => (next() < 0.3 ? 1 : 0));
  const scene = sceneOf(values.map((value, i) => [i, i, value]), selected);
  const points = arrange(scene);
  const below = selected.filter((each) => each === 0).length;
  expect([points.n, points.nBelow]).toEqual([5000, below]);
  for (const [from, to, is] of [[0, below, 0], [below, 5000, 1]]) {
    const part = [...points.values.subarray(from, to)];
    expect([...points.x.subarray(from, to)].every((row) => selected[row] === is)).toBe(true);
    const nNan = part.filter(Number.isNaN).length;
    expect(part.slice(0, nNan).every(Number.isNaN)).toBe(true);
    expect(part.slice(nNan)).toEqual(part.slice(nNan).toSorted((a, b) => a - b));
  }
});
