/** The simulation of the journal in the test run: a short seeded set that must be clean in both modes, and every mutant from its seed. */
import { expect, test } from '@jest/globals';
import { simulate, tracedIn } from '../child.ts';
import { MUTANTS } from './mutants.ts';

test('seeded runs of both modes end without a violation', async () => {
  const { ok, output } = await simulate('journal', '--seeds', '300', '--jobs', '2');
  expect(output).toContain('violations: 0');
  expect(ok).toBe(true);
}, 180_000);

test('the same seed is the same run, whatever ran before it', async () => {
  const trace = (from: string, seeds: string) => simulate('journal', '--from', from, '--seeds', seeds, '--steps', '400', '--trace');
  const [alone, after] = await Promise.all([trace('8', '1'), trace('7', '2')]);
  const lines = tracedIn(alone);
  expect(lines.length).toBeGreaterThan(300);
  expect(tracedIn(after).slice(-lines.length)).toEqual(lines);
}, 60_000);

test('every safeguard that is taken out is missed', async () => {
  const { ok, output } = await simulate('journal', '--mutants', '--jobs', '2');
  expect(output).toContain(`all ${MUTANTS.length} mutants fail`);
  expect(ok).toBe(true);
}, 300_000);
