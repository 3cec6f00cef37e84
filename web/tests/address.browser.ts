import { describe } from "vitest";
import type { Page } from "playwright-core";
import { countOf, drag, expect, map, panel, SOONEST, test, wall, type Visit } from "./fixture";

interface Shared {
  digest: string;
  [name: string]: unknown;
}

const shared = async (page: Page): Promise<Shared> => JSON.parse(decodeURIComponent(new URL(page.url()).hash.slice(1))) as Shared;
const written = (state: unknown) => `#${encodeURIComponent(JSON.stringify(state))}`;

/** A page that is as another person would like to have it. */
async function arranged(visit: Visit): Promise<Page> {
  const page = await visit.open();
  await page.getByRole("combobox", { name: "map", exact: true }).selectOption({ label: "critic" });
  await page.getByRole("combobox", { name: "color", exact: true }).selectOption("magnitude");
  await page.getByRole("combobox", { name: "palette" }).selectOption({ index: 2 });
  await page.getByRole("combobox", { name: "Sort by" }).selectOption("score_pca");
  await page.getByRole("button", { name: "Largest first; turn round" }).click();
  await page.getByRole("textbox", { name: "Filter" }).fill("magnitude < 21.5");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Residual", exact: true }).click();
  await page.getByRole("button", { name: "Invert" }).click();
  await map(page).focus();
  await page.keyboard.press("b");
  await drag(page, map(page), [[0.2, 0.2], [0.8, 0.8]]);
  await page.locator(".map .chip").waitFor();
  await wall(page).focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  await panel(page).waitFor();
  return page;
}

describe("address", () => {
  test("Share copies an address that shows another person the same", async ({ visit }) => {
    const page = await arranged(visit);
    await page.getByRole("button", { name: "Share" }).click();
    await page.getByText("the address is copied").waitFor();
    const address = await page.evaluate(() => navigator.clipboard.readText());
    expect(address).toBe(page.url());
    const other = await visit.open({ hash: new URL(address).hash });
    await expect.poll(() => countOf(other), SOONEST).toBe(await countOf(page));
    await expect.poll(() => panel(other).getAttribute("aria-label"), SOONEST).toBe(await panel(page).getAttribute("aria-label"));
    expect(await other.locator(".map .chip").textContent()).toBe(await page.locator(".map .chip").textContent());
    for (const name of ["map", "color", "palette", "Sort by"]) {
      const value = (of: Page) => of.getByRole("combobox", { name, exact: name !== "Sort by" }).inputValue();
      expect(await value(other), name).toBe(await value(page));
    }
    expect(await other.getByRole("textbox", { name: "Filter" }).inputValue()).toBe("magnitude < 21.5");
    for (const name of ["Residual", "Invert"]) expect(await other.getByRole("button", { name, exact: true }).getAttribute("aria-pressed"), name).toBe("true");
    await expect.poll(() => shared(other), SOONEST).toEqual(await shared(page));
    expect(await other.getByRole("status").filter({ hasText: "this address was made" }).count()).toBe(0);
  });

  test("the address follows what is shown, and a reload brings it back", async ({ visit }) => {
    const page = await visit.open();
    await page.getByRole("combobox", { name: "color", exact: true }).selectOption("radius");
    await expect.poll(async () => (page.url().includes("#") ? (await shared(page)).coloring : null), SOONEST).toMatchObject({ by: "radius" });
    await page.reload();
    await page.locator("section[aria-label='Legend']").getByText("radius", { exact: true }).waitFor();
  });

  test("an address of another state of the atlas, or with columns that it has not, says so", async ({ visit }) => {
    const page = await visit.open();
    await page.getByRole("button", { name: "Share" }).click();
    await expect.poll(() => page.url(), SOONEST).toContain("#");
    const state = await shared(page);
    const other = await visit.open({ hash: written({ ...state, digest: "0123456789abcdef" }) });
    await other.getByText("this address was made when the atlas was another").waitFor();
    const third = await visit.open({ hash: written({ ...state, coloring: { by: "no_such_score" } }) });
    await third.getByText("this atlas has no no_such_score").waitFor();
  });

  const HOSTILE: [string, string][] = [
    ["garbage", "#%E0%A4%A"],
    ["null", "#null"],
    ["a number", "#1234567"],
    ["markup", "#<script>alert(1)</script><img src=x onerror=alert(1)>"],
    ["a huge one", `#${"x".repeat(500_000)}`],
    ["no fields", written({ v: 1 })],
    ["another version", written({ v: 2, map: { x: "ra", y: "dec" } })],
    ["null fields", written({ v: 1, map: null, coloring: null, order: null, look: null, steps: null, focus: null, size: null })],
    ["numbers for fields", written({ v: 1, map: 3, coloring: 4, order: 5, look: 6, steps: 7, focus: 8, size: "x", view: 9 })],
    ["__proto__", `#${encodeURIComponent('{"v":1,"__proto__":{"isBad":1},"constructor":{"prototype":{"isBad":1}},"look":{"__proto__":{"isBad":1}},"order":{"__proto__":{"isBad":1}},"map":{"x":"__proto__","y":"constructor"},"coloring":{"by":"toString","palette":"__proto__"}}')}`],
    ["a look of nonsense", written({ v: 1, look: { part: "<img src=x>", stretch: "many", invert: { a: 1 }, channels: 7 } })],
    ["a coloring of nonsense", written({ v: 1, coloring: { by: "", palette: "<b>", low: "x", high: {}, overlap: "none" } })],
    ["a coloring by a number of nonsense", written({ v: 1, coloring: { by: "magnitude", palette: 5, low: "x", high: [], overlap: 3 } })],
    ["an order of nonsense", written({ v: 1, order: { by: "magnitude", descending: "x", where: { a: 1 }, sample: -5, seed: "y" } })],
    ["steps of nonsense", written({ v: 1, steps: [null, 3, {}, { how: "set", x: "ra", y: "dec" }, { how: "set", x: "ra", y: "dec", polygon: "abc" }, { how: "burn", ids: 5 }, { how: "set", by: "note" }] })],
    ["focus on markup", written({ v: 1, focus: "<img src=x onerror=alert(1)>" })],
  ];
  test("a filter of code in an address is refused, and taken away", async ({ visit }) => {
    visit.expects(/status of 400 .*api\/rows/);
    const page = await visit.open({ hash: written({ v: 1, order: { by: "magnitude", where: "__import__('os').system('true')" } }), until: "nothing" });
    await page.getByText("The order could not be had").waitFor();
    await page.getByRole("button", { name: "Clear the filter" }).click();
    await expect.poll(() => countOf(page), SOONEST).toBe(10_000);
  });

  for (const [name, hash] of HOSTILE)
    test(`a hostile address does no harm: ${name}`, async ({ visit }) => {
      visit.expects(/status of (400|422) .*api\/(rows|sheet)/);
      const page = await visit.open({ hash });
      await wall(page).focus();
      await page.keyboard.press("d");
      await expect.poll(() => countOf(page), SOONEST).toBeGreaterThan(0);
      await page.getByRole("combobox", { name: "color", exact: true }).selectOption("radius");
      await page.locator("section[aria-label='Legend']").getByText("radius", { exact: true }).waitFor();
      expect(await page.evaluate(() => ({ bad: "isBad" in {}, images: document.querySelectorAll("img[src=x]").length }))).toEqual({ bad: false, images: 0 });
      expect(await page.locator("header").first().isVisible()).toBe(true);
    });
});
