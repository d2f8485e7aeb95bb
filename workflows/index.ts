/** The bundle's one entry: every workflow by its name. */
export { archiveTable } from './archiveTable.ts';
export { attachVolume } from './attachVolume.ts';
export { captureGroup } from './captureGroup.ts';
export { captureSnapshot } from './captureSnapshot.ts';
export { collectGarbage } from './collectGarbage.ts';
export { copySnapshot } from './copySnapshot.ts';
export { deleteSnapshot } from './deleteSnapshot.ts';
export { detachDisk } from './detachDisk.ts';
export { hydrateDisk } from './hydrateDisk.ts';
export { replicateSnapshot } from './replicateSnapshot.ts';
export { restoreTable } from './restoreTable.ts';
export { restoreVolume } from './restoreVolume.ts';
export { runPolicy } from './runPolicy.ts';
export { runTrigger } from './runTrigger.ts';
export { verifyStore } from './verifyStore.ts';
