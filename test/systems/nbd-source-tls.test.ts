/** NBD exports behind TLS as sources: read with certificates of the same authority, refused without, and with strangers'. */
import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { serveNbd } from '../../src/engine/volumes/nbd/server.ts';
import { openFileExport } from '../../src/engine/volumes/file-export.ts';
import { openSource, type VolumeSource } from '../../src/systems/shipping/source.ts';
import { createCertificates } from '../engine/volumes/nbd/certificates.ts';
import { serveFile, type ServedFile } from '../engine/volumes/nbd/serve-file.ts';
import { describeWithPrograms } from '../describe-with-programs.ts';

const EXTENT = 64 * 1024;
const SIZE = 20 * EXTENT;

const open = (uri: string): Promise<VolumeSource> =>
  openSource({ path: uri, files: null, extentBytes: EXTENT, subtree: 0, bases: [], bitmap: null });

const describeOpenssl = await describeWithPrograms('openssl');
describeOpenssl('TLS', () => {
  let folder: string;
  let served: ServedFile;
  const content = randomBytes(SIZE);
  const tls = (of: string) => ({
    ...{ policy: 'required' as const, ca: readFileSync(path.join(of, 'ca-cert.pem')) },
    ...{ cert: readFileSync(path.join(of, 'server-cert.pem')), key: readFileSync(path.join(of, 'server-key.pem')) },
  });
  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'hf-source-tls-'));
    await createCertificates(folder);
    served = await serveFile(SIZE, { tls: tls(folder), readOnly: true });
    writeFileSync(served.file, content);
  });
  afterAll(async () => {
    await served[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  const uri = (query: string): string => `nbds+unix:///disk?socket=${served.socket}${query}`;
  const readAll = async (source: VolumeSource): Promise<Buffer> => {
    const into = Buffer.alloc(SIZE);
    if (source.content.kind !== 'filled') throw new Error('an export is filled');
    await source.content.fill(into, [...Array(SIZE / EXTENT).keys()], new AbortController().signal);
    return into;
  };

  test('over a Unix socket, with certificates from the folder that libnbd takes them from', async () => {
    await using source = await open(uri(`&tls-certificates=${folder}`));
    expect((await readAll(source)).equals(content)).toBe(true);
    expect([source.sizeBytes, await source.consistency()]).toEqual([SIZE, 'crash']);
  });

  test('over TCP', async () => {
    await using disk = await openFileExport(served.file, { name: 'disk', description: '', sizeBytes: SIZE, readOnly: true });
    await using server = await serveNbd({ host: 'localhost', port: 0 }, { exports: () => [disk], tls: tls(folder) });
    if ('path' in server.address) throw new Error('it listens on TCP');
    await using source = await open(`nbds://localhost:${server.address.port}/disk?tls-certificates=${folder}`);
    expect((await readAll(source)).equals(content)).toBe(true);
  });

  test('refused: in the clear, without a folder, without the files, as a stranger, and where the server is another one', async () => {
    const refused = (at: string, how: object = {}) => expect(open(at)).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE', ...how });
    await refused(`nbd+unix:///disk?socket=${served.socket}`);
    await refused(uri(''), { message: expect.stringContaining('tls-certificates=FOLDER') });
    const empty = path.join(folder, 'empty');
    mkdirSync(empty);
    await refused(uri(`&tls-certificates=${empty}`), { message: expect.stringContaining('ca-cert.pem') });
    // Signed by another authority: the server does not let it in.
    const stranger = path.join(folder, 'stranger');
    mkdirSync(stranger);
    await createCertificates(stranger);
    renameSync(path.join(stranger, 'ca-cert.pem'), path.join(stranger, 'own-ca.pem'));
    cpSync(path.join(folder, 'ca-cert.pem'), path.join(stranger, 'ca-cert.pem'));
    await refused(uri(`&tls-certificates=${stranger}`));
    // Trusts another authority: the server is not let in.
    renameSync(path.join(stranger, 'own-ca.pem'), path.join(stranger, 'ca-cert.pem'));
    await refused(uri(`&tls-certificates=${stranger}`));
    // A good certificate, of another name.
    await refused(uri(`&tls-certificates=${folder}&tls-hostname=elsewhere`));
  });

  test('a server without TLS is not read in the clear by who asked for TLS', async () => {
    await using clear = await serveFile(SIZE);
    await expect(open(`nbds+unix:///disk?socket=${clear.socket}&tls-certificates=${folder}`)).rejects.toMatchObject({
      ...{ code: 'SOURCE_UNREADABLE', message: expect.stringContaining('has no TLS') },
    });
  });
});
