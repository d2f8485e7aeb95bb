/**
 * Somebody else's installation, beside the demo's: its own home, passphrase and store, and a receiver that the demo replicates to.
 * Whatever is lost there is lost in the files of its store.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { repositoryName, storeName } from '../../domain/ids.ts';
import { openHome, type Home } from '../../engine/catalog/home.ts';
import { packNameOf } from '../../engine/repository/object-names.ts';
import type { Repository } from '../../engine/repository/repository.ts';
import { createEnvironment } from '../cli/session.ts';
import { workerArguments } from '../cli/worker-entry.ts';
import { freePorts, LOOPBACK } from '../stack/ports.ts';
import { ServerProcess } from '../stack/server-process.ts';
import type { DemoContext } from './demo-context.ts';
import { VOLUME } from './installation.ts';
import { left } from './step.ts';

const STORE = 'offsite';
const PREFIX = 'demo-';
/** What the volume is called there. */
export const REPLICA = `${PREFIX}${VOLUME}`;
const READY_WITHIN_MS = 60_000;

export interface Replica extends AsyncDisposable {
  readonly url: string;
  readonly token: string;
  /** The token, as commands are given it. */
  readonly tokenReference: string;
  /** For `holdfast rescue` on that side. */
  readonly storeArguments: readonly string[];
  readonly variables: Readonly<Record<string, string | undefined>>;
  repository(): Promise<Repository>;
  /** Overwrites the stored bytes of values with zeros; how many bytes that were. */
  lose(fingerprints: readonly Buffer[]): Promise<number>;
}

/** The catalog of `home`, as a process beside those that use it opens it. */
export async function openDemoHome(context: DemoContext, home: string, variables: Replica['variables']): Promise<Home> {
  const environment = await createEnvironment(`demo.${process.pid}`, () => undefined);
  const cacheDir = context.folder.inside(`cache-of-${path.basename(home)}`);
  return openHome({ url: `file://${path.join(home, 'home')}`, passphrase: 'env:HOLDFAST_PASSPHRASE', cacheDir, variables, environment });
}

export async function startReplica(context: DemoContext): Promise<Replica> {
  const { folder, programs, installation } = context;
  const home = folder.inside('elsewhere');
  const store = path.join(home, 'store');
  const [port] = await freePorts([0]);
  const variables = {
    ...{ ...installation.bareVariables, HOLDFAST_HOME: home, HOLDFAST_PASSPHRASE: randomBytes(16).toString('hex') },
    HOLDFAST_RECEIVER_LISTEN: `${LOOPBACK}:${port}`,
  };
  await mkdir(home, { mode: 0o700 });
  await programs.holdfastJson(z.unknown(), ['store', 'add', STORE, store, '--passphrase', 'env:HOLDFAST_PASSPHRASE'], variables);
  const adding = ['receiver', 'token', 'add', '--store', STORE, '--prefix', PREFIX];
  const { token } = await programs.holdfastJson(z.looseObject({ token: z.string() }), adding, variables);
  const tokenFile = folder.inside('token');
  await writeFile(tokenFile, token, { mode: 0o600 });
  await using stack = new AsyncDisposableStack();
  const logFile = path.join(folder.logs, 'receiver.log');
  const receiver = await ServerProcess.start({
    ...{ name: 'receiver', command: process.execPath, args: workerArguments('receiver'), env: variables, logFile, lifetime: 'session' },
    isReady: async () => (await readFile(logFile, 'utf8')).includes('"the receiver is serving"'),
    ...{ readyWithinMs: READY_WITHIN_MS, disposable: false },
  });
  stack.defer(() => receiver.stop());
  const opened = stack.use(await openDemoHome(context, home, variables));
  const repository = async (): Promise<Repository> => {
    const there = await opened.repository(storeName(STORE), repositoryName(REPLICA));
    await there.sync();
    return there;
  };
  const whole = stack.move();
  return {
    ...{ url: `http://${LOOPBACK}:${port}`, token, tokenReference: `file:${tokenFile}`, variables, repository },
    storeArguments: ['--store', `file://${store}`, '--passphrase', 'env:HOLDFAST_PASSPHRASE'],
    async lose(fingerprints) {
      const there = await repository();
      let bytes = 0;
      for (const fingerprint of fingerprints) {
        const { pack, offset, length } = left(there.locate(fingerprint), 'the place of a value at the receiver');
        await blank(path.join(store, 'repositories', REPLICA, packNameOf(pack)), offset, length);
        bytes += length;
      }
      return bytes;
    },
    [Symbol.asyncDispose]: () => whole.disposeAsync(),
  };
}

async function blank(file: string, offset: number, length: number): Promise<void> {
  await chmod(file, 0o600);
  await using handle = await open(file, 'r+');
  await handle.write(Buffer.alloc(length), 0, length, offset);
  await handle.sync();
}
