import { describe } from "vitest";
import type { Page } from "playwright-core";
import { api, bar, countOf, cursorAt, expect, panel, SOONEST, test, wall } from "./fixture";

const filter = (page: Page) => page.getByRole("textbox", { name: "Filter" });
const IS_400 = /status of 400 .*api\/(rows|find)/;

async function search(page: Page, text: string): Promise<string> {
  const field = page.getByLabel("Search by id, ids, source or position");
  await field.fill(text);
  await field.press("Enter");
  const said = page.locator(".search .said");
  await said.waitFor();
  return (await said.textContent())!;
}

/** The object that the wall shows at a place, and its row in the table. */
async function objectAt(page: Page, place: number): Promise<{ id: string; ra: number; dec: number; source: string }> {
  await wall(page).focus();
  await page.keyboard.press("Home");
  for (let step = 1; step < place; step++) await page.keyboard.press("d");
  const id = await cursorAt(page, place);
  const { rows } = await api<{ rows: [string, number, number, string][] }>("table", { ids: id, names: "ra,dec,source" });
  return { id, ra: rows[0][1], dec: rows[0][2], source: rows[0][3] };
}

describe("filter", () => {
  test("a name is completed, and the filter leaves as many as the server says", async ({ visit }) => {
    const page = await visit.open();
    await filter(page).pressSequentially("score_p");
    await page.locator(".completions").getByRole("button", { name: "score_pca", exact: true }).click();
    expect(await filter(page).inputValue()).toBe("score_pca");
    await filter(page).pressSequentially(' > 0.001 and contains(note, "script")');
    await page.keyboard.press("Enter");
    const { n } = await api<{ n: number }>("filter", { where: 'score_pca > 0.001 and contains(note, "script")' });
    await expect.poll(() => countOf(page), SOONEST).toBe(n);
    expect(n).toBeLessThan(10_000);
    await page.getByRole("button", { name: "Take the filter away" }).click();
    await expect.poll(() => countOf(page), SOONEST).toBe(10_000);
    expect(await filter(page).inputValue()).toBe("");
  });

  test("what is wrong is said, with its place, and what was shown stays", async ({ visit }) => {
    visit.expects(IS_400);
    const page = await visit.open();
    await filter(page).fill("magnitude < 20");
    await page.keyboard.press("Enter");
    await expect.poll(() => countOf(page), SOONEST).toBeLessThan(10_000);
    const before = await countOf(page);
    const said = page.locator("#filter-said");
    for (const [wrong, what] of [["magnitud < 20", /magnitud/], ["magnitude < ", /character|column \d|end/i], ["magnitude < 20 oder ra > 1", /oder|character/], ["__import__('os')", /./]] as const) {
      await filter(page).fill(wrong);
      await page.keyboard.press("Enter");
      await expect.poll(() => said.textContent(), SOONEST).toMatch(what);
      expect(await countOf(page)).toBe(before);
    }
    await filter(page).fill("magnitude < 19");
    await page.keyboard.press("Enter");
    await said.waitFor({ state: "detached" });
  });

  test("a filter that nothing passes says so, and is taken away from there", async ({ visit }) => {
    const page = await visit.open();
    await filter(page).fill("magnitude < -100");
    await page.keyboard.press("Enter");
    await page.getByText("No object passes this filter").waitFor();
    await page.getByRole("button", { name: "Clear the filter" }).click();
    await expect.poll(() => countOf(page), SOONEST).toBe(10_000);
  });
});

describe("search", () => {
  test("an object is found by its id, its source, its place in degrees and in hours", async ({ visit }) => {
    const page = await visit.open();
    const { id, ra, dec, source } = await objectAt(page, 3);
    const isOpen = () => expect.poll(() => panel(page).getAttribute("aria-label"), SOONEST).toBe(`Object ${id}`);
    const hours = (value: number) => {
      const seconds = value * 3600;
      return `${Math.floor(value)}:${String(Math.floor((seconds / 60) % 60)).padStart(2, "0")}:${(seconds % 60).toFixed(4).padStart(7, "0")}`;
    };
    for (const text of [id, source, `${ra} ${dec}`, `${ra}, ${dec} r=2"`, `${hours(ra / 15)} +${hours(dec)} r=1"`]) {
      await page.getByRole("button", { name: "Close the object" }).click({ timeout: 500 }).catch(() => undefined);
      await search(page, text);
      await isOpen();
    }
  });

  test("a list of ids is a list to look through, and what is missing is said", async ({ visit }) => {
    const page = await visit.open();
    const first = await objectAt(page, 5);
    const second = await objectAt(page, 9);
    expect(await search(page, `${second.id}, ${first.id} 77`)).toBe("2 found, 1 not in this atlas");
    await expect.poll(() => countOf(page), SOONEST).toBe(2);
    await expect.poll(() => panel(page).getAttribute("aria-label"), SOONEST).toBe(`Object ${second.id}`);
    await bar(page).getByRole("button", { name: "Leave this list" }).click();
    await expect.poll(() => countOf(page), SOONEST).toBe(10_000);
  });

  test("all within a radius are found, the nearest first", async ({ visit }) => {
    const page = await visit.open();
    const { id, ra, dec } = await objectAt(page, 1);
    expect(await search(page, `${ra} ${dec} r=2'`)).toMatch(/^\d+ within 120 arcsec of/);
    const n = Number((await page.locator(".search .said").textContent())!.match(/^\d+/)![0]);
    expect(n).toBeGreaterThan(1);
    await expect.poll(() => countOf(page), SOONEST).toBe(n);
    await expect.poll(() => panel(page).getAttribute("aria-label"), SOONEST).toBe(`Object ${id}`);
  });

  test("what is not found is said, with the nearest of a place", async ({ visit }) => {
    visit.expects(IS_400);
    const page = await visit.open();
    expect(await search(page, "12345")).toContain("no object has the id 12345");
    expect(await search(page, "10.5 -40.25")).toMatch(/no object within 10 arcsec .* the nearest, \d+, is .* away/);
    expect(await search(page, "nothing-like-it.fits")).toContain("nothing here is called");
    expect(await search(page, "<img src=y onerror=alert(2)>")).toContain("<img src=y onerror=alert(2)>");
    expect(await page.locator("img[src='y']").count()).toBe(0);
    expect(await panel(page).count()).toBe(0);
  });
});
