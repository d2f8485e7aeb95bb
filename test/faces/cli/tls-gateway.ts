/**
 * A gateway in front of a Temporal server that has no TLS, as a hosted one looks from outside: TLS with a certificate of its own
 * authority, a client certificate, and an API key in each call. It passes calls on one by one and counts those it refused.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import path from 'node:path';

export interface Certificates {
  readonly ca: string;
  readonly server: { readonly certificate: string; readonly key: string };
  readonly client: { readonly certificate: string; readonly key: string };
}

/** An authority and two certificates by it, as files; the server's is for `name`, which is no address. */
export function makeCertificates(folder: string, name: string): Certificates {
  const at = (file: string): string => path.join(folder, file);
  const openssl = (...args: readonly string[]): void => void execFileSync('openssl', args, { stdio: 'pipe' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...newKey, '-keyout', at('ca.key'), '-out', at('ca.pem'), '-subj', '/CN=test authority', '-days', '2');
  const issue = (file: string, subject: string) => {
    const [certificate, key] = [at(`${file}.pem`), at(`${file}.key`)];
    openssl('req', ...newKey, '-keyout', key, '-out', at(`${file}.csr`), '-subj', `/CN=${subject}`);
    writeFileSync(at(`${file}.ext`), `subjectAltName=DNS:${subject}\n`);
    const signing = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2', '-extfile', at(`${file}.ext`)];
    openssl('x509', '-req', '-in', at(`${file}.csr`), '-out', certificate, ...signing);
    return { certificate, key };
  };
  return { ca: at('ca.pem'), server: issue('server', name), client: issue('client', 'holdfast') };
}

export interface Gateway extends AsyncDisposable {
  readonly address: string;
  readonly passed: number;
  readonly refused: number;
}

const UNAUTHENTICATED = '16';
/** HTTP/2 knows no such headers; Node adds them to what it hands out. */
const isHop = (name: string): boolean => [':authority', ':scheme', 'host', 'connection', 'authorization'].includes(name);

export async function startGateway(upstream: string, { ca, server }: Certificates, apiKey: string): Promise<Gateway> {
  const counted = { passed: 0, refused: 0 };
  const backend = http2.connect(`http://${upstream}`);
  const sessions = new Set<http2.ServerHttp2Session>();
  const gateway = http2.createSecureServer({
    ...{ key: readFileSync(server.key), cert: readFileSync(server.certificate), ca: readFileSync(ca) },
    ...{ requestCert: true, rejectUnauthorized: true },
  });
  gateway.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
  });
  gateway.on('sessionError', () => undefined);
  gateway.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    if (headers['authorization'] !== `Bearer ${apiKey}`) {
      counted.refused++;
      const refusal = { 'grpc-status': UNAUTHENTICATED, 'grpc-message': 'no such key' };
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...refusal }, { endStream: true });
      return;
    }
    counted.passed++;
    const call = backend.request(Object.fromEntries(Object.entries(headers).filter(([name]) => !isHop(name))));
    let trailers: http2.IncomingHttpHeaders = {};
    call.on('error', () => stream.close(http2.constants.NGHTTP2_CANCEL));
    call.on('trailers', (late) => void (trailers = late));
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.on('close', () => call.close(http2.constants.NGHTTP2_CANCEL));
    call.on('response', (answer, flags) => {
      const endStream = (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      if (stream.destroyed) return;
      stream.respond(answer, { endStream, waitForTrailers: !endStream });
      if (!endStream) call.pipe(stream);
    });
    stream.pipe(call);
  });
  gateway.listen(0, '127.0.0.1');
  await once(gateway, 'listening');
  return {
    // A server that listens on a port has an address with one.
    address: `127.0.0.1:${(gateway.address() as AddressInfo).port}`,
    get passed() {
      return counted.passed;
    },
    get refused() {
      return counted.refused;
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      backend.destroy();
      gateway.close();
      await once(gateway, 'close');
    },
  };
}
