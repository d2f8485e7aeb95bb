/**
 * The window against a link with a delay and a limit, in a time of its own: exchanges share what the link carries in a second,
 * and each is answered a round trip after its last byte was sent. That is the worst case: exchanges that began together share
 * alike, end together, and leave the line idle for a round trip.
 */
import { expect, test } from '@jest/globals';
import { createWindow, type Window } from '../../../../src/engine/replication/sending/window.ts';

const EXCHANGE = 4 * 2 ** 20;

interface Line {
  readonly bytesPerSecond: number;
  readonly roundTripMs: number;
}

/** Keeps the window full for so many seconds; answers the share of the line that was used in the second half, and the sizes. */
function ship({ bytesPerSecond, roundTripMs }: Line, seconds: number, most = 16) {
  let nowMs = 0;
  const window: Window = createWindow({ exchangeBytes: EXCHANGE, least: 2, most }, () => nowMs);
  const underWay: { left: number; answerMs: number; readonly flight: ReturnType<Window['began']> }[] = [];
  let delivered = 0;
  let largest = 0;
  for (; nowMs < seconds * 1000; nowMs++) {
    while (underWay.length < window.size()) underWay.push({ left: EXCHANGE, answerMs: Infinity, flight: window.began() });
    largest = Math.max(largest, underWay.length);
    const sending = underWay.filter(({ left }) => left > 0);
    for (const one of sending) {
      const bytes = Math.min(one.left, bytesPerSecond / 1000 / sending.length);
      one.left -= bytes;
      if (nowMs > (seconds * 1000) / 2) delivered += bytes;
      if (one.left <= 0) one.answerMs = nowMs + roundTripMs;
    }
    for (const one of underWay.filter(({ answerMs }) => answerMs <= nowMs)) {
      underWay.splice(underWay.indexOf(one), 1);
      window.answered(one.flight, EXCHANGE);
    }
  }
  return { share: delivered / (bytesPerSecond * (seconds / 2)), size: window.size(), largest };
}

test.each([
  { name: '100 Mbit/s, 150 ms', line: { bytesPerSecond: 12.5e6, roundTripMs: 150 }, sizeMost: 5, least: 0.9 },
  { name: '1 Gbit/s, 20 ms', line: { bytesPerSecond: 125e6, roundTripMs: 20 }, sizeMost: 6, least: 0.85 },
  { name: '1 Gbit/s, 150 ms', line: { bytesPerSecond: 125e6, roundTripMs: 150 }, sizeMost: 16, least: 0.65 },
  { name: '10 Mbit/s, 600 ms', line: { bytesPerSecond: 1.25e6, roundTripMs: 600 }, sizeMost: 5, least: 0.9 },
])('a line of $name is used for $least of its time at the least, by a window of $sizeMost at the most', ({ line, sizeMost, least }) => {
  const { share, size } = ship(line, 60);
  expect(share).toBeGreaterThan(least);
  expect(size).toBeLessThanOrEqual(sizeMost);
});

test('is bounded, however long and wide the line is', () => {
  expect(ship({ bytesPerSecond: 1.25e9, roundTripMs: 600 }, 20).largest).toBe(16);
  expect(ship({ bytesPerSecond: 1.25e9, roundTripMs: 600 }, 20, 1).largest).toBe(1);
});
