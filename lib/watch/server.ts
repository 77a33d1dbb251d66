import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import { StepsizeError } from "../errors.js";
import { codeOf, messageOf } from "../realms.js";
import { Access } from "./access.js";
import { assetAt, contentPolicy } from "./assets.js";
import type { FolderView } from "./folder-view.js";
import type { FolderMessage, RunCurves } from "./messages.js";
import { predictionSplits, predictionsFile, type RunView, type StepRange } from "./run-view.js";

/** Options of {@link WatchServer.start}. */
export interface WatchServerOptions {
  readonly folder: FolderView;
  readonly host: string;
  /** Port; 0 for any that is free. */
  readonly port: number;
}

/** Largest number of connections that receive changes. */
const maxListeners = 50;
/** Unsent bytes above which a slow connection is closed. The page connects again and gets everything. */
const maxUnsentBytes = 16 * 2 ** 20;
/** Time between two lines that keep a connection open, in milliseconds. */
const aliveEvery = 15_000;
/** Largest size of a file with predictions or samples that is sent. */
const maxFileBytes = 8 * 2 ** 20;
const maxSampleBytes = 256 * 1024;
/** Largest number of points of all curves of an answer. */
const maxPoints = 6000;
const pointsPerRun = { least: 60, most: 1500 };

/** The server of the page. It only reads, and only files of runs in its folder. */
export class WatchServer {
  readonly #server: Server;
  readonly #folder: FolderView;
  readonly #access: Access;
  readonly #streams = new Set<ServerResponse>();
  readonly #host: string;

  private constructor(server: Server, folder: FolderView, access: Access, host: string) {
    this.#server = server;
    this.#folder = folder;
    this.#access = access;
    this.#host = host;
  }

  /**
   * Starts a server.
   * @throws StepsizeError `invalid-argument` if the port is in use or the address is not of this machine
   */
  static async start({ folder, host, port }: WatchServerOptions): Promise<WatchServer> {
    const access = new Access(host);
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => reject(refusal(error, host, port)));
      server.listen(port, host, resolve);
    });
    const self = new WatchServer(server, folder, access, host);
    access.port = self.port;
    server.on("request", (request, response) => void self.#answer(request, response));
    return self;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** The URL to open, with the token if one is needed. */
  get url(): string {
    const everywhere = ["0.0.0.0", "::"].includes(this.#host);
    const name = everywhere ? "localhost" : this.#host.includes(":") ? `[${this.#host}]` : this.#host;
    const { token } = this.#access;
    return `http://${name}:${this.port}/${token === undefined ? "" : `?token=${token}`}`;
  }

  /** Ends all connections and stops listening. */
  async close(): Promise<void> {
    for (const stream of this.#streams) stream.end();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#route(request, response);
    } catch (error) {
      if (!response.headersSent) plain(response, 500, `error: ${messageOf(error)}`);
      else response.destroy();
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(commonHeaders)) response.setHeader(name, value);
    if (!this.#access.acceptsHost(request))
      return plain(response, 421, "stepsize watch: the Host header does not name this server");
    if (request.method !== "GET" && request.method !== "HEAD") return plain(response, 405, "only GET is answered");
    const url = new URL(request.url ?? "/", "http://localhost");
    const given = url.searchParams.get("token");
    if (url.pathname === "/" && this.#access.isToken(given)) {
      // The token moves into a cookie, so that it is neither in the history nor in the address bar.
      response.setHeader("Set-Cookie", `${this.#access.cookieName}=${given}; HttpOnly; SameSite=Strict; Path=/`);
      response.setHeader("Location", "/");
      return plain(response, 303, "");
    }
    if (!this.#access.isAllowed(request))
      return plain(response, 401, "stepsize watch: open the URL that the command printed; it has the token");
    const asset = assetAt(url.pathname);
    if (asset) return sendAsset(response, asset);
    const run = () => this.#folder.run(Number(url.searchParams.get("run")));
    switch (url.pathname) {
      case "/events":
        return this.#stream(response);
      case "/curves":
        return sendJson(response, await this.#curves(url.searchParams));
      case "/study":
        return sendJson(response, this.#folder.study(Number(url.searchParams.get("study")))?.curves ?? []);
      case "/predictions":
        return sendPredictions(response, run(), url.searchParams.get("split"));
      case "/samples":
        return sendSamples(response, run());
      case "/report":
        return sendReport(response, run());
    }
    return plain(response, 404, "there is nothing here");
  }

  /** Sends all rows, and then those that change, as server-sent events. */
  #stream(response: ServerResponse): void {
    if (this.#streams.size >= maxListeners) {
      plain(response, 503, "too many pages are open");
      return;
    }
    response.setHeader("Content-Type", "text/event-stream");
    // Buffers would delay the events.
    response.setHeader("X-Accel-Buffering", "no");
    response.flushHeaders();
    this.#streams.add(response);
    const alive = setInterval(() => response.write(": alive\n\n"), aliveEvery);
    const stop = this.#folder.listen((message: FolderMessage) => {
      if (response.writableLength > maxUnsentBytes) response.destroy();
      else response.write(`data: ${JSON.stringify(message)}\n\n`);
    });
    response.on("close", () => {
      clearInterval(alive);
      stop();
      this.#streams.delete(response);
    });
  }

  /**
   * Returns the curves of some runs, all with one width of buckets.
   *
   * The parameter `runs` has one entry per run, `id` or `id:generation:width:count:version` if the page has that many
   * buckets of that version. Then only the last of them, which may have grown, and what follows is sent, and nothing of
   * a run that has not changed. `from` and `to` limit the steps, or the seconds if `by` is `time`.
   */
  async #curves(query: URLSearchParams): Promise<readonly RunCurves[]> {
    const asked = (query.get("runs") ?? "").split(",").flatMap((entry) => {
      const [id = Number.NaN, generation, width, count = 0, version] = entry.split(":").map(Number);
      const run = this.#folder.run(id);
      return run ? [{ run, generation, width, count, version }] : [];
    });
    const range = rangeIn(query);
    const isTime = query.get("by") === "time";
    const ranges = asked.map(({ run }): StepRange => {
      if (range === undefined) return { from: 0, to: run.lastStep + 1 };
      // One step more on each side, so that the lines reach the edges.
      const steps = isTime ? run.stepsIn(range) : range;
      return { from: Math.max(0, Math.floor(steps.from) - 1), to: Math.min(run.lastStep + 1, Math.ceil(steps.to) + 2) };
    });
    const longest = ranges.reduce((most, { from, to }) => Math.max(most, to - from), 1);
    const points = Math.max(pointsPerRun.least, Math.min(pointsPerRun.most, maxPoints / Math.max(1, asked.length)));
    const width = 2 ** Math.max(0, Math.ceil(Math.log2(longest / points)));
    const curves: RunCurves[] = [];
    for (const [i, { run, generation, width: known, count, version }] of asked.entries()) {
      const { from, to } = ranges[i] ?? { from: 0, to: 0 };
      const isKnown = range === undefined && generation === run.generation && known === width;
      if (isKnown && version === run.version) continue;
      const start = isKnown ? Math.max(0, count - 1) * width : from;
      // A run may be removed while it is read.
      const curve = await run.curves(width, { from: start, to }).catch(() => undefined);
      if (curve) curves.push(curve);
    }
    return curves;
  }
}

const commonHeaders = {
  "Content-Security-Policy": contentPolicy,
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cross-Origin-Opener-Policy": "same-origin",
  "X-Frame-Options": "DENY",
  "Cache-Control": "no-store",
};

function plain(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.end(text === "" ? "" : `${text}\n`);
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(value));
}

