/**
 * What `holdfast up` notes about each server that it started: one small file a component below $HOLDFAST_HOME/stack.
 *
 * The note outlives the server, so that the next `up` comes back under the same address; `process` says whether (and exactly
 * which) process is meant. The note is written as soon as the server has a pid, before it is ready: an `up` that is interrupted
 * loses no server. The S3 secret is not in it, but beside it in a file that AWS tools read (AWS_SHARED_CREDENTIALS_FILE).
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { z } from 'zod';
import { readNote, writeNote } from '../../ground/notes/note.ts';
import type { StackEnvironment } from './environment.ts';
import { ProcessIdentity } from './process-identity.ts';
import type { S3Credentials } from './s3.ts';

export const STACK_COMPONENTS = ['temporal', 's3', 'kafka'] as const;
export type StackComponent = (typeof STACK_COMPONENTS)[number];

const StandingRecord = z
  .object({
    format: z.literal(1),
    component: z.enum(STACK_COMPONENTS),
    process: ProcessIdentity.nullable(),
    port: z.int().positive(),
    uiPort: z.int().positive().nullable(),
    namespace: z.string().nullable(),
  })
  .readonly();
export type StandingRecord = z.infer<typeof StandingRecord>;

export interface StandingPaths {
  readonly folder: string;
  readonly lock: string;
  readonly record: string;
  readonly log: string;
  readonly data: string;
  readonly credentials: string;
}

export function standingPaths(component: StackComponent, { homeDir }: StackEnvironment): StandingPaths {
  const folder = path.join(homeDir, 'stack');
  return {
    folder,
    lock: path.join(folder, 'stack.lock'),
    record: path.join(folder, `${component}.json`),
    log: path.join(folder, `${component}.log`),
    data: path.join(folder, component === 'temporal' ? 'temporal.db' : component),
    credentials: path.join(folder, 's3.credentials'),
  };
}

const readIfThere = (file: string): Promise<string | null> =>
  readFile(file, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });

async function replaceFile(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  const temporary = `${file}.${randomBytes(6).toString('hex')}`;
  await writeFile(temporary, text, { mode: 0o600 });
  await rename(temporary, file);
}

export const readRecord = (component: StackComponent, environment: StackEnvironment): Promise<StandingRecord | null> =>
  readNote(standingPaths(component, environment).record, StandingRecord, 'stop the server by hand and remove the file');

export const writeRecord = (record: StandingRecord, environment: StackEnvironment): Promise<void> =>
  writeNote(standingPaths(record.component, environment).record, record);

/** The credentials of the S3 server of this home; made and kept at the first call. */
export async function standingCredentials(environment: StackEnvironment): Promise<S3Credentials> {
  const file = standingPaths('s3', environment).credentials;
  const text = await readIfThere(file);
  const kept = (key: string): string | undefined => text?.match(new RegExp(`^${key}\\s*=\\s*(\\S+)\\s*$`, 'm'))?.[1];
  const accessKeyId = kept('aws_access_key_id');
  const secretAccessKey = kept('aws_secret_access_key');
  if (accessKeyId !== undefined && secretAccessKey !== undefined) return { accessKeyId, secretAccessKey };
  const made = { accessKeyId: 'holdfast', secretAccessKey: randomBytes(20).toString('hex') };
  await replaceFile(file, `[default]\naws_access_key_id = ${made.accessKeyId}\naws_secret_access_key = ${made.secretAccessKey}\n`);
  return made;
}
