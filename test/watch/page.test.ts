// The page of `stepsize watch`, in a browser and by plain requests.
import { appendFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { takeLock } from "#lib/files/folder-lock.js";
import { run, start } from "../cli/support/cli.js";
import { chromiumPath, startedChromium, withoutChromium } from "../support/chromium.js";
import { temporaryFolders } from "../support/folders.js";
import { addEvaluation, lines, makeRun } from "./support/runs.js";

const folder = temporaryFolders();
const started: ReturnType<typeof start>[] = [];
afterAll(async () => {
  for (const { child, done } of started) {
    child.kill("SIGTERM");
    await done;
  }
});

/** Starts the command and returns the URL that it prints. */
async function watch(...args: string[]): Promise<URL> {
  const process = start(["watch", ...args, "--port", "0"]);
  started.push(process);
  let text = "";
  return new Promise((resolve, reject) => {
    process.child.stdout?.on("data", (chunk) => {
      text += chunk;
      const url = /^http:\S+$/m.exec(text)?.[0];
      if (url !== undefined) resolve(new URL(url));
    });
    void process.done.then(({ stderr }) => reject(new Error(stderr)));
  });
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** Sends a request, with any Host header. */
function get(url: URL, path: string, headers: Readonly<Record<string, string>> = {}, method = "GET"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port: url.port, path, headers, method }, (response) => {
      let body = "";
      response.on("data", (chunk) => (body += chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    sent.on("error", reject);
    sent.end();
  });
}

describe("the command", () => {
  test("names a port that is in use, a folder that does not exist, and wrong values", async () => {
    const url = await watch(folder());
    const taken = await run(["watch", folder(), "--port", url.port]);
    expect(taken.code).toBe(2);
    expect(taken.stderr).toContain(`--port: expected a free port, ${url.port} is in use on 127.0.0.1`);
    const missing = await run(["watch", "nowhere"], { cwd: folder() });
    expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining("nowhere does not exist") });
    const wrong = await run(["watch", "--port", "70000"], { cwd: folder() });
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("--port: expected a whole number") });
    const elsewhere = await run(["watch", folder(), "--host", "192.0.2.1"]);
    expect(elsewhere).toMatchObject({ code: 2, stderr: expect.stringContaining("--host: expected an address") });
  });

  test("ends with exit code 0 at Ctrl-C, also while a page is open", async () => {
    const url = await watch(folder());
    const page = (await fetch(new URL("/events", url))).text().catch(() => "");
    const { child, done } = started.at(-1) ?? expect.unreachable();
    child.kill("SIGINT");
    expect((await done).code).toBe(0);
    await page;
  });
});

