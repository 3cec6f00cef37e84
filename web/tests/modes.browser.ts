import { afterAll, beforeAll, describe, inject } from "vitest";
import { api, bar, cursorAt, expect, panel, ready, SOONEST, test, wall, who } from "./fixture";
import { copied, python, serve, VOTES, type Server } from "./server";

let servers: Record<"readOnly" | "tokens" | "blind", Server>;
let token: string;

beforeAll(async () => {
  const atlas = copied(inject("pristine"), inject("folder"), "modes");
  await python(VOTES, atlas);
  token = await python("import sys; from peculiar.labels import Labels; from pathlib import Path; print(Labels(Path(sys.argv[1])).add_expert('dora'))", atlas);
  const [readOnly, tokens, blind] = await Promise.all([["--read-only"], ["--tokens"], ["--blind", "--expert", "carl"]].map((args) => serve(atlas, { args })));
  servers = { readOnly, tokens, blind };
});
afterAll(async () => void (await Promise.all(Object.values(servers).map((each) => each.stop()))));

describe("modes", () => {
  test("read only: nothing can be said, defined or learnt", async ({ visit }) => {
    const page = await visit.open({ url: servers.readOnly.url });
    await who(page).getByText("read only").waitFor();
    for (const each of await bar(page).locator(".classes button").all()) expect(await each.isDisabled()).toBe(true);
    for (const name of ["learn", "undo", "clear"]) expect(await bar(page).getByRole("button", { name, exact: true }).count()).toBe(0);
    await wall(page).focus();
    await page.keyboard.press("d");
    await page.keyboard.press("Enter");
    await cursorAt(page, 1);
    await panel(page).locator("table.scores").waitFor();
    for (const each of await panel(page).getByRole("group", { name: "Label" }).getByRole("button").all()) expect(await each.isDisabled()).toBe(true);
    await page.keyboard.press("1");
    await page.getByText("this server is read only: nothing can be labelled").waitFor();
    await page.getByRole("button", { name: "Labels", exact: true }).click();
    await page.getByRole("heading", { name: "Votes" }).waitFor();
    expect(await page.getByRole("button", { name: "add a class" }).count()).toBe(0);
  });

  test("tokens: one is asked for, a wrong one is refused, the right one enters and is kept where no script reads it", async ({ visit }) => {
    visit.expects(/status of 401/);
    const { url } = servers.tokens;
    const page = await visit.open({ url, until: "token" });
    await page.getByLabel("Your token").fill("wrong");
    await page.getByRole("button", { name: "Enter" }).click();
    await page.getByRole("alert").filter({ hasText: "this token is not known" }).waitFor();
    await page.getByLabel("Your token").fill(token);
    await page.getByRole("button", { name: "Enter" }).click();
    await expect.poll(() => who(page).locator("b").textContent(), SOONEST).toBe("dora");
    await ready(page);
    const cookie = (await page.context().cookies()).find((each) => each.name.startsWith("peculiar-"))!;
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: "Strict", value: token });
    expect(await page.evaluate(() => document.cookie)).toBe("");
    await wall(page).focus();
    await page.keyboard.press("d");
    await cursorAt(page, 1);
    await page.keyboard.press("2");
    await who(page).getByText("all stored").waitFor();
  });

  test("tokens: an address with a token enters, and keeps none in it", async ({ visit }) => {
    const page = await visit.open({ url: servers.tokens.url, query: `?token=${token}` });
    expect(page.url()).not.toContain(token);
    expect(await who(page).locator("b").textContent()).toBe("dora");
  });

  test("blind: what others said of an object is told when one's own label is in", async ({ visit }) => {
    const { url } = servers.blind;
    const page = await visit.open({ url });
    expect((await api<{ columns: { name: string }[] }>("atlas", {}, url)).columns.some((each) => each.name.startsWith("label"))).toBe(false);
    const id = (await python(`import sys; from peculiar.labels import Labels; from pathlib import Path; print(Labels(Path(sys.argv[1])).votes("anna")["object_id"][0])`, `${inject("folder")}/modes`)).trim();
    await page.getByLabel("Search by id, ids, source or position").fill(id);
    await page.keyboard.press("Enter");
    await panel(page).locator("table.scores tr").first().waitFor();
    expect(await panel(page).locator(".votes").count()).toBe(0);
    expect(await panel(page).getByText("anna").count()).toBe(0);
    await page.keyboard.press("Space"); // of what is marked is said without going on
    await page.locator("section[aria-label='Images'] .note").getByText("1 marked").waitFor();
    await page.keyboard.press("7");
    await who(page).getByText("all stored").waitFor();
    await expect.poll(() => panel(page).locator(".votes").count(), SOONEST).toBe(1);
    expect(await panel(page).locator(".votes").textContent()).toMatch(/anna .*ben /);
  });
});
