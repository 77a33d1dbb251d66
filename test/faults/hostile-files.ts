// Hostile files, each with its reader. A reader returns the contents of the file or refuses it with a short, printable
// StepsizeError. Anything else counts as lost.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { workloadOfShapes } from "#lib/bench/shapes.js";
import { requestedStudy } from "#lib/cli/commands/compare-config.js";
import { ImageReader } from "#lib/cli/commands/predict-images.js";
import { readConfig } from "#lib/cli/config/train-config.js";
import { runSettingsOf } from "#lib/cli/run-folder.js";
import { cifar10, idx, readIdx, tokenize, tokens } from "#lib/data/index.js";
import { create } from "#lib/models/index.js";
import { openDevice } from "#lib/native/index.js";
import { SGD } from "#lib/optim/index.js";
import { completeStudy, readRecords, type TrainingStudy } from "#lib/study/index.js";
import { planOf } from "#lib/study/plan.js";
import { readState } from "#lib/study/run-state.js";
import {
  loadHuggingFace,
  loadModel,
  loadTorchState,
  loadWeights,
  readCheckpoint,
  readSafetensors,
  writeSafetensors,
} from "#lib/weights/index.js";
import { idxBytes } from "../data/support/idx-bytes.js";
import { recordOf } from "../study/support/records.js";
import type { Damage } from "./damage.js";

/** A file and its reader. */
export interface HostileFile {
  readonly name: string;
  /** Writes the file to the path where its reader looks. */
  readonly put: () => void;
  readonly read: () => Promise<unknown>;
  /** The expected outcome. Default: either. */
  readonly verdict?: "read" | "refused";
  /** Whether it is a valid file with one replaced value. */
  readonly isMutant?: boolean;
}

/** The outcomes of an injection. */
export interface HostileReport extends Damage {
  readonly refused: number;
  readonly read: number;
}

/** A reader of a JSON file, with a valid example. */
interface JsonReader {
  readonly name: string;
  readonly good: unknown;
  /** Writes text to that file. */
  readonly write: (json: string) => void;
  readonly read: () => Promise<unknown>;
}

/** Reads a file as an image of 2 × 2 gray pixels. */
const readImage = (path: string) => new ImageReader({ shape: [2, 2, 1], fit: "crop" }, undefined).read(path);

const golden = fileURLToPath(new URL("../golden/huggingface/", import.meta.url));

/** The hostile files to inject, counted from 0. Default: all. */
export interface HostileFilesOptions {
  readonly from?: number;
  readonly to?: number;
  /** Injects every n-th of the files with a replaced value. */
  readonly oneOf?: number;
  /** Called with each name before the file is read, because a reader may hang or end the process. */
  readonly onFile?: (name: string) => void;
}

