import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { HoldfastError } from '../../../src/domain/errors.ts';
import type { JobStatus } from '../../../src/domain/jobs.ts';
import { hindrance, progressLine } from '../../../src/faces/cli/job-progress.ts';
import { readResult } from '../../../src/faces/cli/job-results.ts';
import type { JobView } from '../../../src/faces/cli/jobs.ts';
import { createEstimator } from '../../../src/faces/cli/progress-estimate.ts';
import { formatBytes, formatDuration, parseBytes } from '../../../src/faces/cli/quantities.ts';
import { recoverySheet } from '../../../src/faces/cli/recovery-sheet.ts';
import { renderError } from '../../../src/faces/cli/render-error.ts';
import { renderTable } from '../../../src/faces/cli/table.ts';

describe('quantities', () => {
  test.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.5 KiB'],
    [250 * 1024 ** 2, '250 MiB'],
    [4 * 1024 ** 4, '4.0 TiB'],
  ])('%d bytes read %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
  test.each([
    [12, '12 ms'],
    [9_400, '9.4 s'],
    [93_000, '1m33s'],
    [7_260_000, '2h01m'],
  ])('%d ms read %s', (ms, text) => expect(formatDuration(ms)).toBe(text));
  test.each([
    ['4096', 4096],
    ['256K', 262_144],
    ['20MiB', 20 * 1024 ** 2],
    ['1g', 1024 ** 3],
  ])('%s is understood', (text, bytes) => expect(parseBytes('size')(text)).toBe(bytes));
  test.each(['', '-1', '1.5G', 'G', '0', '1e9', '99999999999999999T'])('%j is refused as a size', (text) =>
    expect(() => parseBytes('size')(text)).toThrow(expect.objectContaining({ code: 'ARGUMENT_INVALID' })),
  );
});

describe('errors', () => {
  const plain = { json: false, verbose: false };
  test('of the table: code, message, what was expected, causes, next step', () => {
    const cause = new Error('connect ECONNREFUSED');
    const { text, exitCode } = renderError(
      new HoldfastError('STORE_UNREACHABLE', 'cloud does not answer', { expected: 'an answer', secretish: 'x' }, cause),
      plain,
    );
    expect(exitCode).toBe(6);
    expect(text.split('\n')).toEqual([
      'error STORE_UNREACHABLE: cloud does not answer',
      '  expected: an answer',
      '  because: connect ECONNREFUSED',
      expect.stringMatching(/^ {2}next: check the address/),
      '',
    ]);
  });
  test('unknown ones are INTERNAL, with a stack under --verbose only', () => {
    const thrown = new TypeError('x is undefined');
    expect(renderError(thrown, plain)).toMatchObject({ exitCode: 1, text: expect.not.stringContaining('rendering.test') });
    expect(renderError(thrown, { json: false, verbose: true }).text).toContain('rendering.test');
    expect(JSON.parse(renderError('text', { json: true, verbose: false }).text)).toMatchObject({
      error: { code: 'INTERNAL', message: 'text', exitCode: 1 },
    });
  });
});

test('a table has columns as wide as they need', () => {
  const columns = [
    { title: 'NAME', cell: (row: readonly [string, number]) => row[0] },
    { title: 'N', align: 'right' as const, cell: (row: readonly [string, number]) => String(row[1]) },
  ];
  expect(
    renderTable(
      columns,
      [
        ['a', 1],
        ['longer', 200],
      ],
      'none',
    ),
  ).toBe('NAME      N\na         1\nlonger  200\n');
  expect(renderTable(columns, [], 'none')).toBe('none\n');
});

test('a recovery sheet names the reference, never what it yields, and quotes it for a shell', () => {
  const facts = {
    name: 'cloud',
    url: 's3://b/p',
    endpoint: 'http://h:9',
    region: null,
    credentials: { accessKeyIdEnv: 'KEY', secretAccessKeyEnv: 'SECRET' },
  };
  const sheet = recoverySheet({ ...facts, passphrase: "command:pass show 'a b'" }, 0);
  expect(sheet).toContain(
    `holdfast rescue list --store 's3://b/p' --passphrase 'command:pass show '\\''a b'\\''' --endpoint 'http://h:9' --access-key-env KEY --secret-key-env SECRET`,
  );
  expect(sheet).toContain('docs/format.md');
});

const running = (progress: Partial<JobStatus> | null, view: Partial<JobView> = {}): JobView => ({
  ...{ id: 'capture.v', runId: 'r', kind: 'captureSnapshot', status: 'RUNNING', begunMs: 0, endedMs: null, units: [], steps: [] },
  progress:
    progress === null
      ? null
      : {
          ...{ kind: 'captureSnapshot', state: 'running', phase: 'shipping', doneUnits: 0, totalUnits: 1 },
          ...{ readBytes: 0, sentBytes: 0, paused: null, snapshot: null, uris: [], ...progress },
        },
  ...view,
});

