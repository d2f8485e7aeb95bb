/**
 * Who stands before a store: marks of rising epochs in the store itself (docs/replica.md, section 5).
 *
 * Invariants. A mark is put only if absent, so each epoch has one owner. A replica answers only while it trusts its mark (trust.ts); whoever takes over
 * waits for that trust and for the clients' patience before it answers. So at no time are the answers of two of them taken. The nonce is noted on the own disk before it is put: a mark that is not noted there was not put by this
 * folder, but by another one, or by a copy of it.
 */
import { z } from 'zod';
import { HoldfastError } from '../../../domain/errors.ts';
import type { ObjectStore } from '../../../ground/stores/object-store.ts';
import { listAll } from '../../../ground/stores/object-store.ts';
import { MARK_PREFIX } from '../../../ground/stores/replica-wire.ts';
import type { NameIndex } from './names.ts';

const markSchema = z.object({
  format: z.literal(1),
  epoch: z.int().min(1),
  replica: z.string().regex(/^[0-9a-f]{32}$/),
  nonce: z.string().regex(/^[0-9a-f]{32}$/),
  host: z.string().max(200),
  state: z.enum(['serving', 'released']),
  trustMs: z.int().min(0).max(86_400_000),
  atMs: z.number(),
});
export type Mark = z.infer<typeof markSchema>;

export interface MarkDeps {
  readonly store: ObjectStore;
  readonly index: NameIndex;
  readonly host: string;
  readonly trustMs: number;
  readonly clientPatienceMs: number;
  readonly random: (size: number) => Buffer;
  readonly sleep: (ms: number) => Promise<void>;
}

export interface Claim {
  /** Whether entries wait that were answered under an earlier epoch of this folder. */
  readonly hasWaiting: boolean;
  /** 'no': refused when another replica stands there. 'waiting': after its trust. 'at once': somebody knows that it is gone. */
  readonly takeOver: 'no' | 'waiting' | 'at once';
  readonly onWait: (ms: number, other: Mark | null) => void;
}

const markName = (epoch: number): string => MARK_PREFIX + String(epoch).padStart(20, '0');

/** The newest mark of a store; null: it has none. RECORD_INVALID, STORE_UNREACHABLE. */
export async function newestMark(store: ObjectStore, known = 0): Promise<Mark | null> {
  let newest: string | undefined = known > 0 ? markName(known) : undefined;
  for (let after = newest; ;) {
    const page: readonly { readonly name: string }[] = await store.list(MARK_PREFIX, after === undefined ? {} : { after });
    newest = page.at(-1)?.name ?? newest;
    if (page.length < 1000) break;
    after = newest;
  }
  if (newest === undefined) return null;
  const bytes = await store.get(newest);
  if (bytes === null) {
    if (known > 0) throw fenced('the mark of this replica is gone from the store behind', { mark: newest });
    throw new HoldfastError('STORE_UNREACHABLE', `${newest} is listed, and is not there`, { name: newest });
  }
  const parsed = markSchema.safeParse(parseJson(bytes));
  if (parsed.success && markName(parsed.data.epoch) === newest) return parsed.data;
  throw new HoldfastError('RECORD_INVALID', `${newest} is no mark of a replica`, { object: newest });
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString()) as unknown;
  } catch {
    // What that means the schema says.
    return undefined;
  }
}

export const fenced = (why: string, details: Readonly<Record<string, string | number>> = {}): HoldfastError =>
  new HoldfastError('REPLICA_FENCED', why, details);

