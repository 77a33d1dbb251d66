import { StepsizeError } from "../errors.js";
import { norm, scaled } from "./lanczos.js";
import type { Slope } from "./loss-surface.js";

/** A loss surface, as far as differences of its gradient need it. */
export interface Surface {
  /** The length of the weights as one vector. */
  readonly norm: number;
  at(along: Float64Array, distance: number): Promise<Slope>;
}

/**
 * Rungs of the ladder of distances, 4^rung times the length of the weights; the highest has one above it. Further away
 * than that length is another place.
 */
const lowestRung = -14;
const highestRung = -1;
const firstRung = -4;

/** Two neighbours on the ladder. */
interface Comparison {
  readonly rung: number;
  readonly disagreement: number;
  /** The disagreement as a part of the longer product. */
  readonly share: number;
}

/** How far apart the weights of a difference are, and how well it is known. */
export interface DistanceChoice {
  /** Euclidean length of the move to either side. */
  readonly distance: number;
  /** Length of the difference between the products at a larger and a smaller distance, of a unit vector. */
  readonly disagreement: number;
}

/** A product with how far it may be off. */
export interface Measured {
  readonly product: Float64Array;
  readonly error: number;
}

/**
 * The Hessian times vectors, from differences of gradients: (∇L(w + hv) − ∇L(w − hv))/2h, two gradients a product.
 *
 * With a `scale` s (one number per weight) it is diag(s)·H·diag(s).
 */
export class DifferenceProduct {
  /** Gradients computed so far. */
  gradients = 0;
  #distance = Number.NaN;
  readonly #surface: Surface;
  readonly #scale: Float64Array | undefined;

  constructor(surface: Surface, scale?: Float64Array) {
    this.#surface = surface;
    this.#scale = scale;
  }

  /**
   * Chooses the distance at which differences are taken from now on, by looking at the product of one vector.
   *
   * Two things are wrong with a difference. What of the gradient is not linear grows with the distance, as its square
   * where the loss is smooth. What is rough about the gradient (rounding of float32; on networks with ReLUs much more
   * than that: every unit that changes sides makes it jump) counts the more the smaller the distance is. Products at
   * distances h and 4h disagree by the larger of the two. So on the ladder h, 4h, 16h, … the two neighbours are looked
   * for that disagree least, in proportion to their length (far out, where gradients saturate, products vanish, and
   * their differences with them). The distance taken lies between the two: there each error is half as large as the
   * disagreement or less.
   *
   * Four products where the ladder begins well; where nothing agrees, the whole ladder: fifteen.
   *
   * @param vector the gradient: along it the loss bends most
   * @throws StepsizeError `non-finite` where the gradient is not finite beside the weights, however near
   */
  async chooseDistance(vector: Float64Array): Promise<DistanceChoice> {
    // Weights that are all zero have no length to compare with.
    const unit = this.#surface.norm || 1;
    const direction = scaled(vector, 1 / norm(vector));
    const products = new Map<number, Float64Array>();
    const productOn = async (rung: number) => {
      const made = products.get(rung) ?? (await this.#productAt(direction, unit * 4 ** rung));
      products.set(rung, made);
      return made;
    };
    /** Of a rung with the one above it. */
    const compare = async (rung: number): Promise<Comparison> => {
      const [low, high] = [await productOn(rung), await productOn(rung + 1)];
      const disagreement = norm(low.map((value, i) => value - high[i]!));
      const share = disagreement === 0 ? 0 : disagreement / Math.max(norm(low), norm(high));
      return { rung, disagreement, share: Number.isFinite(share) ? share : Infinity };
    };
    let best = await compare(firstRung);
    let [low, high] = [firstRung, firstRung];
    for (;;) {
      // At its rim the part that was looked at may go on downhill; and where nothing agrees it may lie elsewhere.
      const agrees = best.share < 0.5;
      const looks: number[] = [];
      if ((best.rung === low || !agrees) && low > lowestRung) looks.push(--low);
      if ((best.rung === high || !agrees) && high < highestRung) looks.push(++high);
      if (looks.length === 0) break;
      for (const rung of looks) {
        const other = await compare(rung);
        if (other.share < best.share) best = other;
      }
    }
    if (best.share === Infinity)
      throw new StepsizeError("non-finite", "the gradient is not finite beside the weights, however near");
    this.#distance = unit * 2 * 4 ** best.rung;
    return { distance: this.#distance, disagreement: best.disagreement };
  }

  /** diag(s)·H·diag(s)·v; the distance has to be chosen before. */
  of(vector: Float64Array): Promise<Float64Array> {
    return this.#productAt(vector, this.#distance);
  }

  /**
   * The product, and how far it may be off: compared with those at half and at twice the distance, six gradients.
   *
   * Where the loss is smooth, the error grows with the square of the distance, and the product at twice the distance
   * differs by three times the error. What is rough about the gradient shows in the product at half the distance, where
   * it counts twice. The larger of the two differences is taken. Unlike asymmetry it also shows errors that a symmetric
   * matrix could have.
   *
   * @param vector of length 1
   */
  async measure(vector: Float64Array): Promise<Measured> {
    const product = await this.#productAt(vector, this.#distance);
    const other = async (distance: number) => {
      const made = await this.#productAt(vector, distance);
      const difference = norm(made.map((value, i) => value - product[i]!));
      return Number.isFinite(difference) ? difference : Infinity;
    };
    const [near, far] = [await other(this.#distance / 2), await other(this.#distance * 2)];
    return { product, error: Math.max(near, far) };
  }

  async #productAt(vector: Float64Array, distance: number): Promise<Float64Array> {
    const scale = this.#scale;
    const direction = scale ? vector.map((value, i) => value * scale[i]!) : vector;
    const step = distance / norm(direction);
    // Both are enqueued before either is awaited: the device goes from one to the next.
    const [ahead, behind] = await Promise.all([this.#surface.at(direction, step), this.#surface.at(direction, -step)]);
    this.gradients += 2;
    const difference = ahead.gradient.map((value, i) => (value - behind.gradient[i]!) / (2 * step));
    return scale ? difference.map((value, i) => value * scale[i]!) : difference;
  }
}
