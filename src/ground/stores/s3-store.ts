/**
 * A store in a bucket of S3, or of what speaks its protocol.
 *
 * `If-None-Match: *` makes the server the arbiter of racers: 412 is 'exists', 409 (a conditional put in flight to the same
 * name) is asked again here. The SDK never retries (`maxAttempts: 1`): only `withRetry` does, because after an unclear
 * answer only it knows to look whose bytes are there.
 *
 * Invariants: a body carries a CRC32 that the server checks before it answers, and one that comes back is checked against
 * what the server says it should be; bodies are always drained; a missing bucket is never a missing object. In a bucket
 * with versions a delete leaves a marker, and the versions below it are for the bucket's owner to expire.
 *
 * The SDK takes 0.1 s to import, so it is imported when the first store of this kind is made.
 */
import { Readable } from 'node:stream';

import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { HoldfastError } from '../../domain/errors.ts';
import { checkName, checkNames, checkPrefix, checkRange, isObjectName, pageLength } from './object-name.ts';
import type { ByteRange, ObjectInfo, ObjectStore } from './object-store.ts';
import { ChecksumMismatch, checksumOf, rangeHeader, readBody } from './s3-body.ts';
import { connectS3, type Checksums, type S3Connection } from './s3-client.ts';
import { s3DeleteError, s3Failure, s3OddAnswer, s3StoreError } from './s3-errors.ts';
import { lifecycleRulesOf, type LifecycleRule } from './s3-lifecycle.ts';
import { sleep } from './sleep.ts';

export interface S3StoreOptions extends S3Connection {
  readonly bucket: string;
  /** Where in the bucket the store is: '' or `a/b`, with or without a trailing slash. */
  readonly prefix?: string;
  /** How the bucket keeps what a put asks to retain; absent: it does not. */
  readonly retention?: 'GOVERNANCE' | 'COMPLIANCE';
  /** 'when-required' for servers that do not know them: then what arrives is only checked by its fingerprints. */
  readonly checksums?: Checksums;
}

export interface S3Store extends ObjectStore, AsyncDisposable {
  /** The bucket's own rules for expiry; 'denied' when the credentials may not read them. */
  lifecycleRules(): Promise<readonly LifecycleRule[] | 'denied'>;
  readonly keyPrefix: string;
}

interface PutRequest {
  readonly ifAbsent: boolean;
  readonly retainUntilMs: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** A 409 means that another conditional put to this name is being decided; it is over within milliseconds. */
const CONFLICT_ATTEMPTS_MAX = 8;
const CONFLICT_DELAY_MS = 25;
export async function createS3Store(options: S3StoreOptions): Promise<S3Store> {
  const sdk = await import('@aws-sdk/client-s3');
  const { bucket: Bucket, retention } = options;
  const checksums = options.checksums ?? 'when-supported';
  const keyPrefix = folderPrefix(options.prefix ?? '');
  const { client, idleMs } = await connectS3(options, checksums);
  const subject = (name: string): string => `s3://${Bucket}/${keyPrefix}${name}`;

  /** Runs one operation; failures come out as the contract's, an abort as the signal's reason. */
  const run = async <T>(operation: string, name: string, signal: AbortSignal | undefined, body: () => Promise<T>): Promise<T> => {
    signal?.throwIfAborted();
    try {
      return await body();
    } catch (error) {
      signal?.throwIfAborted();
      throw s3StoreError(error, operation, subject(name));
    }
  };
  const sending = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { abortSignal: signal });

  const putOnce = async (name: string, body: Buffer, options: PutRequest): Promise<'created' | 'exists' | 'conflict'> => {
    try {
      await client.send(
        new sdk.PutObjectCommand({
          Bucket,
          Key: keyPrefix + name,
          Body: body,
          ContentLength: body.byteLength,
          ...(checksums === 'when-supported' ? { ChecksumCRC32: checksumOf(body) } : {}),
          ...(options.ifAbsent ? { IfNoneMatch: '*' } : {}),
          ...(retention === undefined || options.retainUntilMs === undefined
            ? {}
            : { ObjectLockMode: retention, ObjectLockRetainUntilDate: new Date(options.retainUntilMs) }),
        }),
        sending(options.signal),
      );
      return 'created';
    } catch (error) {
      const status = s3Failure(error)?.status;
      if (options.ifAbsent && status === 412) return 'exists';
      if (status === 409) return 'conflict';
      throw error;
    }
  };

