import { allocate } from "../allocate.js";
import { StepsizeError } from "../errors.js";
import type { StepLayout } from "../native/addon.js";
import type { Device, TypedArray } from "../native/index.js";
import { Tensor } from "../tensor/index.js";
import { isCustom, type LearningRate, rowsOf } from "./options.js";

/** The hyperparameters of one group at one step. `Hyper` in `native/update/scalars.h` has the same fields. */
export type Hyper = {
  readonly learningRate: number;
  readonly weightDecay?: number;
  readonly decoupledDecay?: boolean;
  readonly maximize?: boolean;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  readonly momentum?: number;
  readonly dampening?: number;
  readonly nesterov?: boolean;
  readonly biasCorrection?: boolean;
};

/** Returns hyperparameters as numbers in the order of `names`. A missing field is 0. */
export function hyperRow(names: readonly string[], hyper: Hyper): number[] {
  const fields: Readonly<Record<string, number | boolean>> = hyper;
  return names.map((name) => Number(fields[name] ?? 0));
}

/** A parameter group, as far as its hyperparameters are concerned. */
export interface HyperGroup {
  readonly lr: LearningRate;
  /** Returns the hyperparameters at a step. */
  readonly at: (step: number) => Hyper;
}

/**
 * The hyperparameters of all groups on the device. They are one row per group, which the host uploads when a value
 * changes, or a table of the values that a schedule changes, with a row per step and group, which the device reads by
 * its own count of steps.
 */
export class HyperRows {
  /** Float64 [groups, fields]. */
  readonly rows: Tensor;
  readonly #device: Device;
  readonly #layout: StepLayout;
  readonly #groups: readonly HyperGroup[];
  /** The values last uploaded to `rows`. They are uploaded again only when they change. */
  #uploaded: Float64Array | undefined;
  #table: Tensor | undefined;
  /** The values of `#table`. */
  #tabulated = new Float64Array();

  constructor(device: Device, groups: readonly HyperGroup[]) {
    this.#device = device;
    this.#layout = device.stepLayout;
    this.#groups = groups;
    const shape = [groups.length, this.#layout.hyper.length];
    this.rows = new Tensor(device, device.native.create("float64", shape)).keep();
  }

  /** Float64 [steps, groups, fields]; `undefined` before {@link tabulate}. */
  get table(): Tensor | undefined {
    return this.#table;
  }

  /** Number of steps that the learning rates plan, 1 without a schedule; `undefined` if a function has no budget. */
  get plannedSteps(): number | undefined {
    const rows = this.#groups.map(({ lr }) => rowsOf(lr));
    const known = rows.filter((count) => count !== undefined);
    return known.length === rows.length ? Math.max(...known) : undefined;
  }

  /**
   * Returns the rows of a step.
   *
   * @param step index of the step; `undefined` if the host does not know it, because all rates are constant
   * @throws StepsizeError `invalid-argument` if a schedule returns anything but a finite number ≥ 0
   */
  at(step: number | undefined): Float64Array {
    // With a table, the device reads the values that change from the table.
    const index = this.#table ? 0 : (step ?? 0);
    return Float64Array.from(this.#groups.flatMap(({ at }) => hyperRow(this.#layout.hyper, at(index))));
  }

  /** Whether these rows were uploaded last. */
  isUploaded(rows: Float64Array): boolean {
    return sameValues(rows, this.#uploaded);
  }

  /** Uploads the rows of a step if they differ from those on the device. */
  upload(rows: Float64Array): void {
    if (!this.isUploaded(rows)) this.rows.write(rows);
    this.#uploaded = rows;
  }

  /**
   * Uploads a table of the steps 0 to `steps` − 1.
   *
   * @throws StepsizeError `unsupported` if a schedule changes a field that is not in the table; `invalid-argument` if it
   * returns anything but a finite number ≥ 0; `out-of-memory`
   */
  tabulate(steps: number): void {
    const groups = this.#groups.map(({ at }) => ({ at, first: at(0) }));
    const { length: fields } = this.#layout.scheduled;
    const shape = [steps, groups.length, fields];
    const values = allocate("steps: the table of the schedule", () => new Float64Array(steps * groups.length * fields));
    let offset = 0;
    for (let step = 0; step < steps; step++)
      for (const { at, first } of groups) {
        values.set(this.#scheduledRow(first, at(step)), offset);
        offset += fields;
      }
    this.#tabulated = values;
    this.#table?.dispose();
    this.#table = new Tensor(this.#device, this.#device.native.create("float64", shape, values)).keep();
    this.#uploaded = this.at(0);
    this.rows.write(this.#uploaded);
  }

  /**
   * Checks that custom learning rates still return what the table contains, because the device uses the table.
   *
   * @param step index of the next step; `undefined` if the host does not know it
   * @throws StepsizeError `invalid-state` otherwise
   */
  expectTabulated(step: number | undefined): void {
    if (!this.#table || step === undefined) return;
    const fields = this.#layout.scheduled.length;
    const steps = this.#tabulated.length / (this.#groups.length * fields);
    for (const [g, { lr, at }] of this.#groups.entries()) {
      if (!isCustom(lr)) continue;
      const offset = (Math.min(step, steps - 1) * this.#groups.length + g) * fields;
      const tabulated = this.#tabulated.subarray(offset, offset + fields);
      const hyper = at(step);
      if (sameValues(Float64Array.from(this.#scheduledRow(hyper, hyper)), tabulated)) continue;
      throw new StepsizeError(
        "invalid-state",
        `step: at step ${step} the learning rate is ${hyper.learningRate}, but tabulate(${steps}) noted ${tabulated[0]}.` +
          " A function must give the same rate for a step whenever it is asked, and be tabulated for as many steps as are made",
      );
    }
  }

  /** Returns a row of the table. Throws `unsupported` if a field that is not in the table differs from step 0. */
  #scheduledRow(first: Hyper, hyper: Hyper): number[] {
    const { hyper: names, scheduled } = this.#layout;
    const [before, now] = [hyperRow(names, first), hyperRow(names, hyper)];
    for (const [i, name] of names.entries())
      if (before[i] !== now[i] && !scheduled.includes(name))
        throw new StepsizeError("unsupported", `tabulate: ${name} changes from step to step`);
    return hyperRow(scheduled, hyper);
  }

  /** Frees the memory of the rows and the table. */
  dispose(): void {
    this.rows.dispose();
    this.#table?.dispose();
  }
}

function sameValues(a: TypedArray, b: TypedArray | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((value, i) => value === b[i]);
}
