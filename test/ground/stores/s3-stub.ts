/**
 * An S3 server that answers as it is told: one scripted answer for each request, to try what a real server does once a year.
 */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';

export interface StubRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface StubAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Sends this many bytes of the body and then: resets the connection, or falls silent. */
  readonly breakAfter?: { readonly bytes: number; readonly how: 'reset' | 'silence' };
}

export const NO_ANSWER = 'reset';
export const SILENCE = 'silence';
type Scripted = StubAnswer | typeof NO_ANSWER | typeof SILENCE;

export interface S3Stub extends AsyncDisposable {
  readonly endpoint: string;
  readonly requests: readonly StubRequest[];
  /** What the next requests are answered, in order; the last answer is given again and again. */
  script(...answers: readonly [Scripted, ...Scripted[]]): void;
}

export const s3Error = (status: number, code: string): StubAnswer => ({
  status,
  headers: { 'content-type': 'application/xml' },
  body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>scripted</Message></Error>`,
});

export async function startS3Stub(): Promise<S3Stub> {
  const requests: StubRequest[] = [];
  let script: readonly Scripted[] = [NO_ANSWER];
  let next = 0;

  const answer = (scripted: StubAnswer, response: ServerResponse): void => {
    const body = Buffer.from(scripted.body ?? '');
    response.writeHead(scripted.status, { 'content-length': String(body.byteLength), ...scripted.headers });
    const { breakAfter } = scripted;
    if (breakAfter === undefined) {
      response.end(body);
      return;
    }
    response.write(body.subarray(0, breakAfter.bytes), () => {
      if (breakAfter.how === 'reset') response.destroy();
    });
  };

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => undefined);
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      requests.push({ method, url, headers, body: Buffer.concat(chunks) });
      const scripted = script[Math.min(next++, script.length - 1)] ?? NO_ANSWER;
      if (scripted === NO_ANSWER) request.destroy();
      else if (scripted !== SILENCE) answer(scripted, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    requests,
    script: (...answers) => {
      requests.length = 0;
      script = answers;
      next = 0;
    },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
