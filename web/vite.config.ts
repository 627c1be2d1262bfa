import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

import { defineConfig, type Plugin } from "vite";

const here = import.meta.dirname;
const out = resolve(here, "../python/nestling/server/page");

// Where the licence of each package that is bundled stands.
const LICENCES = {
  preact: "node_modules/preact/LICENSE",
  "embedding-atlas": "licences/embedding-atlas.txt", // its package has no copy of it
};

// Writes the licences of what is bundled beside the bundle.
function licences(): Plugin {
  return {
    name: "licences",
    closeBundle() {
      const texts = Object.entries(LICENCES).map(([name, file]) => {
        const { version, license } = JSON.parse(readFileSync(resolve(here, `node_modules/${name}/package.json`), "utf8"));
        return `${name} ${version} (${license})\n\n${readFileSync(resolve(here, file), "utf8").trim()}\n`;
      });
      writeFileSync(resolve(out, "LICENSES.txt"), texts.join("\n----------------------------------------\n\n"));
    },
  };
}

// Of embedding-atlas only its view of given points is used: not the one that reads a database, which
// needs Mosaic, nor the labels that a worker finds. That there is no WebGPU is not an error: it draws
// with WebGL 2 then.
function viewAlone(): Plugin {
  return {
    name: "view-alone",
    enforce: "pre",
    resolveId: (id) => (id.startsWith("@uwdata/") ? `\0${id}` : null),
    load: (id) =>
      id.startsWith("\0@uwdata/")
        ? { code: "export const coordinator = null, isSelection = null, makeClient = null;", moduleSideEffects: false }
        : null,
    transform: (code, id) =>
      id.includes("embedding-atlas")
        ? code
            .replace('new URL("./clustering.worker.js", import.meta.url)', '"about:blank"')
            .replace(/console\.error\("Could not (request|get) WebGPU/g, 'console.debug("Could not $1 WebGPU')
        : null,
  };
}

export default defineConfig({
  base: "./",
  resolve: {
    alias: { "embedding-atlas/component": resolve(here, "node_modules/embedding-atlas/dist/component.js") },
  },
  plugins: [viewAlone(), licences()],
  build: {
    outDir: out,
    emptyOutDir: true,
    assetsDir: "",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    rolldownOptions: { checks: { importIsUndefined: false } }, // of what `viewAlone` leaves out
  },
  experimental: {
    // The page is served at "/", and its files below "page/".
    renderBuiltUrl: (name, { hostType }) => (hostType === "html" ? `./page/${name}` : { relative: true }),
  },
});
