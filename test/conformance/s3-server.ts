/**
 * A real S3 server for tests: the one that the environment names, else the stack's own, started here and stopped here.
 *
 * Tests do not build one, which takes minutes: where there is none, what needs it is skipped and says so loudly; with CI
 * set it fails instead, so that a green run there has seen a real server.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from '@jest/globals';
import { locate } from '../../src/faces/stack/component.ts';
import { MINIO } from '../../src/faces/stack/components.ts';
import { readStackEnvironment } from '../../src/faces/stack/environment.ts';
import { silentProgress } from '../../src/faces/stack/progress.ts';
import { obtainS3 } from '../../src/faces/stack/s3.ts';
import type { S3StoreOptions } from '../../src/ground/stores/s3-store.ts';

const environment = readStackEnvironment();
const available = environment.s3.endpoint !== undefined || (await locate(MINIO, environment)) !== null;

/** `describe`, where a server can be had. */
export const describeWithS3: typeof describe | typeof describe.skip = (() => {
  if (available) return describe;
  const reason = `no S3 server: ${MINIO.remedy}; or run \`npm run holdfast -- up\` once`;
  if (process.env['CI'] !== undefined) throw new Error(reason);
  process.stderr.write(`\nSKIPPED, and it should not be: ${reason}\n\n`);
  return describe.skip;
})();

export interface S3ForTests extends AsyncDisposable {
  /** A fresh bucket, and what reaches it. */
  readonly connection: Omit<S3StoreOptions, 'prefix'>;
}

export async function startS3ForTests(): Promise<S3ForTests> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-s3-'));
  const bucket = `test-${randomUUID()}`;
  const server = await obtainS3({ dir, buckets: [bucket] }, { environment, progress: silentProgress });
  const { endpoint, region, accessKeyId, secretAccessKey } = server;
  return {
    connection: { endpoint, region, bucket, credentials: { accessKeyId, secretAccessKey } },
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
