/** The model of a disk: what it lets pass, and what it does not. */
import { expect, test } from '@jest/globals';
import { Clock, demandOneMoment, DiskModel, judge } from './model.ts';
import { NO_VALUE, SECTOR_BYTES, stampOf, valuesOf } from './stamp.ts';

const newModel = (clock = new Clock(), name = 'd'): DiskModel => new DiskModel({ name, number: 1, sectors: 8, clock });

function write(model: DiskModel, from: number, to: number): number {
  const change = model.begin(from, to, 'write');
  if (change === null) throw new Error('these sectors are being changed');
  model.acknowledge(change);
  return change.serial;
}

test('a stamp is read as its change; one that is torn, or of another sector, is none', () => {
  const bytes = stampOf(3, 10, 12, 77);
  expect([...valuesOf(bytes, 10)]).toEqual([77, 77]);
  expect([...valuesOf(bytes, 11)]).toEqual([NO_VALUE, NO_VALUE]);
  expect([...valuesOf(Buffer.alloc(SECTOR_BYTES), 5)]).toEqual([0]);
  stampOf(3, 10, 11, 78).copy(bytes, 0, 0, 200);
  bytes[SECTOR_BYTES + 300] = 1;
  expect([...valuesOf(bytes, 10)]).toEqual([NO_VALUE, NO_VALUE]);
});

test('what was acknowledged must be there, what is under way may be', () => {
  const model = newModel();
  const old = write(model, 0, 2);
  const change = model.begin(1, 3, 'write');
  const observation = model.observe();
  model.close(observation);
  const now = change?.serial ?? 0;
  for (const found of [
    [old, old, 0],
    [old, now, now],
    [old, now, 0],
  ])
    expect(() => judge(observation, Uint32Array.of(...found, 0, 0, 0, 0, 0), 'it', 'frozen')).not.toThrow();
  for (const found of [
    [0, old, 0],
    [old, 0, 0],
    [now, now, now],
    [old, old, old],
    [old, NO_VALUE, 0],
  ])
    expect(() => judge(observation, Uint32Array.of(...found, 0, 0, 0, 0, 0), 'it', 'frozen')).toThrow(/sector/);
});

test('a moment of two disks that has the later change without the earlier one is none', () => {
  const clock = new Clock();
  const models = [newModel(clock, 'a'), newModel(clock, 'b')];
  const observations = models.map((model) => model.observe());
  const serials = models.map((model) => write(model, 0, 1));
  for (const [i, model] of models.entries()) if (observations[i] !== undefined) model.close(observations[i]);
  const moment = (...has: readonly boolean[]) =>
    demandOneMoment(
      observations.map((one, i) =>
        judge(one, Uint32Array.of(has[i] === true ? (serials[i] ?? 0) : 0, 0, 0, 0, 0, 0, 0, 0), 'it', 'frozen'),
      ),
      'it',
    );
  for (const has of [
    [false, false],
    [true, false],
    [true, true],
  ])
    expect(() => moment(...has)).not.toThrow();
  expect(() => moment(false, true)).toThrow(/no one moment/);
});

test('after a kill what was not answered is either, and stays what it was found as', async () => {
  const model = newModel();
  const old = write(model, 0, 2);
  const change = model.begin(0, 2, 'write');
  model.serverEnded('killed');
  expect(model.isSettled).toBe(false);
  expect(model.begin(0, 1, 'write')).toBeNull();
  await expect(model.settle(async () => Uint32Array.of(0, old))).rejects.toThrow(/sector 0/);
  await model.settle(async () => Uint32Array.of(change?.serial ?? 0, old));
  expect([...model.values.slice(0, 2)]).toEqual([change?.serial, old]);
});

test('a restored disk may lose what was not flushed, an extent as a whole', async () => {
  const restored = (): { readonly model: DiskModel; readonly serial: number } => {
    const model = newModel();
    model.restoredFrom(Uint32Array.of(1, 1, 1, 1, 1, 1, 1, 1), 4);
    return { model, serial: write(model, 0, 2) };
  };
  const lost = restored();
  lost.model.serverEnded('killed');
  await lost.model.settle(async () => Uint32Array.of(1, 1, 1, 1));
  expect([...lost.model.values.slice(0, 4)]).toEqual([1, 1, 1, 1]);
  const torn = restored();
  torn.model.serverEnded('killed');
  await expect(torn.model.settle(async () => Uint32Array.of(torn.serial, 1, 1, 1))).rejects.toThrow(/or else extent 0/);
  const flushed = restored();
  flushed.model.flushed(flushed.serial + 2);
  flushed.model.serverEnded('killed');
  expect(flushed.model.isSettled).toBe(true);
});