  const headObject = async (name: string, signal: AbortSignal | undefined): Promise<ObjectInfo | null> => {
    try {
      const answer = await client.send(new sdk.HeadObjectCommand({ Bucket, Key: keyPrefix + name }), sending(signal));
      return { name, sizeBytes: answer.ContentLength ?? 0 };
    } catch (error) {
      if (s3Failure(error)?.status !== 404) throw error;
    }
    // An answer to HEAD has no body to say which is missing, the object or its bucket.
    try {
      await client.send(new sdk.HeadBucketCommand({ Bucket }), sending(signal));
    } catch (error) {
      const status = s3Failure(error)?.status;
      if (status === 404) throw noBucket(Bucket, error);
      // Denied a look at it: it is there.
      if (status !== 403) throw error;
    }
    return null;
  };

  const getObject = async (name: string, range: ByteRange | undefined, signal: AbortSignal | undefined): Promise<Buffer | null> => {
    let answer: GetObjectCommandOutput;
    try {
      const wanted = range === undefined ? {} : { Range: rangeHeader(range) };
      answer = await client.send(new sdk.GetObjectCommand({ Bucket, Key: keyPrefix + name, ...wanted }), sending(signal));
    } catch (error) {
      const failure = s3Failure(error);
      if (failure?.name === 'NoSuchKey') return null;
      if (failure?.status === 416) return Buffer.alloc(0);
      throw error;
    }
    const { Body: stream, ContentLength: announcedBytes, ContentRange: part, ChecksumCRC32: expected } = answer;
    if (stream === undefined || announcedBytes === undefined || !(stream instanceof Readable))
      throw s3OddAnswer(subject(name), 'no body, or no length');
    const bytes = await readBody(stream, announcedBytes, { signal, idleMs });
    if (range !== undefined && part !== undefined) {
      if (!part.startsWith(`bytes ${range.offset}-`)) throw s3OddAnswer(subject(name), `range ${part}`);
      return bytes;
    }
    // Checksums of multipart uploads (`...-7`) are not of the bytes.
    const verifiable = expected !== undefined && !expected.includes('-');
    if (verifiable && checksumOf(bytes) !== expected) throw new ChecksumMismatch();
    // A server that does not know ranges sends all.
    return range === undefined ? bytes : bytes.subarray(range.offset, range.offset + range.length);
  };

