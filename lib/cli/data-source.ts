import { z } from "zod";
import { isSource, sourcesInWords } from "../tasks/index.js";
import { help } from "./fields.js";

/** The field that names a data set. */
export const dataField: z.ZodType<string> = z
  .string()
  .refine(isSource)
  .register(help, {
    kind: "text",
    placeholder: "<source>",
    expected: sourcesInWords,
    description: `data: ${sourcesInWords}`,
    fallback: "mnist",
  });
