/** The campaign's S3 server: started once, killed and started again on the same folder and port when a run says so. */
import path from 'node:path';
import type { StoreRecord } from '../../src/engine/catalog/catalog.ts';
import type { FinderOptions } from '../../src/faces/stack/component.ts';
import { startS3, type RunningS3 } from '../../src/faces/stack/s3.ts';

export interface FaultServer extends AsyncDisposable {
  readonly variables: Readonly<Record<string, string>>;
  /** What a store's record says of a place on this server. */
  place(prefix: string): Pick<StoreRecord, 'url' | 'endpoint' | 'region' | 'credentials'>;
  /** SIGKILL, and a start on the same folder. One at a time. */
  strike(): Promise<void>;
}

const BUCKET = 'faults';

export async function startFaultServer(folder: string, finder: FinderOptions): Promise<FaultServer> {
  const dir = path.join(folder, 's3');
  const logFile = path.join(folder, 's3.log');
  let running: RunningS3 = await startS3({ dir, logFile, buckets: [BUCKET] }, finder);
  const { endpoint, region, accessKeyId, secretAccessKey } = running;
  const port = Number(new URL(endpoint).port);
  let striking: Promise<void> = Promise.resolve();
  return {
    variables: { FAULTS_S3_ID: accessKeyId, FAULTS_S3_SECRET: secretAccessKey },
    place: (prefix) => ({
      ...{ url: `s3://${BUCKET}/${prefix}`, endpoint, region },
      credentials: { accessKeyIdEnv: 'FAULTS_S3_ID', secretAccessKeyEnv: 'FAULTS_S3_SECRET' },
    }),
    strike() {
      striking = striking.then(async () => {
        await running.kill();
        running = await startS3({ dir, logFile, port, credentials: { accessKeyId, secretAccessKey } }, finder);
      });
      return striking;
    },
    [Symbol.asyncDispose]: () => running.stop(),
  };
}
