import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { columnsFor, rangeIn, type View, type Wall } from "./layout";
import { Loader, Store, type Job } from "./loader";
import { Blocks, blocksFor, contentKey, countOf, sheetColumns, sizeFor, SIZES, sizesFor, standIns, WHOLE } from "./tiles";

const view: View = { x: 0, y: 0, width: 1400, height: 900 };

function wallOf(size: number, n = 1_000_000): Wall {
  const wall = { n, columns: 1, shift: 0, size, aspect: 1, isCaptioned: false };
  return { ...wall, columns: columnsFor(1400, wall) };
}

describe("blocks", () => {
  it("come at the next larger size, and none larger than the survey's images need", () => {
    expect(sizesFor(96)).toEqual([8, 16, 32, 64, 96]);
    expect(sizesFor(100).at(-1)).toBe(128);
    expect(sizesFor(2000)).toEqual(SIZES);
    expect(sizeFor(8, 128, 9000)).toBe(8);
    expect(sizeFor(9, 128, 9000)).toBe(16);
    expect(sizeFor(97, 424, 200)).toBe(128);
    expect(sizeFor(300, 128, 200)).toBe(128);
    expect(sizeFor(300, 128, 8)).toBe(WHOLE);
  });

  it("lie within one another", () => {
    for (const size of [...SIZES, WHOLE]) for (const other of SIZES) expect(Math.max(countOf(size), countOf(other)) % Math.min(countOf(size), countOf(other))).toBe(0);
  });

  it("make sheets that a graphics card takes, and the server makes", () => {
    for (const size of SIZES) {
      for (const aspect of [1, 3]) {
        const columns = sheetColumns(size, aspect, countOf(size));
        expect(columns * size * aspect).toBeLessThanOrEqual(4096);
        expect(Math.ceil(countOf(size) / columns) * size * columns * size * aspect).toBeLessThanOrEqual(4_194_304);
      }
    }
    expect(sheetColumns(96, 1, 3)).toBe(3);
  });

  it("cover what is in view, and little else", () => {
    for (const size of [8, 32, 96, 256]) {
      const wall = wallOf(size);
      const at = { ...view, y: 12_345 };
      const [first, last] = rangeIn(wall, at);
      const count = countOf(size);
      const blocks = blocksFor(wall, at, count);
      for (let block = Math.floor(first / count); block <= Math.floor(last / count); block++) expect(blocks).toContain(block);
      expect(blocks.length).toBeLessThan(2 * Math.ceil((last - first + 1) / count) + 4);
    }
  });

  it("are asked for from the center outwards, those out of view last", () => {
    const wall = wallOf(96);
    const at = { ...view, y: 500_000 };
    const [first, last] = rangeIn(wall, at);
    const blocks = blocksFor(wall, at, 16);
    const middle = Math.floor((first + last) / 2 / 16);
    expect(Math.abs(blocks[0]! - middle)).toBeLessThanOrEqual(1);
    const isOut = blocks.map((block) => (block + 1) * 16 <= first || block * 16 > last);
    expect(isOut.indexOf(true)).toBeGreaterThan(0);
    expect(isOut.lastIndexOf(false)).toBeLessThan(isOut.indexOf(true));
  });

  it("have the same key for the same objects in the same order, wherever they stand", () => {
    const rows = Uint32Array.from({ length: 512 }, (_, row) => row);
    const turned = new Uint32Array(512);
    turned.set(rows.subarray(256), 0);
    turned.set(rows.subarray(0, 256), 256);
    const [one, other] = [new Blocks(rows), new Blocks(turned)];
    expect(one.key(256, 0, 8, "image")).toBe(other.key(256, 1, 8, "image"));
    expect(one.key(256, 0, 8, "image")).not.toBe(one.key(256, 1, 8, "image"));
    expect(one.key(256, 0, 8, "image")).not.toBe(one.key(256, 0, 8, "residual"));
    expect(contentKey(rows)).not.toBe(contentKey(rows.slice().reverse()));
  });

  it("do not share keys by accident", () => {
    const keys = new Set<string>();
    for (let first = 0; first < 20_000; first++) keys.add(contentKey(Uint32Array.of(first, first + 1, first * 3)));
    expect(keys.size).toBe(20_000);
  });

  it("are stood in for by the next larger, then the next smaller", () => {
    expect(standIns(32, 128)).toEqual([64, 96, 128, 16, 8]);
    expect(standIns(WHOLE, 96)).toEqual([96, 64, 32, 16, 8]);
  });
});

