/** The runner of the demo's steps: what fails ends it, and everything that happened is in the reports. */
import { describe, expect, test } from '@jest/globals';
import { runSteps, type RunOptions } from '../../../src/faces/demo/run-steps.ts';
import { createStepDisplay } from '../../../src/faces/demo/step-display.ts';
import { requireThat, type Step } from '../../../src/faces/demo/step.ts';
import { HoldfastError } from '../../../src/domain/errors.ts';

interface World {
  readonly ran: string[];
}

const step = (name: string, run: (world: World) => void | Promise<void>): Step<World> => ({
  name,
  title: `does ${name}`,
  async run(world) {
    world.ran.push(name);
    await run(world);
    return { figures: { [`${name}Bytes`]: 1 }, lines: [`${name} was done`] };
  },
});

function setup(): { readonly options: RunOptions; readonly written: string[]; readonly stop: AbortController } {
  let seconds = 0;
  const now = (): number => 1000 * seconds++;
  const written: string[] = [];
  const stop = new AbortController();
  const display = createStepDisplay({ write: (text) => written.push(text) }, now);
  return { options: { signal: stop.signal, display, now, stepMsMax: 60_000 }, written, stop };
}

describe('runSteps', () => {
  test('runs the steps in their order and reports figures and time', async () => {
    const { options, written } = setup();
    const world: World = { ran: [] };
    const reports = await runSteps([step('one', () => undefined), step('two', () => undefined)], world, options);
    expect(world.ran).toEqual(['one', 'two']);
    expect(reports.map(({ ok, seconds, figures }) => ({ ok, seconds, figures }))).toEqual([
      { ok: true, seconds: 1, figures: { oneBytes: 1 } },
      { ok: true, seconds: 1, figures: { twoBytes: 1 } },
    ]);
    expect(written).toEqual(['ok   one              1.0 s  does one\n', 'ok   two              1.0 s  does two\n']);
  });

  test('the first step that fails is the last that runs, and says why', async () => {
    const { options, written } = setup();
    const world: World = { ran: [] };
    const failing = step('two', () => requireThat(false, 'it does not hold'));
    const reports = await runSteps([step('one', () => undefined), failing, step('three', () => undefined)], world, options);
    expect(world.ran).toEqual(['one', 'two']);
    expect(reports.at(-1)).toMatchObject({ ok: false, error: { code: 'PROOF_FAILED', message: 'it does not hold' } });
    expect(written.at(-1)).toMatch(/^FAIL two .* PROOF_FAILED: it does not hold\n$/);
  });

  test('an error that is no code of ours is a mistake of ours', async () => {
    const { options } = setup();
    const broken = step('one', () => {
      throw new TypeError('no such thing');
    });
    const [report] = await runSteps([broken], { ran: [] }, options);
    expect(report?.error?.code).toBe('INTERNAL');
    expect(report?.error?.message).toMatch(/no such thing/);
  });

  test('an interruption ends the step under way with its reason', async () => {
    const { options, stop } = setup();
    const waiting = step(
      'one',
      () => new Promise((_, reject) => options.signal.addEventListener('abort', () => reject(new Error('ended')))),
    );
    const running = runSteps([waiting, step('two', () => undefined)], { ran: [] }, options);
    stop.abort(new HoldfastError('JOB_CANCELLED', 'interrupted'));
    const reports = await running;
    expect(reports.map(({ name, error }) => [name, error?.code])).toEqual([['one', 'JOB_CANCELLED']]);
  });
});
