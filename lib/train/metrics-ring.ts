import type { Device } from "../native/index.js";
import { execute, Tensor, tensor } from "../tensor/index.js";

/**
 * A ring buffer on the device that captured work fills with numbers, one row per replay. The host reads the rows of
 * many replays at once.
 */
export class MetricsRing {
  /** Number of rows, and so of replays that may follow one another before they are read. */
  static readonly rows = 16;
  readonly #ring: Tensor<"float64">;
  /** Number of rows written, counted by the device, because a replay gets no values from the host. */
  readonly #count: Tensor<"int32">;
  #written = 0;
  #read = 0;
  readonly #columns: number;

  /**
   * Allocates the ring buffer.
   *
   * @param columns number of values per row
   */
  constructor(device: Device, columns: number) {
    this.#ring = new Tensor(device, device.native.create("float64", [MetricsRing.rows, columns])).keep();
    this.#count = tensor(device, Int32Array.of(0), []).keep();
    this.#columns = columns;
  }

  /** Enqueues the write of a row, which is the concatenation of `parts`. They may have different types. */
  write(parts: readonly Tensor[]): void {
    let column = 0;
    for (const [i, part] of parts.entries()) {
      execute("writeRow", [this.#ring, this.#count, part], { column, last: i === parts.length - 1 });
      column += part.size;
    }
  }

  /** Counts a row that a replay writes. */
  wrote(): void {
    this.#written++;
  }

  /** Number of rows that were not read yet. */
  get unread(): number {
    return this.#written - this.#read;
  }

  /**
   * Reads the rows since the last call, the oldest first. If the write of any of them failed, the promise rejects with
   * its error. The rows so far are then discarded, and the ring buffer stays usable.
   */
  async read(): Promise<Float64Array[]> {
    const { rows } = MetricsRing;
    const columns = this.#columns;
    const numbers = Array.from({ length: this.unread }, (_, i) => (this.#read + i) % rows);
    this.#read = this.#written;
    try {
      const values = await this.#ring.read();
      return numbers.map((row) => values.subarray(row * columns, (row + 1) * columns));
    } catch (error) {
      this.#restart();
      throw error;
    }
  }

  /**
   * Resets the ring buffer. A failed row spoils all of it, because the position of a row depends on the device's count.
   */
  #restart(): void {
    if (this.#ring.disposed) return;
    this.#ring.write(new Float64Array(this.#ring.size));
    this.#count.write(Int32Array.of(0));
    this.#written = 0;
    this.#read = 0;
  }

  /** Frees the memory of the ring buffer. */
  dispose(): void {
    this.#ring.dispose();
    this.#count.dispose();
  }
}
