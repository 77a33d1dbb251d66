import * as Plot from "@observablehq/plot";
import { expect, test } from "vitest";
import { drawFigure } from "#lib/report/figure.js";

test("a figure of its own is XML, whatever its title says", () => {
  const svg = drawFigure({
    title: 'a < b & "c" > d',
    standalone: true,
    plot: { marks: [Plot.text(["x < y & z"])] },
  });
  expect(svg).toMatch(/^<svg [^<]*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  expect(svg).toContain('aria-label="a &lt; b &amp; &quot;c&quot; > d"');
  expect(svg).toContain("x &lt; y &amp; z");
  // No bare ampersand anywhere.
  expect(svg.replace(/&(lt|gt|amp|quot|nbsp|#\d+|#x[\da-f]+);/gi, "")).not.toContain("&");
});
