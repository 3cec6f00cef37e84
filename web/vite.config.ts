import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// The build lands in the Python package and is committed: names without digests, so that its changes can be read.
export default defineConfig({
  plugins: [svelte()],
  base: "./",
  build: {
    outDir: "../src/peculiar/explorer/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: {
        entryFileNames: "assets/[name].js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
      },
    },
  },
  worker: { format: "es", rollupOptions: { output: { entryFileNames: "assets/[name].js" } } },
  server: { proxy: { "/api": { target: "http://127.0.0.1:8460", changeOrigin: true } } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