describe("store", () => {
  it("keeps to its bound, and what was used last", () => {
    const dropped: number[] = [];
    const store = new Store<number>(10, (value) => value, (value) => dropped.push(value));
    store.put("a", 4);
    store.put("b", 5);
    store.get("a");
    store.put("c", 3);
    expect(dropped).toEqual([5]);
    expect(store.cost).toBe(7);
    expect([store.has("a"), store.has("b"), store.has("c")]).toEqual([true, false, true]);
  });

  it("never drops what is in view, nor counts a value twice", () => {
    const store = new Store<number>(10, (value) => value);
    store.put("a", 6, new Set(["a", "b"]));
    store.put("b", 6, new Set(["a", "b"]));
    expect(store.cost).toBe(12);
    store.put("b", 6, new Set(["b"]));
    expect(store.cost).toBe(6);
    expect(store.has("a")).toBe(false);
  });
});

describe("loader", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  function setUp() {
    const asked: string[] = [];
    const aborted: string[] = [];
    const answers = new Map<string, { give: (value: number) => void; fail: (error: Error) => void }>();
    const loader = new Loader<number>(new Store<number>(100, () => 1), 2, () => {});
    const job = (key: string): Job<number> => ({
      key,
      load: (signal) => {
        asked.push(key);
        return new Promise((give, fail) => {
          answers.set(key, { give, fail });
          signal.addEventListener("abort", () => (aborted.push(key), fail(new Error("aborted"))));
        });
      },
    });
    const want = (...keys: string[]) => loader.want(keys.map(job));
    return { asked, aborted, answers, loader, want };
  }

  it("has so many under way and no more, the first first", async () => {
    const { asked, answers, loader, want } = setUp();
    want("a", "b", "c");
    expect(asked).toEqual(["a", "b"]);
    answers.get("b")!.give(2);
    await vi.runAllTimersAsync();
    expect(asked).toEqual(["a", "b", "c"]);
    expect(loader.store.get("b")).toBe(2);
  });

  it("cancels what left the view, and begins the rest at once", async () => {
    const { asked, aborted, want } = setUp();
    want("a", "b", "c");
    want("b", "d");
    await vi.runAllTimersAsync();
    expect(aborted).toEqual(["a"]);
    expect(asked).toEqual(["a", "b", "d"]);
  });

  it("does not ask again for what it has", async () => {
    const { asked, answers, want } = setUp();
    want("a");
    answers.get("a")!.give(1);
    await vi.runAllTimersAsync();
    want("b");
    want("a");
    expect(asked).toEqual(["a", "b"]);
  });

  it("tries again after 1, 2, 4 seconds, says the error, and takes it back", async () => {
    const { asked, answers, loader, want } = setUp();
    want("a");
    for (const wait of [1000, 2000, 4000]) {
      answers.get("a")!.fail(new Error("no such file"));
      await vi.advanceTimersByTimeAsync(wait - 1);
      const before = asked.length;
      expect(loader.error).toBe("no such file");
      expect(loader.hasFailed("a")).toBe(true);
      await vi.advanceTimersByTimeAsync(2);
      expect(asked.length).toBe(before + 1);
    }
    answers.get("a")!.give(1);
    await vi.runAllTimersAsync();
    expect(loader.error).toBe("");
    expect(asked.length).toBe(4);
  });
});
