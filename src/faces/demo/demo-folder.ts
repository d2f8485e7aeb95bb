/**
 * The temporary folder of a demo: everything that it makes lies below it, and goes with it.
 *
 *     volume.img          the volume
 *     stores/<name>/      the three stores, each with a passphrase of its own
 *     home/               HOLDFAST_HOME: the catalog, caches
 *     temporal.db         what Temporal keeps
 *     logs/               of the servers
 *     away/               what is out of reach while one store alone has to do
 *     restored/           what came back
 */
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import path from 'node:path';

export const STORES = ['alpha', 'beta', 'gamma'] as const;
export type DemoStore = (typeof STORES)[number];

export interface DemoFolder extends AsyncDisposable {
  readonly root: string;
  readonly volume: string;
  readonly home: string;
  readonly temporalData: string;
  /** Of before it was wiped. */
  readonly temporalDataBefore: string;
  readonly logs: string;
  readonly away: string;
  readonly restored: string;
  store(name: DemoStore): string;
  inside(...names: readonly string[]): string;
  /** Moves a file or folder out of reach and says where it is now. */
  moveAway(file: string): Promise<string>;
  bringBack(file: string): Promise<void>;
}

export async function makeDemoFolder(within: string, keep: () => boolean): Promise<DemoFolder> {
  const root = await mkdtemp(path.join(within, 'holdfast-demo-'));
  const inside = (...names: readonly string[]): string => path.join(root, ...names);
  const away = inside('away');
  for (const name of ['stores', 'home', 'logs', 'away', 'restored']) await mkdir(inside(name), { mode: 0o700 });
  const placeAway = (file: string): string => path.join(away, path.basename(file));
  return {
    root,
    inside,
    away,
    volume: inside('volume.img'),
    home: inside('home'),
    temporalData: inside('temporal.db'),
    temporalDataBefore: inside('temporal.db.before-the-wipe'),
    logs: inside('logs'),
    restored: inside('restored'),
    store: (name) => inside('stores', name),
    async moveAway(file) {
      await rename(file, placeAway(file));
      return placeAway(file);
    },
    bringBack: (file) => rename(placeAway(file), file),
    async [Symbol.asyncDispose]() {
      if (!keep()) await rm(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}
