// What the process of a group is asked, and what it answers: lines of JSON in its file descriptor 3.
import { join } from "node:path";
import { packageRoot } from "../package-root.js";
import type { Finding, Json } from "./report.js";

/** The only argument of the process, as JSON. */
export interface GroupRequest {
  readonly device: string;
  readonly stage: string;
  readonly group: string;
  readonly cases: readonly string[];
}

/** A line of the process. */
export type GroupEvent =
  /** The device could not be opened. The process ends. */
  | { readonly event: "refused"; readonly message: string }
  | { readonly event: "opened"; readonly name: string; readonly facts: Readonly<Record<string, string>> }
  | { readonly event: "started"; readonly name: string }
  | { readonly event: "measured"; readonly name: string; readonly figures: Readonly<Record<string, Json>> }
  | { readonly event: "ended"; readonly name: string; readonly milliseconds: number; readonly finding: Finding };

/** The file descriptor of the answers. Standard output and standard error may have text of other programs. */
export const answerDescriptor = 3;

/** The program of the process. The file has the same place in a clone and in the published package. */
export const groupProgram: string = join(packageRoot, "dist", "check", "child.js");
