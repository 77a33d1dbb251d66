import { basename, resolve } from "node:path";
import { z } from "zod";
import { type ArrayDataset, cifar10, idx, mnist, type Split } from "../data/index.js";
import { help } from "./fields.js";

const pattern = /^(mnist|(idx|cifar10):.+)$/;

/** The field that names a data set. */
export const dataField: z.ZodType<string> = z.string().regex(pattern).register(help, {
  kind: "text",
  placeholder: "<source>",
  expected: "mnist, idx:<dir> or cifar10:<dir>",
  description: "data: mnist, idx:<dir> or cifar10:<dir>",
  fallback: "mnist",
});

/** The source with its folder's full path, so that a run can be resumed from another working directory. */
export function resolveData(source: string): string {
  const { kind, dir } = parse(source);
  return dir === undefined ? kind : `${kind}:${resolve(dir)}`;
}

/**
 * Loads a split of a data set.
 * @param classes number or names of the classes of an IDX folder; default 10
 */
export function loadData(source: string, split: Split, classes?: number | readonly string[]): Promise<ArrayDataset> {
  const { kind, dir = "" } = parse(source);
  if (kind === "mnist") return mnist({ split });
  if (kind === "cifar10") return cifar10(dir, { split });
  // The folder's own name only: a run can be resumed after its data were moved.
  return idx(dir, { split, name: `${basename(resolve(dir))} (${split})`, ...(classes !== undefined && { classes }) });
}

/** Whether mirrored images are images of the same class. */
export function mayFlip(source: string): boolean {
  return parse(source).kind === "cifar10";
}

function parse(source: string): { kind: string; dir?: string } {
  const colon = source.indexOf(":");
  return colon < 0 ? { kind: source } : { kind: source.slice(0, colon), dir: source.slice(colon + 1) };
}
