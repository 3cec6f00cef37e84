import { afterAll, beforeAll, describe, inject } from "vitest";
import type { Page } from "playwright-core";
import { bar, cursorAt, expect, SOONEST, test, wall, who } from "./fixture";
import { copied, python, serve, type Server } from "./server";

let server: Server;
let atlas: string;

beforeAll(async () => {
  atlas = copied(inject("pristine"), inject("folder"), "lost");
  server = await serve(atlas);
});
afterAll(() => server.stop());

const IS_AWAY = /ERR_CONNECTION_(REFUSED|RESET)|ERR_EMPTY_RESPONSE|ERR_SOCKET/;
const AGAIN = { timeout: 40_000 };

/** All events that are on the disk, as object_id and label. */
async function events(): Promise<string[]> {
  const lines = "import sys; from peculiar.labels import Labels; from pathlib import Path\nfor each in Labels(Path(sys.argv[1])).events().to_pylist(): print(each['object_id'], each['label'])";
  const said = await python(lines, atlas);
  return said ? said.split("\n") : [];
}

async function sayFive(page: Page, key: string): Promise<string[]> {
  const ids: string[] = [];
  for (let place = 1; place <= 5; place++) {
    ids.push(await cursorAt(page, place));
    await page.keyboard.press(key);
  }
  return ids;
}

async function away(page: Page): Promise<void> {
  await wall(page).focus();
  await page.keyboard.press("Home");
  await cursorAt(page, 1);
  await server.kill();
}

describe("nothing said is lost", () => {
  test("what is said while the server is away arrives once when it is back", async ({ visit }) => {
    visit.expects(IS_AWAY);
    const page = await visit.open({ url: server.url });
    await away(page);
    const ids = await sayFive(page, "4");
    await who(page).getByText("server away, kept here: 5").waitFor();
    expect(await bar(page).getByRole("button", { name: "lens" }).locator(".quiet").textContent()).toBe("5");
    server = await serve(atlas, { port: server.port });
    await who(page).getByText("all stored").waitFor(AGAIN);
    await expect.poll(events, SOONEST).toEqual(ids.map((id) => `${id} lens`));
  });

  test("what is said while it is away outlives a reload of the page", async ({ visit }) => {
    visit.expects(IS_AWAY);
    const page = await visit.open({ url: server.url });
    const before = await events();
    await away(page);
    const ids = await sayFive(page, "7");
    await who(page).getByText("server away, kept here: 5").waitFor();
    server = await serve(atlas, { port: server.port });
    await page.reload();
    await who(page).getByText("all stored").waitFor(AGAIN);
    await expect.poll(events, SOONEST).toEqual([...before, ...ids.map((id) => `${id} normal`)]);
    expect(await page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("peculiar:said:")))).toEqual([]);
  });
});
