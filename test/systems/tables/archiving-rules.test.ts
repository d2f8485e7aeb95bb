/** The archiver's rules, without a broker: names of topics, what is missing and why, how far the source is known to be. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { holeKind, splitMissing } from '../../../src/systems/tables/archiving/missing.ts';
import { createSourceClock } from '../../../src/systems/tables/archiving/source-clock.ts';
import { matches, parsePartitionId, partitionsOf } from '../../../src/systems/tables/archiving/topics.ts';

const runs = { numRuns: Number(process.env['HOLDFAST_RUNS'] ?? 500) };

describe('names of topics', () => {
  test('a star stands for any characters, as a regular expression has it', () => {
    const text = fc.array(fc.constantFrom('a', 'b', '.', '_'), { maxLength: 8 }).map((letters) => letters.join(''));
    const pattern = fc.array(fc.constantFrom('a', 'b', '.', '*'), { minLength: 1, maxLength: 8 }).map((letters) => letters.join(''));
    fc.assert(
      fc.property(pattern, text, (wanted, topic) => {
        const expected = new RegExp(`^${wanted.replaceAll('.', '\\.').replaceAll('*', '.*')}$`).test(topic);
        expect(matches(wanted, topic)).toBe(expected && (!topic.startsWith('__') || wanted.startsWith('__')));
      }),
      runs,
    );
  });

  test("takes no time that grows with the number of stars, and Kafka's own topics only by their beginning", () => {
    expect(matches(`${'*a'.repeat(100)}b`, 'a'.repeat(200))).toBe(false);
    expect([matches('*', '__consumer_offsets'), matches('__consumer*', '__consumer_offsets')]).toEqual([false, true]);
  });

  test('partitions are named by topic and number, in order; too many topics are refused', () => {
    const there = new Map([
      ['shop.b', [1, 0]],
      ['shop.a', [0]],
      ['other', [0]],
    ]);
    expect(partitionsOf(['shop.*'], there)).toEqual(['shop.a/0', 'shop.b/1', 'shop.b/0']);
    expect(parsePartitionId('shop.b/12')).toEqual({ topic: 'shop.b', partition: 12 });
    const many = new Map(Array.from({ length: 65 }, (_, i) => [`t${i}`, [0]] as const));
    expect(() => partitionsOf(['*'], many)).toThrow(expect.objectContaining({ code: 'ARGUMENT_INVALID' }));
  });
});

describe('offsets that are missing', () => {
  test('each is told apart once, in order, whatever the marks are', () => {
    const ranges = fc
      .array(fc.tuple(fc.nat(30), fc.integer({ min: 1, max: 5 })), { maxLength: 6 })
      .map((some) => some.sort((a, b) => a[0] - b[0]).map(([from, length]) => ({ from, to: from + length })));
    fc.assert(
      fc.property(fc.nat(20), fc.nat(20), ranges, (from, length, controls) => {
        const sections = splitMissing(from, from + length, controls, 'compacted');
        expect(sections.reduce((at, section) => (section.from === at && section.to > at ? section.to : NaN), from)).toBe(from + length);
        for (const { from: begin, to, kind } of sections)
          for (let offset = begin; offset < to; offset++)
            expect([offset, controls.some((range) => range.from <= offset && offset < range.to)]).toEqual([offset, kind === 'control']);
      }),
      runs,
    );
  });

  test('a hole is only compaction where no delete can have gone since all was known', () => {
    const day = 86_400_000;
    expect(holeKind(1000, 1000 + day - 1, day)).toBe('compacted');
    expect(holeKind(1000, 1000 + day, day)).toBe('lost');
    expect([holeKind(null, 1000, day), holeKind(1000, 1001, null)]).toEqual(['lost', 'lost']);
  });
});

describe('how far the source is known to be', () => {
  test('a stamp settles when it was seen long enough before, and never one that was seen later', () => {
    const seen = fc.array(fc.tuple(fc.nat(400), fc.nat(1000)), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(seen, fc.nat(3000), (steps, backMs) => {
        const clock = createSourceClock(500);
        let nowMs = 10_000;
        const noted: { readonly stampUs: number; readonly atMs: number }[] = [];
        for (const [stepMs, stampUs] of steps) {
          nowMs += stepMs;
          clock.note(stampUs, nowMs);
          noted.push({ stampUs, atMs: nowMs });
        }
        const begunMs = nowMs + 1000 - backMs;
        const settled = clock.settled(begunMs);
        const highest = (untilMs: number): number | null =>
          noted.reduce<number | null>(
            (most, { stampUs, atMs }) => (atMs <= untilMs && (most === null || stampUs > most) ? stampUs : most),
            null,
          );
        // Never more than what was seen so long before, and within a moment all of it.
        if (settled !== null) expect(settled).toBeLessThanOrEqual(highest(begunMs - 500) ?? -1);
        if (backMs <= 1000) expect(settled ?? -1).toBeGreaterThanOrEqual(highest(begunMs - 550) ?? -1);
        expect(clock.highestUs()).toBe(highest(Infinity));
      }),
      runs,
    );
  });
});
