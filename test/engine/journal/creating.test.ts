/** A journal's first objects: in every store the same, so that a region alone can be opened (docs/journal.md, section 2). */
import { expect, test } from '@jest/globals';
import { createJournal, openJournal, prepareRegion, type JournalPlaces } from '../../../src/engine/journal/creating.ts';
import { openRepositoryFormat } from '../../../src/engine/repository/format.ts';
import { withFaults } from '../../../src/ground/stores/faulty.ts';
import { within } from '../../../src/ground/stores/within.ts';
import { createMemoryStore, type MemoryStore } from '../memory-store.ts';
import { environment } from '../repository/world.ts';

const placesOf = (log: JournalPlaces['log'], ...stores: MemoryStore[]): JournalPlaces => ({
  name: 'orders',
  passphrase: 'secret',
  log,
  regions: stores.map((store, i) => ({ name: `r${i}`, domain: `d${i}`, store })),
  environment,
  scryptN: 2,
});

test('the log store and all regions have the same objects, and any of them opens with the passphrase', async () => {
  const stores = [createMemoryStore(), createMemoryStore(), createMemoryStore()] as const;
  const journal = await createJournal(placesOf(...stores));
  for (const store of stores) {
    expect([...store.objects]).toEqual([...stores[0].objects]);
    const { header, key } = await openRepositoryFormat(within(store, 'journals/orders/'), 'secret');
    expect(header.id).toBe(Buffer.from(journal.id).toString('hex'));
    expect(key).toEqual(journal.key);
  }
  expect([...stores[0].objects.keys()]).toEqual(['journals/orders/repository.json', 'journals/orders/keys/00000000000000000001']);
  const again = await openJournal(placesOf(...stores));
  expect(again).toMatchObject({ name: 'orders', id: journal.id, key: journal.key });
  expect([...again.regions.keys()]).toEqual(['r0', 'r1']);
});

test('creating goes on where a crash left it, and is told what it is about', async () => {
  const log = createMemoryStore();
  const region = createMemoryStore();
  const puts = { count: 0 };
  for (let failing = 1; failing <= 4; failing++) {
    puts.count = 0;
    const dies = withFaults(log, ({ operation }) =>
      operation === 'put' && ++puts.count === failing ? { kind: 'unavailable' } : undefined,
    );
    await createJournal(placesOf(dies, region)).catch(() => undefined);
  }
  await createJournal(placesOf(log, region));
  expect([...region.objects]).toEqual([...log.objects]);
});

test('a region that has another journal of that name is refused', async () => {
  const [log, region, other] = [createMemoryStore(), createMemoryStore(), createMemoryStore()];
  await createJournal(placesOf(createMemoryStore(), region));
  await expect(createJournal(placesOf(log, region))).rejects.toMatchObject({ code: 'REPOSITORY_OTHER', details: { region: 'r0' } });
  await createJournal(placesOf(log, other));
  const spare = { name: 'spare', domain: 'far', store: createMemoryStore() };
  await prepareRegion(within(log, 'journals/orders/'), spare);
  await prepareRegion(within(log, 'journals/orders/'), spare);
  expect(spare.store.objects.size).toBe(2);
});

test('what is not there is not opened, nor with another passphrase, nor by a name that is none', async () => {
  const log = createMemoryStore();
  await expect(openJournal(placesOf(log))).rejects.toMatchObject({ code: 'REPOSITORY_NOT_FOUND' });
  await createJournal(placesOf(log));
  await expect(openJournal({ ...placesOf(log), passphrase: 'other' })).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });
  await expect(openJournal({ ...placesOf(log), name: '../x' })).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
});
