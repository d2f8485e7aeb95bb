/** The suite of all stores on a replica: before a folder, before one that answers unclearly, and before a real S3 server. */
import { createS3Store } from '../../src/ground/stores/s3-store.ts';
import { seededFaults, withFaults } from '../../src/ground/stores/faulty.ts';
import { withRetry } from '../../src/ground/stores/retrying.ts';
import type { ObjectStore } from '../../src/ground/stores/object-store.ts';
import { makePlace, startReplica } from '../systems/regions/replica/a-replica.ts';
import { objectStoreSuite, type StoreUnderTest } from './object-store-suite.ts';
import { describeWithS3, startS3ForTests } from './s3-server.ts';

const seed = Number(process.env['HOLDFAST_SEED'] ?? Math.floor(Math.random() * 2 ** 32));

async function before(makeStore: (folder: ObjectStore) => Promise<{ store: ObjectStore; end(): Promise<void> }>): Promise<StoreUnderTest> {
  const place = await makePlace();
  const { store, end } = await makeStore(place.behind);
  const replica = await startReplica(place.folder, store);
  return {
    store: replica.client,
    async dispose() {
      await replica[Symbol.asyncDispose]();
      await end();
      await place[Symbol.asyncDispose]();
    },
  };
}

const nothing = (): Promise<void> => Promise.resolve();

objectStoreSuite('a replica before a folder', () => before((folder) => Promise.resolve({ store: folder, end: nothing })), {
  raceRounds: 10,
});

objectStoreSuite(
  `a replica before a store that answers one call in four unclearly (HOLDFAST_SEED=${seed})`,
  () =>
    before((folder) => {
      const chances = { 'lost-answer': 0.12, unavailable: 0.1, delay: 0.05, 'partial-delete': 0.03 };
      const faulty = withFaults(folder, seededFaults({ seed, chances, delayMsMax: 3 }));
      const store = withRetry(faulty, { attempts: 30, budget: { share: 30, burst: 10_000 }, sleep: () => Promise.resolve() });
      return Promise.resolve({ store, end: nothing });
    }),
  { raceRounds: 5 },
);

describeWithS3('before a real S3 server', () => {
  objectStoreSuite(
    'a replica',
    () =>
      before(async () => {
        const server = await startS3ForTests();
        const store = await createS3Store({ ...server.connection, prefix: 'some/where' });
        return {
          store,
          async end() {
            await store[Symbol.asyncDispose]();
            await server[Symbol.asyncDispose]();
          },
        };
      }),
    { raceRounds: 5 },
  );
});
