/**
 * `describe` for tests that need real servers: provisions them first (when the file is loaded, so no test's timeout counts
 * the minutes that a first build takes), and where one cannot be had skips loudly, or fails when CI=true.
 *
 *     const describeS3 = await describeWith('s3');
 *     describeS3('...', () => { beforeAll(async () => { server = await obtainS3({ dir }, finder); }); ... });
 */
import { describe } from '@jest/globals';
import { isHoldfastError } from '../../../src/domain/errors.ts';
import type { FinderOptions, Located } from '../../../src/faces/stack/component.ts';
import { ensureDebezium, ensureKafka, ensureS3, ensureTemporal } from '../../../src/faces/stack/components.ts';
import { readStackEnvironment } from '../../../src/faces/stack/environment.ts';
import type { StackEnvironment } from '../../../src/faces/stack/environment.ts';
import { findPostgres } from '../../../src/faces/stack/postgres.ts';
import { stderrProgress } from '../../../src/faces/stack/progress.ts';
import type { StackComponent } from '../../../src/faces/stack/standing-record.ts';

/** What every start function takes; read once from the environment of the test run. */
export const finder: FinderOptions = { environment: readStackEnvironment(), progress: stderrProgress };

/** What a standing stack has, and what only tests and the demo start. */
type TestComponent = StackComponent | 'postgres' | 'debezium';

const ENSURE = {
  temporal: ensureTemporal,
  s3: ensureS3,
  kafka: ensureKafka,
  postgres: findPostgres,
  debezium: ensureDebezium,
} as const satisfies Record<TestComponent, (options: FinderOptions) => Promise<Located | string>>;

const isExternal = (component: TestComponent, { temporal, s3, kafka }: StackEnvironment): boolean => {
  const addresses = { temporal: temporal.address, s3: s3.endpoint, kafka: kafka.brokers, postgres: undefined, debezium: undefined };
  return addresses[component] !== undefined;
};

export async function describeWith(...components: readonly TestComponent[]): Promise<typeof describe | typeof describe.skip> {
  for (const component of components) {
    if (isExternal(component, finder.environment)) continue;
    try {
      await ENSURE[component](finder);
    } catch (error) {
      if (!isHoldfastError(error, 'COMPONENT_UNAVAILABLE') || process.env['CI'] === 'true') throw error;
      process.stderr.write(`\n*** SKIPPED: tests that need ${component}: ${error.message}\n\n`);
      return describe.skip;
    }
  }
  return describe;
}
