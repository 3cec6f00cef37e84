import { afterAll, beforeAll, describe, inject } from "vitest";
import type { Page } from "playwright-core";
import { api, bar, cursorAt, cursorOf, drag, expect, map, panel, shoot, SOONEST, still, test, wall, who } from "./fixture";
import { difference } from "./png";
import { copied, python, serve, VOTES, type Server } from "./server";

let server: Server;
let atlas: string;

beforeAll(async () => {
  atlas = copied(inject("pristine"), inject("folder"), "labels");
  await python(VOTES, atlas);
  server = await serve(atlas, { args: ["--expert", "carl"] });
});
afterAll(() => server.stop());

const stored = (page: Page) => who(page).getByText("all stored").waitFor();
const mine = async () => new Map((await api<{ labels: [string, string][] }>("labels", {}, server.url)).labels);
const countIn = async (page: Page, name: string) => Number((await bar(page).getByRole("button", { name }).locator(".quiet").textContent())!.replaceAll(",", ""));

/** Put the cursor on the first image, by the keys. */
async function begun(page: Page): Promise<string> {
  await wall(page).focus();
  await page.keyboard.press("Home");
  return cursorAt(page, 1);
}

async function look(page: Page, at: string): Promise<void> {
  await bar(page).getByLabel("look at").selectOption({ label: at });
  await bar(page).getByRole("button", { name: "go", exact: true }).click();
}

