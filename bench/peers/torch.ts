import { type Contender, type FoundTorch, TorchPeer } from "#lib/bench/index.js";
import type { Device } from "#lib/native/index.js";

/** One pass of a case of torch_peer.py. */
export function torchContender(peer: TorchPeer, name: string, what: string, repeats: number): Contender {
  return { name, run: async () => Number(await peer.ask(what, repeats)) };
}

/** PyTorch for a device, if it is installed and supports the device. */
export function torchFor(device: Device, found: FoundTorch): TorchPeer | undefined {
  if ("problem" in found || device.name === "cuda:emulated" || (device.name !== "cpu" && !found.hasGpu))
    return undefined;
  return TorchPeer.start(Number(device.describe()["threads"] ?? 1), found);
}
