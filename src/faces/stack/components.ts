/**
 * The components, pinned to versions that were tried, and how each is had.
 *
 * Temporal: CLI 1.5.1 is the last one that plain `go install` accepts (later ones carry a `replace`); it holds the server, its
 * UI and SQLite. MinIO: the last version of it; it is under the AGPL and therefore fetched by the user's own client, never
 * bundled. Kafka: 4.4.0 is listed as newest, but did not resolve. Debezium: its connector for PostgreSQL, and the Kafka Connect of
 * the broker's version to run it in; tests and the demo start it, a deployment has one of its own.
 */
import path from 'node:path';
import { ensureComponent } from './component.ts';
import type { Component, FinderOptions, Located } from './component.ts';
import { goInstall, mavenLibs } from './provisioning.ts';

export const TEMPORAL: Component = {
  name: 'temporal',
  version: '1.5.1',
  cached: 'temporal',
  variable: 'HOLDFAST_TEMPORAL_BIN',
  named: (environment) => environment.temporal.program,
  command: 'temporal',
  fromCommand: (command) => command,
  provision: (folder, progress) => goInstall('github.com/temporalio/cli/cmd/temporal@v1.5.1', folder, 'about 5 minutes', progress),
  remedy: 'install Go 1.26 or the `temporal` command (HOLDFAST_TEMPORAL_BIN names it), or set HOLDFAST_TEMPORAL_ADDRESS',
};

export const MINIO: Component = {
  name: 'minio',
  version: '2026-02-12',
  cached: 'minio',
  variable: 'HOLDFAST_MINIO_BIN',
  named: (environment) => environment.s3.program,
  command: 'minio',
  fromCommand: (command) => command,
  provision: (folder, progress) =>
    goInstall('github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c', folder, 'about 6 minutes', progress),
  remedy: 'install Go 1.26 or the `minio` command (HOLDFAST_MINIO_BIN names it), or set HOLDFAST_S3_ENDPOINT',
};

export const KAFKA: Component = {
  name: 'kafka',
  version: '4.3.1',
  cached: 'libs',
  variable: 'HOLDFAST_KAFKA_LIBS',
  named: (environment) => environment.kafka.libsDir,
  command: 'kafka-server-start.sh',
  fromCommand: (command) => path.join(path.dirname(command), '..', 'libs'),
  provision: (folder, progress) =>
    mavenLibs(
      [
        { groupId: 'org.apache.kafka', artifactId: 'kafka_2.13', version: '4.3.1' },
        { groupId: 'org.slf4j', artifactId: 'slf4j-nop', version: '1.7.36' },
      ],
      folder,
      'under a minute',
      progress,
    ),
  remedy: 'install Java 17 and Maven, or a Kafka 4 (HOLDFAST_KAFKA_LIBS names its folder of jars), or set HOLDFAST_KAFKA_BROKERS',
};

export const DEBEZIUM: Component = {
  name: 'debezium',
  version: '3.4.0',
  cached: 'libs',
  variable: 'HOLDFAST_DEBEZIUM_LIBS',
  named: (environment) => environment.debezium.libsDir,
  command: null,
  fromCommand: (command) => command,
  provision: (folder, progress) =>
    mavenLibs(
      [
        { groupId: 'io.debezium', artifactId: 'debezium-connector-postgres', version: '3.4.0.Final' },
        { groupId: 'org.apache.kafka', artifactId: 'connect-runtime', version: '4.3.1' },
        { groupId: 'org.apache.kafka', artifactId: 'connect-json', version: '4.3.1' },
        { groupId: 'org.slf4j', artifactId: 'slf4j-simple', version: '1.7.36' },
      ],
      folder,
      'under a minute',
      progress,
    ),
  remedy: 'install Java 17 and Maven, or name a folder with the jars of Kafka Connect and of the connector in HOLDFAST_DEBEZIUM_LIBS',
};

export const ensureTemporal = (options: FinderOptions): Promise<Located> => ensureComponent(TEMPORAL, options);
export const ensureS3 = (options: FinderOptions): Promise<Located> => ensureComponent(MINIO, options);
export const ensureKafka = (options: FinderOptions): Promise<Located> => ensureComponent(KAFKA, options);
export const ensureDebezium = (options: FinderOptions): Promise<Located> => ensureComponent(DEBEZIUM, options);
