/**
 * `npm run provision`: makes ready the servers that tests start, so that no test run begins with a build of ten minutes.
 */
import { ensureDebezium, ensureKafka, ensureS3, ensureTemporal } from '../../../src/faces/stack/components.ts';
import { readStackEnvironment } from '../../../src/faces/stack/environment.ts';
import { stderrProgress } from '../../../src/faces/stack/progress.ts';

const finder = { environment: readStackEnvironment(), progress: stderrProgress };
for (const ensure of [ensureTemporal, ensureS3, ensureKafka, ensureDebezium]) {
  const { path, origin } = await ensure(finder);
  process.stdout.write(`${origin}\t${path}\n`);
}
