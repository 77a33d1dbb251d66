import * as Plot from "@observablehq/plot";
import { expect, test } from "vitest";
import { drawFigure } from "#lib/report/figure.js";

test("a standalone figure is valid XML, whatever its title contains", () => {
  const svg = drawFigure({
    title: 'a < b & "c" > d',
    standalone: true,
    plot: { marks: [Plot.text(["x < y & z"])] },
  });
  expect(svg).toMatch(/^<svg [^<]*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  expect(svg).toContain('aria-label="a &lt; b &amp; &quot;c&quot; > d"');
  expect(svg).toContain("x &lt; y &amp; z");
  // No unescaped ampersand may be left.
  expect(svg.replace(/&(lt|gt|amp|quot|nbsp|#\d+|#x[\da-f]+);/gi, "")).not.toContain("&");
});
