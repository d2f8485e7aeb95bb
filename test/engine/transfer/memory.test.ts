import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { MIB } from '../../../src/domain/limits.ts';

interface Report {
  readonly seconds: number;
  readonly peakBytes: number;
  readonly extents: readonly number[];
  readonly written: number;
  readonly readMib: number;
}

test('a sparse tebibyte to three stores: only data is read, and memory is that of a small volume', async () => {
  const script = fileURLToPath(new URL('sparse-tebibyte.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [script]);
  const report = JSON.parse(stdout) as Report;
  expect(report.extents).toEqual([report.written, report.written, report.written]);
  expect(report.readMib).toBe(report.written / 4);
  expect(report.peakBytes).toBeLessThan(300 * MIB);
  expect(report.seconds).toBeLessThan(60);
}, 120_000);
