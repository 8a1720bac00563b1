import '../lib/process/lean-heap.js';
import 'reflect-metadata';
import { mkdirSync, readFileSync } from 'node:fs';
import { loadConfigOrExit } from '../lib/config/load-config.js';
import { configureLogging, loggerFor } from '../lib/logging/logger.js';
import { ProgramLock } from '../lib/process/program-lock.js';
import { type RunningService, runUntilSignalled } from '../lib/process/program-run.js';
import { KeeperConfig } from './keeper.config.js';
import { Keeper } from './keeper.js';
import { KeeperState } from './keeper-state.store.js';
import type { ClockReading } from './trusted-clock.plan.js';

export interface KeeperOptions {
  /** Trusts the wall clock as it is now, and ends: after the machine was off for long. */
  readonly confirmClock?: boolean;
  /** Looks once, and ends. */
  readonly once?: boolean;
}

/** Starts the keeper and returns; it then runs until a signal stops it. @param configFile from `--config` */
export function runKeeper(configFile?: string, options: KeeperOptions = {}): void {
  const config = loadConfigOrExit(KeeperConfig, { file: configFile, environment: process.env });
  configureLogging({ level: config.logLevel, format: config.logFormat, program: 'keeper' });
  runUntilSignalled(loggerFor('Keeper'), () => start(config, options));
}

async function start(config: KeeperConfig, { confirmClock = false, once = false }: KeeperOptions): Promise<RunningService> {
  const log = loggerFor('Keeper');
  mkdirSync(config.stateDirectory, { recursive: true, mode: 0o700 });
  const lock = await ProgramLock.acquire(config.stateDirectory, 'keeper');
  const state = new KeeperState(config.stateDirectory);
  if (confirmClock) {
    const at = readClocks();
    await state.saveClock({ trusted_ms: at.wall_ms, at });
    log.info('the clock is trusted as it is now', { now: new Date(at.wall_ms).toISOString() });
  }
  const keeper = new Keeper(config, state, readClocks, log);
  if (once) await keeper.round();
  if (once || confirmClock) {
    lock.release();
    process.exit(0);
  }
  if (config.repositories.length === 0) log.warn('the settings name no repository, so nothing is kept');
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  let round = Promise.resolve();
  const next = (afterMs: number): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      round = keeper
        .round()
        .catch((error: unknown) => log.error('could not look at the repositories; all locks stay', { error }))
        .then(() => next(config.scanIntervalSeconds * 1000));
    }, afterMs);
  };
  next(0);
  log.info('the keeper runs', { repositories: config.repositories, state_directory: config.stateDirectory });
  return {
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await round;
      lock.release();
    },
  };
}

/** `/proc/uptime` counts CLOCK_BOOTTIME, in hundredths of a second; see proc(5). */
function readClocks(): ClockReading {
  const [uptime = ''] = readFileSync('/proc/uptime', 'utf8').split(' ');
  return { wall_ms: Date.now(), boot_ms: Math.round(Number(uptime) * 1000), boot_id: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim() };
}

if (import.meta.main) runKeeper();
