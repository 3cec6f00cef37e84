import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// One script that a page opened from a disk may run: no modules, the worker inside it.
export default defineConfig({
  plugins: [svelte()],
  base: "./",
  publicDir: false,
  resolve: { alias: [{ find: /^(.*\/cpu\.worker)\?worker$/, replacement: "$1?worker&inline" }] },
  build: {
    outDir: "../src/peculiar/explorer/static/site",
    emptyOutDir: true,
    cssCodeSplit: false,
    modulePreload: false,
    rollupOptions: {
      input: "src/site.ts",
      output: { format: "iife", entryFileNames: "site.js", assetFileNames: "site[extname]", codeSplitting: false },
    },
  },
  worker: { format: "iife" },
});
