/** A replica as a process of its own, that can be killed, and that ends itself at a point. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Place } from './a-replica.ts';
import type { DyingOrders } from './points.ts';

export interface Dying {
  /** Null: it died before it served. */
  readonly url: string | null;
  readonly died: Promise<string>;
  end(): Promise<void>;
  /** It stands still until it is thawed. */
  freeze(): void;
  thaw(): void;
}

export async function startDying(place: Place, how: Omit<DyingOrders, 'folder' | 'store'>): Promise<Dying> {
  const orders: DyingOrders = { folder: place.folder.root, store: `${place.root}/store`, ...how };
  const entry = new URL('dying-replica.ts', import.meta.url).pathname;
  const child: ChildProcessWithoutNullStreams = spawn(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    entry,
    JSON.stringify(orders),
  ]);
  let errors = '';
  child.stderr.on('data', (text: Buffer) => (errors += text.toString()));
  const died = once(child, 'close').then(() => `${child.signalCode ?? child.exitCode} ${errors}`);
  const url = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line').then(([line]) => (JSON.parse(String(line)) as { url: string }).url),
    died.then(() => null),
  ]);
  return {
    url,
    died,
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async end() {
      child.kill('SIGKILL');
      await died;
    },
  };
}
