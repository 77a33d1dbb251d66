import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../package-root.js";
import { stylesheet } from "./stylesheet.js";

/** A file of the page. */
export type Asset = { readonly type: string; readonly path: string } | { readonly type: string; readonly text: string };

const javascript = "text/javascript; charset=utf-8";
const css = "text/css; charset=utf-8";

/** Where modules of lib/ that the page loads are, in the URLs of a clone. */
const moduleUrl = /^\/code\/((?:watch\/page|report)\/[a-z-]+\.js)$/;

/**
 * The page's code in one file, with uPlot. Only a bundle has it, as in the package; this module is there in
 * `cli/main.js` or in `cli/chunks/`. A clone has modules that the browser loads one by one.
 */
const bundle = ["../watch", "../../watch"]
  .map((folder) => resolve(dirname(fileURLToPath(import.meta.url)), folder))
  .find((folder) => existsSync(join(folder, "page.js")));
/** The compiled library of a clone. */
const dist = join(packageRoot, "dist");

const importMap = JSON.stringify({ imports: { uplot: "/uplot.js" } });
const script = bundle !== undefined ? "/page.js" : "/code/watch/page/main.js";

/** The policy that the page's document is sent with: everything comes from this server, and nothing is evaluated. */
export const contentPolicy = [
  "default-src 'none'",
  // The import map is the only inline script.
  `script-src 'self' 'sha256-${createHash("sha256").update(importMap).digest("base64")}'`,
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** Returns what is at a path of the page; `undefined` if there is nothing. */
export function assetAt(path: string): Asset | undefined {
  switch (path) {
    case "/":
      return { type: "text/html; charset=utf-8", text: document };
    case "/page.css":
      return { type: css, text: stylesheet };
    case "/icon.svg":
      return { type: "image/svg+xml", text: icon };
    case "/uplot.css":
      return { type: css, path: bundle === undefined ? uplot("uPlot.min.css") : join(bundle, "uplot.css") };
    case "/uplot.js":
      return bundle === undefined ? { type: javascript, path: uplot("uPlot.esm.js") } : undefined;
    case "/page.js":
      return bundle === undefined ? undefined : { type: javascript, path: join(bundle, "page.js") };
  }
  const module = bundle !== undefined ? undefined : moduleUrl.exec(path)?.[1];
  return module === undefined ? undefined : { type: javascript, path: join(dist, module) };
}

function uplot(name: string): string {
  return createRequire(import.meta.url).resolve(`uplot/dist/${name}`);
}

const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#2a78d6"/><path d="M6 8c3 12 8 15 20 15" fill="none" stroke="#fff" stroke-width="3.5" stroke-linecap="round"/></svg>`;

const document = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>stepsize watch</title>
<link rel="icon" href="/icon.svg">
<link rel="stylesheet" href="/uplot.css">
<link rel="stylesheet" href="/page.css">
<script type="importmap">${importMap}</script>
<script type="module" src="${script}"></script>
</head>
<body>
<a class="skip" href="#charts">Skip to the charts</a>
<header class="bar">
  <h1>stepsize <span class="thin">watch</span></h1>
  <p id="folder" class="path"></p>
  <p id="connection" class="connection" role="status">Connecting</p>
</header>
<main>
  <noscript><p class="empty">This page needs JavaScript. It loads nothing from other servers.</p></noscript>
  <section id="empty" class="empty" hidden></section>
  <section id="runs" aria-labelledby="runs-heading" hidden>
    <div class="heading">
      <h2 id="runs-heading">Runs</h2>
      <p id="counts" class="muted"></p>
      <div class="controls">
        <label class="field"><span class="hidden">Filter runs by name or setting</span><input id="filter" type="search" placeholder="Filter by name or setting" autocomplete="off" spellcheck="false"></label>
        <button type="button" id="show-shown">Show all</button>
        <button type="button" id="show-none">Hide all</button>
      </div>
    </div>
    <div class="scroll" tabindex="0" role="region" aria-label="Table of runs"><table id="run-table"></table></div>
  </section>
  <section id="charts" aria-labelledby="charts-heading" hidden>
    <div class="heading">
      <h2 id="charts-heading">Curves</h2>
      <div class="controls" role="group" aria-label="Axes">
        <div class="choice" role="radiogroup" aria-label="Horizontal axis">
          <label><input type="radio" name="axis" value="step" checked><span>Steps</span></label>
          <label><input type="radio" name="axis" value="time"><span>Time</span></label>
        </div>
        <label class="check"><input id="log" type="checkbox" checked> Log scale</label>
        <label class="slider">Smoothing <input id="smoothing" type="range" min="0" max="20" step="1" value="3"><output id="smoothing-value" for="smoothing"></output></label>
        <span class="zoom">
          <label>From <input id="zoom-from" type="number" min="0" step="any" inputmode="decimal"></label>
          <label>to <input id="zoom-to" type="number" min="0" step="any" inputmode="decimal"></label>
          <button type="button" id="zoom-reset" disabled>Reset zoom</button>
        </span>
      </div>
    </div>
    <div id="figures" class="figures"></div>
  </section>
  <section id="detail" aria-labelledby="detail-heading" hidden></section>
  <section id="studies" aria-labelledby="studies-heading" hidden></section>
  <p id="news" class="hidden" role="status"></p>
</main>
</body>
</html>
`;
