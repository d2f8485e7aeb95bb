/**
 * A host beside a stage: a folder of its own, its disk server in a process that may be killed at any moment, and a node's worker on its queue in
 * this process. Its catalog and its stores are the stage's.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NativeConnection, Worker } from '@temporalio/worker';
import { createActivities, type Activities } from '../../activities/index.ts';
import { isHoldfastError } from '../../src/domain/errors.ts';
import { hostQueue } from '../../src/domain/jobs.ts';
import { storeName } from '../../src/domain/ids.ts';
import { findProtection, type ProtectionRecord } from '../../src/engine/catalog/protections.ts';
import type { ProtectionState } from '../../src/engine/volumes/disks/protection-port.ts';
import { diskFolderOf, openHost, type Host } from '../../src/engine/volumes/host.ts';
import { awaitProtected } from '../../src/systems/protection/failover/await-protected.ts';
import { openProtection } from '../../src/systems/protection/home-journal.ts';
import { recoverTo } from '../../src/systems/protection/recover.ts';
import type { Stage } from './stage.ts';

export const EXTENT = 64 * 1024;

export interface Site extends AsyncDisposable {
  readonly name: string;
  readonly folder: string;
  readonly host: Host;
  uri(disk: string): string;
  start(): Promise<void>;
  /** Resolves when it has ended. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  /** Attaches a blank disk. */
  attach(disk: string, sizeBytes: number): Promise<void>;
  protect(journal: string, disks: readonly string[], some?: Partial<ProtectionRecord>): Promise<void>;
  until(journal: string, ...states: ProtectionState[]): Promise<void>;
  /** A point of now, which is in a region when this resolves. */
  point(journal: string): Promise<number>;
  /** What the files of the disks hold that it has written down. */
  images(disks: readonly string[]): Promise<readonly Buffer[]>;
}

export type Interfere = (activities: Activities) => Activities;

