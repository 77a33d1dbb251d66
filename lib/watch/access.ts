import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { hostname } from "node:os";

/** Decides which requests are answered. */
export class Access {
  /** The token that requests need; `undefined` if the server can be reached from this machine only. */
  readonly token: string | undefined;
  readonly #names: readonly string[];
  readonly #acceptsAddresses: boolean;
  #port = 0;

  /**
   * @param host the address that the server listens on. Any address but a loopback one needs a token.
   */
  constructor(host: string) {
    this.token = isLoopback(host) ? undefined : randomBytes(24).toString("base64url");
    // A page of another site can make a browser connect here under that site's name ("DNS rebinding"), but not under
    // an address.
    this.#acceptsAddresses = !isLoopback(host);
    this.#names = ["localhost", "127.0.0.1", "::1", host, ...(isLoopback(host) ? [] : [hostname()])].map((name) =>
      name.toLowerCase(),
    );
  }

  /** Sets the port, which is known once the server listens. */
  set port(port: number) {
    this.#port = port;
  }

  /** Name of the cookie with the token. Cookies of one host are shared by its ports. */
  get cookieName(): string {
    return `stepsize-watch-${this.#port}`;
  }

  /** Whether the `Host` header names this server. */
  acceptsHost({ headers }: IncomingMessage): boolean {
    const found = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(headers.host ?? "");
    if (!found) return false;
    const [, address, name = "", port = "80"] = found;
    const host = (address ?? name).toLowerCase();
    if (Number(port) !== this.#port) return false;
    return this.#names.includes(host) || (this.#acceptsAddresses && isIP(host) !== 0);
  }

  /** Whether a text is the token. */
  isToken(given: string | null): boolean {
    if (this.token === undefined || given === null) return false;
    // Hashes have one length, so the comparison takes the same time for every text.
    return timingSafeEqual(hashOf(given), hashOf(this.token));
  }

  /** Whether a request may read: if a token is needed, it is in the request's cookie. */
  isAllowed({ headers }: IncomingMessage): boolean {
    if (this.token === undefined) return true;
    const cookies = (headers.cookie ?? "").split(";").map((pair) => pair.trim());
    const own = cookies.find((pair) => pair.startsWith(`${this.cookieName}=`));
    return own !== undefined && this.isToken(own.slice(this.cookieName.length + 1));
  }
}

/** Whether an address or name leads to this machine only. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

function hashOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