describe('progress', () => {
  test('has a rate and a time left once there is a basis', () => {
    const estimate = createEstimator();
    const at = (seconds: number) =>
      estimate({
        atMs: seconds * 1000,
        progress: { doneUnits: 0, totalUnits: 2, readBytes: 0 },
        units: [{ unit: 0, doneBytes: seconds * 100, totalBytes: 1000 }],
      });
    expect(at(0)).toMatchObject({ fraction: 0, bytesPerSecond: null, leftMs: null });
    expect(at(4)).toMatchObject({ fraction: 0.2, doneBytes: 400, bytesPerSecond: 100, leftMs: 16_000 });
    expect(progressLine(running({ sentBytes: 1024 }), at(5), 0)).toBe('shipping, 25 %, 500 B, 1.0 KiB sent, 100 B/s, 15 s left');
  });
  test('never goes back and never passes the whole, whatever order the samples come in', () => {
    const unit = fc.record({ unit: fc.nat(3), doneBytes: fc.nat(2000), totalBytes: fc.nat(1000) });
    const progress = fc.option(fc.record({ doneUnits: fc.nat(5), totalUnits: fc.nat(4), readBytes: fc.nat(5000) }));
    fc.assert(
      fc.property(
        fc.array(fc.record({ progress, units: fc.array(unit, { maxLength: 3 }), passedMs: fc.nat(20_000) }), { maxLength: 30 }),
        (samples) => {
          const estimate = createEstimator();
          let atMs = 0;
          let before = { fraction: 0, doneBytes: 0 };
          for (const { passedMs, ...sample } of samples) {
            atMs += passedMs;
            const now = estimate({ atMs, ...sample });
            expect(now.fraction ?? 0).toBeGreaterThanOrEqual(before.fraction);
            expect(now.fraction ?? 0).toBeLessThanOrEqual(1);
            expect(now.doneBytes).toBeGreaterThanOrEqual(before.doneBytes);
            expect(now.leftMs ?? 0).toBeGreaterThanOrEqual(0);
            before = { fraction: now.fraction ?? 0, doneBytes: now.doneBytes };
          }
        },
      ),
    );
  });
  test('says what holds a job up', () => {
    const failure = { code: 'STORE_UNREACHABLE', message: 'cloud does not answer\nstack' };
    const step = { activity: 'shipVolume', state: 'scheduled', attempt: 1, scheduledMs: 0, failure: null } as const;
    expect(hindrance(running({}), 60_000)).toBeNull();
    expect(hindrance({ ...running({}), status: 'COMPLETED', progress: null }, 60_000)).toBeNull();
    expect(hindrance(running({ state: 'paused', paused: { store: 'cloud', reason: 'slow' } }), 0)).toBe('paused: cloud: slow');
    expect(hindrance(running({}, { steps: [{ ...step, attempt: 3, failure }] }), 0)).toBe(
      'STORE_UNREACHABLE: cloud does not answer (attempt 3)',
    );
    expect(hindrance(running({}, { steps: [step] }), 60_000)).toMatch(/no worker has taken shipVolume/);
    expect(hindrance(running(null), 60_000)).toMatch(/holdfast up/);
  });
});

describe('results', () => {
  const outcome = { store: 'a', kind: 'committed', root: null, base: null, sentBytes: 0, newExtents: 1 };
  const captured = {
    volume: 'v',
    snapshot: 's',
    root: null,
    sizeBytes: 1,
    consistency: 'crash',
    readBytes: 1,
    extentsRead: 1,
    changedExtents: 1,
    reclaimed: [],
  };
  test('a capture that a store missed ends with the status of the fault', () => {
    expect(readResult('captureSnapshot', { ...captured, stores: [outcome] }).exitCode).toBe(0);
    const failed = { store: 'b', kind: 'failed', failure: { code: 'STORE_DENIED', message: 'no' } };
    const { exitCode, lines } = readResult('captureSnapshot', { ...captured, stores: [outcome, failed] });
    expect(exitCode).toBe(6);
    expect(lines).toContain('  b: failed, STORE_DENIED: no');
  });
  test('a verification that finds damage names extents and ends with 5', () => {
    const damage = { object: 'a/1', fingerprint: 'ff'.repeat(32), extents: [7], snapshots: ['s'] };
    const { exitCode, lines } = readResult('verifyStore', {
      volume: 'v',
      store: 'a',
      snapshots: 1,
      valuesChecked: 2,
      readBytes: 3,
      damaged: [damage],
      differing: [],
    });
    expect(exitCode).toBe(5);
    expect(lines.join()).toMatch(/NOT SOUND.*extents 7 of s/);
  });
});