describe("labels", () => {
  test("are said by keys, taken back, undone, and the next without one is found", async ({ visit }) => {
    const page = await visit.open({ url: server.url });
    const classes = (await api<{ classes: { name: string; key: string }[] }>("atlas", {}, server.url)).classes;
    await begun(page);
    const ids: string[] = [];
    for (const [place, { key }] of classes.entries()) {
      ids.push(await cursorAt(page, place + 1));
      await page.keyboard.press(key); // goes on by itself
    }
    await cursorAt(page, classes.length + 1);
    await stored(page);
    for (const [place, { name }] of classes.entries()) expect((await mine()).get(ids[place])).toBe(name);
    expect(await countIn(page, "lens")).toBe(1);
    await page.keyboard.press("ArrowLeft");
    await cursorAt(page, classes.length);
    await page.keyboard.press("c");
    await stored(page);
    expect((await mine()).has(ids.at(-1)!)).toBe(false);
    await page.keyboard.press("u");
    await expect.poll(async () => (await mine()).get(ids.at(-1)!), SOONEST).toBe(classes.at(-1)!.name);
    await page.keyboard.press("Control+z");
    await expect.poll(async () => (await mine()).has(ids.at(-1)!), SOONEST).toBe(false);
    await page.keyboard.press("Home");
    await page.keyboard.press("n");
    await cursorAt(page, classes.length);
    for (let left = classes.length - 1; left > 0; left--) await page.keyboard.press("u");
    await stored(page);
    await expect.poll(async () => (await mine()).size, SOONEST).toBe(0);
  });

  test("are said by chips below and in the panel, of the one that is open", async ({ visit }) => {
    const page = await visit.open({ url: server.url });
    const id = await begun(page);
    await page.keyboard.press("Enter");
    const chip = panel(page).getByRole("group", { name: "Label" }).getByRole("button", { name: "lens" });
    await chip.click();
    await stored(page);
    expect((await mine()).get(id)).toBe("lens");
    await begun(page);
    await expect.poll(() => panel(page).getByRole("group", { name: "Label" }).getByRole("button", { name: "lens" }).getAttribute("aria-pressed"), SOONEST).toBe("true");
    await bar(page).getByRole("button", { name: "unusual" }).click();
    await stored(page);
    expect((await mine()).get(id)).toBe("unusual");
    await bar(page).getByRole("button", { name: "undo" }).click();
    await bar(page).getByRole("button", { name: "undo" }).click();
    await expect.poll(async () => (await mine()).size, SOONEST).toBe(0);
  });

  test("are said of many that are marked, and undone at once", async ({ visit }) => {
    const page = await visit.open({ url: server.url });
    await begun(page);
    await page.keyboard.press("Control+a");
    const text = await bar(page).locator(".marked").textContent();
    const n = Number(text!.match(/\d+/)![0]);
    expect(n).toBeGreaterThan(40);
    await page.keyboard.press("6");
    await stored(page);
    expect(await countIn(page, "artefact")).toBe(n);
    expect((await mine()).size).toBe(n);
    await page.keyboard.press("u");
    await stored(page);
    expect((await mine()).size).toBe(0);
    expect(await countIn(page, "artefact")).toBe(0);
  });

  test("t hides them, h opens help and Escape closes it, f asks for the full screen", async ({ visit }) => {
    const page = await visit.open({ url: server.url });
    await begun(page);
    await page.keyboard.press("1");
    const before = await still(wall(page));
    await page.keyboard.press("t");
    await expect.poll(async () => difference(before, await still(wall(page))), SOONEST).toBeGreaterThan(0.05);
    await page.keyboard.press("t");
    await expect.poll(async () => difference(before, await still(wall(page))), SOONEST).toBe(0);
    await page.keyboard.press("h");
    const help = page.getByRole("dialog", { name: "Keys and filters" });
    await help.waitFor();
    await page.keyboard.press("2"); // says nothing while help is read
    await shoot(page, "help");
    await page.keyboard.press("Escape");
    await help.waitFor({ state: "detached" });
    expect(await countIn(page, "tidal tail")).toBe(0);
    await page.keyboard.press("f");
    await expect.poll(() => page.evaluate(() => document.fullscreenElement !== null), SOONEST).toBe(true);
    await page.keyboard.press("f");
    await expect.poll(() => page.evaluate(() => document.fullscreenElement), SOONEST).toBe(null);
    await page.keyboard.press("u");
    await stored(page);
  });

  test("queues: top, selection, labelled by nobody, control, disagreement; interest says that it is not learnt", async ({ visit }) => {
    visit.expects(/status of 404 .*api\/queue/);
    const page = await visit.open({ url: server.url });
    const queue = bar(page).locator(".queue");
    const first = async () => (await cursorOf(page)).id;
    const said = async (kind: string, by = "score_anom_conditional") => (await api<{ ids: string[] }>("queue", { kind, by }, server.url)).ids;
    const voted = (await python("import sys; from peculiar.labels import Labels; from pathlib import Path; print(*Labels(Path(sys.argv[1])).votes()['object_id'].to_pylist())", atlas)).split(" ");
    for (const [kind, title] of [["top", "top of the order"], ["unlabelled", "labelled by nobody"], ["control", "random control"], ["disagreement", "experts disagree"]]) {
      const ids = await said(kind);
      await look(page, title);
      await expect.poll(() => queue.textContent(), SOONEST).toContain(`${title}: 0 of ${ids.length} labelled`);
      await expect.poll(first, SOONEST).toBe(ids[0]);
      if (kind === "unlabelled") expect(ids.some((id) => voted.includes(id))).toBe(false);
      if (kind === "disagreement") expect(ids.length).toBe(10);
    }
    await page.keyboard.press("1");
    await expect.poll(() => queue.textContent(), SOONEST).toContain("1 of 10 labelled");
    await page.keyboard.press("u");
    await bar(page).getByRole("button", { name: "Leave this list" }).click();
    await look(page, "selection");
    await bar(page).getByRole("alert").filter({ hasText: "nothing is selected" }).waitFor();
    await map(page).focus();
    await page.keyboard.press("b");
    await drag(page, map(page), [[0.3, 0.3], [0.6, 0.6]]);
    await page.locator(".map .chip").waitFor();
    const n = (await page.locator(".map .chip").textContent())!.match(/[\d,]+/)![0];
    await look(page, "selection");
    await expect.poll(() => queue.textContent(), SOONEST).toContain(`selection: 0 of ${n} labelled`);
    await look(page, "learned interest");
    await bar(page).getByRole("alert").filter({ hasText: "no interest is learnt yet" }).waitFor();
    await bar(page).getByRole("button", { name: "Dismiss" }).click();
    await bar(page).getByRole("alert").waitFor({ state: "detached" });
    await stored(page);
  });

  test("a class is added in the editor and its key works, and a wrong one is refused", async ({ visit }) => {
    visit.expects(/status of 4\d\d .*api\/classes/);
    const page = await visit.open({ url: server.url });
    await page.getByRole("button", { name: "Labels", exact: true }).click();
    await page.getByRole("button", { name: "add a class" }).click();
    const name = page.getByLabel("Name of class 8");
    await name.fill("merger");
    await page.getByRole("button", { name: "save" }).click();
    await page.locator("form .trouble").waitFor();
    await name.fill("ring <b>");
    await page.getByLabel("Key of ring <b>").selectOption("8");
    await page.getByLabel("Meaning of ring <b>").fill("a ring of stars");
    await page.getByRole("button", { name: "save" }).click();
    await page.locator("form").getByText("saved").waitFor();
    await shoot(page, "class-editor");
    await page.getByRole("button", { name: "Explore", exact: true }).click();
    const id = await begun(page);
    await page.keyboard.press("8");
    await stored(page);
    expect((await mine()).get(id)).toBe("ring <b>");
    await page.keyboard.press("u");
    await stored(page);
  });

  test("interest is learnt from them, gives a queue and colors, and the view of labels tells of it", async ({ visit }) => {
    const page = await visit.open({ url: server.url });
    await begun(page);
    for (const key of "1627367275") await page.keyboard.press(key);
    await stored(page);
    await bar(page).getByRole("button", { name: "learn", exact: true }).click();
    await bar(page).getByRole("progressbar", { name: "Learning" }).waitFor();
    await bar(page).getByText(/learnt from \d+ objects/).waitFor({ timeout: 50_000 });
    await look(page, "learned interest");
    await expect.poll(() => bar(page).locator(".queue").textContent(), SOONEST).toMatch(/learned interest: 0 of \d+ labelled/);
    const { ids } = await api<{ ids: string[] }>("queue", { kind: "interest" }, server.url);
    await expect.poll(async () => (await cursorOf(page)).id, SOONEST).toBe(ids[0]);
    await page.getByRole("combobox", { name: "color", exact: true }).selectOption("interest");
    await page.locator("section[aria-label='Legend']").getByText("interest", { exact: true }).waitFor();
    await shoot(page, "colored by interest");
    await page.getByRole("button", { name: "Labels", exact: true }).click();
    await page.getByRole("img", { name: /of interest found among \d+ objects looked at/ }).waitFor();
    const row = page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: "carl" }) });
    expect(await row.getByRole("cell").last().textContent()).toBe("10");
    await page.getByText("anna and ben").waitFor();
    await page.getByText(/The model learnt from \d+/).waitFor();
    await page.getByRole("button", { name: /^Open -?\d+$/ }).first().click();
    await panel(page).waitFor();
    await page.getByRole("button", { name: "Labels", exact: true }).click();
  });
});
