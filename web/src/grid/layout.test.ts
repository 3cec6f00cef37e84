import { describe, expect, it } from "vitest";
import { Camera } from "./camera";
import { boundsOf, cellsIn, columnsFor, extentOf, folded, gapOf, indexAt, indicesIn, pitchOf, placeOf, rangeIn, rowsOf, runOf, zoomed, type View, type Wall } from "./layout";

const MILLION = 1_000_000;

function wallOf(changes: Partial<Wall> = {}): Wall {
  const wall = { n: MILLION, columns: 1, shift: 0, size: 96, aspect: 1, isCaptioned: false, ...changes };
  return { ...wall, columns: changes.columns ?? columnsFor(1400, wall) };
}

const view: View = { x: 0, y: 0, width: 1400, height: 900 };

/** Let everything that moves come to rest. */
function settle(camera: Camera): void {
  let now = performance.now();
  for (let frame = 0; frame < 2000; frame++) if (!camera.step(16, (now += 16))) return;
  throw new Error("still moving after 2000 frames");
}

function cameraOf(n = MILLION, size = 96): Camera {
  const camera = new Camera();
  camera.resize(1400, 900);
  camera.setCount(n, true);
  camera.setSize(size);
  return camera;
}

describe("layout", () => {
  it("leaves nothing between specks and up to 4 pixels between large images", () => {
    expect([8, 16, 24, 32, 64, 96, 512].map(gapOf)).toEqual([0, 0, 0, 1, 2, 3, 4]);
  });

  it("fills the width with columns, and has one where none fits", () => {
    for (const size of [8, 33, 96, 256]) {
      const wall = wallOf({ size });
      expect(extentOf(wall).width).toBeLessThanOrEqual(1400);
      expect(extentOf({ ...wall, columns: wall.columns + 1 }).width).toBeGreaterThan(1400);
    }
    expect(columnsFor(50, { size: 512, aspect: 3 })).toBe(1);
  });

  it("finds the image at every image's place, with and without empty cells at the start", () => {
    for (const shift of [0, 5]) {
      const wall = wallOf({ shift, isCaptioned: true });
      for (const index of [0, 1, 13, 14, 500_123, MILLION - 1]) {
        const { x, y } = placeOf(wall, index);
        expect(indexAt(wall, x, y)).toBe(index);
        expect(indexAt(wall, x + 95, y + 95)).toBe(index);
      }
    }
  });

  it("finds nothing before the first, after the last, and beside the wall", () => {
    const wall = wallOf({ n: 20, shift: 3 });
    expect(indexAt(wall, 0, 0)).toBe(-1);
    expect(indexAt(wall, pitchOf(wall).x * 3, 0)).toBe(0);
    expect(indexAt(wall, 2000, 10)).toBe(-1);
    expect(indexAt(wall, -1, 10)).toBe(-1);
    expect(indexAt(wall, pitchOf(wall).x * 12, pitchOf(wall).y)).toBe(-1);
  });

  it("says what is in view at the far end of a million", () => {
    const wall = wallOf({ size: 512 });
    const { bottom } = boundsOf(wall, view);
    const [first, last] = rangeIn(wall, { ...view, y: bottom });
    expect(last).toBe(MILLION - 1);
    expect(first).toBeGreaterThan(MILLION - 30);
    expect(rowsOf(wall)).toBe(MILLION / 2);
  });

  it("has as many images in the runs as there are cells in view", () => {
    const wall = wallOf({ n: 1000, size: 32 });
    const cells = cellsIn(wall, view);
    let sum = 0;
    for (let row = cells.firstRow; row <= cells.lastRow; row++) sum += runOf(wall, cells, row)[1] - runOf(wall, cells, row)[0];
    expect(sum).toBe(1000);
    expect(rangeIn(wallOf({ n: 0 }), view)).toEqual([-1, -1]);
  });

  it("keeps the point under the cursor at any zoom", () => {
    const wall = wallOf({ isCaptioned: true });
    const at = { x: 777, y: 333 };
    const before = { ...view, y: 123_456.5 };
    for (const size of [8, 40, 97, 800]) {
      const next = zoomed(wall, before, size, at);
      const cellOf = (w: Wall, v: View) => [(v.x + at.x) / pitchOf(w).x, (v.y + at.y) / pitchOf(w).y];
      const [column, row] = cellOf(next.wall, next.view);
      const [wasColumn, wasRow] = cellOf(wall, before);
      expect(column).toBeCloseTo(wasColumn!, 6);
      expect(row).toBeCloseTo(wasRow!, 6);
    }
  });

  it("folds so that an image keeps height and column", () => {
    const wall = wallOf({ size: 40 });
    const next = folded({ ...wall, columns: 7 }, view, 500_000, 250, 12);
    const place = placeOf(next.wall, 500_000);
    expect(place.x / pitchOf(next.wall).x).toBe(12);
    expect(place.y - next.view.y).toBe(250);
    expect(next.wall.shift).toBeLessThan(next.wall.columns);
  });

  it("leaves no empty cells when it is folded near the top", () => {
    expect(folded(wallOf({ size: 40 }), view, 20, 30, 12).wall.shift).toBe(0);
  });

  it("finds the images that a rectangle touches", () => {
    const wall = wallOf({ columns: 10 });
    const pitch = pitchOf(wall).x;
    expect(indicesIn(wall, { x: pitch + 5, y: 5, width: pitch, height: pitch })).toEqual([1, 2, 11, 12]);
  });
});