/** Puts the next mark, and waits for the owner of the one before if that is to be taken over. Its epoch. REPLICA_FENCED. */
export async function takeMark(deps: MarkDeps, claim: Claim): Promise<number> {
  const { store, index, sleep } = deps;
  for (;;) {
    const newest = await newestMark(store);
    const isOwn = judge(newest, deps, claim);
    const waitMs =
      claim.takeOver === 'at once' ? 0 : isOwn ? index.identity.waitMs : newest?.state === 'serving' ? patienceOf(newest, deps) : 0;
    // What others may have put meanwhile is to be listed.
    const isFilled = index.isFilled && isOwn && newest?.state !== 'released';
    const own = isOwn ? (newest?.nonce ?? null) : null;
    const epoch = (newest?.epoch ?? 0) + 1;
    if (!(await putMark(deps, { epoch, state: 'serving', own, isFilled, waitMs }))) continue;
    if (waitMs > 0) {
      claim.onWait(waitMs, newest);
      await sleep(waitMs);
    }
    index.noteTaken(epoch);
    return epoch;
  }
}

/** Until nothing that the owner of a mark answers is taken by a client any more. */
const patienceOf = ({ trustMs }: Mark, { clientPatienceMs }: MarkDeps): number => Math.ceil((trustMs + clientPatienceMs) * 1.01);

/** Whether the newest mark is this folder's own. */
function judge(newest: Mark | null, { index }: MarkDeps, { hasWaiting, takeOver }: Claim): boolean {
  const { nonces } = index.identity;
  if (newest === null) {
    // A nonce that was noted and not put is of a first start that was killed; then there is nothing here yet.
    if (takeOver !== 'no' || (index.moved === 0 && !hasWaiting)) return false;
    throw fenced('the store behind has no mark of this replica: it is another store, or it was emptied');
  }
  if (nonces.includes(newest.nonce)) return true;
  const { epoch, host, state } = newest;
  const whose = state === 'released' ? `${host} had taken it and released it` : `${host} stands there since epoch ${epoch}`;
  if (hasWaiting)
    throw fenced(`this replica is not the newest before its store, and has entries that were never moved: ${whose}`, { epoch, host });
  if (state === 'released' || takeOver !== 'no') return false;
  throw fenced(`another replica, or another copy of this folder, stands before the store: ${whose}`, { epoch, host });
}

interface Putting {
  readonly epoch: number;
  readonly state: Mark['state'];
  /** Nonce of the newest mark, if it is this folder's. */
  readonly own: string | null;
  readonly isFilled: boolean;
  readonly waitMs: number;
}

/** False: somebody else was faster, or a try of ours whose answer was lost. */
async function putMark(deps: MarkDeps, { epoch, state, own, isFilled, waitMs }: Putting): Promise<boolean> {
  const { store, index, host, trustMs, random } = deps;
  const { pending, replica } = index.identity;
  // The same nonce for the same epoch: a try that lands late is to be known, too.
  const nonce = pending?.epoch === epoch ? pending.nonce : random(16).toString('hex');
  index.notePending({ own, epoch, nonce, isFilled, waitMs });
  const mark: Mark = { format: 1, epoch, replica, nonce, host, state, trustMs, atMs: Date.now() };
  return (await store.put(markName(epoch), Buffer.from(`${JSON.stringify(mark)}\n`), { ifAbsent: true })) === 'created';
}

/** The owner says that it stands there no more. REPLICA_FENCED: somebody else does. */
export async function releaseMark(deps: MarkDeps): Promise<void> {
  const newest = await newestMark(deps.store);
  const { nonces, epoch } = deps.index.identity;
  const isOwn = newest !== null && nonces.includes(newest.nonce);
  const putting = { epoch: (newest?.epoch ?? 0) + 1, state: 'released', own: newest?.nonce ?? null, isFilled: false, waitMs: 0 } as const;
  if (!isOwn || !(await putMark(deps, putting))) throw fenced('another replica stands before the store now', { epoch });
  deps.index.noteTaken(putting.epoch);
}

/** Every name of the store behind but the marks, page by page. */
export async function* namesBehind(store: ObjectStore): AsyncGenerator<readonly { readonly name: string; readonly sizeBytes: number }[]> {
  let page: { readonly name: string; readonly sizeBytes: number }[] = [];
  for await (const info of listAll(store, '')) {
    if (!info.name.startsWith(MARK_PREFIX)) page.push(info);
    if (page.length < 1000) continue;
    yield page;
    page = [];
  }
  yield page;
}
