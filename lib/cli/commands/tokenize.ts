import { parse } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import {
  readTokenizer,
  specOf,
  type TokenFolder,
  type TokenizeProgress,
  tokenize,
  tokenizerName,
  tokenizerNames,
  tokenSplits,
} from "../../data/index.js";
import { addFlags, addJson, check, type Fields, fromFlags, help, numberField } from "../config/fields.js";
import { huggingFaceFolder } from "../config/shared-fields.js";
import { Interrupted, UsageError } from "../failure.js";
import { Interrupts } from "../interrupts.js";
import { CountProgress } from "../output/count-progress.js";
import { print, printJson, tell } from "../output/terminal.js";
import { count, flagOf, some, table } from "../output/text.js";

const share = z.number().min(0).lt(1);

const fields = {
  out: z.string().min(1).register(help, {
    kind: "text",
    placeholder: "<dir>",
    expected: "the path of a folder to create",
    description: "folder to create; it must not exist or must be empty",
    fallback: "the name of a single file without its ending",
  }),
  tokenizer: z
    .string()
    .refine((name) => tokenizerNames.includes(name) || huggingFaceFolder(name) !== undefined)
    .register(help, {
      kind: "text",
      placeholder: "<name>",
      expected: `one of ${tokenizerNames.join(", ")}, or hf:<dir>`,
      description: `tokenizer: ${tokenizerNames.join(", ")}, or hf:<dir> for the tokenizer.json in a folder`,
      choices: tokenizerNames,
      fallback: "bytes",
    }),
  validation: numberField(
    share,
    "a number from 0 to below 1",
    "share of the documents for validation, or of each if there are fewer than splits",
    {
      placeholder: "<x>",
      fallback: "0.05",
    },
  ),
  test: numberField(
    share,
    "a number from 0 to below 1",
    "share of the documents for testing, or of each if there are fewer than splits",
    {
      placeholder: "<x>",
      fallback: "0.05",
    },
  ),
  seed: numberField(z.int().min(0), "a whole number of at least 0", "seed of the random split", {
    fallback: "0",
  }),
} satisfies Fields;

/** Adds the options and the action of `tokenize`. */
export function defineTokenize(command: Command): void {
  addFlags(command, fields);
  addJson(command)
    .addHelpText(
      "after",
      `
A path is a text file or a folder. From a folder, the command takes all .txt and
.md files, sorted, including those of subfolders. Each file is one document of
UTF-8 text, and is assigned to a split at random. One or two documents are cut
instead: the first 90 % are for training, the next 5 % for validation, the last
5 % for testing. gpt2, cl100k_base and o200k_base need the package
gpt-tokenizer: npm install gpt-tokenizer

Examples:
  stepsize tokenize book.txt
  stepsize tokenize path/to/texts --out tokens
  stepsize tokenize path/to/texts --out tokens-gpt2 --tokenizer gpt2 \\
    --validation 0.1
  stepsize tokenize path/to/texts --out tokens-olmo \\
    --tokenizer hf:path/to/OLMo-2-0425-1B
  stepsize train --data tokens:book`,
    )
    .action(tokenizeCommand);
}

async function tokenizeCommand(paths: readonly string[], flags: Record<string, unknown>): Promise<void> {
  const values = check(fields, fromFlags(fields, flags), flagOf);
  const { out = defaultOut(paths), tokenizer = "bytes", ...rest } = values;
  if (paths.length === 0) throw new UsageError("path: expected at least one folder or text file, got none");
  if (out === undefined) throw new UsageError("--out: expected the path of a folder to create, got none");
  const hfFolder = huggingFaceFolder(tokenizer);
  const spec = hfFolder === undefined ? specOf(tokenizer) : await readTokenizer(hfFolder);
  const interrupts = new Interrupts();
  const progress = await CountProgress.start("document");
  let folder: TokenFolder;
  try {
    const onProgress = ({ documents, allDocuments, bytes, allBytes, tokens }: TokenizeProgress) =>
      progress.at(documents, allDocuments, bytes / allBytes, `${some(tokens, "token")}  `);
    const onSkip = (path: string, reason: string) => progress.note(`skipping ${path}: ${reason}`);
    const { signal } = interrupts;
    folder = await tokenize(paths, { ...rest, out, tokenizer: spec, onProgress, onSkip, signal });
    interrupts.checkStray();
  } catch (error) {
    throw error instanceof Interrupted ? new Interrupted("interrupted; nothing was written") : error;
  } finally {
    progress.close();
    interrupts.close();
  }
  (flags["json"] ? tell : print)(summary(out, folder));
  if (flags["json"]) printJson({ out, ...folder });
}

/** Returns the folder for a single file that has an ending: its name without it, in the working directory. */
function defaultOut([path = "", ...more]: readonly string[]): string | undefined {
  const { name, ext } = parse(path);
  return more.length > 0 || ext === "" || name === "" ? undefined : name;
}

function summary(out: string, { tokenizer, vocabulary, dtype, splits }: TokenFolder): string {
  const rows = tokenSplits.flatMap((split) => {
    const part = splits[split];
    return part ? [[split, ...[part.documents, part.tokens, part.bytes].map(count), ratio(part)]] : [];
  });
  const parts = Object.values(splits);
  const sum = (field: "documents" | "tokens" | "bytes") => parts.reduce((total, part) => total + part[field], 0);
  const all = { documents: sum("documents"), tokens: sum("tokens"), bytes: sum("bytes") };
  const total = ["all", ...[all.documents, all.tokens, all.bytes].map(count), ratio(all)];
  const head = ["split", "documents", "tokens", "bytes of text", "bytes per token"];
  const lead = `${out}: ${tokenizerName(tokenizer)}, ${count(vocabulary)} ids as ${dtype}`;
  return `${lead}\n\n${table([head, ...rows, total], [1, 2, 3, 4])}`;
}

function ratio({ bytes, tokens }: { readonly bytes: number; readonly tokens: number }): string {
  return (bytes / tokens).toFixed(2);
}
