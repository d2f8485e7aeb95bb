/**
 * Rewriting thin packs: what is still live in packs that are mostly dead moves into fewer new ones.
 *
 * Bodies are decrypted and sealed again, never decompressed. The record comes first and the deletion after (hole 14): a
 * REPLACE moves a value only if it still lies in `from`, so a value that died and came back elsewhere meanwhile stays where
 * it is. Bounded by REWRITE_BYTES_MAX a run, thinnest packs first, so that the cost follows what was freed.
 */
import { isHoldfastError } from '../../domain/errors.ts';
import { GROUP_TOP, PACK_BYTES_MAX, REWRITE_BYTES_MAX } from '../../domain/limits.ts';
import { sealBlob, unsealBlob } from '../../ground/sealing/blob.ts';
import { emptyPart, PART_ROWS_MAX, type PackRow, type ValueRow } from './change.ts';
import { readDirectory, type TryNames } from './destination.ts';
import { changeName, encodePackId, packName, packNameOf } from './object-names.ts';
import { directoryBytes, PACK_HEADER, packKeyOf, sealDirectory, type PackEntry } from './pack.ts';
import type { Repository } from './repository.ts';
import type { PackUse } from './table.ts';

export interface RewriteResult {
  readonly packs: number;
  readonly bytesMoved: number;
  readonly bytesFreed: number;
}

/** Packs looked at in one run; the record that replaces them names each. */
const PACKS_A_RUN = 1024;

export async function rewriteThinPacks(repository: Repository, epoch: number, names: TryNames): Promise<RewriteResult> {
  const thin = repository.table.thinPacks(PACKS_A_RUN).filter((pack) => pack.liveBlobs > 0 && pack.liveBlobs < pack.blobs);
  let packs = 0;
  let bytesMoved = 0;
  let bytesFreed = 0;
  for (const kind of ['extent', 'node'] as const) {
    const chosen = choosePacks(
      thin.filter((pack) => pack.kind === kind),
      REWRITE_BYTES_MAX - bytesMoved,
    );
    if (chosen.length === 0) continue;
    const moved = await rewrite(repository, epoch, names, chosen);
    packs += chosen.length;
    bytesMoved += moved;
    bytesFreed += chosen.reduce((sum, pack) => sum + pack.bytes, 0) - moved;
  }
  return { packs, bytesMoved, bytesFreed };
}

/** As many as one run may move: so many live bytes, and no more values than one part of a change holds. */
export function choosePacks(thin: readonly PackUse[], bytesMax: number): readonly PackUse[] {
  let bytes = 0;
  let values = 0;
  return thin.filter(({ liveBytes, liveBlobs }) => {
    if (bytes + liveBytes > bytesMax || values + liveBlobs > PART_ROWS_MAX) return false;
    bytes += liveBytes;
    values += liveBlobs;
    return true;
  });
}

async function rewrite(repository: Repository, epoch: number, names: TryNames, from: readonly PackUse[]): Promise<number> {
  const { store, key, table, changes } = repository;
  const values: ValueRow[] = [];
  const packs: PackRow[] = [];
  let written = 0;
  let open = beginPack(repository, names);

  const close = async (): Promise<void> => {
    if (open.entries.length === 0) return;
    const body = Buffer.concat([open.bytes.subarray(0, open.end), sealDirectory(open.packKey, open.entries)]);
    await store.put(open.name, body);
    packs.push({ id: open.id, kind: from[0]?.kind ?? 'extent', blobs: open.entries.length, bytes: body.length });
    written += body.length;
    open = beginPack(repository, names);
  };

  for (const pack of from) {
    const name = packNameOf(pack.id);
    const entries = await passingOver(repository, name, () => readDirectory(repository, name, pack.bytes));
    if (entries === null) continue;
    const packKey = packKeyOf(key, name);
    for (const entry of entries) {
      const row = table.get(entry.fingerprint);
      if (row === null || !row.location.pack.equals(pack.id) || row.location.offset !== entry.offset) continue;
      const stored = await store.get(name, { range: { offset: entry.offset, length: entry.length } });
      if (stored === null) break;
      if (open.end + stored.length + directoryBytes(open.entries.length + 1) > PACK_BYTES_MAX) await close();
      const body = await passingOver(repository, name, () => unsealBlob(stored, entry.offset, packKey, entry.fingerprint));
      if (body === null) continue;
      const length = sealBlob(open.bytes, open.end, open.packKey, entry.fingerprint, body);
      open.entries.push({ fingerprint: entry.fingerprint, offset: open.end, length });
      values.push({ fingerprint: entry.fingerprint, location: { pack: open.id, offset: open.end, length } });
      open.end += length;
    }
  }
  await close();
  if (values.length === 0) return 0;
  const change = await changes.write(changeName(names.change(GROUP_TOP)), { ...emptyPart, values, packs });
  const replaced = from.map((pack) => pack.id.toString('hex'));
  await repository.append(() => ({ kind: 'REPLACE', epoch, from: replaced, change }));
  return written;
}

/** Null: it cannot be read. That is for a verification to say; the pack stays as it is, and the others are rewritten all the same. */
async function passingOver<T>({ environment }: Repository, name: string, read: () => T | Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (!isHoldfastError(error, 'DAMAGED', 'UPGRADE_REQUIRED')) throw error;
    environment.alarm('a pack that is to be rewritten does not open and stays as it is', { object: name, code: error.code });
    return null;
  }
}

interface OpenRewrite {
  readonly id: Buffer;
  readonly name: string;
  readonly packKey: ReturnType<typeof packKeyOf>;
  readonly bytes: Buffer;
  readonly entries: PackEntry[];
  end: number;
}

function beginPack(repository: Repository, names: TryNames): OpenRewrite {
  const object = names.pack(GROUP_TOP);
  const name = packName(object);
  const bytes = Buffer.allocUnsafe(PACK_BYTES_MAX);
  bytes.set(PACK_HEADER);
  return { id: encodePackId(object), name, packKey: packKeyOf(repository.key, name), bytes, entries: [], end: PACK_HEADER.length };
}
