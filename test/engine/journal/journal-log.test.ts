/** The journal's log over a store: one of many that open wins, also when answers are lost, and the others see it (J1, J8). */
import { expect, test } from '@jest/globals';
import { isHoldfastError } from '../../../src/domain/errors.ts';
import type { OpenEntry } from '../../../src/engine/journal/entries.ts';
import { openJournalLog, type JournalLog } from '../../../src/engine/journal/journal-log.ts';
import { seededFaults, withFaults } from '../../../src/ground/stores/faulty.ts';
import { createMemoryStore } from '../memory-store.ts';
import { environment, KEY } from '../repository/world.ts';

const member = (region: string) => ({ region, domain: region });
const open = (owner: string): OpenEntry => ({
  kind: 'OPEN',
  previous: null,
  end: null,
  mode: 'pair',
  owner,
  members: [member('a'), member('b')],
  full: [],
  tailLost: false,
});

/** Takes the journal over from whoever has it, if that is still the one that was seen. */
const takeOver = (log: JournalLog, owner: string, over: number | null): Promise<number | null> =>
  log.append(({ current, epochs }) => {
    const epoch = current === null ? undefined : epochs.get(current);
    if (epoch?.owner === owner) return null;
    if (current !== over || epoch === undefined) return open(owner);
    const end = { index: -1, seq: epoch.start - 1, digest: epoch.before };
    return { ...open(owner), previous: current, end, full: ['a', 'b'] };
  });

test('of owners that race for one epoch one gets it, and the others are refused', async () => {
  const store = createMemoryStore();
  const logs = Array.from({ length: 5 }, () => openJournalLog({ store, key: KEY, environment }));
  const told = await Promise.allSettled(logs.map((log, i) => takeOver(log, `owner-${i}`, null)));
  const won = told.flatMap((one, i) => (one.status === 'fulfilled' ? [i] : []));
  expect(won).toHaveLength(1);
  for (const one of told) if (one.status === 'rejected') expect(isHoldfastError(one.reason, 'RECORD_REFUSED')).toBe(true);
  for (const log of logs) {
    const state = await log.sync();
    expect(state).toMatchObject({ n: 1, current: 1 });
    expect(state.epochs.get(1)?.owner).toBe(`owner-${won[0]}`);
  }
});

test('answers that are lost, and puts that land late: what is told as opened is opened, once', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const inner = createMemoryStore();
    const told: { readonly owner: string; readonly epoch: number }[] = [];
    for (let life = 0; life < 6; life++) {
      const plan = seededFaults({
        seed: seed * 100 + life,
        chances: { 'lost-answer': 0.2, late: 0.1, unavailable: 0.1 },
        operations: ['put'],
      });
      const store = withFaults(inner, plan, { sleep: () => Promise.resolve() });
      const log = openJournalLog({ store, key: KEY, environment });
      const owner = `owner-${life}`;
      try {
        const { current } = await log.sync();
        const epoch = await takeOver(log, owner, current);
        if (epoch !== null) told.push({ owner, epoch });
      } catch (error) {
        if (!isHoldfastError(error, 'STORE_UNREACHABLE', 'RECORD_REFUSED')) throw error;
      }
      await store.settled();
    }
    const { epochs } = await openJournalLog({ store: inner, key: KEY, environment }).sync();
    const context = `seed ${seed}`;
    for (const { owner, epoch } of told) expect([context, epochs.get(epoch)?.owner]).toEqual([context, owner]);
    expect([context, epochs.size]).toEqual([context, inner.objects.size]);
  }
});
