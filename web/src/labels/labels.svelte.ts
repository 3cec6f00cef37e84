// What this expert says: labels, undo, and the way to the server.
import { SvelteMap } from "svelte/reactivity";
import { get, post, ServerError, type LabelClass } from "../api";
import type { Explorer } from "../explorer.svelte";
import { Outbox, type Answer } from "./outbox";

const WAITS = [1, 2, 5, 10, 30]; // seconds until the next try

interface Change {
  object_id: string;
  before: string | null;
  after: string | null;
}

export class MyLabels {
  readonly of = new SvelteMap<string, string>();
  nChanged = $state(0);
  nWaiting = $state(0);
  isAway = $state(false); // the server does not answer
  trouble = $state("");
  done = $state.raw<Change[][]>([]);
  nSaid = $state(0); // in this page, for those who learn after every batch

  private readonly outbox: Outbox;
  private sending: Promise<void> | null = null;
  private nTried = 0;
  private timer = 0;

  constructor(private readonly explorer: Explorer) {
    this.outbox = new Outbox(localStorage, explorer.atlas.id, explorer.atlas.expert ?? "");
  }

  get classes(): LabelClass[] {
    return this.explorer.atlas.classes;
  }

  classOf(object_id: string): LabelClass | null {
    const name = this.of.get(object_id);
    return name === undefined ? null : (this.classes.find((each) => each.name === name) ?? { name, color: "#bbbbbb", key: "", description: "" });
  }

  /** What the server has, and over it what it has not been told yet. */
  async load(): Promise<void> {
    const { labels } = await get<{ labels: [string, string][] }>("labels");
    for (const [id, label] of labels) this.of.set(id, label);
    for (const { object_id, label } of this.outbox.waiting()) this.keep(object_id, label);
    void this.send();
  }

  /** Say the same of some objects; null takes back what was said. */
  say(ids: string[], label: string | null): void {
    if (this.explorer.atlas.is_read_only) return;
    const changes = ids
      .map((object_id) => ({ object_id, before: this.of.get(object_id) ?? null, after: label }))
      .filter((each) => each.before !== each.after);
    if (!changes.length) return;
    this.done = [...this.done.slice(-499), changes];
    this.change(changes);
  }

  /** Take back the last thing that was done, whatever it was; the ids that it was done to. */
  undo(): string[] {
    const last = this.done.at(-1);
    if (!last) return [];
    this.done = this.done.slice(0, -1);
    this.change(last.map((each) => ({ ...each, before: each.after, after: each.before })));
    return last.map((each) => each.object_id);
  }

  private change(changes: Change[]): void {
    this.outbox.add(changes.map(({ object_id, after }) => ({ object_id, label: after })));
    for (const { object_id, after } of changes) this.keep(object_id, after);
    this.nSaid += changes.length;
    void this.send();
  }

  private keep(object_id: string, label: string | null): void {
    this.nChanged++;
    if (label === null) this.of.delete(object_id);
    else this.of.set(object_id, label);
  }

  /** Send what waits, now and again until the server has it. */
  send(): Promise<void> {
    clearTimeout(this.timer);
    this.nWaiting = this.outbox.waiting().length;
    this.sending ??= this.sendAll().finally(() => {
      this.sending = null;
      this.nWaiting = this.outbox.waiting().length;
      if (this.nWaiting && !this.isAway) void this.send();
    });
    return this.sending;
  }

  private async sendAll(): Promise<void> {
    try {
      const { refused } = await this.outbox.send((said) => post<Answer>("labels", { said }));
      this.isAway = false;
      this.nTried = 0;
      if (refused.length) this.trouble = `${refused.length} not taken: ${refused[0].why}`;
    } catch (error) {
      this.isAway = true;
      if (error instanceof ServerError && error.status !== 429) this.trouble = error.message;
      const wait = WAITS[Math.min(this.nTried, WAITS.length - 1)];
      this.timer = window.setTimeout(() => {
        this.nTried++; // here, so that labels said meanwhile, which are tried at once, do not make it longer
        void this.send();
      }, wait * 1000);
    }
  }
}
