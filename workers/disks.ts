#!/usr/bin/env node
/** The disk server of a host: its disks over NBD, whether Temporal and the stores answer or not (docs/serving.md). */
import { runDisksProcess } from './disks-process.ts';
import { runMain } from './worker-main.ts';

await runMain(() => runDisksProcess(process.env));
