export type { DataType, MemoryStatistics, TypedArray } from "./addon.js";
export { dataTypes } from "./addon.js";
export { Device, type DeviceOptions, listDevices, openDevice } from "./device.js";
export { type AddonReport, findAddon } from "./load.js";
