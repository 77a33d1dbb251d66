import { z } from "zod";
import { isSource, sourcesInWords } from "../../tasks/index.js";
import { help } from "./fields.js";

/** The field for a data set: `mnist`, `idx:<dir>`, `cifar10:<dir>` or `tokens:<dir>`. */
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
