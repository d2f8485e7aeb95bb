/** The golden repositories: a folder store for each version of the format and for what was added to it, and beside it what it holds. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import type { Ledger } from '../../../src/engine/repository/ledger.ts';

export const GOLDEN = path.join(import.meta.dirname, 'golden');
export const GOLDEN_NAME = 'golden';
export const GOLDEN_PREFIX = `repositories/${GOLDEN_NAME}/`;

/** Names of all of them. */
export const goldenNames = (): readonly string[] => readdirSync(GOLDEN).filter((name) => /^format-[0-9]+(-[a-z]+)?$/.test(name));

export interface Golden {
  readonly passphrase: string;
  /** Live snapshots, by id. */
  readonly images: Readonly<Record<string, { readonly sizeBytes: number; readonly sha256: string }>>;
  readonly ledger: unknown;
}

/** A volume's bytes from its extents; absent ones are zeros, the last one is cut where the volume ends. */
export function imageOf(sizeBytes: number, extentBytes: number, extents: ReadonlyMap<number, Buffer>): Buffer {
  const image = Buffer.alloc(sizeBytes);
  for (const [extent, bytes] of extents) bytes.copy(image, extent * extentBytes);
  return image;
}

/** A ledger as JSON can hold it. */
export const plainLedger = (ledger: Ledger): unknown =>
  JSON.parse(JSON.stringify(ledger, (_, value: unknown) => (value instanceof Map || value instanceof Set ? [...value] : value)));
