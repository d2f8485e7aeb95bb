/** Retention: the window stays, pins hold until they lapse, and no clock takes a point alone. */
import { expect, test } from '@jest/globals';
import { pinPoint, unpin } from '../../../../src/engine/journal/keeping/pins.ts';
import { applyRetention, planRetention } from '../../../../src/engine/journal/keeping/retention.ts';
import type { Journal } from '../../../../src/engine/journal/journal.ts';
import { SmallJournal } from '../reading/small-journal.ts';

/** Bases in a at 2, 4, 6, 8 and in b at 2, 4, 6, taken at 1000 times that in ms. */
async function folded() {
  const world = new SmallJournal(['a', 'b']);
  await world.open('pair', ['a', 'b']);
  const taken = new Map<string, number>();
  for (let i = 1; i <= 4; i++) {
    const { index, seq, digest } = await world.put({ records: 'wf', in: ['a', 'b'] });
    for (const region of i < 4 ? ['a', 'b'] : ['a']) {
      const id = `0000000000000000000000000${region === 'a' ? i : i + 4}`;
      taken.set(id, seq * 1000);
      const base = { region, snapshots: [{ volume: 0, id }], from: seq, to: seq, at: { epoch: 1, index, seq, digest } };
      await world.journal.log.append(() => ({ kind: 'BASE', ...base }));
    }
  }
  return { world, taken, state: world.journal.log.known() };
}

const policy = (windowMs: number, frozen = false) => ({ windowMs, frozen });

test('the floor rises to what every member has had for longer than the window', async () => {
  const { state, taken } = await folded();
  const floorAt = (windowMs: number, nowMs: number) => planRetention(state, taken, policy(windowMs), nowMs).floor;
  expect([floorAt(0, 8000), floorAt(0, 5000), floorAt(3000, 8000), floorAt(7000, 8000)]).toEqual([6, 4, 4, null]);
});

test('a clock that is ahead takes nothing of the window, and one that is behind takes less', async () => {
  const { state, taken } = await folded();
  const floorAt = (nowMs: number) => planRetention(state, taken, policy(3000), nowMs).floor;
  expect([floorAt(8000), floorAt(8000 + 86_400_000), floorAt(0)]).toEqual([4, 4, null]);
});

test('a base whose time is not known is not counted on, and a member without any holds the floor', async () => {
  const { state, taken } = await folded();
  expect(planRetention(state, new Map(), policy(0), 9000)).toMatchObject({ floor: null, heldBy: 'no base' });
  const bases = new Map([['a', state.bases.get('a') ?? []]]);
  expect(planRetention({ ...state, bases }, taken, policy(0), 9000)).toMatchObject({ floor: null, heldBy: 'no base' });
});

test('a pin holds the floor until it lapses, and then the log says so first', async () => {
  const { world, taken } = await folded();
  const at = (nowMs: number): Journal => ({ ...world.journal, environment: { ...world.journal.environment, nowMs: () => nowMs } });
  await pinPoint(world.journal, { pin: 'p', point: { epoch: 1, seq: 5 }, untilMs: 9000, why: 'restore' });
  expect(await applyRetention(at(8999), taken, policy(0))).toMatchObject({ unpin: [], floor: 4, heldBy: 'pin' });
  expect(world.journal.log.known()).toMatchObject({ floor: 4 });
  expect(await applyRetention(at(9000), taken, policy(0))).toMatchObject({ unpin: [{ pin: 'p' }], floor: 6 });
  expect(world.journal.log.known()).toMatchObject({ floor: 6, pins: new Map() });
  expect(await applyRetention(at(9000), taken, policy(0))).toMatchObject({ unpin: [], floor: null });
});

test('while it is frozen nothing is given up, and lapsed pins go', async () => {
  const { world, taken } = await folded();
  await pinPoint(world.journal, { pin: 'p', point: { epoch: 1, seq: 5 }, untilMs: -1, why: 'restore' });
  expect(await applyRetention(world.journal, taken, policy(0, true))).toMatchObject({ floor: null, heldBy: 'frozen' });
  expect(world.journal.log.known()).toMatchObject({ floor: 0, pins: new Map() });
});

test('a pin is put once, renewed, taken off once, and refused where there is no point', async () => {
  const { world } = await folded();
  const { log } = world.journal;
  const wanted = { pin: 'p', point: { epoch: 1, seq: 5 }, untilMs: 1, why: 'restore' };
  await pinPoint(world.journal, wanted);
  const { n } = log.known();
  await pinPoint(world.journal, wanted);
  expect(log.known().n).toBe(n);
  await pinPoint(world.journal, { ...wanted, untilMs: 2 });
  expect(log.known().pins.get('p')).toMatchObject({ untilMs: 2 });
  await expect(pinPoint(world.journal, { ...wanted, pin: 'q', point: { epoch: 7, seq: 5 } })).rejects.toMatchObject({
    code: 'RECORD_REFUSED',
  });
  await unpin(world.journal, 'p');
  await unpin(world.journal, 'p');
  expect(log.known().pins.size).toBe(0);
});
