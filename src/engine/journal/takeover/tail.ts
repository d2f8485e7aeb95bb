/**
 * Copies what only one region may hold to a second one, before the OPEN that makes it readable (docs/journal.md, section 8).
 *
 * Invariant: whatever lies below the end of a pair's epoch was in two regions when that end was recorded. What is acknowledged is so
 * by J6; what comes after may have reached one member only, and readers would show it, and its region could be lost. The tail goes by
 * index, not by number: a batch without records has a place in the chain, too.
 *
 * The walk that sealed the chain has read heads. A body that is not as it was written shows here: then any other copy of that digest
 * will do, and the region whose own is damaged gets it, too. Where there is none the chain is sound up to there, and the caller's to judge.
 */
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import type { SealingKey } from '../../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../../ground/stores/object-store.ts';
import { readBatch } from '../batch.ts';
import type { Journal } from '../journal.ts';
import { batchName, copyName } from '../object-names.ts';
import { fetchBatch } from '../reading/copies.ts';
import { isDamage, isSilence, readingOf, type Damage } from '../reading/reading.ts';
import type { Place } from '../sealed-object.ts';
import type { Epoch, JournalState } from '../state.ts';
import { endOf, type SealedChain } from './seal-chain.ts';

export interface TailCopy {
  /** Its stores try again by themselves. */
  readonly journal: Journal;
  readonly state: JournalState;
  /** The epoch that is being closed, and its longest chain. */
  readonly closing: Epoch;
  readonly chain: SealedChain;
  /** Regions: the chain's own store, and the one that gets the copies. */
  readonly source: ObjectStore;
  readonly target: ObjectStore;
  /** The first batch that may be held once, and the first place that the target's own chain lacks. */
  readonly from: number;
  readonly targetLacks: number;
}

/** The batch that is in no region as it was written, or in none that answers; what is before it is sound. */
export interface Unsound {
  readonly index: number;
  /** What the chain's region has in its place, if it answers. */
  readonly why: string;
}

/** Null: two regions hold the tail. CONTENTION: somebody else has opened meanwhile. */
export async function copyTail(tail: TailCopy): Promise<Unsound | null> {
  const { journal, chain, source, target, from, targetLacks } = tail;
  const { epoch, index: end } = chain.end;
  for (let index = Math.max(from, targetLacks, chain.begin.index); index < end; index++) {
    const found = await soundCopy(tail, { epoch, index });
    if ('why' in found) return found;
    await putCopy(journal.key, target, { epoch, index }, found, chain);
    if (!found.isOwn) await putCopy(journal.key, source, { epoch, index }, found, chain);
  }
  return null;
}

interface SoundCopy {
  readonly stored: Buffer;
  /** Whether it is what the owner put in the chain's region. */
  readonly isOwn: boolean;
}

/** A copy as the chain's heads want it: the region's own, or any other. */
async function soundCopy({ journal, state, closing, chain }: TailCopy, place: Place): Promise<SoundCopy | Unsound> {
  const { region, marks } = chain;
  let why: string | null = null;
  const alarmed = readingOf(journal, { prefer: [region] });
  const onDamage = (damage: Damage): void => {
    if (damage.region === region) why ??= damage.code;
    alarmed.onDamage(damage);
  };
  const after = marks.get(place.index + 1)?.digest ?? null;
  try {
    const found = await fetchBatch({ ...alarmed, onDamage }, asClosed(state, closing, chain), place, after);
    return { stored: found.what.stored, isOwn: found.region === region && found.object === batchName(place.epoch, place.index) };
  } catch (error) {
    if (isHoldfastError(error, 'OBJECT_MISSING')) throw overtaken(chain, batchName(place.epoch, place.index));
    if (!isHoldfastError(error) || !(isDamage(error) || isSilence(error))) throw error;
    return { index: place.index, why: why ?? error.code };
  }
}

/** The state as it would be: of a closed epoch copies are looked for, too, and in every region. */
const asClosed = (state: JournalState, closing: Epoch, chain: SealedChain): JournalState => ({
  ...state,
  epochs: new Map(state.epochs).set(closing.epoch, { ...closing, end: endOf(chain), full: [chain.region] }),
});

async function putCopy(key: SealingKey, store: ObjectStore, place: Place, { stored }: SoundCopy, chain: SealedChain): Promise<void> {
  const copy = copyName(place.epoch, place.index);
  if ((await store.put(copy, stored, { ifAbsent: true })) === 'created') return;
  const there = await store.get(copy);
  if (there === null) throw overtaken(chain, copy);
  if (there.equals(stored)) return;
  if (isSound(key, place, copy, there))
    throw new HoldfastError('CHAIN_BROKEN', `${copy} is another batch`, { epoch: place.epoch, index: place.index, object: copy });
  // Nobody's promise rests on a copy that is damaged.
  await store.put(copy, stored);
}

function isSound(key: SealingKey, place: Place, object: string, stored: Buffer): boolean {
  try {
    return readBatch(key, place, object, stored) !== null;
  } catch (error) {
    if (!isHoldfastError(error, 'DAMAGED', 'BATCH_FOREIGN')) throw error;
    return false;
  }
}

/** Somebody else has opened meanwhile: what lies past the end that was given is collected, and its place may have been sealed since. */
const overtaken = ({ region, end: { epoch } }: SealedChain, name: string): HoldfastError =>
  new HoldfastError('CONTENTION', `${name} is gone`, { epoch, region });
