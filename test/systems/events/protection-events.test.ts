/** Events of protected disks and of streams, as a consumer of somebody else's sees them: points with names, changes of mode, epochs, bases, failovers and their tests. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProtection } from '../../../src/engine/catalog/protections.ts';
import { takeOver } from '../../../src/engine/journal/takeover/take-over.ts';
import { openHost } from '../../../src/engine/volumes/host.ts';
import { workerArguments } from '../../../src/faces/cli/worker-entry.ts';
import { startKafka, type RunningKafka } from '../../../src/faces/stack/kafka.ts';
import { startEvents } from '../../../src/systems/events/events-service.ts';
import { noteMoved } from '../../../src/systems/protection/failover/moved.ts';
import { journalIn } from '../../../src/systems/protection/home-journal.ts';
import { useDisk } from '../../engine/volumes/nbd/disk-user.ts';
import { cli, cliJson } from '../../faces/cli/run-cli.ts';
import { describeWith, finder } from '../../faces/stack/describe-with.ts';
import { writeExtents } from '../image.ts';
import { createInstallation, HOST, type Installation } from '../installation.ts';
import { clusterOf, readTopic, requirePromises, type Seen } from './topic.ts';

const EXTENT = 64 * 1024;
const SIZE = 16 * EXTENT;

const describeKafka = await describeWith('kafka');
describeKafka('events of journals', () => {
  let folder: string;
  let broker: RunningKafka;
  let installation: Installation;

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'holdfast-protected-'));
    broker = await startKafka({ dir: path.join(folder, 'broker'), durability: 'durable' }, finder);
    installation = await createInstallation();
    for (const store of ['log', 'east', 'west']) await installation.addStore(store);
    const events = { cluster: clusterOf(broker.brokers), topic: 'holdfast.events', partitions: 3, generation: 1 };
    await installation.home.catalog.append(() => ({ kind: 'EVENTS_SET', events }));
  }, 180_000);
  afterAll(async () => {
    await installation[Symbol.asyncDispose]();
    await broker.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const run = (...args: readonly string[]) => cli(args, { variables: installation.variables });

  /** Until the events that are wanted have all come, by type. */
  async function seenUntil(...types: readonly string[]): Promise<readonly Seen[]> {
    for (const deadline = Date.now() + 90_000; ; await sleep(500)) {
      const seen = await readTopic(broker.brokers, 'holdfast.events').catch((): readonly Seen[] => []);
      const missing = types.filter((type) => !seen.some(({ event }) => event.type === `holdfast.${type}`));
      if (missing.length === 0) return seen;
      if (Date.now() > deadline) throw new Error(`${missing.join(', ')} did not come: ${seen.map(({ event }) => event.type).join(' ')}`);
    }
  }

  test('a named point, changes of mode, epochs, bases and failovers of a group leave under its journal, in order', async () => {
    const { home } = installation;
    await using _ = startEvents({ home, start: () => Promise.resolve('started'), isGone: () => true, observer: {} });
    const image = installation.imageOf('db');
    writeExtents(image, SIZE, EXTENT, [{ extent: 3, content: 7 }]);
    const server = spawn(process.execPath, [...workerArguments('disks')], { env: installation.variables, stdio: 'ignore' });
    const exited = once(server, 'exit');
    try {
      const { disks } = openHost(HOST, installation.folder);
      const attach = () => disks.attach({ format: 1, name: 'db', path: image, sizeBytes: SIZE, extentBytes: EXTENT, hydration: null });
      let uris: readonly string[] = [];
      for (const deadline = Date.now() + 60_000; uris.length === 0; await sleep(100))
        uris = await attach().then(
          (one) => one.uris,
          (error: unknown) => {
            if (Date.now() > deadline) throw error;
            return [];
          },
        );
      const begun = await run('protect', 'start', 'j', 'db', '--log', 'log', '--region', 'east:one', '--region', 'west:two');
      expect({ code: begun.code, err: begun.err }).toMatchObject({ code: 0 });
      using user = await useDisk(uris[0] ?? '');
      await user.write(0, Buffer.from('written'));
      await user.flush();
      const { seq } = await cliJson<{ seq: number }>(['protect', 'point', 'j', '--name', 'noon'], { variables: installation.variables });
      // Somebody takes it over: the host learns so, and says it.
      const protection = findProtection(await home.catalog.sync(), 'j');
      const journal = await journalIn(home, protection, false);
      const taken = await takeOver(journal, { owner: 'other', mode: 'local', members: protection.members, tailLost: false });
      const seen = await seenUntil('catalog.protection-state', 'journal.base');
      const fenced = (all: readonly Seen[]) => all.find(({ event }) => (event.data as { state?: string } | undefined)?.state === 'FENCED');
      for (const deadline = Date.now() + 60_000; fenced(await seenUntil('journal.open')) === undefined; await sleep(500))
        if (Date.now() > deadline) throw new Error(`the fencing is no event: ${seen.map(({ value }) => value).join('\n')}`);

      const moved = { journal: 'j', from: HOST, to: 'other', closedEpoch: 1, end: seq, epoch: taken.epoch, point: seq, lostMsMax: 0 };
      await noteMoved(home.catalog, { ...moved, disks: [] }, 'failover');
      const tested = { journal: 'j', host: 'other', epoch: taken.epoch, point: seq, rpoMsMax: 1, rtoMs: 1, passed: true, by: ['read'] };
      await home.catalog.append(() => ({ kind: 'PROTECTION_TESTED', ...tested }));
      const all = await seenUntil('catalog.protection-moved', 'catalog.protection-tested');
      requirePromises(all);
      const of = (type: string) => all.filter(({ event }) => event.type === `holdfast.${type}`);
      expect(of('catalog.point-named')[0]?.event).toMatchObject({ subject: 'j', data: { name: 'noon', seq } });
      expect(of('catalog.protection-moved')[0]?.event.data).toMatchObject({ host: 'other', how: 'failover', point: seq });
      const opens = of('journal.open').map(({ event }) => event);
      expect(opens.length).toBeGreaterThan(1);
      expect(opens[0]).toMatchObject({ source: '/holdfast/stores/log/journals/j', subject: 'j', data: { mode: 'local', previous: null } });
      expect(opens.at(-1)?.data).toMatchObject({ owner: expect.stringMatching(/^other/) });
      // One key: a consumer of the journal reads one partition.
      expect(
        new Set([...of('journal.open'), ...of('catalog.protection-moved')].map(({ key, partition }) => `${key} ${partition}`)).size,
      ).toBe(1);
    } finally {
      server.kill('SIGKILL');
      await exited;
    }
  }, 300_000);

  test('the epochs of a stream are events, too', async () => {
    await using _ = startEvents({ home: installation.home, start: () => Promise.resolve('started'), isGone: () => true, observer: {} });
    const input = (async function* () {
      yield Buffer.from('bytes');
    })();
    const done = await cli(['journal', 'append', 's', '--log', 'log', '--region', 'east:one', '--region', 'west:two'], {
      ...installation,
      input,
    });
    expect(done.code).toBe(0);
    for (const deadline = Date.now() + 60_000; ; await sleep(500)) {
      const seen = await readTopic(broker.brokers, 'holdfast.events');
      if (seen.some(({ event }) => event.type === 'holdfast.journal.open' && event.subject === 's')) return;
      if (Date.now() > deadline) throw new Error(seen.map(({ event }) => `${event.type} ${event.subject}`).join('\n'));
    }
  }, 120_000);
});
