/** The parent's side of conformance-node.ts: a volume that can be used, frozen, stopped, killed and begun again. */
import { fork, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface NodeOrder {
  readonly kind: 'freeze' | 'close';
  readonly snapshot: string;
}

type NodeAnswer = { readonly kind: 'done' } | { readonly kind: 'failed'; readonly why: string };

export interface ConformanceVolume extends AsyncDisposable {
  readonly folder: string;
  /** The file that holds the volume. */
  readonly image: string;
  readonly socket: string;
  uri(name?: string): string;
  /** From now on it is served as `disk@snapshot`. */
  freeze(snapshot: string): Promise<void>;
  close(snapshot: string): Promise<void>;
  kill(): Promise<void>;
  stop(): Promise<void>;
  /** After either one. */
  restart(): Promise<void>;
}

export async function conformanceVolume(sizeBytes: number): Promise<ConformanceVolume> {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-conformance-'));
  const [image, socket] = [path.join(folder, 'disk.img'), path.join(folder, 's')];
  writeFileSync(image, '');
  truncateSync(image, sizeBytes);
  let child: ChildProcess | null = null;
  const answer = (from: ChildProcess): Promise<void> =>
    new Promise((resolve, reject) => {
      const gone = (): void => reject(new Error('the serving process has ended'));
      from.once('exit', gone);
      from.once('message', (said: NodeAnswer) => {
        from.off('exit', gone);
        if (said.kind === 'done') resolve();
        else reject(new Error(said.why));
      });
    });
  const restart = async (): Promise<void> => {
    child = fork(path.join(import.meta.dirname, 'conformance-node.ts'), [image, socket, path.join(folder, 'state')], { execArgv: [] });
    await answer(child);
  };
  const order = async (one: NodeOrder): Promise<void> => {
    if (child === null) throw new Error('the serving process does not run');
    child.send(one);
    await answer(child);
  };
  const end = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<void> => {
    const ending = child;
    if (ending === null) return;
    child = null;
    const exited = new Promise((resolve) => ending.once('exit', resolve));
    ending.kill(signal);
    await exited;
  };
  await restart();
  return {
    ...{ folder, image, socket, restart },
    uri: (name = 'disk') => `nbd+unix:///${name}?socket=${socket}`,
    freeze: (snapshot) => order({ kind: 'freeze', snapshot }),
    close: (snapshot) => order({ kind: 'close', snapshot }),
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    async [Symbol.asyncDispose]() {
      await end('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
