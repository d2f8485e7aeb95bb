import { createS3Store } from '../../src/ground/stores/s3-store.ts';
import { objectStoreSuite } from './object-store-suite.ts';
import { describeWithS3, startS3ForTests } from './s3-server.ts';

describeWithS3('on a real S3 server', () => {
  objectStoreSuite(
    'an S3 store',
    async () => {
      const server = await startS3ForTests();
      const store = await createS3Store({ ...server.connection, prefix: 'some/where' });
      return {
        store,
        dispose: async () => {
          await store[Symbol.asyncDispose]();
          await server[Symbol.asyncDispose]();
        },
      };
    },
    { raceRounds: Number(process.env['HOLDFAST_RACE_ROUNDS'] ?? 20) },
  );
});
