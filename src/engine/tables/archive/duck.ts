/**
 * DuckDB in the process, in memory, over one private folder: it sees local files there and nothing else.
 *
 * No extension is ever loaded or fetched (they are downloads, and none is needed), no file outside the folder is readable
 * by a statement, memory is bounded and what does not fit spills into the folder, which goes with the session (private-folder.ts).
 */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance, type DuckDBAppender, type DuckDBConnection, type DuckDBScalarFunction } from '@duckdb/node-api';
import { makePrivateFolder, type PrivateFolder } from '../../../ground/processes/private-folder.ts';

export type SqlValue = string | number | bigint | boolean | null;

export class Duck implements AsyncDisposable {
  readonly folder: string;
  /** Sealed files that lie open in the folder, by the name of their first pack. */
  readonly opened = new Map<string, string>();
  readonly #place: PrivateFolder;
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;

  private constructor(place: PrivateFolder, instance: DuckDBInstance, connection: DuckDBConnection) {
    this.folder = place.path;
    this.#place = place;
    this.#instance = instance;
    this.#connection = connection;
  }

  static async open(options: { readonly memoryBytes: number; readonly threads: number; readonly parent?: string }): Promise<Duck> {
    const place = await makePrivateFolder(options.parent ?? tmpdir(), 'holdfast-table-');
    const { path: folder } = place;
    try {
      const instance = await DuckDBInstance.create(':memory:', {
        memory_limit: `${Math.floor(options.memoryBytes / 1_000_000)}MB`,
        threads: String(options.threads),
        temp_directory: join(folder, 'spill'),
        autoinstall_known_extensions: 'false',
        autoload_known_extensions: 'false',
      });
      const connection = await instance.connect();
      await connection.run(`SET allowed_directories = [${sqlText(folder)}]`);
      await connection.run('SET enable_external_access = false');
      await connection.run('SET lock_configuration = true');
      return new Duck(place, instance, connection);
    } catch (error) {
      await place[Symbol.asyncDispose]();
      throw error;
    }
  }

  file(name: string): string {
    return join(this.folder, name);
  }

  async run(sql: string): Promise<void> {
    await this.#connection.run(sql);
  }

  /** All rows of a small result. */
  async rows(sql: string): Promise<SqlValue[][]> {
    const reader = await this.#connection.runAndReadAll(sql);
    return reader.getRowsJS() as SqlValue[][];
  }

  /** Rows of a result of any size, a chunk of at most 2,048 at a time; nothing else is asked of the session meanwhile. */
  async *chunks(sql: string): AsyncGenerator<readonly (readonly SqlValue[])[]> {
    const result = await this.#connection.stream(sql);
    for await (const rows of result.yieldRowsJs()) yield rows as SqlValue[][];
  }

  register(scalar: DuckDBScalarFunction): void {
    this.#connection.registerScalarFunction(scalar);
  }

  /** Ends the query under way with an error. */
  interrupt(): void {
    this.#connection.interrupt();
  }

  appender(table: string): Promise<DuckDBAppender> {
    return this.#connection.createAppender(table);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.closeSync();
    this.#instance.closeSync();
    await this.#place[Symbol.asyncDispose]();
  }
}

export const sqlName = (name: string): string => `"${name.replaceAll('"', '""')}"`;
export const sqlText = (text: string): string => `'${text.replaceAll("'", "''")}'`;