describe("camera", () => {
  it("keeps the image under the cursor when it zooms in, until one fills the view", () => {
    const camera = cameraOf();
    camera.scrollTo(0, 500_000, true);
    const at = { x: 700, y: 450 };
    const index = camera.indexAt(at.x, at.y);
    camera.zoomTo(camera.largest, at);
    settle(camera);
    expect(camera.indexAt(at.x, at.y)).toBe(index);
    expect(camera.isFree).toBe(true);
    expect(camera.wall.size).toBe(camera.largest);
    expect(camera.wall.size).toBeGreaterThan(880);
  });

  it("keeps the image under the cursor when it zooms out and is folded anew", () => {
    const camera = cameraOf();
    camera.scrollTo(0, 500_000, true);
    const at = { x: 1000, y: 300 };
    const index = camera.indexAt(at.x, at.y);
    camera.zoomTo(30, at);
    settle(camera);
    expect(camera.wall.columns).toBe(columnsFor(1400, camera.wall));
    expect(Math.abs(camera.indexAt(at.x, at.y) - index)).toBeLessThanOrEqual(1);
    expect(camera.isFree).toBe(false);
  });

  it("comes back to where it was after zooming in and out", () => {
    const camera = cameraOf();
    camera.scrollTo(0, 50_000, true);
    const before = camera.range;
    camera.zoomTo(700, { x: 300, y: 200 });
    settle(camera);
    camera.zoomTo(96, { x: 300, y: 200 });
    settle(camera);
    expect(camera.wall.size).toBe(96);
    expect(camera.range).toEqual(before);
  });

  it("does not drift while the slider goes to and fro", () => {
    const camera = cameraOf();
    camera.scrollTo(0, 777_777, true);
    const [first] = camera.range;
    for (let size = 96; size > 8; size--) camera.setSize(size);
    for (let size = 8; size <= 96; size++) camera.setSize(size);
    expect(camera.range[0]).toBe(first);
  });

  it("stays within the wall", () => {
    const camera = cameraOf(100);
    camera.panBy(-5000, 9000);
    expect(camera.view.y).toBe(-gapOf(96));
    camera.scrollBy(0, 1e9);
    settle(camera);
    expect(camera.range[1]).toBe(99);
  });

  it("brings an image into view, and does not move for one that is", () => {
    const camera = cameraOf();
    camera.show(654_321);
    settle(camera);
    const [first, last] = camera.range;
    expect(first).toBeLessThanOrEqual(654_321);
    expect(last).toBeGreaterThanOrEqual(654_321);
    const { y } = camera.view;
    camera.show(654_321);
    settle(camera);
    expect(camera.view.y).toBe(y);
  });

  it("comes to rest", () => {
    const camera = cameraOf();
    camera.panBy(0, -400);
    camera.throwBy(0, -3);
    settle(camera);
    expect(camera.isMoving).toBe(false);
    expect(camera.view.y).toBeGreaterThan(900);
  });
});
