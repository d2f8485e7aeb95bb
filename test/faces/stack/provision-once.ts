/**
 * A process of its own for the tests of provisioning: ensures a fake component that takes a moment to make, and prints what
 * it got. Arguments: cache folder, file that counts the builds, and how long the build takes in ms.
 */
import { appendFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureComponent } from '../../../src/faces/stack/component.ts';
import type { Component } from '../../../src/faces/stack/component.ts';
import { readStackEnvironment } from '../../../src/faces/stack/environment.ts';

export const fakeComponent = (builds: string, buildMs: number): Component => ({
  name: 'fake',
  version: '1',
  cached: 'fake',
  variable: 'HOLDFAST_FAKE_BIN',
  named: () => undefined,
  command: 'holdfast-fake-that-is-nowhere',
  fromCommand: (command) => command,
  provision: async (folder, progress) => {
    await appendFile(builds, 'build\n');
    progress('building');
    await sleep(buildMs);
    await writeFile(path.join(folder, 'fake'), 'made');
  },
  remedy: 'install it',
});

if (process.argv[1] === import.meta.filename) {
  const [cacheDir = '', builds = '', buildMs = '0'] = process.argv.slice(2);
  const environment = readStackEnvironment({ HOLDFAST_CACHE: cacheDir });
  const progress = (line: string): void => {
    process.stderr.write(`${line}\n`);
  };
  const { origin } = await ensureComponent(fakeComponent(builds, Number(buildMs)), { environment, progress });
  process.stdout.write(origin);
}
