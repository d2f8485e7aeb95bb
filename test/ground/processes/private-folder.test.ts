/** What a killed process left of plain bytes goes; what somebody still uses stays. With a real second process. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { makePrivateFolder } from '../../../src/ground/processes/private-folder.ts';

let parent: string;
beforeEach(() => {
  parent = mkdtempSync(path.join(tmpdir(), 'holdfast-private-'));
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const age = (folder: string): void => utimesSync(folder, new Date(0), new Date(0));

async function makeElsewhere() {
  const module = path.resolve(import.meta.dirname, '../../../src/ground/processes/private-folder.ts');
  const script = `const { makePrivateFolder } = await import(${JSON.stringify(module)});
    const folder = await makePrivateFolder(${JSON.stringify(parent)}, 'plain-');
    console.log(folder.path);
    setInterval(() => folder, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, folder: String(line).trim() };
}

test('a folder goes with its owner, and nobody else sees into it', async () => {
  const folder = await makePrivateFolder(parent, 'plain-');
  expect(statSync(folder.path).mode & 0o777).toBe(0o700);
  writeFileSync(path.join(folder.path, 'rows'), 'secret');
  await folder[Symbol.asyncDispose]();
  expect(existsSync(folder.path)).toBe(false);
});

test('what a killed process left goes with the next folder; one that lives keeps its own, and so does this process', async () => {
  const [dead, alive] = [await makeElsewhere(), await makeElsewhere()];
  try {
    await using own = await makePrivateFolder(parent, 'plain-');
    for (const { folder } of [dead, alive]) writeFileSync(path.join(folder, 'rows'), 'secret');
    dead.child.kill('SIGKILL');
    await once(dead.child, 'exit');
    await using young = await makePrivateFolder(parent, 'plain-');
    expect(existsSync(dead.folder)).toBe(true);
    for (const folder of [dead.folder, alive.folder, own.path, young.path]) age(folder);
    await using next = await makePrivateFolder(parent, 'plain-');
    expect([dead.folder, alive.folder, own.path, young.path, next.path].map((folder) => existsSync(folder))).toEqual([
      false,
      true,
      true,
      true,
      true,
    ]);
  } finally {
    alive.child.kill('SIGKILL');
    dead.child.kill('SIGKILL');
  }
});
