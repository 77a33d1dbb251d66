import { z } from "zod";
import { defaultTestShare } from "../../data/csv.js";
import type { TableReadOptions } from "../../tasks/index.js";
import { type FieldHelp, help } from "./fields.js";

const group = "Options of tables:";
const names: z.ZodType<readonly string[]> = z.array(z.string().min(1)).min(1);

function textHelp(placeholder: string, expected: string, description: string, fallback?: string): FieldHelp {
  return { kind: "text", placeholder, expected, description, group, ...(fallback !== undefined && { fallback }) };
}

function wordsHelp(expected: string, description: string, fallback: string): FieldHelp {
  return { kind: "words", placeholder: "<name,…>", expected, description, group, fallback };
}

/** The fields of how a table is read: its columns, its division and the marks in its file. */
export const tableFields = {
  target: z
    .string()
    .min(1)
    .register(help, textHelp("<name>", "the name of a column", "column to predict of csv:<file> or parquet:<file>")),
  task: z.literal(["regression", "classification"]).register(help, {
    ...textHelp("<regression|classification>", "regression or classification", "kind of the target", "from its values"),
    choices: ["regression", "classification"],
  }),
  categories: names
    .clone()
    .register(help, wordsHelp("names of columns", "columns of numbers that name categories", "columns of texts only")),
  ignore: names.clone().register(help, wordsHelp("names of columns", "columns that are no inputs", "none")),
  missing: names.clone().register(help, {
    ...wordsHelp("words", "words that mark a missing value", "empty cells, NA, N/A, NaN, null"),
    placeholder: "<word,…>",
  }),
  test: z
    .number()
    .gt(0)
    .lt(1)
    .register(help, {
      kind: "number",
      placeholder: "<x>",
      expected: "a number above 0 and below 1",
      description: "share of the rows held back for testing",
      group,
      fallback: String(defaultTestShare),
    }),
  testData: z
    .string()
    .min(1)
    .register(help, textHelp("<file>", "the path of a file", "file with the rows for testing", "rows of the data")),
  separator: z
    .string()
    .regex(/^[^"\r\n]{1,8}$/)
    .register(
      help,
      textHelp("<text>", "a text of 1 to 8 characters, or tab", "text between two cells", "from the first line"),
    ),
  decimal: z.literal([".", ","]).register(help, textHelp("<mark>", '"." or ","', "decimal mark", ".")),
  thousands: z
    .string()
    .regex(/^[^\d+-]$/)
    .register(help, textHelp("<mark>", "one character", "mark between groups of three digits", "none")),
} satisfies Record<keyof TableReadOptions, z.ZodType>;