describe("requests", () => {
  let local: URL;
  let shared: URL;
  beforeAll(async () => {
    const runs = folder();
    makeRun(runs, "1", { records: 3, result: { status: "completed" } });
    [local, shared] = await Promise.all([watch(runs), watch(runs, "--host", "0.0.0.0")]);
  });

  test("are answered only under this machine's names, without CORS, and with a strict policy", async () => {
    const own = await get(local, "/");
    expect(own.status).toBe(200);
    expect(own.headers).toMatchObject({
      "content-security-policy": expect.stringMatching(
        /^default-src 'none'; script-src 'self' 'sha256-\S+'; style-src 'self'/,
      ),
      "x-content-type-options": "nosniff",
      "cross-origin-resource-policy": "same-origin",
    });
    expect(own.headers).not.toHaveProperty("access-control-allow-origin");
    for (const host of [
      "evil.example",
      `evil.example:${local.port}`,
      "127.0.0.1:1",
      "localhost",
      "127.0.0.1.evil.example",
    ])
      expect((await get(local, "/", { host })).status, host).toBe(421);
    expect((await get(local, "/", { host: `localhost:${local.port}` })).status).toBe(200);
    expect((await get(shared, "/", { host: `evil.example:${shared.port}` })).status).toBe(421);
    expect((await get(local, "/", {}, "POST")).status).toBe(405);
  });

  test("reach no other files", async () => {
    const paths = [
      "/code/cli/main.js",
      "/code/../package.json",
      "/../package.json",
      "/report?run=../..",
      "/report?run=99",
    ];
    for (const path of [...paths, "/predictions?run=1&split=../../config", "/samples?run=x"])
      expect((await get(local, path)).status, path).toBe(404);
  });

  test("need the token if others can connect; it moves from the URL into a cookie", async () => {
    const token = shared.searchParams.get("token") ?? "";
    expect(token).toMatch(/^[\w-]{32}$/);
    expect(local.search).toBe("");
    for (const path of ["/", "/?token=wrong", "/events", "/curves?runs=1", "/page.js", `/events?token=${token}`])
      expect((await get(shared, path)).status, path).toBe(401);
    const first = await get(shared, `/?token=${token}`);
    expect(first).toMatchObject({ status: 303, headers: { location: "/" } });
    const cookie = String(first.headers["set-cookie"]);
    expect(cookie).toContain("HttpOnly; SameSite=Strict");
    expect((await get(shared, "/", { cookie: cookie.split(";")[0] ?? "" })).status).toBe(200);
    expect((await get(shared, "/", { cookie: `stepsize-watch-${shared.port}=wrong` })).status).toBe(401);
  });

  test("for curves get only what is new", async () => {
    const events = await fetch(new URL("/events", local));
    const reader = events.body?.getReader();
    for (let text = ""; !text.includes('"steps":3'); ) text += new TextDecoder().decode((await reader?.read())?.value);
    const curves = async (runs: string) => JSON.parse((await get(local, `/curves?runs=${runs}`)).body);
    const [whole] = await curves("1");
    expect(whole).toMatchObject({ id: 1, width: 1, from: 0, lastStep: 2 });
    expect(whole.fields.loss.mean).toEqual([1, 0.5, 0.333333]);
    const known = `1:${whole.generation}:1:2`;
    expect((await curves(`${known}:${whole.version - 1}`))[0]).toMatchObject({ from: 1, seconds: [1, 1.5] });
    expect(await curves(`${known}:${whole.version}`)).toEqual([]);
    expect(await curves("7,x,")).toEqual([]);
    await reader?.cancel();
  });
});

