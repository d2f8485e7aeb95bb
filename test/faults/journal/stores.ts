/** The stores of a run as a process of it opens them. */
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { openStore, type OpenedStore } from '../../../src/ground/stores/open-store.ts';
import type { StorePlaces } from './lines.ts';

export interface Stores extends AsyncDisposable {
  open(name: string): Promise<ObjectStore>;
}

export function storesAt(places: StorePlaces, variables: NodeJS.ProcessEnv): Stores {
  const opened = new Map<string, Promise<OpenedStore>>();
  return {
    open(name) {
      const place = places[name];
      if (place === undefined) throw new Error(`no store ${name}`);
      const { url, endpoint, region } = place;
      const credentials = { accessKeyIdEnv: 'FAULTS_S3_ID', secretAccessKeyEnv: 'FAULTS_S3_SECRET' };
      const store =
        opened.get(name) ??
        openStore(url, { endpoint, region, credentials, environment: variables, retry: { attempts: 2, baseDelayMs: 20 } });
      opened.set(name, store);
      return store;
    },
    async [Symbol.asyncDispose]() {
      for (const store of opened.values()) await (await store)[Symbol.asyncDispose]();
    },
  };
}
