/**
 * Ends an epoch's chain in one region: walks it, and puts a seal at the first empty place (docs/journal.md, rule J3).
 *
 * Invariant: what is returned is final. The place after the last batch holds a seal, so no put of the epoch's owner can lengthen the
 * chain any more, nor is anything behind it a part of it. It begins after the region's base: what is below that may have been
 * collected, and an empty place there, or a late duplicate of what was, says nothing about the end.
 *
 * A place that is empty because its batch was lost is no end: a batch behind it says that it was acknowledged.
 *
 * An owner may put faster than a seal: whoever has lost a few races puts one further ahead, where the owner comes to a stop, and
 * then closes what is before that. A seal behind the end harms nobody.
 */
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { SEAL_RACES_MAX } from '../../../domain/limits.ts';
import type { SealingKey } from '../../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../../ground/stores/object-store.ts';
import type { Environment } from '../../repository/environment.ts';
import { follow, headsBehind, walkChain, type ChainMark, type ChainPlace } from '../chain.ts';
import type { EpochEnd } from '../entries.ts';
import { keepOf } from '../holdings.ts';
import { batchName } from '../object-names.ts';
import { formSeal } from '../seal.ts';
import type { Epoch, JournalState } from '../state.ts';
import { readingAhead } from './reading-ahead.ts';

/** Races that one place may see before the store is called unfit: what it says is there never comes to be seen. */
const RACES_UNFIT = 64;

export interface SealedChain {
  readonly region: string;
  /** Where the walk began, and where the seal stands. */
  readonly begin: ChainMark;
  readonly end: ChainMark;
  /** Where the walk stood, by the index of the batch that came next: from `begin` to `end`. */
  readonly marks: ReadonlyMap<number, ChainMark>;
  /** Whether it goes to the seal, or only up to a batch that is damaged: then it was longer. */
  readonly isWhole: boolean;
  /** So many batches of the epoch were acknowledged, as its batches say; 0: nothing said. */
  readonly acknowledgedBatches: number;
}

/** Where a walk of an epoch begins in a region. */
export function beginOf(state: JournalState, { epoch, start, before }: Epoch, region: string): ChainMark {
  const at = keepOf(state, region)?.at;
  const from =
    at?.epoch === epoch ? { index: at.index + 1, next: at.seq + 1, digest: at.digest } : { index: 0, next: start, digest: before };
  return { epoch, ...from, digest: Buffer.from(from.digest, 'hex'), acknowledged: 0, labelUs: 0 };
}

export interface Sealing {
  readonly region: string;
  /** Below `journals/<name>/`; tries again by itself. */
  readonly store: ObjectStore;
  readonly key: SealingKey;
  readonly environment: Environment;
  readonly begin: ChainMark;
  /** Who, for operators. */
  readonly by: string;
  /** What is taken of a chain with a batch that is damaged: nothing, or, with consent to the loss, what is sound before it. */
  readonly ofDamaged: 'nothing' | 'beginning';
}

/** The chain up to a batch of it that is damaged. */
export const cutAt = (chain: SealedChain, index: number): SealedChain => ({
  ...chain,
  ...{ end: chain.marks.get(index) ?? chain.begin, isWhole: false },
});

/** Its last batch, as an OPEN would say it. */
export const endOf = ({ end: { index, next, digest } }: SealedChain): EpochEnd => ({
  ...{ index: index - 1, seq: next - 1, digest: Buffer.from(digest).toString('hex') },
});

/** STORE_UNREACHABLE and the like; CHAIN_BROKEN, DAMAGED, BATCH_FOREIGN: the chain cannot be walked to its end. */
export async function sealChain({ region, store, key, environment, begin, by, ofDamaged }: Sealing): Promise<SealedChain> {
  const marks = new Map([[begin.index, begin]]);
  let acknowledgedBatches = 0;
  let mark = begin;
  const chain = (isWhole: boolean): SealedChain => ({ region, begin, end: mark, marks, isWhole, acknowledgedBatches });
  const putSeal = (index: number): Promise<'created' | 'exists'> => {
    const seal = formSeal(key, { epoch: begin.epoch, index }, { by, timeMs: environment.nowMs() }, environment.random(32));
    return store.put(batchName(begin.epoch, index), seal, { ifAbsent: true });
  };
  try {
    for (let races = 0; races < RACES_UNFIT; races++) {
      const walking = walkChain({ store: readingAhead(store), key }, mark);
      let step = await walking.next();
      for (; !step.done; step = await walking.next()) {
        mark = follow(mark, step.value);
        // Of its own bytes: a view of the head's would keep all of the head.
        marks.set(mark.index, { ...mark, digest: Buffer.from(mark.digest) });
        acknowledgedBatches = Math.max(acknowledgedBatches, step.value.acknowledgedBatches);
      }
      if (step.value.stoppedBy === 'seal') await refuseLost({ store, key }, mark);
      if (step.value.stoppedBy === 'seal') return chain(true);
      if (races > SEAL_RACES_MAX) await putSeal(mark.index + 2 ** Math.min(races, 12));
      await putSeal(mark.index);
    }
  } catch (error) {
    if (ofDamaged === 'nothing' || !isHoldfastError(error, 'DAMAGED', 'CHAIN_BROKEN', 'BATCH_FOREIGN')) throw error;
    // What is behind it is lost; the owner is to come to a stop all the same.
    for (let index = mark.index + 1; (await putSeal(index)) === 'exists'; index++);
    return chain(false);
  }
  throw new HoldfastError('STORE_UNFIT', `region ${region} does not show what was put`, { region, index: mark.index });
}

/** CHAIN_BROKEN: the batch that would come next was acknowledged once, and is lost; or what could say so is damaged. */
async function refuseLost(place: ChainPlace, mark: ChainMark): Promise<void> {
  const { epoch, index, next } = mark;
  const broken = (why: string): HoldfastError =>
    new HoldfastError('CHAIN_BROKEN', `batch ${index} of epoch ${epoch} is lost, ${why}`, { epoch, index, soundSeq: next - 1 });
  let damaged: string | null = null;
  for await (const { acknowledgedBatches } of headsBehind(place, mark, (object) => (damaged = object)))
    if (acknowledgedBatches > index) throw broken('and batches behind it say that it was acknowledged');
  if (damaged !== null) throw broken(`or never came: ${String(damaged)} behind it, which would say so, is damaged`);
}
