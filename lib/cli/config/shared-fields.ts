import { z } from "zod";
import { isSource, sourcesInWords } from "../../tasks/index.js";
import { help, numberField } from "./fields.js";

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
