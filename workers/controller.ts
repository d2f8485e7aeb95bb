#!/usr/bin/env node
/** A controller: serves workflows, short and bulk work, and its own host's queue; needs the stores and nothing else. */
import { runMain } from './worker-main.ts';
import { runWorkerProcess } from './worker-process.ts';

await runMain(() => runWorkerProcess('controller', process.env));
