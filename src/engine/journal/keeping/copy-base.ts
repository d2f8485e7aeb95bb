/**
 * A base of another region is copied: what stands for batches that were dropped there, and that a region still lacks.
 *
 * Only a base that is finished by the floor, so that it hides nothing: below the floor there is no point. Of the open epoch only
 * an exact one, and only to a region that holds the batch it ends with: whoever takes over walks the chain from there.
 */
import { headAt } from '../chain.ts';
import type { BaseEntry } from '../entries.ts';
import { keepOf } from '../holdings.ts';
import { batchName } from '../object-names.ts';
import { isDamage, isSilence, regionsOf, type Reading } from '../reading/reading.ts';
import type { JournalState } from '../state.ts';
import type { Bases, BaseSnapshots } from './bases.ts';
import { recordBase } from './record-base.ts';

/** Gives `region` the base of one that keeps a higher one; false: nobody has one that can be had. */
export async function copyBase(reading: Reading, region: string, known: ReadonlyMap<string, Bases> = new Map()): Promise<boolean> {
  const state = await reading.journal.log.sync();
  const into = known.get(region);
  if (into === undefined) return false;
  for (const source of regionsOf(reading, state)) {
    const base = keepOf(state, source);
    const from = known.get(source);
    if (base === undefined || from === undefined || source === region || !isAbove(state, region, base)) continue;
    if (base.at.epoch === state.current && !(base.from === base.to && (await holdsEnd(reading, region, base)))) continue;
    try {
      const snapshots = await copySnapshots(from, into, base, reading.signal);
      if (snapshots === null) continue;
      if ((await recordBase(reading.journal, { ...base, region, snapshots: [...snapshots] })).kind === 'recorded') return true;
    } catch (error) {
      // Another region's may be sound.
      if (isDamage(error))
        reading.onDamage({ region: source, object: base.snapshots.map(({ id }) => id).join(), code: error.code, message: error.message });
      else if (!isSilence(error)) throw error;
    }
  }
  return false;
}

/** Whether the log would take a copy of this base. */
function isAbove(state: JournalState, region: string, { at, from }: BaseEntry): boolean {
  const highest = state.highest.get(region);
  return highest === undefined || at.epoch > highest.epoch || (at.epoch === highest.epoch && from > highest.from);
}

async function holdsEnd({ journal, signal }: Reading, region: string, { at }: BaseEntry): Promise<boolean> {
  const store = journal.regions.get(region)?.store;
  if (store === undefined || at.index < 0) return at.index < 0;
  const found = await headAt({ store, key: journal.key, ...(signal ? { signal } : {}) }, at, batchName(at.epoch, at.index));
  return found !== 'empty' && found !== 'seal';
}

/** Null: one of them is not there any more. */
async function copySnapshots(from: Bases, into: Bases, base: BaseEntry, signal?: AbortSignal): Promise<BaseSnapshots | null> {
  const listed = await from.list(signal);
  const snapshots: BaseSnapshots[number][] = [];
  for (const { volume, id } of base.snapshots) {
    const image = await from.open(id, signal);
    const stored = listed.find((one) => one.id === id);
    if (image === null || stored === undefined) return null;
    const consistency = base.from === base.to ? ('crash' as const) : ('fuzzy' as const);
    snapshots.push(await into.copy(volume, image, { epoch: base.at.epoch, from: base.from, takenMs: stored.takenMs, consistency }, signal));
  }
  return snapshots;
}
