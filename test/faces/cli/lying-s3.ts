/**
 * An S3 server in memory that does what old ones do: it takes `If-None-Match: *` without a word and overwrites all the same.
 * Everything else is right, so that nothing but the race can tell.
 */
import { createServer, type IncomingMessage } from 'node:http';

export interface LyingS3 extends AsyncDisposable {
  readonly endpoint: string;
}

const bodyOf = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

/** The body without the frames of aws-chunked, in which the SDK sends a trailing checksum. */
function unframe(body: Buffer, encoding: string | undefined): Buffer {
  if (encoding?.includes('aws-chunked') !== true) return body;
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length;) {
    const end = body.indexOf('\r\n', at);
    const length = Number.parseInt(body.subarray(at, end).toString(), 16);
    if (!(length > 0)) break;
    parts.push(body.subarray(end + 2, end + 2 + length));
    at = end + 2 + length + 2;
  }
  return Buffer.concat(parts);
}

export async function startLyingS3(): Promise<LyingS3> {
  const objects = new Map<string, Buffer>();
  const server = createServer((request, response) => {
    void (async () => {
      const url = new URL(request.url ?? '/', 'http://localhost');
      const key = decodeURIComponent(url.pathname.split('/').slice(2).join('/'));
      const body = await bodyOf(request);
      const answer = (status: number, text: string | Buffer = '', headers: Readonly<Record<string, string>> = {}): void => {
        response.writeHead(status, { 'content-type': 'application/xml', ...headers });
        response.end(text);
      };
      if (url.searchParams.has('lifecycle')) return answer(404, '<Error><Code>NoSuchLifecycleConfiguration</Code></Error>');
      if (request.method === 'PUT') {
        objects.set(key, unframe(body, request.headers['content-encoding']));
        return answer(200, '', { etag: '"1"' });
      }
      if (request.method === 'POST') {
        for (const [, name] of body.toString().matchAll(/<Key>([^<]*)<\/Key>/g)) objects.delete(name ?? '');
        return answer(200, '<DeleteResult/>');
      }
      if (key === '') {
        const [prefix, after] = [url.searchParams.get('prefix') ?? '', url.searchParams.get('start-after') ?? ''];
        const limit = Number(url.searchParams.get('max-keys') ?? 1000);
        const names = [...objects.keys()].filter((name) => name.startsWith(prefix) && name > after).sort();
        const contents = names
          .slice(0, limit)
          .map((name) => `<Contents><Key>${name}</Key><Size>${objects.get(name)?.length ?? 0}</Size></Contents>`);
        return answer(200, `<ListBucketResult><IsTruncated>${names.length > limit}</IsTruncated>${contents.join('')}</ListBucketResult>`);
      }
      const found = objects.get(key);
      if (!found) return answer(404, '<Error><Code>NoSuchKey</Code></Error>');
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
      if (from === undefined) return answer(200, found, { 'content-length': String(found.length), etag: '"1"' });
      if (Number(from) >= found.length) return answer(416, '<Error><Code>InvalidRange</Code></Error>');
      const part = found.subarray(Number(from), Number(to) + 1);
      return answer(206, part, {
        'content-length': String(part.length),
        'content-range': `bytes ${from}-${to}/${found.length}`,
        etag: '"1"',
      });
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
