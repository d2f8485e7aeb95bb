/** The shop of the demo: a machine that cannot have one is told what to install, and the demo goes on. */
import { expect, test } from '@jest/globals';
import { missingForShop } from '../../../src/faces/demo/shop.ts';
import { readStackEnvironment } from '../../../src/faces/stack/environment.ts';
import { silentProgress } from '../../../src/faces/stack/progress.ts';

test('without a JDK or PostgreSQL the sentence says which, and what to install', async () => {
  const environment = readStackEnvironment({ PATH: '', HOLDFAST_CACHE: '/nowhere' });
  const missing = await missingForShop({ environment, progress: silentProgress });
  expect(missing).toMatch(
    /^(debezium cannot be had here: there is no `java`; install Java 17|postgresql cannot be had here: .*; install Debian's postgresql)/,
  );
});
