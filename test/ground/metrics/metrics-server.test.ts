import { Counter } from 'prom-client';
import { expect, test } from '@jest/globals';
import { serveMetrics } from '../../../src/ground/metrics/metrics-server.ts';
import { createMetricsRegistry } from '../../../src/ground/metrics/registry.ts';

test('a worker shows its metrics on the loopback address, and nothing else', async () => {
  const registry = createMetricsRegistry({ role: 'node', processMetrics: true });
  new Counter({ name: 'holdfast_test_total', help: 'A test', registers: [registry] }).inc(3);
  await using server = await serveMetrics({ registry });
  expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
  const answer = await fetch(server.url);
  expect(answer.headers.get('content-type')).toContain('text/plain');
  const text = await answer.text();
  expect(text).toContain('holdfast_test_total{role="node"} 3');
  expect(text).toContain('process_cpu_seconds_total');
  expect((await fetch(new URL('/', server.url))).status).toBe(404);
  expect((await fetch(server.url, { method: 'POST' })).status).toBe(405);
});

test('a taken port is an error', async () => {
  const registry = createMetricsRegistry({ role: 'node' });
  await using server = await serveMetrics({ registry });
  const port = Number(new URL(server.url).port);
  await expect(serveMetrics({ registry, port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
});
