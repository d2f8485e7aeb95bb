/** A volume that is sealed end to end comes back: replicated to a real receiver, rescued there, and opened here with the passphrase alone. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { extents } from '../../engine/replication/receiving/two-sites.ts';
import { writeExtents } from '../../systems/image.ts';
import { PREFIX, raiseReceiver, type StagedReceiver } from '../../workflows/replication-stage.ts';
import { raiseStage, type Stage } from '../../workflows/stage.ts';
import { describeWith, finder } from '../stack/describe-with.ts';
import { cli, cliJson, errorOf, type CliOptions } from './run-cli.ts';

const EXTENT = 64 * 1024;
/** Not whole extents. */
const SIZE = 200 * EXTENT + 4096;

const describeTemporal = await describeWith('temporal');
describeTemporal('holdfast rescue unseal', () => {
  let stage: Stage;
  let there: StagedReceiver;
  const at = (name: string): string => path.join(stage.installation.folder, name);
  /** All that the sender's side has: the passphrase, and what is no home. */
  const bare = (): CliOptions => ({ variables: { SEAL: 'of the sender', WRONG: 'a guess', HOLDFAST_HOME: at('no-home') } });

  beforeAll(async () => {
    stage = await raiseStage(finder);
    const { installation } = stage;
    Object.assign(installation.variables, { SEAL: 'of the sender' });
    for (const store of ['here', 'there']) await installation.addStore(store);
    const writes = [...extents(0, 20, 1), ...extents(150, 9, 30)];
    await installation.addVolume('db', ['here'], { sizeBytes: SIZE, extentBytes: EXTENT, writes });
    there = await raiseReceiver(stage, 'there');
    await there.enter('vault', { seal: { by: 'sender', passphrase: 'env:SEAL' } });
    await stage.run('captureSnapshot', { volume: 'db' });
    await stage.run('replicateSnapshot', { volume: 'db', receiver: 'vault' });
    writeExtents(installation.imageOf('db'), SIZE, EXTENT, [
      ...extents(5, 2, 60),
      { extent: 150, content: 0 },
      { extent: 199, content: 7 },
    ]);
    await stage.run('captureSnapshot', { volume: 'db' });
    await stage.run('replicateSnapshot', { volume: 'db', receiver: 'vault' });
    // The receiver's operator, with what they have.
    const on = ['--store', installation.storeFolder('there'), '--passphrase', 'env:HOLDFAST_PASSPHRASE'];
    await cliJson(['rescue', 'restore', `${PREFIX}db`, at('sealed.img'), ...on], { variables: installation.variables });
  });
  afterAll(async () => {
    await there[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
  });

  test('what comes back is the volume, bit for bit', async () => {
    const original = readFileSync(stage.installation.imageOf('db'));
    expect(original).toHaveLength(SIZE);
    const sealed = readFileSync(at('sealed.img'));
    for (const line of [original.subarray(5 * EXTENT, 5 * EXTENT + 64), original.subarray(199 * EXTENT, 199 * EXTENT + 64)])
      expect(sealed.includes(line)).toBe(false);
    const args = ['rescue', 'unseal', at('sealed.img'), at('whole.img'), '--passphrase', 'env:SEAL'];
    expect(await cliJson(args, bare())).toMatchObject({ sizeBytes: 201 * EXTENT, extentBytes: EXTENT });
    expect(readFileSync(at('whole.img')).subarray(0, SIZE).equals(original)).toBe(true);
    const cut = await cli(
      ['rescue', 'unseal', at('sealed.img'), at('cut.img'), '--passphrase', 'env:SEAL', '--size', String(SIZE)],
      bare(),
    );
    expect([cut.code, cut.out]).toEqual([0, expect.stringMatching(/cut.img: 12\.5 MiB, 29 extents of 64\.0 KiB opened/)]);
    expect(cut.err).toMatch(/rescue: unsealing/);
    expect(readFileSync(at('cut.img')).equals(original)).toBe(true);
    expect(errorOf(await cli([...args, '--json'], bare())).code).toBe('TARGET_EXISTS');
  });

  test('another passphrase opens nothing, and is said by no one', async () => {
    const wrong = await cli(['rescue', 'unseal', at('sealed.img'), at('w.img'), '--passphrase', 'env:WRONG', '--json'], bare());
    expect(errorOf(wrong)).toMatchObject({ code: 'PASSPHRASE_WRONG', exitCode: 5 });
    expect(wrong.err).not.toContain('a guess');
  });

  test('Ctrl-C leaves nothing at the target', async () => {
    const left = await cli(['rescue', 'unseal', at('sealed.img'), at('left.img'), '--passphrase', 'env:SEAL'], {
      ...bare(),
      interruptWhen: (err) => err.includes('unsealing'),
    });
    expect(left.code).toBe(130);
    expect(() => readFileSync(at('left.img'))).toThrow('ENOENT');
  });
});
