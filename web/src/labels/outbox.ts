// Labels on their way: kept in the browser until the server has said that it has them, and sent again until then.

export interface Said {
  event_id: string;
  object_id: string;
  label: string | null;
  said_at: string;
}

/** What a browser keeps: localStorage, or in tests a map. */
export interface Store {
  length: number;
  key(place: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

export interface Answer {
  stored: { event_id: string; event: number }[];
  refused: { event_id: string; why: string }[];
}

const AT_ONCE = 500;

/** One key a label, so that two tabs that write at the same time lose nothing. */
export class Outbox {
  private readonly prefix: string;
  private last = 0;

  constructor(
    private readonly store: Store,
    atlas: string,
    expert: string,
  ) {
    this.prefix = `peculiar:said:${atlas}:${expert}:`;
  }

  /** Labels that are not acknowledged, in the order in which they were said. */
  waiting(): Said[] {
    const found: Said[] = [];
    for (let place = 0; place < this.store.length; place++) {
      const key = this.store.key(place);
      if (key?.startsWith(this.prefix)) found.push(JSON.parse(this.store.getItem(key)!) as Said);
    }
    return found.sort((a, b) => (a.said_at < b.said_at ? -1 : a.said_at > b.said_at ? 1 : 0));
  }

  /** Keep what is said; it is sent with the next `send`. */
  add(said: { object_id: string; label: string | null }[]): Said[] {
    return said.map((each) => {
      // Later than the last, even within a millisecond: the order is that of these times.
      this.last = Math.max(this.last + 1, Date.now() * 1000);
      const said_at = new Date(this.last / 1000).toISOString().replace("Z", `${String(this.last % 1000).padStart(3, "0")}+00:00`);
      const kept = { ...each, event_id: newId(), said_at };
      this.store.setItem(this.prefix + kept.event_id, JSON.stringify(kept));
      return kept;
    });
  }

  /** Send what waits; what the server answered of is forgotten here. Throws where there is no answer, and forgets nothing. */
  async send(post: (said: Said[]) => Promise<Answer>): Promise<Answer> {
    const all: Answer = { stored: [], refused: [] };
    for (let said = this.waiting(); said.length; said = this.waiting()) {
      const answer = await post(said.slice(0, AT_ONCE));
      const answered = [...answer.stored, ...answer.refused];
      for (const { event_id } of answered) this.store.removeItem(this.prefix + event_id);
      all.stored.push(...answer.stored);
      all.refused.push(...answer.refused);
      if (!answered.length) break;
    }
    return all;
  }
}

/** 128 random bits; randomUUID is not there where a page is not served by https or loopback. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