export async function raiseSite(stage: Stage, name: string, interfere: Interfere = (activities) => activities): Promise<Site> {
  await using stack = new AsyncDisposableStack();
  const { installation, temporal, threads } = stage;
  const folder = path.join(installation.folder, name);
  mkdirSync(folder);
  const host = openHost(name, folder);
  const connection = await NativeConnection.connect({ address: temporal.address });
  stack.defer(() => connection.close());
  const worker = await Worker.create({
    ...{ connection, namespace: temporal.namespace, taskQueue: hostQueue(name), shutdownGraceTime: 0, shutdownForceTime: 2000 },
    activities: interfere(createActivities({ home: installation.home, host, threads })),
  });
  const running = worker.run();
  stack.defer(async () => {
    if (worker.getState() === 'RUNNING') worker.shutdown();
    await running.catch(() => undefined);
  });
  let child: ChildProcess | null = null;
  let said = '';
  const variables: NodeJS.ProcessEnv = {
    ...installation.variables,
    ...{ HOLDFAST_HOME: folder, HOLDFAST_HOST: name, HOLDFAST_CATALOG: `file://${path.join(installation.folder, 'home')}` },
    ...{ NODE_COMPILE_CACHE: path.join(tmpdir(), 'hf-sites-compiled'), HOLDFAST_LOG_LEVEL: 'info' },
  };

  const site: Site = {
    ...{ name, folder, host },
    uri: (disk) => `nbd+unix:///${disk}?socket=${path.join(folder, 'disks/nbd.sock')}`,
    async start() {
      const one = fork(path.join(import.meta.dirname, '../../workers/disks.ts'), [], { env: variables, execArgv: [], silent: true });
      child = one;
      said = '';
      one.stderr?.on('data', (bytes: Buffer) => (said = (said + bytes.toString()).slice(-4000)));
      for (let tries = 0; ; tries++) {
        if (
          await host.disks.list().then(
            () => true,
            () => false,
          )
        )
          return;
        if (one.exitCode !== null || tries > 1200) throw new Error(`the disk server of ${name} does not begin: ${said}`);
        await sleep(50);
      }
    },
    async end(signal) {
      const ending = child;
      child = null;
      if (ending === null || ending.exitCode !== null) return;
      const exited = new Promise((resolve) => ending.once('exit', resolve));
      ending.kill(signal);
      await exited;
    },
    async attach(disk, sizeBytes) {
      const file = path.join(folder, `${disk}.img`);
      const fd = openSync(file, 'w');
      ftruncateSync(fd, sizeBytes);
      closeSync(fd);
      await host.disks.attach({ format: 1, name: disk, path: file, sizeBytes, extentBytes: EXTENT, hydration: null });
    },
    async protect(journal, disks, some = {}) {
      const served = await host.disks.list();
      const protection: ProtectionRecord = {
        ...{ journal, host: name, extentBytes: EXTENT, mode: 'local', log: storeName('log') },
        disks: disks.map((disk) => ({ disk, sizeBytes: served.find(({ record }) => record.name === disk)?.record.sizeBytes ?? 0 })),
        members: ['a', 'b'].map((region) => ({ region: storeName(region), domain: `site-${region}` })),
        ...some,
      };
      const { mode, log, members } = protection;
      await host.disks.protect({ format: 1, journal, disks: [...disks], mode, log, members });
      await installation.home.catalog.append(() => ({ kind: 'PROTECTION_SET', protection }));
      await awaitProtected({
        ...{ disks: host.disks, journal, signal: AbortSignal.timeout(60_000), onBase: () => undefined },
        opened: () => openProtection({ home: installation.home, threads }, protection, { create: true }),
      });
    },
    async until(journal, ...states) {
      for (const from = Date.now(); ;) {
        const status = (await host.disks.protection()).find(({ group }) => group.journal === journal);
        if (status !== undefined && states.includes(status.state)) return;
        if (Date.now() - from > 60_000) throw new Error(`${name}: ${JSON.stringify(status)}, and not ${states.join(' or ')}: ${said}`);
        await sleep(50);
      }
    },
    async point(journal) {
      const { seq } = await host.disks.point(journal, []);
      for (const from = Date.now(); ; await sleep(50)) {
        const status = (await host.disks.protection()).find(({ group }) => group.journal === journal);
        if ((status?.closed ?? 0) >= seq) return seq;
        if (Date.now() - from > 60_000) throw new Error(`${seq} gets into no region: ${JSON.stringify(status)}`);
      }
    },
    async images(disks) {
      const records = await Promise.all(disks.map((disk) => diskFolderOf(folder).read(disk)));
      return records.map((record) => readFileSync(record?.path ?? ''));
    },
    async [Symbol.asyncDispose]() {
      await site.end('SIGKILL');
      await lasting.disposeAsync();
    },
  };
  const lasting = stack.move();
  return site;
}

let recoveries = 0;

/** The disks at the newest number that is closed, straight from the regions. */
export async function recovered(stage: Stage, journal: string, seq: number): Promise<readonly Buffer[]> {
  const { home, folder } = stage.installation;
  const protection = findProtection(await home.catalog.sync(), journal);
  const { reading, bases } = await openProtection({ home, threads: stage.threads }, protection);
  const epoch = [...(await reading.journal.log.sync()).epochs.values()].findLast(({ start }) => start <= seq)?.epoch ?? 0;
  const run = ++recoveries;
  const into = (disk: string): string => path.join(folder, `recovered.${run}.${disk}.img`);
  const targets = new Map(protection.disks.map(({ disk, sizeBytes }, volume) => [volume, { path: into(disk), sizeBytes }]));
  // Of the open epoch readers take what its batches say to be acknowledged, and the last one says so a little later.
  for (const from = Date.now(); ; await sleep(100))
    try {
      await recoverTo({ reading, bases, targets, point: { epoch, seq }, pin: `test.${run}`, pinMs: 60_000 });
      break;
    } catch (error) {
      if (!isHoldfastError(error, 'POINT_GONE') || Date.now() - from > 60_000) throw error;
    }
  return protection.disks.map(({ disk }) => readFileSync(into(disk)));
}
