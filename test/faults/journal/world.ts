/** The world of one run: stores on the campaign's S3 server with a link for each process that uses them, hosts in folders. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { environment, openWorld, type ProtectionWorld } from '../../systems/protection/protection-world.ts';
import type { FaultServer } from '../server.ts';
import { diceOf } from '../volumes/dice.ts';
import type { StorePlaces } from './lines.ts';
import { STORES, type StoreId } from './script.ts';
import { CALM, startStoreLink, type StoreLink, type StoreMishap, type StoreWeather } from './store-link.ts';
import { storesAt } from './stores.ts';

export interface HostLinks {
  readonly stores: StorePlaces;
  turn(stores: readonly StoreId[], weather: StoreWeather): void;
  calm(): void;
}

export interface World extends AsyncDisposable {
  readonly folder: string;
  readonly variables: NodeJS.ProcessEnv;
  /** Links of a host's own. */
  link(host: string): Promise<HostLinks>;
  /** A host as the campaign uses it: its stores are reached as they are. */
  host(name: string): ProtectionWorld;
  settled(): Promise<void>;
}

export interface WorldOptions {
  readonly seed: number;
  readonly server: FaultServer;
  /** The clock of every host but the first is so far from the machine's. */
  readonly otherClockMs: number;
}

export function makeWorld({ seed, server, otherClockMs }: WorldOptions, onMishap: (mishap: StoreMishap) => void): World {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-journal-'));
  const compiled = path.join(tmpdir(), 'hf-faults-compiled');
  const variables = { ...process.env, NODE_COMPILE_CACHE: compiled, ...server.variables };
  const links: StoreLink[] = [];
  const places = Object.fromEntries(STORES.map((store) => [store, server.place(`${path.basename(folder)}/${store}`)]));
  const at = (store: StoreId, endpoint: string | null) => {
    const place = places[store];
    return { url: place?.url ?? '', endpoint: endpoint ?? place?.endpoint ?? '', region: place?.region ?? '' };
  };
  const direct = storesAt(Object.fromEntries(STORES.map((store) => [store, at(store, null)])), variables);
  const hosts: ProtectionWorld[] = [];

  return {
    ...{ folder, variables },
    async link(host) {
      const mine = new Map<StoreId, StoreLink>();
      for (const store of STORES)
        mine.set(store, await startStoreLink(at(store, null).endpoint, diceOf(seed, `link of ${host} to ${store}`), onMishap));
      links.push(...mine.values());
      const turn = (stores: readonly StoreId[], weather: StoreWeather): void => stores.forEach((store) => mine.get(store)?.turn(weather));
      return {
        stores: Object.fromEntries(STORES.map((store) => [store, at(store, mine.get(store)?.endpoint ?? '')])),
        turn,
        calm: () => turn(STORES, CALM),
      };
    },
    host(name) {
      const own = path.join(folder, name);
      mkdirSync(own);
      const nowMs = (): number => Date.now() + (name === 'n1' ? 0 : otherClockMs);
      const host = openWorld(own, { hostName: name, openStore: (store) => direct.open(store), environment: { ...environment, nowMs } });
      hosts.push(host);
      return host;
    },
    async settled() {
      await Promise.all(links.map((link) => link.settled()));
    },
    async [Symbol.asyncDispose]() {
      for (const host of hosts) await host.close();
      for (const link of links) await link[Symbol.asyncDispose]();
      await direct[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
