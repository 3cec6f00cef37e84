import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, describe, inject } from "vitest";
import { countOf, cursorOf, expect, panel, pixels, SOONEST, test, wall } from "./fixture";
import { python } from "./server";

const N = 300;
let url = "";

describe("a published site, opened from a disk", () => {
  beforeAll(async () => {
    const site = join(inject("folder"), "site");
    await python("import sys; from pathlib import Path; from peculiar.explorer.publishing import publish; publish(Path(sys.argv[1]), Path(sys.argv[2]), n=300, where='magnitude < 21')", inject("pristine"), site);
    url = pathToFileURL(join(site, "index.html")).href;
  });

  test("map and wall show the sample without a server", async ({ visit }) => {
    const page = await visit.open({ url });
    expect(await countOf(page)).toBe(N);
    await expect.poll(async () => new Set((await pixels(wall(page))).data).size, SOONEST).toBeGreaterThan(50);
    await page.getByRole("button", { name: "Triple" }).click();
    await page.getByRole("button", { name: "Invert" }).click();
    await expect.poll(async () => new Set((await pixels(wall(page))).data).size, SOONEST).toBeGreaterThan(50);
  });

  test("an object opens with its evidence, and neighbors are walked through", async ({ visit }) => {
    const page = await visit.open({ url });
    await wall(page).focus();
    await page.keyboard.press("ArrowRight");
    const { id } = await cursorOf(page);
    await page.keyboard.press("Enter");
    await panel(page).getByText("Scores, and their percentiles").waitFor();
    expect(await panel(page).getByRole("heading", { level: 2 }).textContent()).toBe(id);
    await panel(page).locator("figure img").nth(2).waitFor();
    await panel(page).locator(".alike button").first().click();
    await expect.poll(() => panel(page).getByRole("heading", { level: 2 }).textContent(), SOONEST).not.toBe(id);
  });

  test("it sorts, finds by id, draws a random subset, and offers nothing that needs a server", async ({ visit }) => {
    const page = await visit.open({ url });
    await page.getByRole("button", { name: "Random subset" }).click();
    await expect.poll(() => countOf(page), SOONEST).toBeLessThanOrEqual(N);
    await page.getByRole("button", { name: "Table" }).click();
    const first = page.getByRole("row").nth(1);
    await first.waitFor();
    await expect.poll(() => first.textContent(), SOONEST).toMatch(/43158859342\d{6}/);
    const id = /43158859342\d{6}/.exec((await first.textContent())!)![0];
    await page.getByRole("textbox", { name: /search/i }).fill(id);
    await page.keyboard.press("Enter");
    await expect.poll(() => panel(page).getByRole("heading", { level: 2 }).textContent(), SOONEST).toBe(id);
    for (const name of ["Export", "Labels", "learn"]) expect(await page.getByRole("button", { name, exact: true }).count()).toBe(0);
  });
});