/** Passes hostile files to their readers. */
export async function injectHostileFiles(options: HostileFilesOptions = {}): Promise<HostileReport> {
  const { from = 0, to, oneOf = 1, onFile = () => {} } = options;
  const folder = mkdtempSync(join(tmpdir(), "stepsize-hostile-"));
  const lost: string[] = [];
  let [injected, refused, read] = [0, 0, 0];
  try {
    const all = (await hostileFiles(folder)).slice(from, to);
    for (const file of all.filter(({ isMutant }, i) => !isMutant || i % oneOf === 0)) {
      injected++;
      onFile(file.name);
      file.put();
      const problem = await file.read().then(
        () => {
          read++;
          return file.verdict === "refused" ? "was read" : undefined;
        },
        (error: unknown) => {
          refused++;
          return file.verdict === "read" ? `was refused: ${error}` : problemWith(error);
        },
      );
      if (problem !== undefined) lost.push(`${file.name}: ${problem}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { injected, refused, read, lost };
}

/** What is wrong with an error, or undefined. */
function problemWith(error: unknown): string | undefined {
  const { name, message, stack } = error as Error;
  if (name !== "StepsizeError" && name !== "UsageError") return `ended in ${stack ?? String(error)}`;
  if (message.length > 2000) return `the message has ${message.length} characters: ${message.slice(0, 100)}`;
  const bare = /[^\P{Cc}\n]|[\u202a-\u202e\u2066-\u2069]/u.exec(message)?.[0];
  return bare === undefined ? undefined : `the message contains ${JSON.stringify(bare)}: ${JSON.stringify(message)}`;
}

/** Creates all hostile files in a folder. */
async function hostileFiles(folder: string): Promise<HostileFile[]> {
  const readers = await jsonReaders(folder);
  return [
    ...readers.flatMap(mutants),
    ...readers.flatMap(brokenJson),
    ...safetensors(folder),
    ...idxFiles(folder),
    ...images(folder),
    ...folders(folder),
    ...special(folder),
  ];
}

const escapes = "\u001b]0;\u0007\u001b[31m\u202e\u009b2J";

/** Replacements for any value of a file. */
const replacements: readonly (readonly [string, string])[] = [
  ["null", "null"],
  ["true", "true"],
  ["0", "0"],
  ["-1", "-1"],
  ["0.5", "0.5"],
  ["2^53", "9007199254740992"],
  ["1e308", "1e308"],
  ["1e999", "1e999"],
  ["an empty text", '""'],
  ["a text", '"x"'],
  ["escape sequences", JSON.stringify(escapes)],
  ["a text of 100,000 characters", JSON.stringify("x".repeat(100_000))],
  ["an empty list", "[]"],
  ["a list of values of all types", '[null, 1, "x", [], {}]'],
  ["a list of lists", "[[[[[[[[[[1]]]]]]]]]]"],
  ["an empty object", "{}"],
  ["an object of objects", '{"a": {"b": {"c": null}}}'],
  ["an object with the names of properties of every object", '{"__proto__": null, "constructor": 1, "toString": 2}'],
  ["no value", ""],
];

/** A file's JSON with each value replaced by each replacement, and each name by a hostile one. */
function mutants({ name, good, write, read }: JsonReader): HostileFile[] {
  return placesIn(good).flatMap((place) =>
    replacements.map(([what, json]) => ({
      name: `${name}: ${place.join(".") || "the whole file"} is ${what}`,
      put: () => write(replaced(good, place, json)),
      read,
      isMutant: true,
      ...(place.length === 0 && json === "" && !name.includes("lines") && { verdict: "refused" as const }),
    })),
  );
}

/** Text that is invalid JSON, or JSON that must not be accepted. */
function brokenJson({ name, good, write, read }: JsonReader): HostileFile[] {
  const text = JSON.stringify(good);
  const nested = "[".repeat(100_000);
  const first = Object.keys(good as object)[0] ?? "x";
  const texts: [string, string, HostileFile["verdict"]?][] = [
    ["cut in the middle", text.slice(0, text.length >>> 1), "refused"],
    ["followed by more text", `${text} x`, "refused"],
    ["100,000 brackets", nested + "]".repeat(100_000), "refused"],
    ["100,000 brackets without an end", nested, "refused"],
    ["100,000 nested objects", '{"a":'.repeat(100_000), "refused"],
    ["NUL bytes", "\0".repeat(1000), "refused"],
    ["a name of a million characters", text.replace("{", `{"${"x".repeat(1_000_000)}": 1,`)],
    ["a name of escape sequences", text.replace("{", `{${JSON.stringify(escapes)}: 1,`)],
    ["100,000 names", text.replace("{", `{${Array.from({ length: 100_000 }, (_, i) => `"n${i}": ${i}`).join(",")},`)],
    ["__proto__", text.replace("{", '{"__proto__": {"polluted": true},')],
  ];
  if (text.startsWith("{"))
    texts.push([
      "a name twice",
      text.replace("{", `{${JSON.stringify(first)}: 1,`),
      name.includes("lines") ? undefined : "refused",
    ]);
  return texts.map(([what, json, verdict]) => ({
    name: `${name}: ${what}`,
    put: () => write(json),
    read,
    // In a study's file, lines that are not records are ignored, whatever they contain.
    ...(verdict && !name.includes("lines") && { verdict }),
  }));
}

type PlaceIn = readonly (string | number)[];

/** The places of values: the whole, then each field and each item. For lists and similar fields, the first two. */
function placesIn(value: unknown, place: PlaceIn = []): PlaceIn[] {
  if (typeof value !== "object" || value === null) return [place];
  const inside: [string | number, unknown][] = Array.isArray(value)
    ? value.slice(0, 2).map((item, i) => [i, item])
    : Object.entries(value).slice(0, areAlike(Object.values(value)) ? 2 : undefined);
  return [place, ...inside.flatMap(([key, item]) => placesIn(item, [...place, key]))];
}

function areAlike(values: readonly unknown[]): boolean {
  return values.every((one) => typeof one === "object") || values.every((one) => typeof one === "string");
}

/** JSON with the value at a place replaced by another text, or removed if the text is empty. */
function replaced(value: unknown, place: PlaceIn, json: string): string {
  const [key, ...rest] = place;
  if (key === undefined) return json;
  const part = (field: string | number, item: unknown) =>
    field === key ? (rest.length > 0 || json !== "" ? replaced(item, rest, json) : undefined) : JSON.stringify(item);
  if (Array.isArray(value)) return `[${value.flatMap((item, i) => part(i, item) ?? []).join(",")}]`;
  const fields = Object.entries(value as object).flatMap(([field, item]) => {
    const text = part(field, item);
    return text === undefined || text === "" ? [] : [`${JSON.stringify(field)}:${text}`];
  });
  return `{${fields.join(",")}}`;
}

async function jsonReaders(folder: string): Promise<JsonReader[]> {
  const device = await openDevice("cpu");
  const at = (...names: string[]) => {
    const path = join(folder, ...names);
    mkdirSync(dirname(path), { recursive: true });
    return path;
  };
  const atPath = (path: string) => (json: string) => writeFileSync(path, json);

  const model = at("model.safetensors");
  const card = {
    format: "stepsize-checkpoint-1",
    step: 3,
    counters: { "": 1 },
    precision: "float32",
    best: { step: 2, metric: "loss", value: 0.5, since: 1 },
    run: { budget: 4, schedule: { name: "constant" } },
    config: { kind: "mlp", inputs: 4, hidden: [3], classes: 2 },
    preprocessing: { shape: [2, 2, 1], dtype: "uint8", scale: 1, mean: [0.1], std: [0.5] },
    classes: ["no", "yes"],
  };
  const built = create(card.config as never, { device });
  const weights = new Map<string, { dtype: "float32"; shape: readonly number[]; data: Float32Array }>();
  for (const [name, tensor] of built.stateDict())
    weights.set(`model.${name}`, {
      dtype: "float32",
      shape: tensor.shape,
      data: (await tensor.read()) as Float32Array,
    });
  await writeSafetensors(model, weights, { stepsize: JSON.stringify(card) });
  const bytes = readFileSync(model);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<string, { data_offsets: number[] }>;
  const data = bytes.subarray(8 + length);
  const withHeader = (path: string) => (json: string) => writeFileSync(path, safetensorsBytes(json, data));
  const withCard = (json: string) => withHeader(model)(JSON.stringify({ ...header, __metadata__: { stepsize: json } }));
  const text = {
    ...card,
    config: { kind: "olmo", vocabulary: 257, context: 4, width: 8, layers: 1, heads: 2, hidden: 8 },
    preprocessing: undefined,
    classes: undefined,
    text: { tokenizer: { kind: "bytes" }, context: 4 },
  };

  const huggingFace = at("olmo");
  cpSync(join(golden, "olmo"), huggingFace, { recursive: true });
  const sharded = at("sharded");
  cpSync(join(golden, "olmo2"), sharded, { recursive: true });
  const index = join(sharded, "model.safetensors.index.json");
  const shards = JSON.parse(readFileSync(index, "utf8"));

  const corpus = at("tokens");
  mkdirSync(corpus);
  writeFileSync(join(corpus, "train.tokens"), Buffer.alloc(40));
  const split = { documents: 1, tokens: 20, bytes: 19, digest: "0".repeat(64) };

  const study = completeStudy({}) as TrainingStudy;
  const [run] = planOf(study, new Map()).flatMap(({ outstanding }) => outstanding);
  const config = at("run", "config.json");
  const [settings, quadratics, shapes] = [at("study.json"), at("quadratics.json"), at("shapes.json")];
  const [lines, state] = [at("runs.jsonl"), at("state.json")];
  return [
    { name: "header of safetensors", good: header, write: withHeader(model), read: () => readSafetensors(model) },
    {
      name: "header of PyTorch weights",
      good: header,
      write: withHeader(model),
      read: () => loadWeights(built as never, model),
    },
    {
      name: "header of a PyTorch optimizer's state",
      good: header,
      write: withHeader(model),
      read: () => loadTorchState(new SGD(built.parameters(), { lr: 0.1, momentum: 0.9 }), model),
    },
    {
      name: "JSON of a checkpoint",
      good: card,
      write: withCard,
      read: async () => {
        await readCheckpoint(model);
        const loaded = await loadModel(model, { device });
        for (const tensor of loaded.model.stateDict().values()) tensor.dispose();
      },
    },
    {
      name: "JSON of a model of text",
      good: JSON.parse(JSON.stringify(text)),
      write: withCard,
      read: () => loadModel(model, { device }),
    },
    {
      name: "config.json of Hugging Face",
      good: JSON.parse(readFileSync(join(huggingFace, "config.json"), "utf8")),
      write: atPath(join(huggingFace, "config.json")),
      read: () => loadHuggingFace(huggingFace, { device }),
    },
    {
      name: "index of Hugging Face",
      good: shards,
      write: atPath(index),
      read: () => loadHuggingFace(sharded, { device }),
    },
    {
      name: "tokens.json",
      good: {
        format: "stepsize-tokens-1",
        name: "numbers",
        tokenizer: { kind: "bytes" },
        vocabulary: 257,
        dtype: "uint16",
        endOfText: 256,
        splits: { train: split },
      },
      write: atPath(join(corpus, "tokens.json")),
      read: () => tokens(corpus, { context: 4 }),
    },
    {
      name: "config.json of a run",
      good: {
        model: "mlp",
        data: "mnist",
        validation: 0.1,
        budget: 5,
        schedule: "uba",
        phi: 2,
        maxLr: 0.1,
        augment: true,
        seed: 0,
        device: "cpu",
      },
      write: atPath(config),
      read: async () => {
        await readConfig(config);
        await runSettingsOf(join(dirname(config), "checkpoints", "step-1.safetensors"));
      },
    },
    {
      name: "study.json",
      good: {
        kind: "training",
        title: "t",
        notes: ["n"],
        models: ["mlp"],
        data: [{ source: "mnist", name: "m" }],
        steps: 20,
        budgets: [0.5, 1],
        optimizers: [{ name: "adamw", weightDecay: 0, uba: { peakLearningRates: [0.1, 0.2], phi: [1, 4] } }],
        schedules: ["uba", { name: "step", milestones: [0.5] }],
        tuningSeeds: [0],
        finalSeeds: [1, 2],
      },
      write: atPath(settings),
      read: () => requestedStudy({ config: settings }, {}),
    },
    {
      name: "study.json of quadratics",
      good: {
        kind: "quadratics",
        budgets: [4, 8],
        conditionNumbers: [10],
        stabilityLimits: [2],
        floors: [0],
        schedules: ["uba"],
      },
      write: atPath(quadratics),
      read: () => requestedStudy({ config: quadratics }, {}),
    },
    { name: "shapes to bench", good: [[2, 3], [4]], write: atPath(shapes), read: () => workloadOfShapes(shapes) },
    {
      name: "lines of runs.jsonl",
      good: JSON.parse(JSON.stringify(recordOf(run!, 1))),
      write: (json) => writeFileSync(lines, `${json}\n`),
      read: () => readRecords(lines),
    },
    {
      name: "state of a study's run",
      good: { losses: [1, 0.5, null], onTheWay: [[1, 0.5, 0.1]], seconds: 3 },
      write: atPath(state),
      read: () => readState(state, 2),
    },
  ];
}

function safetensorsBytes(json: string | Uint8Array, data: Uint8Array): Buffer {
  const header = Buffer.from(json as string);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, data]);
}

/** Safetensors files with a wrong length, a wrong header or wrong data. */
function safetensors(folder: string): HostileFile[] {
  const path = join(folder, "raw.safetensors");
  const entry = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  const file = (name: string, bytes: Uint8Array, verdict: "read" | "refused"): HostileFile => ({
    name: `safetensors: ${name}`,
    put: () => writeFileSync(path, bytes),
    read: () => readSafetensors(path),
    verdict,
  });
  const length = (value: bigint) => {
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64LE(value);
    return bytes;
  };
  const headers: [string, string, "read" | "refused"][] = [
    ["metadata that are null", JSON.stringify({ __metadata__: null, x: entry }), "read"],
    ["a size of 4.0", '{"x": {"dtype": "U8", "shape": [4.0, 2], "data_offsets": [0, 8]}}', "refused"],
    ["an offset of 8.0", '{"x": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8.0]}}', "refused"],
    ["a name twice", `{"x": ${JSON.stringify(entry)}, "x": ${JSON.stringify(entry)}}`, "refused"],
    [
      "100,000 names of the same bytes",
      JSON.stringify(Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [i, entry]))),
      "refused",
    ],
    ["a nested shape", JSON.stringify({ x: { ...entry, shape: [[2]] } }), "refused"],
    ["a nested dtype", JSON.stringify({ x: { ...entry, dtype: ["F32"] } }), "refused"],
    ["nested offsets", JSON.stringify({ x: { ...entry, data_offsets: [[0], [8]] } }), "refused"],
    ["nested metadata", JSON.stringify({ __metadata__: { a: { b: "c" } }, x: entry }), "refused"],
    ["a header of a number", "8", "refused"],
  ];
  return [
    ...headers.map(([name, json, verdict]) => file(name, safetensorsBytes(json, Buffer.alloc(8)), verdict)),
    ...[0n, 1n, 9n, 100_000_000n, 100_000_001n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n].map((value) =>
      file(`a header length of ${value}`, length(value), "refused"),
    ),
    file("no bytes", new Uint8Array(0), "refused"),
    file("seven bytes", new Uint8Array(7), "refused"),
  ];
}

function idxFiles(folder: string): HostileFile[] {
  const path = join(folder, "file.idx");
  const read = () => readIdx(path);
  const header = (code: number, sizes: readonly number[]) => {
    const bytes = Buffer.alloc(4 + 4 * sizes.length);
    bytes[2] = code;
    bytes[3] = sizes.length;
    sizes.forEach((size, i) => {
      bytes.writeUInt32BE(size, 4 + 4 * i);
    });
    return bytes;
  };
  const maxSize = 2 ** 32 - 1;
  const zeros = Buffer.alloc(2 ** 26);
  const files: [string, Uint8Array, "read" | "refused"][] = [
    ["a gzip bomb behind a header of 64 bytes", gzipSync(Buffer.concat([header(8, [64]), zeros])), "refused"],
    ["a gzip bomb without a header", gzipSync(zeros), "refused"],
    ["a gzip file whose header needs more bytes than gzip can hold", gzipSync(header(8, [maxSize, 1])), "refused"],
    ["a gzip file of two parts", Buffer.concat([gzipSync(header(8, [2])), gzipSync(Buffer.of(1, 2))]), "read"],
    ["gzip in gzip", gzipSync(gzipSync(idxBytes("uint8", [2], [1, 2]))), "refused"],
    ["a header for 2^32 − 1 bytes", header(8, [maxSize]), "refused"],
    ["255 huge sizes", header(14, new Array(255).fill(maxSize)), "refused"],
    ["no data, 254 huge sizes and a zero", header(14, [...new Array(254).fill(maxSize), 0]), "read"],
    ["255 sizes of 1", Buffer.concat([header(8, new Array(255).fill(1)), Buffer.of(7)]), "read"],
  ];
  // Each byte of a header is set to its extremes.
  const good = Buffer.from(idxBytes("int16", [2, 3], [1, 2, 3, 4, 5, 6]));
  for (let at = 0; at < 12; at++)
    for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
      if (good[at] === value) continue;
      const bytes = Buffer.from(good);
      bytes[at] = value;
      files.push([`byte ${at} is ${value}`, bytes, "refused"]);
    }
  return files.map(([name, bytes, verdict]) => ({
    name: `IDX: ${name}`,
    put: () => writeFileSync(path, bytes),
    read,
    verdict,
  }));
}

function images(folder: string): HostileFile[] {
  const files: [string, string | Uint8Array][] = [
    ["P5 of 65535²", "P5 65535 65535 255\n"],
    ["P6 of 65535² with two bytes per value", "P6 65535 65535 65535\n"],
    ["P2 of 65535²", "P2 65535 65535 255\n0 "],
    ["P3 of 65535²", "P3 65535 65535 255\n"],
    ["a width of a million digits", `P5 ${"9".repeat(1_000_000)} 2 255\n`],
    ["a comment of a million characters", `P5 #${"x".repeat(1_000_000)}\n2 2 255\n....`],
    ["100,000 values", `P2 2 2 255\n${"1 ".repeat(100_000)}`],
    ["escape sequences for a width", `P5 ${escapes} 2 255\n....`],
    ["too few values", "P2 2 2 255 1 2 3"],
    ["a maximum of 0", "P5 2 2 0 ...."],
    ["a header alone", "P5"],
    ["nothing", ""],
    ["gzip alone", Buffer.of(0x1f, 0x8b)],
  ];
  const path = join(folder, "image.pnm");
  return files.map(([name, bytes]) => ({
    name: `image: ${name}`,
    put: () => writeFileSync(path, bytes),
    read: () => readImage(path),
    verdict: "refused",
  }));
}

/** Folders of data that contain an error. */
function folders(folder: string): HostileFile[] {
  const [cifar, mnist, texts, out] = ["cifar", "mnist", "texts", "out"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
    string,
  ];
  const fresh = (path: string, files: Record<string, string | Uint8Array>) => () => {
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path);
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(path, name), bytes);
  };
  const record = Buffer.alloc(3073);
  const readCifar = () => cifar10(cifar, { split: "test" });
  const readMnist = () => idx(mnist);
  const cifarFiles: [string, Record<string, string | Uint8Array>, "read" | "refused"][] = [
    ["a label of 255", { "test_batch.bin": Buffer.from(record).fill(255, 0, 1) }, "refused"],
    ["half a record", { "test_batch.bin": record.subarray(0, 1000) }, "refused"],
    ["an empty file", { "test_batch.bin": "" }, "refused"],
    ["names of ten megabytes", { "test_batch.bin": record, "batches.meta.txt": "x\n".repeat(5_000_000) }, "refused"],
    ["names of escape sequences", { "test_batch.bin": record, "batches.meta.txt": `${escapes}\n`.repeat(10) }, "read"],
  ];
  const images = idxBytes("uint8", [2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8]);
  const mnistFiles: [string, Record<string, Uint8Array>][] = [
    ["labels of floats", { "train-labels-idx1-ubyte": idxBytes("float32", [2], [0, Number.NaN]) }],
    ["labels for other images", { "train-labels-idx1-ubyte": idxBytes("uint8", [3], [0, 1, 2]) }],
    ["labels of two dimensions", { "train-labels-idx1-ubyte": idxBytes("uint8", [2, 1], [0, 1]) }],
    ["a label that is no class", { "train-labels-idx1-ubyte": idxBytes("uint8", [2], [0, 255]) }],
    ["images without pixels", { "train-images-idx3-ubyte": idxBytes("uint8", [2, 0, 2], []) }],
  ];
  const good = { "train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": idxBytes("uint8", [2], [0, 1]) };
  const skipped: string[] = [];
  const linked = (put: () => void, link: string, to: string) => () => {
    put();
    symlinkSync(to, join(texts, link));
    rmSync(out, { recursive: true, force: true });
    skipped.length = 0;
  };
  const three = fresh(texts, { "a.txt": "one", "b.txt": "two", "c.txt": "three" });
  const readTexts = async () => {
    const made = await tokenize([texts], { out, onSkip: (path) => skipped.push(basename(path)) });
    if (Object.values(made.splits).reduce((sum, { documents }) => sum + documents, 0) !== 3)
      throw new Error("not three documents");
    if (skipped.length !== 1) throw new Error(`skipped ${skipped}`);
  };
  return [
    ...cifarFiles.map(
      ([name, files, verdict]): HostileFile => ({
        name: `CIFAR: ${name}`,
        put: fresh(cifar, files),
        read: readCifar,
        verdict,
      }),
    ),
    ...mnistFiles.map(
      ([name, files]): HostileFile => ({
        name: `MNIST: ${name}`,
        put: fresh(mnist, { ...good, ...files }),
        read: readMnist,
        verdict: "refused",
      }),
    ),
    ...[
      ["a link that leads nowhere", join(folder, "not", "there.txt")],
      ["a link to itself", join(texts, "link.txt")],
    ].map(
      ([name, to]): HostileFile => ({
        name: `texts: ${name}`,
        put: linked(three, "link.txt", to as string),
        read: readTexts,
        verdict: "read",
      }),
    ),
    {
      name: "texts: invalid UTF-8",
      put: () => {
        fresh(texts, { "a.txt": Buffer.of(0xff, 0x1b), "b.txt": "x", "c.txt": "y" })();
        rmSync(out, { recursive: true, force: true });
      },
      read: () => tokenize([texts], { out }),
      verdict: "refused",
    },
  ];
}

/** Paths that are not files. Every reader must refuse them without waiting. */
function special(folder: string): HostileFile[] {
  const path = join(folder, "special.json");
  const kinds: [string, () => void][] = [
    ["a folder", () => mkdirSync(path)],
    ["a pipe without a writer", () => void execFileSync("mkfifo", [path])],
    ["an endless device", () => symlinkSync("/dev/zero", path)],
    ["a terminal's device", () => symlinkSync("/dev/ptmx", path)],
    ["a link that leads nowhere", () => symlinkSync(join(folder, "nowhere"), path)],
    ["a link to itself", () => symlinkSync(path, path)],
  ];
  const readers: [string, () => Promise<unknown>][] = [
    ["safetensors", () => readSafetensors(path)],
    ["IDX", () => readIdx(path)],
    ["an image", () => readImage(path)],
    ["a run's settings", () => readConfig(path)],
    ["a study's settings", () => requestedStudy({ config: path }, {})],
    ["shapes", () => workloadOfShapes(path)],
    ["the state of a run", () => readState(path, 1)],
    ["a bare file of tokens", () => tokens(path, { context: 2, dtype: "uint16", vocabulary: 9 })],
    ["a text", () => tokenize([path], { out: join(folder, "out-of-special") })],
  ];
  return kinds.flatMap(([kind, make]) =>
    readers.map(([reader, read]) => ({
      name: `${reader}: ${kind}`,
      put: () => {
        rmSync(path, { recursive: true, force: true });
        make();
      },
      read,
      verdict: "refused" as const,
    })),
  );
}
