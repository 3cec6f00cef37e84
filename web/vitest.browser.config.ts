import { defineConfig } from "vitest/config";

// Journeys through the built page in a browser, one after another: npx vite build, then npx vitest run --config vitest.browser.config.ts
export default defineConfig({
  test: {
    include: ["tests/**/*.browser.ts"],
    environment: "node",
    globalSetup: ["tests/setup.ts"],
    fileParallelism: false,
    maxWorkers: 1,
    isolate: false, // one browser for all files
    testTimeout: 60_000,
    hookTimeout: 60_000,
    sequence: { hooks: "list" },
  },
});
