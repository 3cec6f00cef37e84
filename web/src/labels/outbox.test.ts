import { expect, test } from "vitest";
import { Outbox, type Said, type Store } from "./outbox";

function memory(): Store {
  const kept = new Map<string, string>();
  return {
    get length() {
      return kept.size;
    },
    key: (place) => [...kept.keys()][place] ?? null,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  };
}

const accept = (said: Said[]) => Promise.resolve({ stored: said.map((each, event) => ({ event_id: each.event_id, event })), refused: [] });

test("labels wait in the order in which they were said, however many a millisecond", () => {
  const outbox = new Outbox(memory(), "atlas", "anna");
  const ids = Array.from({ length: 50 }, (_, number) => String(number));
  for (const object_id of ids) outbox.add([{ object_id, label: "merger" }]);
  expect(outbox.waiting().map((each) => each.object_id)).toEqual(ids);
});

test("nothing is forgotten where there is no answer, and the same is sent again", async () => {
  const store = memory();
  const outbox = new Outbox(store, "atlas", "anna");
  const [said] = outbox.add([{ object_id: "12345678901234567", label: "lens" }]);
  await expect(outbox.send(() => Promise.reject(new Error("away")))).rejects.toThrow("away");
  const later = new Outbox(store, "atlas", "anna"); // the page was loaded again
  const sent: Said[] = [];
  await later.send((all) => (sent.push(...all), accept(all)));
  expect(sent).toEqual([said]);
  expect(later.waiting()).toEqual([]);
});

test("what is refused is told and not sent for ever", async () => {
  const outbox = new Outbox(memory(), "atlas", "anna");
  const [said] = outbox.add([{ object_id: "1", label: "no class" }]);
  const refuse = () => Promise.resolve({ stored: [], refused: [{ event_id: said.event_id, why: "no class" }] });
  expect((await outbox.send(refuse)).refused).toHaveLength(1);
  expect(outbox.waiting()).toEqual([]);
});

test("experts and atlases have outboxes of their own", () => {
  const store = memory();
  new Outbox(store, "atlas", "anna").add([{ object_id: "1", label: "lens" }]);
  expect(new Outbox(store, "atlas", "bob").waiting()).toEqual([]);
  expect(new Outbox(store, "other", "anna").waiting()).toEqual([]);
});

test("many are sent in several requests", async () => {
  const outbox = new Outbox(memory(), "atlas", "anna");
  outbox.add(Array.from({ length: 1201 }, (_, number) => ({ object_id: String(number), label: "lens" })));
  const sizes: number[] = [];
  await outbox.send((all) => (sizes.push(all.length), accept(all)));
  expect(sizes).toEqual([500, 500, 201]);
});
