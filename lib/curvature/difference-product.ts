import { StepsizeError } from "../errors.js";
import type { Slope } from "./loss-surface.js";
import { minus, norm, scaled, times } from "./vectors.js";

/** The part of a loss surface that differences of gradients need. */
export interface Surface {
  /** Euclidean norm of all weights. */
  readonly norm: number;
  /** Returns loss and gradient at a distance along a direction. */
  at(along: Float64Array, distance: number): Promise<Slope>;
}

// The ladder of distances: rung r is 4^r times the norm of the weights. The highest rung is compared with the one above
// it, so the largest distance is the norm itself.
const lowestRung = -14;
const highestRung = -1;
const firstRung = -4;

/** A comparison of the products at a rung and at the one above it. */
interface Comparison {
  readonly rung: number;
  readonly disagreement: number;
  /** The disagreement relative to the longer product. */
  readonly share: number;
}

/** A chosen distance, with the disagreement of the products near it. */
export interface DistanceChoice {
  /** Euclidean length by which the weights are moved to either side. */
  readonly distance: number;
  /** Norm of the difference between the products of a unit vector at a larger and a smaller distance. */
  readonly disagreement: number;
}

/** A product with an estimate of its error. */
export interface Measured {
  readonly product: Float64Array;
  readonly error: number;
}

/**
 * Products of the Hessian with vectors, from differences of gradients: (∇L(w + hv) − ∇L(w − hv))/2h. Each takes two
 * gradients.
 *
 * With a `scale` s (one number per weight) the matrix is diag(s)·H·diag(s).
 */
export class DifferenceProduct {
  /** Number of gradients that were computed so far. */
  gradients = 0;
  #distance = Number.NaN;
  readonly #surface: Surface;
  readonly #scale: Float64Array | undefined;

  constructor(surface: Surface, scale?: Float64Array) {
    this.#surface = surface;
    this.#scale = scale;
  }

  /**
   * Chooses the distance of all later products, from products of one vector at several distances.
   *
   * A difference has two errors. The error of linearization grows with the distance, with its square if the loss is
   * smooth. The error from a rough gradient grows as the distance shrinks. It has two causes: rounding in float32, and
   * on networks with ReLUs jumps of the gradient whenever a unit changes its sign. Products at the distances h and 4h
   * disagree by the larger of the two errors. So the search looks on the ladder h, 4h, 16h, … for the two neighbors
   * with the least disagreement, relative to the norm of the products. (At large distances gradients saturate, so that
   * products and their differences vanish.) The chosen distance lies between the two neighbors. There each error is at
   * most half of the disagreement.
   *
   * It takes four products if the first rungs agree, and fifteen, the whole ladder, if none do.
   *
   * @param vector the gradient, along which the loss is most curved
   * @throws StepsizeError `non-finite` if the gradient is not finite at any distance
   */
  async chooseDistance(vector: Float64Array): Promise<DistanceChoice> {
    // If all weights are zero, their norm cannot be the unit.
    const unit = this.#surface.norm || 1;
    const direction = scaled(vector, 1 / norm(vector));
    const products = new Map<number, Float64Array>();
    const productOn = async (rung: number) => {
      const product = products.get(rung) ?? (await this.#productAt(direction, unit * 4 ** rung));
      products.set(rung, product);
      return product;
    };
    /** Compares a rung with the one above it. */
    const compare = async (rung: number): Promise<Comparison> => {
      const [low, high] = [await productOn(rung), await productOn(rung + 1)];
      const disagreement = norm(minus(low, high));
      const share = disagreement === 0 ? 0 : disagreement / Math.max(norm(low), norm(high));
      return { rung, disagreement, share: Number.isFinite(share) ? share : Infinity };
    };
    let best = await compare(firstRung);
    let [low, high] = [firstRung, firstRung];
    for (;;) {
      // The search continues if the best rung is at an end of the searched part, or if no two products agree.
      const agrees = best.share < 0.5;
      const nextRungs: number[] = [];
      if ((best.rung === low || !agrees) && low > lowestRung) nextRungs.push(--low);
      if ((best.rung === high || !agrees) && high < highestRung) nextRungs.push(++high);
      if (nextRungs.length === 0) break;
      for (const rung of nextRungs) {
        const comparison = await compare(rung);
        if (comparison.share < best.share) best = comparison;
      }
    }
    if (best.share === Infinity)
      throw new StepsizeError("non-finite", "the gradient is not finite beside the weights, however near");
    this.#distance = unit * 2 * 4 ** best.rung;
    return { distance: this.#distance, disagreement: best.disagreement };
  }

  /** Returns diag(s)·H·diag(s)·v. The distance must have been chosen before. */
  of(vector: Float64Array): Promise<Float64Array> {
    return this.#productAt(vector, this.#distance);
  }

  /**
   * Returns the product with an estimate of its error, from products at half and at twice the distance. It takes six
   * gradients.
   *
   * If the loss is smooth, the error grows with the square of the distance, and the product at twice the distance
   * differs by three times the error. The error from a rough gradient is twice as large at half the distance. The
   * estimate is the larger of the two differences. Unlike the asymmetry of the matrix, it also finds symmetric errors.
   *
   * @param vector a vector of length 1
   */
  async measure(vector: Float64Array): Promise<Measured> {
    const product = await this.#productAt(vector, this.#distance);
    const differenceAt = async (distance: number) => {
      const difference = norm(minus(await this.#productAt(vector, distance), product));
      return Number.isFinite(difference) ? difference : Infinity;
    };
    const [near, far] = [await differenceAt(this.#distance / 2), await differenceAt(this.#distance * 2)];
    return { product, error: Math.max(near, far) };
  }

  async #productAt(vector: Float64Array, distance: number): Promise<Float64Array> {
    const scale = this.#scale;
    const direction = scale ? times(vector, scale) : vector;
    const step = distance / norm(direction);
    // Both are enqueued before the first is awaited, so that the device does not wait in between.
    const [ahead, behind] = await Promise.all([this.#surface.at(direction, step), this.#surface.at(direction, -step)]);
    this.gradients += 2;
    const difference = ahead.gradient.map((value, i) => (value - behind.gradient[i]!) / (2 * step));
    return scale ? times(difference, scale) : difference;
  }
}
