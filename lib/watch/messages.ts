// The messages between the server and the page. Both sides import only the types.

/** How a run stands. */
export type RunState =
  /** A process trains in its folder. */
  | "running"
  | "finished"
  /** It was ended by a signal and can be resumed. */
  | "interrupted"
  /** A loss or a gradient was not finite. */
  | "diverged"
  | "failed"
  /** No process trains in its folder, and none wrote how it ended. */
  | "stopped"
  /** It has no records yet. */
  | "new";

/** An evaluation during a run. */
export interface EvaluationPoint {
  readonly step: number;
  readonly split: string;
  readonly loss: number | null;
  readonly accuracy: number | null;
}

/** A row of the table of runs. */
export interface RunRow {
  readonly id: number;
  /** Path of the run's folder below the watched one. */
  readonly name: string;
  readonly state: RunState;
  /** The error of a failed run. */
  readonly error: string | null;
  /** The settings in `config.json`, as text. */
  readonly settings: Readonly<Record<string, string>>;
  readonly budget: number | null;
  readonly steps: number;
  /** Training time in seconds. */
  readonly seconds: number | null;
  readonly loss: number | null;
  readonly learningRate: number | null;
  readonly itemsPerSecond: number | null;
  readonly evaluation: EvaluationPoint | null;
  readonly testLoss: number | null;
  readonly testAccuracy: number | null;
  /** When the run began, in milliseconds since 1970. */
  readonly began: number;
  /** Increases with every change of the curves. */
  readonly version: number;
  /** Version of the predictions of each split; absent if there are none. */
  readonly predictions: Readonly<Record<string, number>>;
  /** Version of the samples of text; 0 if there are none. */
  readonly samples: number;
  readonly hasReport: boolean;
}

/** A row of the table of studies. */
export interface StudyRow {
  readonly id: number;
  readonly name: string;
  readonly isRunning: boolean;
  /** Number of finished runs. */
  readonly runs: number;
  readonly version: number;
}

/** Everything that the page lists. */
export interface FolderMessage {
  /** Identifies the process of the server. Ids of runs are valid only for it. */
  readonly server: string;
  /** Whether this is the first message of a connection: what it does not have is gone, or not read yet. */
  readonly isFirst: boolean;
  readonly folder: string;
  /** Whether the folder exists. */
  readonly exists: boolean;
  /** Number of runs whose records are not read yet. */
  readonly waiting: number;
  readonly runs: readonly RunRow[];
  readonly studies: readonly StudyRow[];
  /** Ids of runs and studies whose folders are gone. */
  readonly removed: readonly number[];
}

/** The values of a field per bucket; `null` if a bucket has none. */
export interface CurveField {
  readonly mean: readonly (number | null)[];
  readonly min?: readonly (number | null)[];
  readonly max?: readonly (number | null)[];
}

/** Curves of one run. The bucket i has the steps from `(from + i) · width`. */
export interface Curve {
  readonly width: number;
  readonly from: number;
  /** The last step of the run. */
  readonly lastStep: number;
  /** Training time at the end of each bucket, in seconds. */
  readonly seconds: readonly (number | null)[];
  readonly fields: Readonly<Record<string, CurveField>>;
}

/** A part of the answer to a request for curves. */
export interface RunCurves extends Curve {
  readonly id: number;
  /** Increases when the records were written again. */
  readonly generation: number;
  /** Version of the curves; see {@link RunRow.version}. */
  readonly version: number;
  readonly evaluations: readonly EvaluationPoint[];
}

/** A run of a study. */
export interface StudyCurve {
  readonly group: string;
  readonly schedule: string;
  readonly purpose: "tuning" | "final";
  readonly seed: number;
  readonly status: string;
  readonly validationLoss: number | null;
  readonly validationAccuracy: number | null;
  readonly step: readonly number[];
  readonly loss: readonly (number | null)[];
  readonly learningRate: readonly (number | null)[];
  /** Steps done and loss of evaluations on the way. */
  readonly onTheWay: readonly (readonly [number, number])[];
}
