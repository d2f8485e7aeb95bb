import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { findHooks, whileAtRest, type Hooks } from '../../../src/engine/volumes/hooks.ts';

let folder: string;
let log: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'hf-hooks-'));
  log = path.join(folder, 'log');
  await writeFile(log, '');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function install(volume: string, freeze = '', thaw = ''): Promise<Hooks> {
  await mkdir(path.join(folder, volume), { recursive: true });
  for (const [name, body] of [
    ['freeze', freeze],
    ['thaw', thaw],
  ] as const) {
    const file = path.join(folder, volume, name);
    await writeFile(file, `#!/bin/sh\necho ${name} $1 >> ${log}\n${body}\n`);
    await chmod(file, 0o755);
  }
  const hooks = await findHooks(folder, volume);
  if (hooks === null) throw new Error('not found');
  return hooks;
}

const lines = async (): Promise<string[]> => (await readFile(log, 'utf8')).split('\n').filter((line) => line !== '');
const untilLines = async (count: number): Promise<void> => {
  for (const until = Date.now() + 30_000; Date.now() < until && (await lines()).length < count;) await sleep(20);
};
const note = (line: string): Promise<void> => writeFile(log, `${line}\n`, { flag: 'a' });

describe('hooks of a volume', () => {
  test('there may be none', async () => {
    expect(await findHooks(folder, 'db')).toBeNull();
  });

  test('one without the other is refused, and one that others could change', async () => {
    await install('db');
    await chmod(path.join(folder, 'db', 'thaw'), 0o775);
    await expect(findHooks(folder, 'db')).rejects.toMatchObject({ code: 'HOOK_FAILED' });
    await rm(path.join(folder, 'db', 'thaw'));
    await expect(findHooks(folder, 'db')).rejects.toMatchObject({ code: 'HOOK_FAILED' });
  });

  test('all rest while the work is done, and are all woken', async () => {
    const both = [await install('db'), await install('logs')];
    expect(await whileAtRest(both, () => note('work').then(() => 7))).toBe(7);
    const seen = await lines();
    expect(seen.slice(0, 3)).toEqual(['freeze db', 'freeze logs', 'work']);
    expect(seen.slice(3).sort()).toEqual(['thaw db', 'thaw logs']);
  });

  test('a freeze that fails is told with what it said, and is thawed all the same', async () => {
    const hooks = await install('db', 'echo the database is away >&2; exit 3');
    await expect(whileAtRest([hooks], () => note('work'))).rejects.toMatchObject({
      code: 'HOOK_FAILED',
      message: expect.stringContaining('the database is away'),
    });
    expect(await lines()).toEqual(['freeze db', 'thaw db']);
  });

  test('a thaw that fails is told', async () => {
    const hooks = await install('db', '', 'exit 4');
    await expect(whileAtRest([hooks], () => note('work'))).rejects.toMatchObject({ code: 'HOOK_FAILED' });
  });

  test('work that fails is told as what it is', async () => {
    const hooks = await install('db');
    await expect(whileAtRest([hooks], () => Promise.reject(new Error('the disk is gone')))).rejects.toThrow('the disk is gone');
    expect(await lines()).toEqual(['freeze db', 'thaw db']);
  });

  test('work that takes too long is thawed by the watchdog, and no moment', async () => {
    const hooks = await install('db');
    const work = async (): Promise<void> => {
      await untilLines(2);
      // Its end is known a moment after what it wrote.
      await sleep(500);
      await note('work');
    };
    await expect(whileAtRest([hooks], work, 1000)).rejects.toMatchObject({ code: 'HOOK_FAILED' });
    expect(await lines()).toEqual(['freeze db', 'thaw db', 'work']);
  });

  test('whoever is killed while it rests leaves it thawed', async () => {
    const hooks = await install('db');
    const module = path.resolve('src/engine/volumes/hooks.ts');
    const code = `import { whileAtRest } from ${JSON.stringify(module)}; await whileAtRest([${JSON.stringify(hooks)}], () => new Promise((r) => { console.log('rests'); setTimeout(r, 60000); }))`;
    const child = spawn(process.execPath, ['--input-type=module', '--disable-warning=ExperimentalWarning', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    expect(await lines()).toEqual(['freeze db']);
    child.kill('SIGKILL');
    await untilLines(2);
    expect(await lines()).toEqual(['freeze db', 'thaw db']);
  });
});