async function sendAsset(response: ServerResponse, asset: NonNullable<ReturnType<typeof assetAt>>): Promise<void> {
  const content = "text" in asset ? asset.text : await readFile(asset.path).catch(() => undefined);
  if (content === undefined)
    return plain(response, 404, "a file of the page is missing; set up the clone with npm run setup");
  response.setHeader("Content-Type", asset.type);
  response.end(content);
}

async function sendPredictions(
  response: ServerResponse,
  run: RunView | undefined,
  asked: string | null,
): Promise<void> {
  const split = predictionSplits.find((name) => name === asked);
  if (!run || !split) return plain(response, 404, "there is no such run");
  return sendFile(response, join(run.path, predictionsFile(split)), "application/json");
}

async function sendReport(response: ServerResponse, run: RunView | undefined): Promise<void> {
  if (!run) return plain(response, 404, "there is no such run");
  // A report has its own styles, and nothing in it may run.
  response.setHeader(
    "Content-Security-Policy",
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
  );
  return sendFile(response, join(run.path, "report.html"), "text/html; charset=utf-8");
}

async function sendFile(response: ServerResponse, path: string, type: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile() || found.size > maxFileBytes) return plain(response, 404, "the run has no such file");
  response.setHeader("Content-Type", type);
  response.end(await readFile(path));
}

/** Sends the newest samples, as lines of JSON. */
async function sendSamples(response: ServerResponse, run: RunView | undefined): Promise<void> {
  if (!run) return plain(response, 404, "there is no such run");
  const path = join(run.path, "samples.jsonl");
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) return plain(response, 404, "the run has no samples");
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  const stream = createReadStream(path, { start: Math.max(0, found.size - maxSampleBytes) });
  stream.on("error", () => response.destroy());
  stream.pipe(response);
}

function rangeIn(query: URLSearchParams): StepRange | undefined {
  const [from, to] = [query.get("from"), query.get("to")].map((text) => (text === null ? Number.NaN : Number(text)));
  if (from === undefined || to === undefined || !Number.isFinite(from) || !Number.isFinite(to)) return undefined;
  return { from, to };
}

function refusal(error: Error, host: string, port: number): unknown {
  const code = codeOf(error);
  if (code === "EADDRINUSE")
    return new StepsizeError(
      "invalid-argument",
      `--port: expected a free port, ${port} is in use on ${host}; name another, or 0 for any that is free`,
      { cause: error },
    );
  if (code === "EACCES")
    return new StepsizeError(
      "invalid-argument",
      `--port: this user may not listen on port ${port}; try one above 1023`,
      {
        cause: error,
      },
    );
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND" || code === "EAI_AGAIN")
    return new StepsizeError(
      "invalid-argument",
      `--host: expected an address of this machine, such as 0.0.0.0 for all, got ${host}`,
      { cause: error },
    );
  return error;
}
