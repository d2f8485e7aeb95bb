import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/common';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { ReplicateInput } from '../../src/domain/job-inputs.ts';
import { volumeName } from '../../src/domain/ids.ts';
import { QUEUE, type ReplicateResult } from '../../src/domain/jobs.ts';
import { COMMITS_MAX, ROUND_TRIES_MAX } from '../../src/domain/replication.ts';
import { newestVisible } from '../../src/engine/repository/transfer-reader.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { writeExtents, type ImageWrite } from '../systems/image.ts';
import { PREFIX, raiseReceiver, type StagedReceiver } from './replication-stage.ts';
import { failureOf, raiseStage, statusOf, until, type Stage } from './stage.ts';

const EXTENT = 64 * 1024;
const SIZE = 200 * EXTENT;

const extents = (from: number, count: number, seed: number): ImageWrite[] =>
  Array.from({ length: count }, (_, i) => ({ extent: from + i, content: seed * 1000 + i + 1 }));

const describeTemporal = await describeWith('temporal');
describeTemporal('replicateSnapshot', () => {
  let stage: Stage;
  let there: StagedReceiver;
  /** What happens before a round is begun. */
  let beforeRound: (number: number) => Promise<void> = async () => undefined;
  let afterRound: () => Promise<void> = async () => undefined;
  /** COMMITs that the receiver withholds, from now on. */
  let withhold = 0;
  /** Its store says that it has put packs, and has not. */
  let losesPacks = false;
  beforeAll(async () => {
    stage = await raiseStage(finder, (activities) => ({
      ...activities,
      async replicateRound(plan, opened, subtrees, first) {
        await beforeRound(first);
        const outcome = await activities.replicateRound(plan, opened, subtrees, first);
        await afterRound();
        return outcome;
      },
    }));
    for (const store of ['here', 'second', 'there']) await stage.installation.addStore(store);
    there = await raiseReceiver(stage, 'there', {
      answer: (frame) => (frame.kind === 'COMMIT' && withhold > 0 && withhold-- > 0 ? { kind: 'WITHHELD', subtrees: [0] } : null),
      loses: () => losesPacks,
    });
    await there.enter('offsite');
  });
  afterAll(async () => {
    await there[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
  });

  const captured = async (volume: string, writes: readonly ImageWrite[], stores: readonly string[] = ['here']): Promise<string> => {
    const { installation } = stage;
    const known = (await installation.home.catalog.sync()).volumes.has(volumeName(volume));
    if (known) writeExtents(installation.imageOf(volume), SIZE, EXTENT, writes);
    else await installation.addVolume(volume, stores, { sizeBytes: SIZE, extentBytes: EXTENT, writes });
    return (await stage.run('captureSnapshot', { volume })).snapshot;
  };

  const expectThere = async (volume: string, { snapshot, root }: ReplicateResult): Promise<void> => {
    const found = newestVisible(await there.repository(volume), volumeName(`${PREFIX}${volume}`));
    expect({ id: found.id, root: found.root }).toEqual({ id: snapshot, root });
  };

  const startAs = (workflowId: string, input: ReplicateInput) =>
    stage.client.workflow.start('replicateSnapshot', { workflowId, taskQueue: QUEUE, args: [input] });

  test('brings all of a volume, then what has changed, then nothing', async () => {
    const first = await captured('db', extents(0, 60, 1));
    const full = await stage.run('replicateSnapshot', { volume: 'db', receiver: 'offsite' });
    expect(full).toMatchObject({ snapshot: first, store: 'here', base: null, figures: { referenced: 60, sent: 60, askedAgain: 0 } });
    await expectThere('db', full);

    const second = await captured('db', extents(10, 3, 2));
    const changed = await stage.run('replicateSnapshot', { volume: 'db', receiver: 'offsite' });
    expect(changed).toMatchObject({ snapshot: second, base: first, figures: { referenced: 3, sent: 3, verified: 1 } });
    await expectThere('db', changed);

    const again = await stage.run('replicateSnapshot', { volume: 'db', receiver: 'offsite' });
    expect(again).toMatchObject({ snapshot: second, figures: { referenced: 0, sent: 0 } });
    expect((await stage.installation.repository('here', 'db')).ledger().pins.size).toBe(0);
    const history = await stage.client.workflow.getHandle('replicate.offsite.db').fetchHistory();
    for (const secret of there.secrets) expect(historyToJSON(history)).not.toContain(secret);
  });

  test('a receiver and a snapshot that are not there are refused by name', async () => {
    await captured('refused', extents(0, 3, 3));
    expect(await stage.failure('replicateSnapshot', { volume: 'refused', receiver: 'nowhere' })).toBe('RECEIVER_NOT_FOUND');
    const snapshot = '0'.repeat(26);
    expect(await stage.failure('replicateSnapshot', { volume: 'refused', receiver: 'offsite', snapshot })).toBe('SNAPSHOT_NOT_FOUND');
  });

  test('what the receiver withholds the snapshot for is gone over again, three times', async () => {
    await captured('withheld', extents(0, 40, 4));
    withhold = COMMITS_MAX - 1;
    const handle = await stage.start('replicateSnapshot', { volume: 'withheld', receiver: 'offsite' });
    const result = (await handle.result()) as ReplicateResult;
    expect(withhold).toBe(0);
    expect(result.figures).toMatchObject({ referenced: 40, sent: 40, verified: COMMITS_MAX });
    await expectThere('withheld', result);
  });

  test('a receiver that withholds it a fourth time ends the session', async () => {
    await captured('stingy', extents(0, 10, 9));
    withhold = COMMITS_MAX;
    expect(await stage.failure('replicateSnapshot', { volume: 'stingy', receiver: 'offsite' })).toBe('MISSING_EXTENTS');
    expect(withhold).toBe(0);
    // Its session was closed: the next one finds nothing open, and whoever sends it.
    await expectThere('stingy', (await (await startAs('anybody', { volume: 'stingy', receiver: 'offsite' })).result()) as ReplicateResult);
  });

  test('a receiver whose store loses what it is given is given up after two rounds that brought nothing, by name', async () => {
    await captured('sieve', extents(0, 30, 10));
    losesPacks = true;
    const numbers: number[] = [];
    beforeRound = async (first) => void numbers.push(first / ROUND_TRIES_MAX);
    const handle = await stage.start('replicateSnapshot', { volume: 'sieve', receiver: 'offsite' });
    expect(await failureOf(handle)).toBe('MISSING_EXTENTS');
    expect(numbers).toEqual([0, 1, 2]);
    const { ended } = (await stage.installation.home.catalog.sync()).jobs.get(handle.workflowId) ?? {};
    expect(ended?.summary).toMatch(/lacks 30 .*: [0-9a-f]{64}, .* and 12 more/);
    losesPacks = false;
    beforeRound = async () => undefined;
    await expectThere('sieve', await stage.run('replicateSnapshot', { volume: 'sieve', receiver: 'offsite' }));
  });

  test('a second sender is refused, unless it is told to take over; then the first one ends', async () => {
    await captured('fenced', extents(0, 20, 5), ['here', 'second']);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    let isFirst = true;
    beforeRound = async () => {
      if (!isFirst) return;
      isFirst = false;
      await held;
    };
    const first = await startAs('first', { volume: 'fenced', receiver: 'offsite', store: 'here' });
    await until(first, ({ phase }) => phase === 'replicating');
    const other = { volume: 'fenced', receiver: 'offsite', store: 'second' };
    expect(await failureOf(await startAs('second', other))).toBe('CLAIM_LOST');
    const second = await startAs('third', { ...other, takeOver: true });
    const result = (await second.result()) as ReplicateResult;
    release();
    await expectThere('fenced', result);
    // The snapshot is there, and that is what the first one is told.
    expect(await first.result()).toMatchObject({ snapshot: result.snapshot });
    beforeRound = async () => undefined;
  });

  test("a session that its run has left open is the next run's to take up", async () => {
    await captured('left', extents(0, 20, 6));
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    beforeRound = () => held;
    const first = await startAs('left', { volume: 'left', receiver: 'offsite' });
    await until(first, ({ phase }) => phase === 'replicating');
    await first.terminate('as if Temporal had been wiped');
    release();
    beforeRound = async () => undefined;
    // A newer snapshot: nobody goes on with the one before.
    await captured('left', extents(5, 5, 7));
    await expectThere('left', await stage.run('replicateSnapshot', { volume: 'left', receiver: 'offsite' }));
  });

  test('a pause stops it, and it goes on where it was', async () => {
    await captured('paused', extents(0, 20, 8));
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    beforeRound = async (number) => {
      if (number === 0) await held;
    };
    const handle = await stage.start('replicateSnapshot', { volume: 'paused', receiver: 'offsite' });
    await until(handle, ({ phase }) => phase === 'replicating');
    await handle.executeUpdate('pause');
    release();
    await until(handle, ({ state }) => state === 'paused');
    await handle.executeUpdate('resume');
    await expectThere('paused', (await handle.result()) as ReplicateResult);
    expect((await statusOf(handle)).replication).toMatchObject({ verified: 1 });
    beforeRound = async () => undefined;
  });

  test('a round whose answer is lost with its worker is tried again, and asks what there is', async () => {
    await captured('retried', extents(0, 30, 11));
    let tries = 0;
    afterRound = async () => {
      if (tries++ === 0) throw ApplicationFailure.retryable('the worker is gone', 'STORE_UNREACHABLE');
    };
    const result = await stage.run('replicateSnapshot', { volume: 'retried', receiver: 'offsite' });
    afterRound = async () => undefined;
    expect(tries).toBe(2);
    // What the first try has sent is there.
    expect(result.figures).toMatchObject({ sent: 0, verified: 1 });
    await expectThere('retried', result);
  });

  test('a policy replicates what is captured, and a capture in the middle of a session is not forgotten', async () => {
    const { home } = stage.installation;
    await captured('policed', extents(0, 10, 12));
    const policy = { volume: volumeName('policed'), receiver: 'offsite', from: null, everyMs: null, window: null };
    await home.catalog.append(() => ({ kind: 'REPLICATE_SET', policy: { ...policy, afterCapture: true } }));
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    beforeRound = () => held;
    await captured('policed', extents(3, 2, 13));
    const handle = stage.client.workflow.getHandle('replicate.offsite.policed');
    await until(handle, ({ phase }) => phase === 'replicating');
    const newest = await captured('policed', extents(5, 2, 14));
    beforeRound = async () => undefined;
    release();
    const result = (await handle.result()) as ReplicateResult;
    expect(result.snapshot).toBe(newest);
    await expectThere('policed', result);
    expect((await home.catalog.sync()).replicated.get('offsite/policed')).toMatchObject({ snapshot: newest });
    // Both are there: the one in the middle has gone over as well.
    expect((await there.repository('policed')).ledger().snapshots.size).toBe(2);
  });

  test('one by the clock starts the same job, and none once it was removed', async () => {
    const { home } = stage.installation;
    const newest = await captured('timed', extents(0, 5, 15));
    const run = (): Promise<string> =>
      stage.client.workflow.execute('runPolicy', {
        ...{ workflowId: 'due-now', taskQueue: QUEUE, args: [{ volume: 'timed', receiver: 'offsite' }] },
      });
    expect(await run()).toBe('removed');
    const policy = { volume: volumeName('timed'), receiver: 'offsite', from: null, everyMs: 60_000, window: null };
    await home.catalog.append(() => ({ kind: 'REPLICATE_SET', policy: { ...policy, afterCapture: false } }));
    expect(await run()).toBe('started');
    expect(await stage.client.workflow.getHandle('replicate.offsite.timed').result()).toMatchObject({ snapshot: newest });
  });

  test('extents that the sender seals are nothing that the receiver can read, and unchanged ones keep their names', async () => {
    await there.enter('sealed', { seal: { by: 'sender', passphrase: 'env:HOLDFAST_PASSPHRASE' } });
    await captured('secret', extents(0, 12, 16));
    const full = await stage.run('replicateSnapshot', { volume: 'secret', receiver: 'sealed' });
    expect(full.figures.sent).toBe(12);
    const found = newestVisible(await there.repository('secret'), volumeName(`${PREFIX}secret`));
    expect(found.extentBytes).toBe(2 * EXTENT);
    expect(found.root).not.toBe(full.root);
    await captured('secret', extents(2, 1, 17));
    expect((await stage.run('replicateSnapshot', { volume: 'secret', receiver: 'sealed' })).figures.sent).toBe(1);
  });
});
