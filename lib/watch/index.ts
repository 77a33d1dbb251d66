/**
 * The page of `stepsize watch`: runs of a folder, live.
 *
 * @module
 */

export { isLoopback } from "./access.js";
export { FolderView } from "./folder-view.js";
export { WatchServer } from "./server.js";
