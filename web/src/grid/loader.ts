// What is fetched, kept and forgotten: pictures and pages of a table alike.

/** The most recently used values, up to a cost; what is dropped is told of. */
export class Store<T> {
  private values = new Map<string, T>();
  private sum = 0;

  constructor(
    readonly bound: number,
    private costOf: (value: T) => number,
    private ondrop: (value: T) => void = () => {},
  ) {}

  get cost(): number {
    return this.sum;
  }

  has(key: string): boolean {
    return this.values.has(key);
  }

  get(key: string): T | undefined {
    const value = this.values.get(key);
    if (value === undefined) return undefined;
    this.values.delete(key);
    this.values.set(key, value);
    return value;
  }

  /** Keep a value; the longest unused go, but none of those in `kept`. */
  put(key: string, value: T, kept: ReadonlySet<string> = new Set()): void {
    this.drop(key);
    this.values.set(key, value);
    this.sum += this.costOf(value);
    for (const old of this.values.keys()) {
      if (this.sum <= this.bound) return;
      if (old !== key && !kept.has(old)) this.drop(old);
    }
  }

  clear(): void {
    for (const key of [...this.values.keys()]) this.drop(key);
  }

  private drop(key: string): void {
    const value = this.values.get(key);
    if (value === undefined) return;
    this.values.delete(key);
    this.sum -= this.costOf(value);
    this.ondrop(value);
  }
}

export interface Job<T> {
  key: string;
  load(signal: AbortSignal): Promise<T>;
}

const LONGEST_WAIT = 30_000;

/** Loads what is wanted, the most wanted first, a few at a time; what is no longer wanted is cancelled. */
export class Loader<T> {
  /** What the last failure said, empty once nothing that is wanted has failed. */
  error = "";
  private wanted: Job<T>[] = [];
  private keys = new Set<string>();
  private underway = new Map<string, AbortController>();
  private failed = new Map<string, { times: number; until: number }>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly store: Store<T>,
    readonly atOnce: number,
    private onchange: (key: string | null) => void,
  ) {}

  /** Replace what is wanted, in order of priority. */
  want(jobs: Job<T>[]): void {
    this.wanted = jobs;
    this.keys = new Set(jobs.map((job) => job.key));
    for (const [key, controller] of this.underway) {
      if (this.keys.has(key)) continue;
      controller.abort();
      this.underway.delete(key);
    }
    for (const key of this.failed.keys()) if (!this.keys.has(key)) this.failed.delete(key);
    this.settleError();
    this.pump();
  }

  hasFailed(key: string): boolean {
    return this.failed.has(key);
  }

  get isBusy(): boolean {
    return this.underway.size > 0;
  }

  /** Try at once what waits after a failure. */
  retry(): void {
    for (const failure of this.failed.values()) failure.until = 0;
    this.pump();
  }

  close(): void {
    this.want([]);
    clearTimeout(this.timer);
  }

  private pump(): void {
    clearTimeout(this.timer);
    let soonest = Infinity;
    const now = Date.now();
    for (const job of this.wanted) {
      if (this.underway.size >= this.atOnce) return;
      if (this.store.has(job.key) || this.underway.has(job.key)) continue;
      const until = this.failed.get(job.key)?.until ?? 0;
      if (until > now) soonest = Math.min(soonest, until);
      else void this.run(job);
    }
    if (soonest < Infinity) this.timer = setTimeout(() => this.pump(), soonest - now);
  }

  private async run(job: Job<T>): Promise<void> {
    const controller = new AbortController();
    this.underway.set(job.key, controller);
    try {
      const value = await job.load(controller.signal);
      // What comes after it was given up is kept all the same: it is paid for.
      this.store.put(job.key, value, this.keys);
      this.failed.delete(job.key);
    } catch (error) {
      if (controller.signal.aborted) return;
      const times = (this.failed.get(job.key)?.times ?? 0) + 1;
      this.failed.set(job.key, { times, until: Date.now() + Math.min(LONGEST_WAIT, 1000 * 2 ** (times - 1)) });
      this.error = error instanceof Error ? error.message : String(error);
    }
    if (this.underway.get(job.key) === controller) this.underway.delete(job.key);
    this.settleError();
    this.onchange(job.key);
    this.pump();
  }

  private settleError(): void {
    if (this.error === "" || this.failed.size > 0) return;
    this.error = "";
    this.onchange(null);
  }
}
