import { describe } from "vitest";
import { shown } from "../src/numbers";
import { api, countOf, cursorAt, downloaded, expect, panel, SOONEST, test, wall, type Visit } from "./fixture";
import { decoded } from "./png";
import type { Page } from "playwright-core";

interface ObjectSaid {
  scores: Record<string, { value: number | null; percentile: number | null }>;
  viewers: Record<string, string>;
  rank: number;
}

async function opened(visit: Visit): Promise<{ page: Page; id: string; said: ObjectSaid }> {
  const page = await visit.open();
  await wall(page).focus();
  await page.keyboard.press("d");
  await page.keyboard.press("Enter");
  const id = await cursorAt(page, 1);
  await panel(page).locator("table.scores tr").first().waitFor();
  return { page, id, said: await api<ObjectSaid>(`object/${id}`) };
}

describe("object", () => {
  test("its pictures, scores and percentiles are those of the server", async ({ visit }) => {
    const { page, id, said } = await opened(visit);
    expect(Object.keys(said.scores).length).toBeGreaterThan(2);
    for (const [name, { value }] of Object.entries(said.scores)) {
      const row = panel(page).locator("table.scores tr").filter({ has: page.getByRole("rowheader", { name, exact: true }) });
      expect(await row.locator(".number").first().textContent()).toBe(shown(value));
    }
    expect(await panel(page).locator(".where").textContent()).toContain(`${said.rank} of 10,000`);
    for (const part of ["image", "reconstruction", "residual"]) {
      const image = panel(page).getByAltText(`${part} of ${id}`);
      await expect.poll(() => image.evaluate((each: HTMLImageElement) => each.naturalWidth), SOONEST).toBe(32);
    }
    await panel(page).getByLabel("Find a column").fill("magni");
    expect(await panel(page).locator("table.row tr").count()).toBe(1);
  });

  test("two clicks lay a slit, and give the command for its finding chart", async ({ visit }) => {
    const { page, id } = await opened(visit);
    await panel(page).getByRole("button", { name: "Slit" }).click();
    const picture = panel(page).getByLabel("Click two points for the slit");
    const box = (await picture.boundingBox())!;
    await picture.click({ position: { x: box.width * 0.75, y: box.height * 0.75 } });
    expect(await panel(page).locator(".slit").textContent()).toContain("click two points");
    await picture.click({ position: { x: box.width * 0.25, y: box.height * 0.25 } });
    const laid = panel(page).locator(".slit");
    expect(await laid.textContent()).toMatch(/slit at 4[45]\.\d°/);
    const command = await laid.getByRole("button").getAttribute("title");
    expect(command).toContain(`--objects ${id} --through 23.`);
    await panel(page).getByRole("button", { name: "Slit" }).click();
    expect(await picture.count()).toBe(0);
  });

  test("neighbors are walked through, and back", async ({ visit }) => {
    const { page, id } = await opened(visit);
    const near = panel(page).getByRole("button", { name: /^Open -?\d+, at distance/ });
    await near.first().waitFor();
    expect(await near.count()).toBe(16);
    const trail = [id];
    for (let step = 0; step < 3; step++) {
      const next = /Open (-?\d+),/.exec((await near.nth(1 + step).getAttribute("aria-label"))!)![1];
      await near.nth(1 + step).click();
      await expect.poll(() => panel(page).getAttribute("aria-label"), SOONEST).toBe(`Object ${next}`);
      await panel(page).locator("table.scores tr").first().waitFor();
      await near.first().waitFor();
      trail.push(next);
    }
    for (const before of trail.slice(0, -1).reverse()) {
      await panel(page).getByRole("button", { name: "← back" }).click();
      await expect.poll(() => panel(page).getAttribute("aria-label"), SOONEST).toBe(`Object ${before}`);
    }
    expect(await panel(page).getByRole("button", { name: "← back" }).count()).toBe(0);
  });

  test("its neighbors are those of the feature set that is chosen, typical ones alone where asked, all in the wall", async ({ visit }) => {
    const { page, id } = await opened(visit);
    const near = panel(page).getByRole("button", { name: /^Open -?\d+, at distance/ });
    const ids = async () => Promise.all((await near.all()).map(async (each) => /Open (-?\d+),/.exec((await each.getAttribute("aria-label"))!)![1]));
    await panel(page).getByLabel("Features in which objects are alike").selectOption("critic");
    const wanted = (await api<{ object_id: string }[]>(`object/${id}/neighbors`, { features: "critic", n: 16 })).map((each) => each.object_id);
    await expect.poll(ids, SOONEST).toEqual(wanted);
    await panel(page).getByRole("button", { name: "typical" }).click();
    const typical = (await api<{ object_id: string }[]>(`object/${id}/neighbors`, { features: "critic", n: 16, typical: true })).map((each) => each.object_id);
    await expect.poll(ids, SOONEST).toEqual(typical);
    await panel(page).getByRole("button", { name: "all", exact: true }).click();
    await expect.poll(() => countOf(page), SOONEST).toBe(17);
  });

  test("viewers elsewhere are links that tell nothing and are not asked", async ({ visit }) => {
    const { page, said } = await opened(visit);
    const links = panel(page).locator("a[target=_blank]");
    expect(await links.count()).toBe(Object.keys(said.viewers).length);
    expect(await links.count()).toBeGreaterThan(0);
    for (const link of await links.all()) {
      expect(await link.getAttribute("rel")).toBe("noopener noreferrer");
      expect(new URL((await link.getAttribute("href"))!).protocol).toBe("https:");
    }
  });

  test("its FITS and its PNG are downloads", async ({ visit }) => {
    const { page, id } = await opened(visit);
    const fits = await downloaded(page, () => panel(page).getByRole("link", { name: "FITS" }).click());
    expect(fits.name).toBe(`${id}.fits`);
    expect(fits.bytes.toString("latin1", 0, 30)).toMatch(/^SIMPLE {2}= +T/);
    const png = await downloaded(page, () => panel(page).getByRole("link", { name: "PNG", exact: true }).click());
    expect(png.name).toBe(`${id}.png`);
    expect(decoded(png.bytes)).toMatchObject({ width: 32, height: 32 });
  });

  test("Escape closes it", async ({ visit }) => {
    const { page } = await opened(visit);
    await page.keyboard.press("Escape");
    await panel(page).waitFor({ state: "detached" });
  });
});
