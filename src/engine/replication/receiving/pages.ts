/**
 * Pages: what a sender has said of a leaf of the map, and what the leaf comes to with it.
 *
 * A *whole* page says all that is not zeros; another one says what differs from the base's leaf. What lies past the end of
 * the volume is zeros, whatever a page says of it.
 */
import { MAP_FANOUT } from '../../../domain/limits.ts';
import { CHILDREN_BYTES, FINGERPRINT_BYTES } from '../../map/node.ts';
import type { Name } from '../messages.ts';

/** A name of zeros: the extent is zeros now. */
export const NO_NAME: Name = '0'.repeat(2 * FINGERPRINT_BYTES);

export interface PageRow {
  /** 0 to 255. */
  readonly child: number;
  readonly name: Name;
}

export interface Page {
  readonly whole: boolean;
  /** Ascending by child. */
  readonly rows: readonly PageRow[];
}

const ROW_BYTES = 1 + FINGERPRINT_BYTES;

export function encodeRows(rows: readonly PageRow[]): Buffer {
  const bytes = Buffer.alloc(rows.length * ROW_BYTES);
  rows.forEach(({ child, name }, i) => {
    bytes.writeUInt8(child, i * ROW_BYTES);
    bytes.write(name, i * ROW_BYTES + 1, 'hex');
  });
  return bytes;
}

export const decodeRows = (bytes: Buffer): PageRow[] =>
  Array.from({ length: Math.floor(bytes.length / ROW_BYTES) }, (_, i) => ({
    child: bytes.readUInt8(i * ROW_BYTES),
    name: bytes.toString('hex', i * ROW_BYTES + 1, (i + 1) * ROW_BYTES),
  }));

export const samePage = (a: Page | null, b: Page): boolean =>
  a !== null && a.whole === b.whole && encodeRows(a.rows).equals(encodeRows(b.rows));

/** A leaf's children (256 x 32 bytes) once a page is applied; `end`: children of it that the volume has. */
export function applyPage(page: Page | null, base: Buffer | null, end: number): Buffer {
  const children = base === null || page?.whole ? Buffer.alloc(CHILDREN_BYTES) : Buffer.from(base);
  for (const { child, name } of page?.rows ?? []) children.write(name, child * FINGERPRINT_BYTES, 'hex');
  children.fill(0, Math.max(0, end) * FINGERPRINT_BYTES);
  return children;
}

/** The names of a page that are extents of the volume, each at its position in the subtree. */
export function namesOf(page: Page, leaf: number, end: number): { readonly at: number; readonly name: Name }[] {
  const from = leaf * MAP_FANOUT;
  return page.rows.flatMap(({ child, name }) => (name === NO_NAME || child >= end ? [] : [{ at: from + child, name }]));
}
