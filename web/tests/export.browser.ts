import { describe } from "vitest";
import { countOf, downloaded, expect, SOONEST, test } from "./fixture";

const SIGNS: Record<string, RegExp> = {
  csv: /^"object_id",/,
  parquet: /^PAR1/,
  vot: /<VOTABLE/,
  fits: /^SIMPLE {2}= +T/,
  reg: /circle\(|circle /,
  zip: /^PK/,
  py: /import/,
};

describe("export", () => {
  test("every form is a file of what is shown", async ({ visit }) => {
    const page = await visit.open();
    await page.getByRole("textbox", { name: "Filter" }).fill("magnitude < 19 and ra < 150.5");
    await page.keyboard.press("Enter");
    await expect.poll(() => countOf(page), SOONEST).toBeLessThan(1_000);
    const n = await countOf(page);
    await page.getByRole("button", { name: "Export", exact: true }).click();
    const links = page.locator(".export .menu a");
    expect(await links.count()).toBe(Object.keys(SIGNS).length);
    for (const link of await links.all()) {
      const file = await downloaded(page, () => link.click());
      const form = file.name.split(".").at(-1)!;
      expect(file.bytes.length, form).toBeGreaterThan(60);
      expect(file.bytes.toString("latin1", 0, 5_000), form).toMatch(SIGNS[form]);
      if (form === "csv") expect(file.bytes.toString().match(/^\d{17},/gm)!.length).toBe(n);
      if (form === "reg") expect(file.bytes.toString().match(/circle/g)!.length).toBe(n);
    }
  });

  test("the menu closes by Escape, and of many that are marked it says how to select them", async ({ visit }) => {
    const page = await visit.open();
    const button = page.getByRole("button", { name: "Export", exact: true });
    await button.click();
    await page.keyboard.press("Escape");
    await page.locator(".export .menu").waitFor({ state: "detached" });
    await page.getByRole("application", { name: /^Images in order/ }).focus();
    await page.keyboard.press("d");
    await page.keyboard.press("Shift+End");
    await button.click();
    await page.getByText("10,000 marked").first().waitFor();
    await page.getByText("too many to name one by one").waitFor();
  });
});