describe.skipIf(chromiumPath === undefined)(`the page in a browser${withoutChromium}`, () => {
  const browser = startedChromium();
  const problems: string[] = [];

  async function open(url: URL, options = {}): Promise<Page> {
    const page = await browser().newPage(options);
    page.on("pageerror", (error) => problems.push(error.message));
    // A connection that fails is reported too, as when the command ends.
    const isProblem = (text: string) => !text.includes("net::ERR_");
    page.on(
      "console",
      (message) => message.type() === "error" && isProblem(message.text()) && problems.push(message.text()),
    );
    page.on("request", (sent) => new URL(sent.url()).host !== url.host && problems.push(`request of ${sent.url()}`));
    await page.goto(String(url));
    return page;
  }

  const row = (page: Page, name: string) =>
    page.getByRole("row").filter({ has: page.getByRole("button", { name: `Details of run ${name}`, exact: true }) });
  const chart = (page: Page, title: string) => page.getByRole("img", { name: `${title} over` });

  afterAll(() => {
    expect(problems).toEqual([]);
  });

  test("says what to do about an empty folder, and shows a run as soon as it begins", async () => {
    const runs = folder();
    const page = await open(await watch(runs));
    await page.getByRole("heading", { name: "No runs yet" }).waitFor();
    await page.getByText("npx stepsize train --model resnet8").waitFor();
    makeRun(runs, "1", { records: 4 });
    await row(page, "1").getByText("stopped").waitFor();
    expect(await page.getByRole("heading", { name: "No runs yet" }).count()).toBe(0);
    await page.close();
  });

  test("follows a run while it writes, through a restart, and to its end", async () => {
    const runs = folder();
    const path = makeRun(runs, "1", { records: 50, settings: { budget: 200 } });
    const release = await takeLock(join(path, "lock"));
    const page = await open(await watch(runs));
    await row(page, "1").getByText("running").waitFor();
    await page.getByText("1 run · 1 running · 1 shown").waitFor();
    await page.locator("[aria-label='Training loss over steps. 1: last 0.02']").waitFor();
    appendFileSync(join(path, "metrics.jsonl"), `${lines(50, 100)}{"step":100,"lo`);
    addEvaluation(path, 80, 0.25, 0.75);
    await row(page, "1").getByRole("cell", { name: "100", exact: true }).waitFor();
    await row(page, "1").getByText("75.00 %").waitFor();
    await chart(page, "Accuracy").waitFor();
    // A resumed run cuts its records and makes these steps again.
    truncateSync(join(path, "metrics.jsonl"), Buffer.byteLength(lines(0, 40)));
    appendFileSync(
      join(path, "metrics.jsonl"),
      lines(40, 120, () => 0.5),
    );
    await row(page, "1").getByRole("cell", { name: "120", exact: true }).waitFor();
    await page.getByRole("slider", { name: "Smoothing" }).fill("0");
    await page.locator("[aria-label='Training loss over steps. 1: last 0.5']").waitFor();
    await page.locator("summary", { hasText: "Values as a table" }).first().click();
    const cells = page.getByRole("table").nth(1).getByRole("row").nth(1);
    expect(await cells.getByRole("cell").allTextContents()).toEqual(["1", "0.025", "1", "0.5", "119"]);
    const error = "step 120: the loss is NaN at learning rate 0.1";
    writeFileSync(join(path, "result.json"), JSON.stringify({ status: "failed", error, code: "non-finite" }));
    await release();
    await row(page, "1").getByText("diverged").waitFor();
    await page.getByText("Run 1: diverged").waitFor({ state: "attached" });
    await page.getByRole("button", { name: "Details of run 1" }).click();
    await page.getByText(error).waitFor();
    await page.close();
  });

  test("goes on after the command was started again, although runs are counted anew", async () => {
    const runs = folder();
    makeRun(runs, "2", { records: 4, result: { status: "completed" } });
    const url = await watch(runs);
    const page = await open(url);
    await row(page, "2").getByText("finished").waitFor();
    const { child, done } = started.at(-1) ?? expect.unreachable();
    child.kill("SIGINT");
    await done;
    await page.getByText("Connection lost").waitFor();
    makeRun(runs, "1", { records: 7, result: { status: "interrupted" } });
    started.push(start(["watch", runs, "--port", url.port]));
    await row(page, "1").getByText("interrupted").waitFor();
    await row(page, "1").getByRole("cell", { name: "7", exact: true }).waitFor();
    await row(page, "2").getByText("finished").waitFor();
    await page.close();
  });

  test("shows names, settings, errors and texts of files as text", async () => {
    const runs = folder();
    const markup = "<img src=x onerror=document.title='broken'>";
    const path = makeRun(runs, markup.replaceAll("/", ""), {
      records: 3,
      settings: { model: markup, [markup]: `${markup}</script>` },
      result: { status: "failed", error: `${markup}</pre>` },
    });
    writeFileSync(join(path, "samples.jsonl"), `${JSON.stringify({ step: 3, prompt: markup, text: markup })}\n`);
    const picture = "javascript:alert(1)";
    const worst = [{ item: 1, label: 0, predicted: 1, probability: 0.1, image: picture }];
    const predictions = {
      step: 3,
      items: 2,
      classes: [markup, "b"],
      confusion: [
        [1, 1],
        [0, 0],
      ],
      worst,
    };
    writeFileSync(join(path, "predictions-test.json"), JSON.stringify(predictions));
    const page = await open(await watch(runs));
    await page.getByRole("button", { name: `Details of run ${markup}` }).click();
    await page.getByRole("heading", { name: "Samples of text" }).waitFor();
    await page.getByRole("heading", { name: "Worst predictions" }).waitFor();
    await page.getByText("All settings").click();
    expect(await page.locator("#detail dd").first().textContent()).toBe(markup);
    expect(await page.locator("img").count()).toBe(0);
    expect(await page.title()).toBe("stepsize watch");
    await page.close();
  });

  test("zooms, filters and can be used with the keyboard, at phone width too", async () => {
    const runs = folder();
    for (const [name, maxLr] of [
      ["1", 0.1],
      ["2", 0.02],
    ] as const)
      makeRun(runs, name, { records: 400, settings: { maxLr }, loss: () => maxLr, result: { status: "completed" } });
    const url = await watch(runs);
    const page = await open(url);
    await row(page, "2").getByText("highest learning rate 0.02").waitFor();
    await page.locator("[aria-label^='Training loss over steps. '][aria-label*='1: last 0.1']").waitFor();
    await page.getByLabel("From").fill("100");
    await page.getByLabel("to", { exact: true }).fill("200");
    await page.keyboard.press("Tab");
    await page.getByRole("button", { name: "Reset zoom" }).click();
    expect(await page.getByLabel("From").inputValue()).toBe("");
    const box = (await chart(page, "Training loss").boundingBox()) ?? expect.unreachable();
    await page.mouse.move(box.x + 100, box.y + 80);
    await page.mouse.down();
    await page.mouse.move(box.x + 150, box.y + 85);
    // The charts are drawn again in the meantime, as while a run writes.
    await page.evaluate("document.getElementById('smoothing').dispatchEvent(new Event('input'))");
    await page.mouse.move(box.x + 200, box.y + 90, { steps: 3 });
    await page.mouse.up();
    const fieldOf = async (label: string) => Number(await page.getByLabel(label, { exact: true }).inputValue());
    await expect.poll(() => fieldOf("From")).toBeGreaterThan(0);
    expect(await fieldOf("to")).toBeGreaterThan(await fieldOf("From"));
    await page.getByRole("searchbox").fill("0.02");
    await row(page, "1").waitFor({ state: "detached" });
    await page.getByRole("searchbox").fill("");
    await page.getByRole("checkbox", { name: "Show run 1 in the curves" }).focus();
    await page.keyboard.press("Space");
    await page.getByText("2 runs · 0 running · 1 shown").waitFor();
    await page.getByRole("radio", { name: "Steps" }).focus();
    await page.keyboard.press("ArrowRight");
    await page.locator("[aria-label^='Training loss over training time']").waitFor();
    await page.close();
    const phone = await open(url, { viewport: { width: 390, height: 800 }, colorScheme: "dark" });
    await chart(phone, "Training loss").waitFor();
    const width = await phone.evaluate<number>("document.documentElement.scrollWidth");
    expect(width).toBeLessThanOrEqual(390);
    expect(await phone.evaluate("getComputedStyle(document.body).backgroundColor")).toBe("rgb(15, 19, 24)");
    await phone.close();
  });

  test("shows a study", async () => {
    const runs = folder();
    const study = join(runs, "study");
    mkdirSync(study);
    writeFileSync(join(study, "study.json"), "{}");
    const source = readFileSync("docs/studies/sotu-olmo-nano/runs.jsonl", "utf8").split("\n");
    writeFileSync(join(study, "runs.jsonl"), `${source.slice(0, 30).join("\n")}\n`);
    const page = await open(await watch(runs));
    await page.getByRole("heading", { name: "Studies" }).waitFor();
    await page.getByText("30 finished runs, not running").waitFor();
    await page.getByRole("rowheader", { name: "step", exact: true }).first().waitFor();
    await page.close();
  });

  test("shows 100 runs with many records", async () => {
    const runs = folder();
    const text = lines(0, 2500);
    for (let i = 1; i <= 100; i++) {
      const path = makeRun(runs, String(i), { settings: { seed: i, budget: 2500 } });
      writeFileSync(join(path, "metrics.jsonl"), text);
    }
    const page = await open(await watch(runs));
    await page.getByText("100 runs · 0 running · 8 shown").waitFor();
    await page.getByRole("button", { name: "Show all" }).click();
    await page.getByText("100 runs · 0 running · 100 shown").waitFor();
    await page.locator("[aria-label^='Training loss'][aria-label$='and 88 more']").waitFor();
    await page.close();
  });
});
