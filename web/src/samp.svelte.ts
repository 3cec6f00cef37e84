// Other programs on this machine, by SAMP: what is shown goes out, and what they select or look at is shown.
import { get, post, type News, type Order } from "./api";
import type { Explorer } from "./explorer.svelte";

const EVERY = 1500; // milliseconds

export class Samp {
  listens = $state(false);
  said = $state("");
  private last = 0;
  private timer = 0;

  constructor(private readonly explorer: Explorer) {}

  async send(order: Order): Promise<void> {
    try {
      const { n_objects, n_programs } = await post<{ n_objects: number; n_programs: number }>("samp", order);
      this.said = `${n_objects.toLocaleString("en")} sent to ${n_programs} program${n_programs === 1 ? "" : "s"}`;
      if (!this.listens) this.listen(true);
    } catch (error) {
      this.said = error instanceof Error ? error.message : String(error);
    }
  }

  listen(listens: boolean): void {
    this.listens = listens;
    clearTimeout(this.timer);
    if (listens) void this.ask(this.last === 0);
  }

  /** Ask what is new; what was said before anybody listened is passed over. */
  private async ask(isFirst: boolean): Promise<void> {
    try {
      const news = await get<News[]>("samp", { after: this.last });
      this.last = news.at(-1)?.number ?? this.last;
      if (!isFirst) for (const each of news) await this.show(each);
      this.timer = window.setTimeout(() => void this.ask(false), EVERY);
    } catch (error) {
      this.said = error instanceof Error ? error.message : String(error);
      this.listens = false;
    }
  }

  private async show({ kind, ids, ra, dec }: News): Promise<void> {
    if (kind === "place") {
      const found = await get<{ ids: string[] }>("find", { q: `${ra!.toFixed(7)} ${dec!.toFixed(7)}`, digest: this.explorer.digest }).catch(() => null);
      ids = found?.ids ?? [];
      if (!ids.length) this.said = "no object is where another program points";
    }
    if (kind === "selected" && ids.length) return this.explorer.select({ how: "set", ids });
    const [row] = await this.explorer.rowsOf(ids.slice(0, 1));
    if (row >= 0) this.explorer.open(row);
  }
}
