/**
 * A store like another, with something around every call: what limits, measures and the like are made of.
 *
 * The interceptor sees what is asked and runs it, once; the answer passes through it untouched.
 */
import type { ObjectStore } from './object-store.ts';

export type StoreOperation = 'put' | 'get' | 'head' | 'list' | 'delete';

export interface StoreCall {
  readonly operation: StoreOperation;
  /** The object, the prefix, or the first of the names. */
  readonly name: string;
  /** Bytes of the body that is put. */
  readonly sentBytes: number;
  readonly signal: AbortSignal | undefined;
}

export type Interceptor = <T>(call: StoreCall, run: () => Promise<T>) => Promise<T>;

export function interceptStore(store: ObjectStore, around: Interceptor): ObjectStore {
  const call = (operation: StoreOperation, name: string, signal: AbortSignal | undefined, sentBytes = 0): StoreCall => ({
    operation,
    name,
    sentBytes,
    signal,
  });
  return {
    put: (name, bytes, options) => around(call('put', name, options?.signal, bytes.byteLength), () => store.put(name, bytes, options)),
    get: (name, options) => around(call('get', name, options?.signal), () => store.get(name, options)),
    head: (name, options) => around(call('head', name, options?.signal), () => store.head(name, options)),
    list: (prefix, options) => around(call('list', prefix, options?.signal), () => store.list(prefix, options)),
    delete: (names, options) => around(call('delete', names[0] ?? '', options?.signal), () => store.delete(names, options)),
    describe: () => store.describe(),
  };
}

/** Bytes that an answer brought with it. */
export const receivedBytes = (answer: unknown): number => (Buffer.isBuffer(answer) ? answer.byteLength : 0);
