import type { Contender, TorchPeer } from "#lib/bench/index.js";

/** One pass of a case of torch_peer.py. */
export function torchContender(peer: TorchPeer, name: string, what: string, repeats: number): Contender {
  return { name, run: async () => Number(await peer.ask(what, repeats)) };
}
