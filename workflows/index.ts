/** The bundle's one entry: every workflow by its name. */
export { captureSnapshot } from './captureSnapshot.ts';
export { collectGarbage } from './collectGarbage.ts';
export { copySnapshot } from './copySnapshot.ts';
export { deleteSnapshot } from './deleteSnapshot.ts';
export { restoreVolume } from './restoreVolume.ts';
export { verifyStore } from './verifyStore.ts';
