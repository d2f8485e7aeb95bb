/** Where the bench of recoveries has its journal: one disk, one region, its log beside it; and the volume that holds the final content. */
import { storeName } from '../src/domain/ids.ts';
import type { ProtectionRecord } from '../src/engine/catalog/protections.ts';

export const REGION = storeName('one');
export const LOG = storeName('log');
export const FINAL = 'final';
export const EXTENT = 256 * 1024;

export const protectionOf = (sizeBytes: number): ProtectionRecord => ({
  ...{ journal: 'disk', host: 'bench', disks: [{ disk: 'disk', sizeBytes }], extentBytes: EXTENT, mode: 'local', log: LOG },
  members: [{ region: REGION, domain: 'one' }],
});
