/**
 * A checkpoint: the fold of the first n records, written down, so that a cold start reads rows and not the whole log.
 *
 *     checkpoint-part/<n>/<try>-<i>   rows in order of fingerprint, 60 bytes each, in envelopes
 *     checkpoint/<inverse of n>       manifest, created if absent, last: the ledger, packs' and parts' part names, digests
 *
 * It is a function of n, so two processes that write one n write the same content; the manifest decides whose parts count.
 * The newest two are kept. Change objects that the newest made unnecessary may then be swept.
 */
import { z } from 'zod';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { CHECKPOINT_PART_ROWS, CHECKPOINT_RECORDS, CHECKPOINT_TAIL_SHARE } from '../../domain/limits.ts';
import { openEnvelope, sealEnvelope, type SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { dropOldCheckpoints } from '../log/checkpoints.ts';
import { digestOf } from '../log/digest.ts';
import { emptyLedger, type Claim, type Ledger, type Pin, type Snapshot } from './ledger.ts';
import { LOCATION_BYTES, readLocation, writeLocation } from './location.ts';
import { checkpointName, checkpointPartName } from './object-names.ts';
import type { Repository } from './repository.ts';
import type { PackUse, Table, TableRow } from './table.ts';

const refSchema = z.strictObject({ name: z.string(), digest: z.string(), rows: z.int() });
const manifestSchema = z.object({
  version: z.literal(1),
  n: z.int(),
  head: z.string(),
  /** Claims open at n: what lies under any other claim <= n is settled. */
  openClaims: z.array(z.int()),
  rowCount: z.int(),
  ledger: refSchema,
  packs: z.array(refSchema),
  rows: z.array(refSchema),
});
export type Checkpoint = z.infer<typeof manifestSchema>;
type PartRef = z.infer<typeof refSchema>;

const ROW = 32 + 4 + LOCATION_BYTES;
const PACK = 32;
/** A pack takes 32 bytes, so 16 MB a part. */
const PACKS_A_PART = 524_288;

/**
 * Manifests that open, newest first. One that does not is passed over: an older one, or the log itself, says the same. One
 * that is gone since it was listed was dropped because newer ones were written: those are looked for.
 */
export async function* checkpoints(store: ObjectStore, key: SealingKey): AsyncGenerator<Checkpoint> {
  const seen = new Set<string>();
  for (let dropped = true; dropped;) {
    dropped = false;
    for (const { name } of await store.list('checkpoint/')) {
      if (seen.has(name)) continue;
      const stored = await store.get(name);
      if (stored === null) {
        dropped = true;
        break;
      }
      seen.add(name);
      const checkpoint = openManifest(key, name, stored);
      if (checkpoint !== null) yield checkpoint;
    }
  }
}

function openManifest(key: SealingKey, name: string, stored: Buffer): Checkpoint | null {
  try {
    const raw: unknown = JSON.parse(openEnvelope(key, name, stored).toString('utf8'));
    const version = z.object({ version: z.int() }).safeParse(raw);
    if (version.success && version.data.version > 1)
      throw new HoldfastError('UPGRADE_REQUIRED', `${name} has format ${version.data.version}`, { object: name });
    return manifestSchema.safeParse(raw).data ?? null;
  } catch (error) {
    if (isHoldfastError(error, 'DAMAGED') || error instanceof SyntaxError) return null;
    throw error;
  }
}

/** The newest manifest that opens, or null. */
export async function newestCheckpoint(store: ObjectStore, key: SealingKey): Promise<Checkpoint | null> {
  for await (const checkpoint of checkpoints(store, key)) return checkpoint;
  return null;
}

async function readPart(store: ObjectStore, key: SealingKey, ref: PartRef): Promise<Buffer> {
  const stored = await store.get(ref.name);
  if (stored === null) throw new HoldfastError('OBJECT_MISSING', `${ref.name} is not in the store`, { object: ref.name });
  if (digestOf(stored) !== ref.digest)
    throw new HoldfastError('DAMAGED', `${ref.name} is not what the checkpoint names`, { object: ref.name });
  return openEnvelope(key, ref.name, stored);
}

/** The ledger of a checkpoint, without its table. */
export async function readCheckpointLedger(store: ObjectStore, key: SealingKey, checkpoint: Checkpoint): Promise<Ledger> {
  const { parts: _, ...ledger } = parseLedger(await readPart(store, key, checkpoint.ledger));
  return ledger;
}

/** Puts a checkpoint in the table's place and returns its ledger. The table shows nothing of it before it is whole. */
export async function loadCheckpoint(store: ObjectStore, key: SealingKey, checkpoint: Checkpoint, table: Table): Promise<Ledger> {
  const { parts, ...ledger } = parseLedger(await readPart(store, key, checkpoint.ledger));
  const loader = table.loader();
  loader.parts(parts);
  for (const ref of checkpoint.packs) loader.packs(decodePacks(await readPart(store, key, ref)));
  for (const ref of checkpoint.rows) loader.rows(decodeRows(await readPart(store, key, ref)));
  loader.finish(ledger);
  return ledger;
}

/** Whether enough has happened since the newest checkpoint to write another. */
export function checkpointDue(ledger: Ledger, newest: Checkpoint | null, rows: number): boolean {
  const since = ledger.n - (newest?.n ?? 0);
  return (
    since >= CHECKPOINT_RECORDS || (since > 0 && Math.abs(rows - (newest?.rowCount ?? 0)) > Math.max(4096, rows * CHECKPOINT_TAIL_SHARE))
  );
}

/** Writes the checkpoint of the repository's present state, and removes all but the newest two. Returns its n, or 0 when the state moved meanwhile. */
export async function writeCheckpoint(repository: Repository): Promise<number> {
  const { store, key, table, environment } = repository;
  const ledger = repository.ledger();
  if (ledger.n === 0) return 0;
  const attempt = environment.random(4).readUInt32BE(0);
  let index = 0;
  const put = async (plain: Buffer, rows: number): Promise<PartRef> => {
    const name = checkpointPartName(ledger.n, attempt, index++);
    const stored = sealEnvelope(key, name, plain, environment.random(32));
    await store.put(name, stored);
    return { name, digest: digestOf(stored), rows };
  };
  // The table must stand at n from the first row to the last. What was put in vain is dropped by the next checkpoint.
  const moved = (): boolean => repository.ledger().n !== ledger.n || (table.stamp() ?? ledger.n) !== ledger.n;
  const packs: PartRef[] = [];
  for (const page of pages(table.packs(), PACKS_A_PART)) {
    if (moved()) return 0;
    packs.push(await put(encodePacks(page), page.length));
  }
  const rows: PartRef[] = [];
  for (const page of pages(table.rows(), CHECKPOINT_PART_ROWS)) {
    if (moved()) return 0;
    rows.push(await put(encodeRows(page), page.length));
  }
  const parts = [...table.parts()];
  if (moved()) return 0;
  const ledgerRef = await put(encodeLedger(ledger, parts), ledger.snapshots.size);
  const manifest: Checkpoint = {
    version: 1,
    n: ledger.n,
    head: ledger.head,
    openClaims: [...ledger.claims.values()].flatMap((claim) => [claim.epoch, ...claim.kept]),
    rowCount: rows.reduce((sum, ref) => sum + ref.rows, 0),
    ledger: ledgerRef,
    packs,
    rows,
  };
  const name = checkpointName(ledger.n);
  await store.put(name, sealEnvelope(key, name, Buffer.from(JSON.stringify(manifest)), environment.random(32)), { ifAbsent: true });
  await dropOldCheckpoints(store);
  return ledger.n;
}

function* pages<T>(items: Iterable<T>, size: number): Generator<T[]> {
  let page: T[] = [];
  for (const item of items) {
    page.push(item);
    if (page.length === size) {
      yield page;
      page = [];
    }
  }
  if (page.length > 0) yield page;
}

type FullRow = { readonly fingerprint: Buffer } & TableRow;

function encodeRows(rows: readonly FullRow[]): Buffer {
  const out = Buffer.alloc(rows.length * ROW);
  rows.forEach((row, i) => {
    out.set(row.fingerprint, i * ROW);
    out.writeUInt32BE(row.runs, i * ROW + 32);
    writeLocation(out, i * ROW + 36, row.location);
  });
  return out;
}

function* decodeRows(bytes: Buffer): Generator<FullRow> {
  for (let at = 0; at + ROW <= bytes.length; at += ROW) {
    const location = readLocation(bytes, at + 36);
    if (location) yield { fingerprint: bytes.subarray(at, at + 32), runs: bytes.readUInt32BE(at + 32), location };
  }
}

/** id 16 | kind u8 | blobs u24 | bytes u32 | live blobs u32 | live bytes u32 */
function encodePacks(packs: readonly PackUse[]): Buffer {
  const out = Buffer.alloc(packs.length * PACK);
  packs.forEach((pack, i) => {
    const at = i * PACK;
    out.set(pack.id, at);
    out.writeUInt8(pack.kind === 'node' ? 1 : 0, at + 16);
    out.writeUIntBE(pack.blobs, at + 17, 3);
    out.writeUInt32BE(pack.bytes, at + 20);
    out.writeUInt32BE(pack.liveBlobs, at + 24);
    out.writeUInt32BE(pack.liveBytes, at + 28);
  });
  return out;
}

function* decodePacks(bytes: Buffer): Generator<PackUse> {
  for (let at = 0; at + PACK <= bytes.length; at += PACK)
    yield {
      id: bytes.subarray(at, at + 16),
      kind: bytes.readUInt8(at + 16) === 1 ? 'node' : 'extent',
      blobs: bytes.readUIntBE(at + 17, 3),
      bytes: bytes.readUInt32BE(at + 20),
      liveBlobs: bytes.readUInt32BE(at + 24),
      liveBytes: bytes.readUInt32BE(at + 28),
    };
}

type HeldPart = { readonly root: string; readonly name: string };

const encodeLedger = (ledger: Ledger, parts: readonly HeldPart[]): Buffer =>
  Buffer.from(
    JSON.stringify({
      ...ledger,
      order: [...ledger.order],
      snapshots: [...ledger.snapshots.values()],
      used: [...ledger.used],
      retired: [...ledger.retired],
      claims: [...ledger.claims],
      pins: [...ledger.pins],
      parts,
    }),
  );

function parseLedger(bytes: Buffer): Ledger & { readonly parts: readonly HeldPart[] } {
  // The bytes were sealed by this code under this format version and opened under the manifest's digest: trusted inside.
  const raw = JSON.parse(bytes.toString('utf8')) as {
    n: number;
    head: string;
    order: [];
    snapshots: Snapshot[];
    used: [];
    retired: [];
    claims: [Claim['actor'], Claim][];
    pins: [string, Pin][];
    parts: HeldPart[];
  };
  return {
    ...emptyLedger(),
    n: raw.n,
    head: raw.head,
    order: new Map(raw.order),
    snapshots: new Map(raw.snapshots.map((snapshot) => [snapshot.id, snapshot])),
    used: new Map(raw.used),
    retired: new Set(raw.retired),
    claims: new Map(raw.claims),
    pins: new Map(raw.pins),
    parts: raw.parts,
  };
}
