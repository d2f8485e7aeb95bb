/**
 * Change objects in the store: written before the record that names them, checked against their digest when read.
 *
 * A change of a large volume has many parts. A fold is one transaction and cannot wait for the network, so the parts are
 * fetched first: a few stay in memory, more of them lie in a temporary folder and are read back one at a time.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '../../domain/errors.ts';
import { openEnvelope, sealEnvelope, type SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { digestOf } from '../log/digest.ts';
import {
  decodeChangePart,
  encodeChangePart,
  PART_ROWS_MAX,
  type ChangePart,
  type DiffRow,
  type MinusRow,
  type PackRow,
  type PartRef,
  type ValueRow,
} from './change.ts';
import type { ChangeRef } from './entries.ts';

/** Parts of one change kept in memory while it is folded; 8 x 5 MB for full subtrees. */
const PARTS_IN_MEMORY = 8;
/** Parts just written, up to 5 MB each: their commit and the fold of their record need not fetch them, and then they are let go. */
const RECENT_PARTS = 16;

export interface ChangeStore {
  /** Puts a part under a name of this claim; resolves with its reference. */
  write(name: string, part: ChangePart): Promise<PartRef>;
  /** One part, or null when it is not there (a newer checkpoint made it unnecessary). */
  read(ref: PartRef): Promise<ChangePart | null>;
  /** All parts of a change, fetched; null when one is not there. */
  fetch(root: ChangeRef): Promise<FetchedChange | null>;
}

export interface FetchedChange extends Disposable {
  /** Parts in the order of the root's list, the root itself last. */
  parts(): Iterable<ChangePart & { readonly name: string }>;
}

export function createChangeStore(store: ObjectStore, key: SealingKey, random: (size: number) => Buffer): ChangeStore {
  const recent = new Map<string, { readonly digest: string; readonly plain: Buffer }>();

  const fetchPlain = async (ref: PartRef): Promise<Buffer | null> => {
    const known = recent.get(ref.name);
    if (known && known.digest === ref.digest) return known.plain;
    const stored = await store.get(ref.name);
    if (stored === null) return null;
    if (digestOf(stored) !== ref.digest)
      throw new HoldfastError('DAMAGED', `${ref.name} is not what its record names`, { object: ref.name });
    return openEnvelope(key, ref.name, stored);
  };

  return {
    async write(name, part) {
      const plain = encodeChangePart(part);
      const stored = sealEnvelope(key, name, plain, random(32));
      await store.put(name, stored);
      const digest = digestOf(stored);
      recent.set(name, { digest, plain });
      for (const oldest of recent.keys()) {
        if (recent.size <= RECENT_PARTS) break;
        recent.delete(oldest);
      }
      return { name, digest };
    },

    async read(ref) {
      const plain = await fetchPlain(ref);
      return plain === null ? null : decodeChangePart(plain, ref.name);
    },

    async fetch(root) {
      const rootPlain = await fetchPlain(root);
      recent.delete(root.name);
      if (rootPlain === null) return null;
      const refs = decodeChangePart(rootPlain, root.name).parts;
      const spill = refs.length > PARTS_IN_MEMORY ? mkdtempSync(join(tmpdir(), 'holdfast-change-')) : null;
      const close = (): void => {
        if (spill !== null) rmSync(spill, { recursive: true, force: true });
      };
      const held: Buffer[] = [];
      try {
        for (const [i, ref] of refs.entries()) {
          const plain = await fetchPlain(ref);
          recent.delete(ref.name);
          if (plain === null) {
            close();
            return null;
          }
          if (spill === null) held.push(plain);
          else writeFileSync(join(spill, String(i)), plain, { mode: 0o600 });
        }
      } catch (error) {
        close();
        throw error;
      }
      return {
        *parts() {
          for (const [i, ref] of refs.entries()) {
            const plain = spill === null ? (held[i] ?? Buffer.alloc(0)) : readFileSync(join(spill, String(i)));
            yield { name: ref.name, ...decodeChangePart(plain, ref.name) };
          }
          yield { name: root.name, ...decodeChangePart(rootPlain, root.name) };
        },
        [Symbol.dispose]: close,
      };
    },
  };
}

/** Rows on their way into a change; a block is what one subtree contributes. */
export interface ChangeBlock {
  readonly diff: readonly DiffRow[];
  readonly minus: readonly MinusRow[];
}

/** Writes blocks (subtrees ascending, top last) as one change: small ones all in the root part, large ones in parts of their own. */
export async function writeBlocks(
  changes: ChangeStore,
  blocks: AsyncIterable<ChangeBlock>,
  nextName: () => string,
  rest: { readonly values: readonly ValueRow[]; readonly packs: readonly PackRow[] } = { values: [], packs: [] },
): Promise<ChangeRef> {
  const parts: PartRef[] = [];
  let diff: DiffRow[] = [];
  let minus: MinusRow[] = [];
  for await (const block of blocks) {
    if (diff.length + minus.length + block.diff.length + block.minus.length > PART_ROWS_MAX && diff.length + minus.length > 0) {
      parts.push(await changes.write(nextName(), { diff, minus, values: [], packs: [], parts: [] }));
      diff = [];
      minus = [];
    }
    diff = diff.concat(block.diff);
    minus = minus.concat(block.minus);
  }
  return changes.write(nextName(), { diff, minus, ...rest, parts });
}
