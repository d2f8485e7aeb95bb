/** What docker-compose.yml promises about every service; that it is well-formed is checked by docker-compose itself in .ci/run. */
import { expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { workerFlags, WORKER_ROLES } from '../../../src/faces/cli/worker-entry.ts';
import { SEARCH_ATTRIBUTES } from '../../../src/faces/stack/temporal.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const text = await readFile(path.join(ROOT, 'docker-compose.yml'), 'utf8');
const all = (pattern: RegExp): readonly string[] => [...text.matchAll(pattern)].map(([, found]) => found ?? '');

test('every port is bound to loopback', () => {
  const ports = all(/^ +ports: \[(.*)\]$/gm).flatMap((list) => list.split(', '));
  expect(ports.length).toBeGreaterThan(5);
  expect(ports.filter((port) => !/^'127\.0\.0\.1:\d+:\d+'$/.test(port))).toEqual([]);
  expect(all(/^ +ports:(\s*)$/gm)).toEqual([]);
});

test('every image is pinned', () => {
  expect(
    all(/^ +image: (.*)$/gm).filter((image) => !/^[^:]+:[^:]*\d+[^:]*$/.test(image) && !image.startsWith('${HOLDFAST_IMAGE:?')),
  ).toEqual([]);
});

test('passwords are files, never values', () => {
  const values = all(/[A-Z_]*(?:PASSWORD|SECRET|PWD)[A-Z_]*: +([^ ,}]+)/g);
  expect(values.filter((value) => !value.startsWith('/run/secrets/'))).toEqual([]);
});

test('registers the search attributes that a server of our own is started with', () => {
  for (const [name, type] of Object.entries(SEARCH_ATTRIBUTES)) expect(text).toContain(`--name ${name} --type ${type}`);
});

test('runs each worker with the flags that a worker of our own is started with', () => {
  const commands = all(/^ +command: \[(.*dist\/workers\/.*)\]$/gm);
  const own = WORKER_ROLES.map((role) => ['node', ...workerFlags(role), `dist/workers/${role}.js`].join(', '));
  expect([...commands].sort()).toEqual(own.sort());
});
