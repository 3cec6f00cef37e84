// Pictures of an order: which blocks are here, which stand in for those that are not, and which to ask for next.
import type { Look } from "../api";
import type { Explorer } from "../explorer.svelte";
import { Loader, type Job, type Store } from "./loader";
import type { Pick } from "./paint";
import { Blocks, countOf, fetchSheet, lookKey, newSheets, standIns, type Sheet } from "./tiles";

const AT_ONCE = 4;
const LOOKS_KEPT = 3; // earlier looks that stand in while a new one loads

/** Grid and table share what was fetched. */
const stores = new WeakMap<Explorer, Store<Sheet>>();

export class Pictures {
  private readonly loader: Loader<Sheet>;
  private readonly store: Store<Sheet>;
  private readonly native: number;
  private blocks = new Blocks(new Uint32Array(0));
  private look: Look = { part: "image", stretch: 1, invert: false, channels: "rgb" };
  private looks: string[] = [];
  private picked = new Map<number, Pick>();
  private substitutes = new Map<number, number[]>();

  constructor(
    private readonly explorer: Explorer,
    onchange: () => void,
  ) {
    this.store = stores.get(explorer) ?? newSheets();
    stores.set(explorer, this.store);
    this.native = explorer.atlas.image.size;
    this.loader = new Loader<Sheet>(this.store, AT_ONCE, () => {
      if (!this.loader.isBusy) performance.mark("wall"); // read by benchmarks/explorer.py
      onchange();
    });
  }

  get error(): string {
    return this.loader.error;
  }

  setShown(shown: Uint32Array): void {
    this.blocks = new Blocks(shown);
    this.picked.clear();
  }

  setLook(look: Look): void {
    const key = lookKey(look);
    const hasSamePart = look.part === this.look.part;
    this.looks = [key, ...(hasSamePart ? this.looks.filter((other) => other !== key) : [])].slice(0, LOOKS_KEPT);
    this.look = look;
    this.picked.clear();
  }

  /** Forget what was picked: once a frame. */
  startFrame(): void {
    this.picked.clear();
  }

  /** The best picture there is of an image and its neighbors. */
  pick(size: number, index: number): Pick {
    const count = countOf(size);
    const block = Math.floor(index / count);
    const known = this.picked.get(block);
    if (known && index < known.end) return known;
    const pick = this.find(size, index) ?? {
      sheet: null,
      hasFailed: this.loader.hasFailed(this.blocks.key(count, block, size, this.looks[0] ?? "")),
      first: block * count,
      end: (block + 1) * count,
    };
    this.picked.set(block, pick);
    return pick;
  }

  private find(size: number, index: number): Pick | null {
    const end = (Math.floor(index / countOf(size)) + 1) * countOf(size);
    for (const look of this.looks) {
      for (const other of this.sizesFrom(size)) {
        const count = countOf(other);
        const block = Math.floor(index / count);
        const sheet = this.store.get(this.blocks.key(count, block, other, look));
        if (sheet) return { sheet, hasFailed: false, first: block * count, end: Math.min(end, (block + 1) * count) };
      }
    }
    return null;
  }

  private sizesFrom(size: number): number[] {
    let sizes = this.substitutes.get(size);
    if (!sizes) this.substitutes.set(size, (sizes = [size, ...standIns(size, this.native)]));
    return sizes;
  }

  /** Ask for these blocks, the first of them first, and for no other. */
  want(size: number, blocks: number[]): void {
    this.loader.want(blocks.map((block) => this.job(size, block)));
  }

  private job(size: number, block: number): Job<Sheet> {
    const { blocks, explorer, look } = this;
    const count = countOf(size);
    const load = async (signal: AbortSignal) => {
      await explorer.loadIds();
      const ids = explorer.idsOf(blocks.rows(count, block));
      const sheet = await fetchSheet(ids, size, look, explorer.digest, signal);
      const isFirst = blocks === this.blocks && this.find(size, block * count) === null;
      return { ...sheet, since: isFirst ? performance.now() : 0 };
    };
    return { key: blocks.key(count, block, size, lookKey(look)), load };
  }

  retry(): void {
    this.loader.retry();
  }

  close(): void {
    this.loader.close();
  }
}
