import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../kernel/error-message.js';
import { DomainError } from '../kernel/domain-error.js';
import { ConfigError } from '../lib/config/load-config.js';
import { runningProgram } from '../lib/process/program-lock.js';
import type { HubConfig } from './hub.config.js';
import { copyEvents, type CopyOptions, type CopyResult } from './store/event-copy/copy-events.js';
import { PostgresCopyTarget } from './store/event-copy/postgres-copy-target.js';
import type { EventStore } from './store/event-store/event-store.port.js';
import { PostgresEventStore } from './store/event-store/postgres-event-store.js';
import { HubLock } from './store/postgres/hub-lock.js';
import { LocalPostgres } from './store/postgres/local-postgres.js';
import { createPool, openDataSource } from './store/postgres/postgres.module.js';

export type { CopyProgress, CopyResult } from './store/event-copy/copy-events.js';

export interface CopyRequest extends CopyOptions {
  /** `hub`: the store of the settings; otherwise a URL without a password, or a file that holds a URL. */
  readonly from: string;
  readonly to: string;
  readonly config: HubConfig;
}

/** Ends what was opened, last first. */
type Closers = (() => Promise<void>)[];

const log = { log: () => undefined, warn: (message: string): void => void process.stderr.write(`${message}\n`) };

/**
 * Copies all events of one store to another.
 * @throws ConfigError for a place that names no store; DomainError `hub_already_running`, and those of `copyEvents`; errors of the stores
 */
export async function copyStores({ from, to, config, ...options }: CopyRequest): Promise<CopyResult> {
  const hub = runningProgram(config.dataDirectory, 'hub');
  if (hub !== null && options.ahead !== true) {
    throw new DomainError('conflict', 'hub_already_running', `the hub is running (pid ${hub.pid}); stop it first, or copy what it holds now with --ahead`);
  }
  const closers: Closers = [];
  const lost = new AbortController();
  const onLost = (): void => lost.abort(new Error('a hub has started to use one of the stores'));
  try {
    const [sourceUrl, targetUrl] = [await urlOf(from, config, closers), await urlOf(to, config, closers)];
    if (placeOf(sourceUrl) === placeOf(targetUrl)) throw new ConfigError(['--to: names the same store as --from']);
    if (options.ahead !== true) await lockOf(sourceUrl, onLost, closers);
    await lockOf(targetUrl, onLost, closers);
    await (await openDataSource(targetUrl)).destroy();
    const source = open(sourceUrl, closers).store;
    const { pool, store } = open(targetUrl, closers);
    const signal = AbortSignal.any([lost.signal, ...(options.signal === undefined ? [] : [options.signal])]);
    return await copyEvents(source, new PostgresCopyTarget(pool, store), { ...options, signal });
  } finally {
    for (const close of closers.reverse()) await close().catch((error: unknown) => log.warn(messageOf(error)));
  }
}

/** The URL of the role that may do everything in the store. */
async function urlOf(place: string, config: HubConfig, closers: Closers): Promise<string> {
  if (place === 'hub') return config.databaseOwnerUrl ?? config.databaseUrl ?? localUrl(config.dataDirectory, closers);
  if (place.includes('://')) {
    if (parsed(place, place).password !== '')
      throw new ConfigError(['a password on a command line is visible to other users; put the URL in a file, and name the file']);
    return place;
  }
  const text = await readFile(place, 'utf8').catch((error: unknown) => {
    throw new ConfigError([`${place} is neither "hub", a URL nor a readable file: ${messageOf(error)}`]);
  });
  parsed(text.trim(), place);
  return text.trim();
}

/** @param origin shown instead of the URL, which may hold a password */
function parsed(url: string, origin: string): URL {
  const found = URL.canParse(url) ? new URL(url) : null;
  if (found === null || !['postgres:', 'postgresql:'].includes(found.protocol)) {
    throw new ConfigError([`${origin} does not name a store: it takes a URL that starts with postgres://`]);
  }
  return found;
}

function placeOf(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `${hostname}:${port}${pathname}`;
}

/** Starts the hub's own server, and stops it afterwards unless a hub is using it. */
async function localUrl(dataDirectory: string, closers: Closers): Promise<string> {
  const server = new LocalPostgres(join(dataDirectory, 'postgres'), log);
  const { ownerUrl } = await server.ensureStarted();
  if (runningProgram(dataDirectory, 'hub') === null) closers.push(() => server.stop());
  return ownerUrl;
}

async function lockOf(url: string, onLost: () => void, closers: Closers): Promise<void> {
  const lock = await HubLock.acquire(url, log, onLost);
  closers.push(() => lock.release());
}

function open(url: string, closers: Closers): { readonly pool: ReturnType<typeof createPool>; readonly store: EventStore } {
  const pool = createPool(url, 4);
  const store = new PostgresEventStore(pool, log);
  closers.push(
    () => pool.end(),
    () => store.close(),
  );
  return { pool, store };
}
