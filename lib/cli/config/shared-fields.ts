import { existsSync } from "node:fs";
import { extname, join } from "node:path";
import { z } from "zod";
import { nearest } from "../../nearest.js";
import { shown } from "../../quoting.js";
import {
  defaultContext,
  isSource,
  parseSource,
  type ReadOption,
  sourceKinds,
  sourcesInWords,
} from "../../tasks/index.js";
import { choiceField, help, numberField } from "./fields.js";
import { tableFields } from "./table-fields.js";

/** The field for a data set, such as `mnist` or `images:<dir>`. */
export const dataField: z.ZodType<string> = z
  .string()
  .refine(isSource)
  .register(help, {
    kind: "text",
    placeholder: "<source>",
    expected: sourcesInWords,
    description: `data: ${sourcesInWords}`,
    fallback: "mnist",
    hint: meantSource,
  });

/**
 * Returns the folder of `hf:<dir>`, which names a model or a tokenizer in the layout of Hugging Face's transformers;
 * `undefined` for another name.
 */
export function huggingFaceFolder(name: string): string | undefined {
  return name.startsWith("hf:") && name.length > 3 ? name.slice(3) : undefined;
}

/** Returns the source that was probably meant by another text, as the end of an error message. */
function meantSource(value: unknown): string {
  if (typeof value !== "string" || value === "") return "";
  const ending = extname(value).toLowerCase();
  if ([".csv", ".tsv"].includes(ending)) return `; for a table: csv:${shown(value)}`;
  if ([".parquet", ".pq"].includes(ending)) return `; for a table: parquet:${shown(value)}`;
  if ([".txt", ".md"].includes(ending)) return `; for a text: stepsize tokenize ${shown(value)}, then tokens:<dir>`;
  if (existsSync(join(value, "tokens.json"))) return `; for a folder of stepsize tokenize: tokens:${shown(value)}`;
  // Only a folder has this entry. `join` would remove it.
  if (existsSync(`${value}/.`)) return `; for a folder of pictures: images:${shown(value)}`;
  const { kind, place } = parseSource(value);
  const near = nearest(kind, sourceKinds);
  if (near === undefined || near === kind) return "";
  return `; did you mean ${near}${place === undefined ? "" : `:${shown(place)}`}?`;
}

/** The field for a device, as `openDevice` takes it. */
export const deviceField: z.ZodType<string> = z.string().regex(/^(auto|cpu|cuda(:(\d+|emulated))?)$/);
deviceField.register(help, {
  kind: "text",
  placeholder: "<name>",
  expected: "auto, cpu, cuda or cuda:<number>",
  description: "device: auto, cpu, cuda, cuda:1, …",
  fallback: "auto: the first GPU; the CPU if there is none or with --threads",
});

/** The field for the number of threads that CPU kernels use. */
export const threadsField = numberField(z.int().min(1), "a whole number of at least 1", "threads for kernels", {
  fallback: "all CPUs available to the process",
});

/** The fields of how data are read. Each kind of data takes some of them. */
export const readFields = {
  classes: numberField(z.int().min(1).max(65_536), "a whole number from 1 to 65536", "number of classes of idx:<dir>", {
    fallback: "10",
  }),
  context: numberField(z.int().min(1), "a whole number of at least 1", "tokens per window of tokens:<dir>", {
    fallback: String(defaultContext),
  }),
  size: z
    .string()
    .regex(/^[1-9]\d{0,4}(x[1-9]\d{0,4})?$/)
    .register(help, {
      kind: "text",
      placeholder: "<n|WxH>",
      expected: "pixels per side, such as 64, or width x height, such as 96x64",
      description: "size to which images of images:<dir> are resized, in pixels",
      fallback: "64",
    }),
  fit: choiceField(["crop", "letterbox"], "how images:<dir> with other proportions fit the size", {
    fallback: "crop",
  }),
  channels: numberField(z.literal([1, 3]), "1 or 3", "decode images:<dir> as gray (1) or in color (3)", {
    placeholder: "<1|3>",
    fallback: "3",
  }),
  onError: choiceField(["stop", "skip"], "what to do with files of images:<dir> that are no readable image", {
    fallback: "stop, with a list of them",
  }),
  ...tableFields,
} satisfies Record<ReadOption, z.ZodType>;
