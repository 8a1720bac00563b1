import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../kernel/error-message.js';
import { DomainError } from '../kernel/domain-error.js';
import { parseEventStoreDbUrl } from '../lib/config/eventstoredb-url.js';
import { ConfigError } from '../lib/config/load-config.js';
import { runningProgram } from '../lib/process/program-lock.js';
import type { HubConfig } from './hub.config.js';
import { copyEvents, type CopyOptions, type CopyResult } from './store/event-copy/copy-events.js';
import type { CopyTarget } from './store/event-copy/copy-target.js';
import { EventStoreDbCopyTarget } from './store/event-copy/eventstoredb-copy-target.js';
import { PostgresCopyTarget } from './store/event-copy/postgres-copy-target.js';
import type { EventStore } from './store/event-store/event-store.port.js';
import { EventStoreDbEventStore } from './store/event-store/eventstoredb/eventstoredb-event-store.js';
import { PostgresEventStore } from './store/event-store/postgres-event-store.js';
import { HubLease, NO_HUB } from './store/postgres/hub-lease.js';
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
    const [source, target] = [await placeOf(from, config, closers), await placeOf(to, config, closers)];
    if (nameOf(source) === nameOf(target)) throw new ConfigError(['--to: names the same store as --from']);
    if (options.ahead !== true) await lock(source, onLost, closers);
    await lock(target, onLost, closers);
    const signal = AbortSignal.any([lost.signal, ...(options.signal === undefined ? [] : [options.signal])]);
    return await copyEvents(openSource(source, closers), await openTarget(target, closers), { ...options, signal });
  } finally {
    for (const close of closers.reverse()) await close().catch((error: unknown) => log.warn(messageOf(error)));
  }
}

/** A store, and the database whose lock its hub holds, if that is known. */
interface Place {
  readonly url: string;
  readonly caFile: string;
  readonly lockUrl: string | null;
}

async function placeOf(text: string, config: HubConfig, closers: Closers): Promise<Place> {
  const { eventstoredbCaFile: caFile } = config;
  if (text === 'hub') {
    // The role that owns the event store: a copy keeps record times, which the hub's own role may not set.
    const database = config.databaseOwnerUrl ?? config.databaseUrl ?? (await localUrl(config.dataDirectory, closers));
    return { url: config.eventStore === 'eventstoredb' ? (config.eventstoredbUrl ?? '') : database, caFile, lockUrl: database };
  }
  const url = text.includes('://') ? withoutPassword(text) : await contentOf(text);
  if (isEventStoreDb(url)) {
    try {
      parseEventStoreDbUrl(url);
    } catch (error) {
      throw new ConfigError([`${shown(text)}: its URL ${messageOf(error)}`]);
    }
    return { url, caFile, lockUrl: null };
  }
  if (!URL.canParse(url) || !/^postgres(ql)?:$/.test(new URL(url).protocol)) {
    throw new ConfigError([`${shown(text)} does not name a store: it takes a URL that starts with postgres://, esdb:// or esdb+discover://`]);
  }
  return { url, caFile, lockUrl: url };
}

function withoutPassword(url: string): string {
  if (/^[^/]*\/\/[^/?#@]*:[^/?#]*@/.test(url)) {
    throw new ConfigError(['a password on a command line is visible to other users; put the URL in a file, and name the file']);
  }
  return url;
}

async function contentOf(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    throw new ConfigError([`${file} is neither "hub", a URL nor a readable file: ${messageOf(error)}`]);
  }
}

/** @param text a file, or a URL without a password */
function shown(text: string): string {
  return text.replace(/\?.*/s, '');
}

function isEventStoreDb(url: string): boolean {
  return /^esdb(\+discover)?:/.test(url);
}

function nameOf({ url }: Place): string {
  if (isEventStoreDb(url)) return JSON.stringify(parseEventStoreDbUrl(url).hosts);
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

async function lock({ lockUrl }: Place, onLost: () => void, closers: Closers): Promise<void> {
  if (lockUrl === null) return;
  const held = await HubLease.acquire({ databaseUrl: lockUrl, hub: NO_HUB, log, onLost });
  closers.push(() => held.release());
}

function openSource(place: Place, closers: Closers): EventStore {
  return isEventStoreDb(place.url) ? openEventStoreDb(place, closers) : openPostgres(place, closers).store;
}

async function openTarget(place: Place, closers: Closers): Promise<CopyTarget> {
  if (isEventStoreDb(place.url)) return new EventStoreDbCopyTarget(openEventStoreDb(place, closers));
  await (await openDataSource(place.url)).destroy();
  const { pool, store } = openPostgres(place, closers);
  return new PostgresCopyTarget(pool, store);
}

function openEventStoreDb({ url, caFile }: Place, closers: Closers): EventStoreDbEventStore {
  const store = new EventStoreDbEventStore({ url, caFile }, log);
  closers.push(() => store.close());
  return store;
}

function openPostgres({ url }: Place, closers: Closers): { readonly pool: ReturnType<typeof createPool>; readonly store: EventStore } {
  const pool = createPool(url, 4);
  const store = new PostgresEventStore(pool, log);
  closers.push(
    () => pool.end(),
    () => store.close(),
  );
  return { pool, store };
}
