import type { Device } from "../native/index.js";
import { execute, Tensor, tensor } from "../tensor/index.js";

/**
 * Numbers that captured work leaves behind, a row for each replay, in a ring on the device: the host reads many replays'
 * rows at once instead of each one's as it comes.
 */
export class MetricsRing {
  /** Rows in the ring: so many replays may follow one another before they are read. */
  static readonly rows = 16;
  readonly #ring: Tensor;
  /** Rows written, as the device counts them: a replay gets nothing from the host. */
  readonly #count: Tensor;
  #written = 0;
  #read = 0;

  /** @param columns numbers in a row */
  constructor(device: Device, columns: number) {
    this.#ring = new Tensor(device, device.native.create("float64", [MetricsRing.rows, columns])).keep();
    this.#count = tensor(device, Int32Array.of(0), []).keep();
  }

  /** Enqueues the writing of a row, part after part, of any types. */
  write(parts: readonly Tensor[]): void {
    let column = 0;
    for (const [i, part] of parts.entries()) {
      execute("writeRow", [this.#ring, this.#count, part], { column, last: i === parts.length - 1 });
      column += part.size;
    }
  }

  /** Counts a row that the device was told to write. */
  wrote(): void {
    this.#written++;
  }

  /** Rows that were not read yet. */
  get unread(): number {
    return this.#written - this.#read;
  }

  /**
   * The rows since the last call, the oldest first, when they are written. Rejects with the error of what was to be
   * written in any of them; the rows written so far are then forgotten, and the ring goes on.
   */
  async read(): Promise<Float64Array[]> {
    const { rows } = MetricsRing;
    const [columns] = this.#ring.shape.slice(-1) as [number];
    const numbers = Array.from({ length: this.unread }, (_, i) => (this.#read + i) % rows);
    this.#read = this.#written;
    try {
      const values = (await this.#ring.read()) as Float64Array;
      return numbers.map((row) => values.subarray(row * columns, (row + 1) * columns));
    } catch (error) {
      this.#restart();
      throw error;
    }
  }

  /** A row that failed spoils all of the ring, as the device counts the rows in it. */
  #restart(): void {
    if (this.#ring.disposed) return;
    this.#ring.write(new Float64Array(this.#ring.size));
    this.#count.write(Int32Array.of(0));
    this.#written = 0;
    this.#read = 0;
  }

  dispose(): void {
    this.#ring.dispose();
    this.#count.dispose();
  }
}