  return {
    keyPrefix,

    async put(name, bytes, { ifAbsent = false, retainUntilMs, signal } = {}) {
      checkName(name);
      // A view, not a copy; over shared memory, too.
      const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      return await run('put', name, signal, async () => {
        for (let attempt = 1; attempt <= CONFLICT_ATTEMPTS_MAX; attempt++) {
          const answer = await putOnce(name, body, { ifAbsent, retainUntilMs, signal });
          if (answer !== 'conflict') return answer;
          await sleep(CONFLICT_DELAY_MS * attempt, signal);
        }
        throw new HoldfastError('STORE_UNREACHABLE', `put of ${subject(name)}: conflicts without end`, { attempts: CONFLICT_ATTEMPTS_MAX });
      });
    },

    async get(name, { range, signal } = {}) {
      checkName(name);
      if (range !== undefined) checkRange(range);
      return await run('get', name, signal, async () => {
        // HTTP has no range of no bytes.
        if (range?.length === 0) return (await headObject(name, signal)) === null ? null : Buffer.alloc(0);
        try {
          return await getObject(name, range, signal);
        } catch (error) {
          if (!(error instanceof ChecksumMismatch)) throw error;
        }
        // Once may be the network's fault. Twice is the store's.
        try {
          return await getObject(name, range, signal);
        } catch (error) {
          if (!(error instanceof ChecksumMismatch)) throw error;
          throw new HoldfastError('DAMAGED', `the bytes of ${subject(name)} do not have the checksum the store keeps for them`, { name });
        }
      });
    },

    async head(name, { signal } = {}) {
      checkName(name);
      return await run('head', name, signal, () => headObject(name, signal));
    },

    async list(prefix, { after, limit, signal } = {}) {
      checkPrefix(prefix);
      if (after !== undefined) checkPrefix(after, 'after');
      const length = pageLength(limit);
      return await run('list', prefix, signal, async () => {
        const page: ObjectInfo[] = [];
        for (let from = after; ;) {
          const start = from === undefined ? {} : { StartAfter: keyPrefix + from };
          const answer = await client.send(
            new sdk.ListObjectsV2Command({ Bucket, Prefix: keyPrefix + prefix, MaxKeys: length - page.length, ...start }),
            sending(signal),
          );
          for (const { Key = '', Size = 0 } of answer.Contents ?? []) {
            from = Key.slice(keyPrefix.length);
            // What has no name of ours (a console's `folder/`) was put there by somebody else.
            if (isObjectName(from)) page.push({ name: from, sizeBytes: Size });
          }
          if (answer.IsTruncated !== true || page.length >= length) return page;
          if (answer.Contents?.length === 0) throw s3OddAnswer(subject(prefix), 'an empty page that is not the last');
        }
      });
    },

    async delete(names, { signal } = {}) {
      checkNames(names);
      if (names.length === 0) return signal?.throwIfAborted();
      await run('delete', names[0] ?? '', signal, async () => {
        const Objects = names.map((name) => ({ Key: keyPrefix + name }));
        const answer = await client.send(new sdk.DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }), sending(signal));
        const failed = (answer.Errors ?? []).filter((one) => one.Code !== 'NoSuchKey');
        if (failed.length > 0) throw s3DeleteError(failed);
      });
    },

    async lifecycleRules() {
      try {
        const answer = await client.send(new sdk.GetBucketLifecycleConfigurationCommand({ Bucket }));
        return lifecycleRulesOf(answer.Rules ?? []);
      } catch (error) {
        const failure = s3Failure(error);
        if (failure?.name === 'NoSuchLifecycleConfiguration') return [];
        if (failure?.status === 403) return 'denied';
        throw s3StoreError(error, 'reading the lifecycle rules', `s3://${Bucket}`);
      }
    },

    describe: () => ({ url: describeUrl(options, keyPrefix), conditionalPut: true, retention: retention !== undefined }),

    [Symbol.asyncDispose]: () => {
      client.destroy();
      return Promise.resolve();
    },
  };
}

function folderPrefix(prefix: string): string {
  const trimmed = prefix.replace(/\/+$/, '');
  if (trimmed === '') return '';
  checkPrefix(trimmed);
  return `${trimmed}/`;
}

/** The address that parseStoreAddress reads back to this store. */
function describeUrl({ bucket, endpoint, region, forcePathStyle, checksums }: S3StoreOptions, keyPrefix: string): string {
  const parts = [
    ...(endpoint === undefined ? [] : [`endpoint=${endpoint}`]),
    `region=${region}`,
    ...(forcePathStyle === undefined ? [] : [`style=${forcePathStyle ? 'path' : 'virtual'}`]),
    ...(checksums === undefined ? [] : [`checksums=${checksums}`]),
  ];
  const path = keyPrefix === '' ? '' : `/${keyPrefix.slice(0, -1)}`;
  return `s3://${bucket}${path}?${parts.join('&')}`;
}

const noBucket = (bucket: string, cause: unknown): HoldfastError =>
  new HoldfastError('STORE_UNREACHABLE', `the bucket ${bucket} is not there`, { bucket }, cause);
