/** The home as a worker process opens it: its own writer, the real clock and dice, alarms into its log. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { openHome, type Home, type HomeOptions } from '../src/engine/catalog/home.ts';
import type { Configuration, Variables } from '../src/ground/configuration/configuration.ts';

export function openProcessHome(
  configuration: Configuration,
  variables: Variables,
  log: Logger,
  metrics: NonNullable<HomeOptions['metrics']>,
): Promise<Home> {
  const environment: HomeOptions['environment'] = {
    writer: `${configuration.host}/${process.pid}`,
    nowMs: () => Date.now(),
    random: (size) => randomBytes(size),
    sleep: (ms) => sleep(ms),
    alarm: (message, details) => log.warn(details, message),
  };
  const { url, passphrase } = configuration.home;
  return openHome({ url, passphrase, cacheDir: configuration.cacheDir, variables, environment, metrics });
}
