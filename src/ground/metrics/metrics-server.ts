/**
 * `GET /metrics` of a worker, for Prometheus to fetch.
 *
 * On the loopback address unless told otherwise: metrics name stores and volumes, and there is no password. Held by nothing: an
 * open metrics port does not keep a process alive that is otherwise done.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';

export interface MetricsServerOptions {
  readonly registry: Registry;
  readonly host?: string;
  /** 0 (default): any free one. */
  readonly port?: number;
}

export interface MetricsServer extends AsyncDisposable {
  readonly url: string;
}

export async function serveMetrics({ registry, host = '127.0.0.1', port = 0 }: MetricsServerOptions): Promise<MetricsServer> {
  const answer = async (method: string, path: string, response: ServerResponse): Promise<void> => {
    if (path !== '/metrics') {
      response.writeHead(404).end('only /metrics is here\n');
    } else if (method !== 'GET' && method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
    } else {
      const body = await registry.metrics();
      response.writeHead(200, { 'content-type': registry.contentType }).end(method === 'HEAD' ? undefined : body);
    }
  };
  const server = createServer((request, response) => {
    const path = (request.url ?? '/').split('?')[0] ?? '/';
    answer(request.method ?? 'GET', path, response).catch(() => response.writeHead(500).end());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  server.unref();
  const address = server.address();
  const bound = typeof address === 'object' && address !== null ? address.port : port;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}/metrics`,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
