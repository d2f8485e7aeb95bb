/**
 * What a reader finds who knows the page alone: closed epochs up to their end from any region, by name; of the open one the chain in
 * each member. And the judge of what owners have told.
 */
import { readBatch, lastOf, type Batch } from '../../../../src/engine/journal/batch.ts';
import type { Journal } from '../../../../src/engine/journal/journal.ts';
import { batchName, copyName } from '../../../../src/engine/journal/object-names.ts';
import type { JournalRecord } from '../../../../src/engine/journal/records.ts';
import { currentEpoch, type Epoch } from '../../../../src/engine/journal/state.ts';

export const contentOf = (record: JournalRecord): string =>
  record.kind === 'write' ? `write ${record.volume} ${record.offset} ${Buffer.from(record.data).toString()}` : record.kind;

export interface Found {
  /** Of closed epochs, by number; the newest epoch that gives it. */
  readonly closed: ReadonlyMap<number, string>;
  /** Of the open epoch, by member. */
  readonly open: ReadonlyMap<string, ReadonlyMap<number, string>>;
  readonly closedThrough: number;
  /** Epochs of which a batch is in no region, or that do not join. */
  readonly faults: readonly string[];
  /** Batches below an end, in how many regions each is. */
  readonly copies: ReadonlyMap<string, number>;
}

export async function readAll(journal: Journal, regions: readonly string[] = [...journal.regions.keys()]): Promise<Found> {
  const state = await journal.log.sync();
  const closed = new Map<number, string>();
  const faults: string[] = [];
  const copies = new Map<string, number>();
  let closedThrough = 0;
  for (const epoch of state.epochs.values()) {
    if (epoch.end === null) continue;
    let [digest, next] = [epoch.before, epoch.start];
    for (let index = 0; index <= epoch.end.index; index++) {
      const found = (await Promise.all(regions.map((region) => batchIn(journal, region, epoch.epoch, index)))).flatMap((one) => one ?? []);
      copies.set(`${epoch.epoch}/${index}`, found.length);
      const [batch] = found;
      if (batch === undefined || Buffer.from(batch.before).toString('hex') !== digest || batch.first !== next) {
        faults.push(`batch ${index} of epoch ${epoch.epoch}: ${batch === undefined ? 'nowhere' : 'does not follow'}`);
        break;
      }
      for (const record of batch.records) closed.set(record.seq, contentOf(record));
      [digest, next] = [batch.after.toString('hex'), lastOf(batch) + 1];
    }
    if (digest !== epoch.end.digest || next !== epoch.end.seq + 1) faults.push(`epoch ${epoch.epoch} does not end as the log says`);
    closedThrough = epoch.end.seq;
  }
  const current = currentEpoch(state);
  const open = new Map<string, ReadonlyMap<number, string>>();
  for (const { region } of current?.members ?? [])
    if (current !== undefined && regions.includes(region)) open.set(region, await chainIn(journal, region, current));
  return { closed, open, closedThrough, faults, copies };
}

/** A batch under its own name or as a copy; null: neither. */
async function batchIn(journal: Journal, region: string, epoch: number, index: number): Promise<Batch | null> {
  const store = journal.regions.get(region)?.store;
  for (const name of [batchName(epoch, index), copyName(epoch, index)]) {
    const stored = (await store?.get(name)) ?? null;
    const batch = stored === null ? null : readBatch(journal.key, { epoch, index }, name, stored);
    if (batch !== null) return batch;
  }
  return null;
}

async function chainIn(journal: Journal, region: string, { epoch }: Epoch): Promise<ReadonlyMap<number, string>> {
  const records = new Map<number, string>();
  const store = journal.regions.get(region)?.store;
  for (let index = 0; ; index++) {
    const name = batchName(epoch, index);
    const stored = (await store?.get(name)) ?? null;
    const batch = stored === null ? null : readBatch(journal.key, { epoch, index }, name, stored);
    if (batch === null) return records;
    for (const record of batch.records) records.set(record.seq, contentOf(record));
  }
}

/** What is wrong with what was acknowledged by a pair: it is below the end, or in every member that is left. */
export function brokenPromises(found: Found, acknowledged: ReadonlyMap<number, string>): readonly string[] {
  const wrong = [...found.faults];
  for (const [seq, content] of acknowledged) {
    if (seq <= found.closedThrough) {
      if (found.closed.get(seq) !== content) wrong.push(`${seq} was ${content}, and is ${found.closed.get(seq) ?? 'lost'}`);
      continue;
    }
    for (const [region, records] of found.open)
      if (records.get(seq) !== content) wrong.push(`${seq} was ${content}, and is ${records.get(seq) ?? 'not'} in ${region}`);
  }
  return wrong;
}
