/**
 * A repository's first objects: what it is, and the key slot that opens it.
 *
 * `repository.json` is written once and never changed; `keys/<n>` holds the data key wrapped by the passphrase, the highest
 * n in force. Creating is idempotent: a crash between the two leaves a repository without a key, whose log cannot have
 * begun, and the next create finishes it.
 */
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { keySlotSchema, unwrapDataKey, wrapDataKey, type KeySlot } from '../../ground/sealing/key-slot.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import { upgradeRequired } from '../../ground/sealing/magic.ts';
import { listAll, type ObjectStore } from '../../ground/stores/object-store.ts';
import { keyName, REPOSITORY_OBJECT } from './object-names.ts';

export const repositorySchema = z.strictObject({
  format: z.literal('holdfast-repository'),
  version: z.literal(1),
  /** 16 bytes, hex. */
  id: z.string().regex(/^[0-9a-f]{32}$/),
  name: z.string(),
  hash: z.literal('blake3'),
  /** What a reader must understand to read it; an unknown one means UPGRADE_REQUIRED. */
  features: z.array(z.string()).max(0),
  createdMs: z.int(),
});
export type RepositoryHeader = z.infer<typeof repositorySchema>;

export interface FormatOptions {
  readonly random: (size: number) => Buffer;
  /** Cost of a passphrase guess; see key-slot.ts. */
  readonly scryptN?: number;
}

export interface UnlockedRepository {
  readonly header: RepositoryHeader;
  readonly key: SealingKey;
}

const encode = (value: unknown): Buffer => Buffer.from(`${JSON.stringify(value, null, 2)}\n`);

/** Read first: what a newer version wrote need not fit this one's schema. */
const marksSchema = z.object({ version: z.int(), features: z.array(z.string()).catch([]), hash: z.string().catch('blake3') });
const slotMarkSchema = z.object({ version: z.int() });

export async function readHeader(store: ObjectStore): Promise<RepositoryHeader | null> {
  const bytes = await store.get(REPOSITORY_OBJECT);
  if (bytes === null) return null;
  const raw = parseJson(bytes, REPOSITORY_OBJECT);
  const marks = marksSchema.safeParse(raw).data;
  if (marks && (marks.version > 1 || marks.features.length > 0 || marks.hash !== 'blake3'))
    throw new HoldfastError('UPGRADE_REQUIRED', 'the repository has a format this build does not know', {
      version: marks.version,
      features: marks.features,
      hash: marks.hash,
    });
  const parsed = repositorySchema.safeParse(raw);
  if (!parsed.success)
    throw new HoldfastError('RECORD_INVALID', `${REPOSITORY_OBJECT}: ${z.prettifyError(parsed.error)}`, { object: REPOSITORY_OBJECT });
  return parsed.data;
}

function parseJson(bytes: Buffer, object: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new HoldfastError('RECORD_INVALID', `${object} is not JSON`, { object }, cause);
  }
}

/** Creates the repository, or opens the one that is there. */
export async function ensureRepository(
  store: ObjectStore,
  name: string,
  passphrase: string,
  nowMs: number,
  options: FormatOptions,
): Promise<UnlockedRepository> {
  const fresh: RepositoryHeader = {
    format: 'holdfast-repository',
    version: 1,
    id: options.random(16).toString('hex'),
    name,
    hash: 'blake3',
    features: [],
    createdMs: nowMs,
  };
  await store.put(REPOSITORY_OBJECT, encode(fresh), { ifAbsent: true });
  const header = await readHeader(store);
  if (header === null) throw new HoldfastError('STORE_UNFIT', 'the store does not show what was just put', { object: REPOSITORY_OBJECT });
  if ((await newestSlot(store)) === null) {
    const [begun] = await store.list('log/', { limit: 1 });
    if (begun !== undefined)
      throw new HoldfastError('OBJECT_MISSING', 'the key slots of the repository are gone, though its log is there', { object: 'keys/' });
    const key = { repositoryId: Buffer.from(header.id, 'hex'), dataKey: options.random(32) };
    const slot = await wrapDataKey(key.dataKey, key.repositoryId, passphrase, options.random, options.scryptN);
    // Ours; else somebody else's key is the repository's.
    if ((await store.put(keyName(1), encode(slot), { ifAbsent: true })) === 'created') return { header, key };
  }
  return unlock(store, header, passphrase);
}

/** Opens a repository that must be there. `expectedId`: refuse any other one. */
export async function openRepositoryFormat(store: ObjectStore, passphrase: string, expectedId?: string): Promise<UnlockedRepository> {
  const header = await readHeader(store);
  if (header === null) throw new HoldfastError('REPOSITORY_NOT_FOUND', 'there is no repository here', { url: store.describe().url });
  if (expectedId !== undefined && header.id !== expectedId)
    throw new HoldfastError('REPOSITORY_OTHER', 'the store holds another repository than the catalog knows', {
      expected: expectedId,
      found: header.id,
    });
  return unlock(store, header, passphrase);
}

async function unlock(store: ObjectStore, header: RepositoryHeader, passphrase: string): Promise<UnlockedRepository> {
  const slot = await newestSlot(store);
  if (slot === null)
    throw new HoldfastError('REPOSITORY_NOT_FOUND', 'the repository has no key slot: its creation was not finished', {
      repository: header.id,
    });
  const repositoryId = Buffer.from(header.id, 'hex');
  return { header, key: { repositoryId, dataKey: await unwrapDataKey(slot.slot, repositoryId, passphrase) } };
}

async function newestSlot(store: ObjectStore): Promise<{ readonly name: string; readonly slot: KeySlot } | null> {
  let newest: string | null = null;
  for await (const { name } of listAll(store, 'keys/')) newest = name;
  if (newest === null) return null;
  const bytes = await store.get(newest);
  if (bytes === null) return newestSlot(store);
  const raw = parseJson(bytes, newest);
  if ((slotMarkSchema.safeParse(raw).data?.version ?? 0) > 1) throw upgradeRequired(newest, newest);
  const parsed = keySlotSchema.safeParse(raw);
  if (!parsed.success) throw new HoldfastError('RECORD_INVALID', `${newest}: ${z.prettifyError(parsed.error)}`, { object: newest });
  return { name: newest, slot: parsed.data };
}

/** Wraps the data key by a new passphrase. The old one opens nothing once this returns. */
export async function changePassphrase(
  store: ObjectStore,
  unlocked: UnlockedRepository,
  passphrase: string,
  options: FormatOptions,
): Promise<void> {
  const before = await newestSlot(store);
  const generation = before === null ? 1 : Number(before.name.slice('keys/'.length)) + 1;
  const slot = await wrapDataKey(unlocked.key.dataKey, unlocked.key.repositoryId, passphrase, options.random, options.scryptN);
  if ((await store.put(keyName(generation), encode(slot), { ifAbsent: true })) === 'exists')
    throw new HoldfastError('CONTENTION', 'the passphrase was changed by somebody else at the same moment', { generation });
  const older: string[] = [];
  for await (const { name } of listAll(store, 'keys/')) if (name < keyName(generation)) older.push(name);
  await store.delete(older);
}
