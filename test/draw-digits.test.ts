// The example of digits drawn on a page, with a model of the command line.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { mnist } from "#lib/data/index.js";
import { mnistImage } from "../examples/draw-digits/mnist-image.js";
import { run } from "./cli/support/cli.js";
import { chromiumPath, startedChromium, withoutChromium } from "./support/chromium.js";
import { temporaryFolders } from "./support/folders.js";

const folder = temporaryFolders();
const program = fileURLToPath(new URL("../examples/draw-digits/serve.mjs", import.meta.url));

function serve(args: readonly string[], cwd: string): ChildProcess {
  return spawn(process.execPath, [program, ...args], { cwd, stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs the server, which is expected to stop by itself, and returns its errors. */
async function failure(args: readonly string[], cwd: string): Promise<string> {
  const child = serve(args, cwd);
  let text = "";
  child.stderr!.on("data", (bytes) => (text += bytes));
  const [code] = await once(child, "close");
  expect(code).toBe(1);
  return text;
}

describe("mnistImage", () => {
  test("gives back the images of MNIST from enlarged ones", async () => {
    const { inputs } = await mnist({ split: "test" });
    const [side, times, count] = [28, 3, 30];
    for (let i = 0; i < count; i++) {
      const image = inputs.data.slice(i * side ** 2, (i + 1) * side ** 2);
      const size = side * times;
      const large = Uint8Array.from({ length: size ** 2 }, (_, at) => {
        const [y, x] = [Math.floor(at / size / times), Math.floor((at % size) / times)];
        return image[y * side + x]!;
      });
      expect(mnistImage(large, size, size)).toEqual(image);
    }
  });

  test("fits a drawing into 20 pixels, with its center of mass in row and column 14", () => {
    const [width, height] = [120, 90];
    // An L, of which the longer side has 60 pixels.
    const ink = new Uint8Array(width * height);
    for (let y = 10; y < 70; y++) for (let x = 30; x < 60; x++) if (x < 40 || y >= 60) ink[y * width + x] = 255;
    const image = mnistImage(ink, width, height)!;
    const rows = Array.from({ length: 28 }, (_, y) => image.slice(28 * y, 28 * (y + 1)).reduce((a, b) => a + b, 0));
    const columns = Array.from({ length: 28 }, (_, x) => rows.reduce((sum, _, y) => sum + image[28 * y + x]!, 0));
    const total = rows.reduce((a, b) => a + b, 0);
    const center = (sums: readonly number[]) => sums.reduce((sum, value, i) => sum + value * (i + 0.5), 0) / total;
    expect([Math.floor(center(rows)), Math.floor(center(columns))]).toEqual([14, 14]);
    // The drawing's area in pixels of the image.
    expect(total / 255).toBeCloseTo((60 * 10 + 20 * 10) / 9, 0);
    expect([rows.filter((sum) => sum > 0).length, columns.filter((sum) => sum > 0).length]).toEqual([20, 10]);
    expect(mnistImage(new Uint8Array(width * height), width, height)).toBeUndefined();
  });
});

describe("serve.mjs", () => {
  test("says how to make the model, and which ports there are", async () => {
    const place = folder();
    expect(await failure([], place)).toContain("model.onnx: there is no such file; make it with: npx stepsize export");
    writeFileSync(join(place, "model.onnx"), "");
    expect(await failure(["--port", "http"], place)).toContain("--port: expected a whole number from 0 to 65535");
  });
});

type Point = readonly [x: number, y: number];

/** Points of an ellipse between two angles in degrees. */
function arc(x: number, y: number, [wide, high]: Point, [from, to]: Point): Point[] {
  return Array.from({ length: 13 }, (_, i) => {
    const angle = ((from + ((to - from) * i) / 12) * Math.PI) / 180;
    return [x + wide * Math.cos(angle), y + high * Math.sin(angle)];
  });
}

const three = [[...arc(0.48, 0.33, [0.18, 0.15], [-150, 90]), ...arc(0.48, 0.65, [0.2, 0.17], [-90, 150])]];
/** Strokes of digits, in shares of the drawing area. */
const digits: Readonly<Record<number, readonly (readonly Point[])[]>> = {
  0: [arc(0.5, 0.5, [0.2, 0.32], [-90, 270])],
  3: three,
  4: [
    [
      [0.4, 0.2],
      [0.3, 0.55],
      [0.7, 0.55],
    ],
    [
      [0.6, 0.3],
      [0.6, 0.85],
    ],
  ],
  7: [
    [
      [0.3, 0.2],
      [0.7, 0.2],
      [0.46, 0.82],
    ],
  ],
};

describe.skipIf(chromiumPath === undefined)(`the page in Chromium${withoutChromium}`, () => {
  const browser = startedChromium();
  let server: ChildProcess | undefined;
  let address: string;
  const problems: string[] = [];
  // Compiling the runtime takes most of the time, so the tests with a large window share a page.
  let desktop: Promise<Page> | undefined;

  const cwd = folder();

  beforeAll(async () => {
    // A model that trains in few seconds. It has the inputs and outputs of the model of `npm start`.
    const train = ["train", "--model", "mlp", "--data", "mnist", "--budget", "300", "--threads", "1", "--run", "run"];
    for (const args of [train, ["export", "--checkpoint", "run", "--to", "onnx", "--with-preprocessing"]]) {
      const { code, stderr } = await run(args, { cwd });
      expect(code, stderr).toBe(0);
    }
    server = serve(["--port", "0"], cwd);
    const [line] = await once(server.stdout!, "data");
    address = /http:\S+/.exec(String(line))![0];
  });

  afterAll(() => server?.kill());

  afterEach(() => {
    expect(problems.splice(0)).toEqual([]);
  });

  async function open(options: BrowserContextOptions = {}): Promise<Page> {
    const page = await browser().newPage(options);
    page.on("pageerror", ({ message }) => problems.push(message));
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(message.text());
    });
    await page.goto(address);
    await page.getByText("Draw a digit from 0 to 9.").waitFor();
    return page;
  }

  async function expectAnswer(page: Page, digit: number): Promise<void> {
    await page.getByRole("status").getByText(String(digit), { exact: true }).waitFor({ timeout: 30_000 });
    // The list has the probabilities; the likeliest has more than a half.
    const text = await page.getByRole("listitem").nth(digit).textContent();
    expect(Number(/(\d+) %/.exec(text!)![1])).toBeGreaterThan(50);
  }

  test.each([
    ["digits", 1, Object.keys(digits)],
    ["a small digit", 0.4, ["3"]],
  ])("recognizes %s drawn with a mouse", async (_, scale, names) => {
    desktop ??= open();
    const page = await desktop;
    const area = (await page.getByRole("application").boundingBox())!;
    for (const digit of names.map(Number)) {
      await page.getByRole("button", { name: "Clear" }).click();
      for (const stroke of digits[digit]!) {
        const [first, ...others] = stroke.map(
          ([x, y]) => [area.x + scale * x * area.width, area.y + scale * y * area.height] as const,
        );
        await page.mouse.move(...first!);
        await page.mouse.down();
        for (const point of others) await page.mouse.move(...point);
        await page.mouse.up();
      }
      await expectAnswer(page, digit);
    }
  });

  test("recognizes a digit drawn with a finger on a phone, without scrolling the page", async () => {
    const viewport = { width: 360, height: 500 };
    const page = await open({ viewport, isMobile: true, hasTouch: true, colorScheme: "dark" });
    const area = (await page.getByRole("application").boundingBox())!;
    const touch = await page.context().newCDPSession(page);
    const send = (type: "touchStart" | "touchMove" | "touchEnd", points: readonly Point[]) => {
      const touchPoints = points.map(([x, y]) => ({ x: area.x + x * area.width, y: area.y + y * area.height }));
      return touch.send("Input.dispatchTouchEvent", { type, touchPoints });
    };
    const [first, ...others] = three[0]!;
    await send("touchStart", [first!]);
    for (const point of others) await send("touchMove", [point]);
    await send("touchEnd", []);
    await expectAnswer(page, 3);
    expect(await page.evaluate<number[]>("[scrollX, scrollY, document.documentElement.scrollWidth]")).toEqual([
      0, 0, 360,
    ]);
    await page.close();
  });

  test("recognizes a digit drawn with the keyboard, and Escape clears it", async () => {
    desktop ??= open();
    const page = await desktop;
    await page.getByRole("button", { name: "Clear" }).click();
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Space");
    for (let i = 0; i < 12; i++) await page.keyboard.press("ArrowDown");
    await expectAnswer(page, 1);
    await page.keyboard.press("Escape");
    await page.getByText("Draw a digit from 0 to 9.").waitFor();
  });

  test("says that a model without preprocessing does not fit", async () => {
    const exported = await run(["export", "--checkpoint", "run", "--to", "onnx", "--out", "plain.onnx"], { cwd });
    expect(exported.code, exported.stderr).toBe(0);
    const other = serve(["--port", "0", "--model", "plain.onnx"], cwd);
    try {
      const [line] = await once(other.stdout!, "data");
      const page = await browser().newPage();
      await page.goto(/http:\S+/.exec(String(line))![0]);
      await page.getByText("expected inputs of 28 × 28 × 1 bytes").waitFor();
      expect((await page.request.get(`${page.url()}../package.json`)).status()).toBe(404);
      await page.close();
    } finally {
      other.kill();
    }
  });
});
