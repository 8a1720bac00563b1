import '../lib/process/lean-heap.js';
import '../lib/process/file-threads.js';
import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { CommandBus } from '@nestjs/cqrs';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { HubModule } from './hub.module.js';
import { RegisterLocalNode } from './nodes/nodes/model/node.commands.js';
import { Ids } from '../lib/clock/clock.js';
import { exposesKernel, HubConfig } from './hub.config.js';
import { LiveConfig } from '../lib/config/live-config.js';
import { makeDataDirectory, readOrMakeId, readOrMakeToken, writeWhole } from '../lib/config/kept-files.js';
import { type ConfigSources, exitWithProblems, loadConfigOrExit } from '../lib/config/load-config.js';
import { reloadAndNotify } from '../lib/config/reload-on-hangup.js';
import { programVersion } from '../lib/config/version.js';
import { StorageWorkers } from './repositories/repository-storage/storage-workers.js';
import { ApiTokens } from './people/tokens/api-tokens.js';
import { configureHttp } from '../lib/http/configure-http.js';
import { holdLease } from './operations/standby/hold-lease.service.js';
import { leaveWork } from './operations/standby/leave-work.service.js';
import { serveOpenApi } from './operations/http/open-api.js';
import { readApiSchemas } from './operations/http/open-api-schemas.js';
import { configureLogging, loggerFor } from '../lib/logging/logger.js';
import { NestLogger } from '../lib/logging/nest-logger.js';
import { awaitDatabase } from './store/postgres/await-database.js';
import { HubLease } from './store/postgres/hub-lease.js';
import { LocalPostgres } from './store/postgres/local-postgres.js';
import { baseUrl, isLoopback, portToListenOn } from '../lib/process/listen-port.js';
import { localNodeDirectory } from './nodes/local-node/local-node-id.js';
import { LocalNode } from './nodes/local-node/local-node.js';
import { ProgramLock } from '../lib/process/program-lock.js';
import { useSpawner } from '../lib/process/spawner.js';
import { type RunningService, runUntilSignalled, type Starting } from '../lib/process/program-run.js';

const PORT_PATIENCE_MS = 15_000;
/** How long file systems may take to answer pending calls when the hub shuts down. */
const STORAGE_GRACE_MS = 5_000;

/** How long requests under way get to be answered by a hub that was replaced. */
const LAST_ANSWERS_MS = 250;

/**
 * Starts the hub and returns; it then runs until a signal ends it.
 * @param configFile value of `--config` @param options.standby as the setting
 */
export function runHub(configFile?: string, options: { readonly standby?: boolean | undefined } = {}): void {
  const environment = options.standby === true ? { ...process.env, SENDENSE_STANDBY: 'true' } : process.env;
  const sources = { file: configFile, environment };
  const live = new LiveConfig(HubConfig, loadConfigOrExit(HubConfig, sources));
  if (live.settings.standby && live.settings.databaseUrl === null) exitWithProblems(['standby: needs database_url, a server that both hubs reach']);
  configureLogging({ level: live.settings.logLevel, format: live.settings.logFormat, program: 'hub' });
  runUntilSignalled(loggerFor('Hub'), (starting) => start(live, sources, starting));
}

async function start(live: LiveConfig<HubConfig>, sources: ConfigSources, { fail, onGivenUp }: Starting): Promise<RunningService> {
  const log = loggerFor('Hub');
  const config = live.settings;
  makeDataDirectory(config.dataDirectory);
  const onLost = (reason: string): void => void giveWay(config, reason, fail);
  // With a database that others can reach, the lease decides who works; the lock only keeps a second hub of this machine from the data directory.
  const waiting = new AbortController();
  onGivenUp(() => {
    waiting.abort(new Error('the hub is stopping'));
    return Promise.resolve();
  });
  const lease = config.databaseUrl === null ? null : await holdLease(config, config.databaseUrl, log, waiting.signal, onLost);
  const lock = await ProgramLock.acquire(config.dataDirectory, 'hub');
  useSpawner();
  makeDataDirectory(config.sharedDirectory);
  const hubId = readOrMakeId(join(config.sharedDirectory, 'hub.id'));
  if (config.apiToken === null) readOrMakeToken(config.apiTokenFile);
  const { apiTokenFile, apiTokenListFile: tokenListFile } = config;
  const tokens = new ApiTokens({ configured: config.apiToken, apiTokenFile, tokenListFile, nodeToken: readOrMakeToken(config.nodeTokenFile) });
  const urlFile = join(config.dataDirectory, 'hub.url');
  const port = await portToListenOn(config.listenHost, config.listenPort, lastPort(urlFile), PORT_PATIENCE_MS);

  const nestLogger = new NestLogger();
  const ownPostgres = config.databaseUrl === null ? new LocalPostgres(join(config.dataDirectory, 'postgres'), nestLogger) : null;
  if (ownPostgres !== null) onGivenUp(() => ownPostgres.stop());
  const ownDatabase = ownPostgres === null ? null : await awaitDatabase(() => ownPostgres.ensureStarted(), nestLogger);
  const databaseUrl = config.databaseUrl ?? ownDatabase?.hubUrl ?? '';
  const databaseOwnerUrl = config.databaseUrl === null ? ownDatabase?.ownerUrl : (config.databaseOwnerUrl ?? undefined);
  // Supervise the server from here on: startup waits for a server that exits meanwhile, so it must be restarted.
  const leaving = new AbortController();
  const postgresWatch = ownPostgres?.keepRunning(leaving.signal);
  onGivenUp(() => {
    leaving.abort();
    return postgresWatch ?? Promise.resolve();
  });

  const app = await NestFactory.create<NestExpressApplication>(
    HubModule.forRoot({
      config,
      hubId,
      databaseUrl,
      databaseOwnerUrl,
      tokens,
      lease: lease ?? (await holdLease(config, databaseUrl, log, waiting.signal, onLost)),
    }),
    { logger: nestLogger, bodyParser: false, abortOnError: false, forceCloseConnections: true },
  );
  configureHttp(app);
  serveOpenApi(app, {
    title: 'Sendense',
    description: 'Backups of whole virtual machines, every decision an event.',
    version: programVersion(),
    schemas: readApiSchemas(new URL('./api-schemas.json', import.meta.url)),
  });
  await app.listen(port, config.listenHost);
  const url = baseUrl(config.listenHost, portOf(app));
  writeWhole(urlFile, `${url}\n`);
  if (!isLoopback(config.listenHost)) {
    log.warn('the API listens beyond loopback without TLS, so tokens and disk contents can be intercepted; put a TLS proxy in front of it', {
      listen_host: config.listenHost,
    });
  }
  if (process.getuid?.() === 0)
    log.warn('the hub runs as root, and so do the tools that read disks and images; docs/deployment.md describes an unprivileged service');
  if (exposesKernel(config.mountDriver)) {
    log.warn('mounted restore points let the kernel of this machine read file systems that guests have written; mount_driver auto uses a sandbox instead', {
      mount_driver: config.mountDriver,
    });
  }
  log.info('the hub is listening', { url, hub_id: hubId, data_directory: config.dataDirectory, version: programVersion() });

  const localNode = config.startLocalNode ? localNodeOf(config, url, app) : null;
  localNode?.start();

  return {
    async stop() {
      leaving.abort();
      app.get(StorageWorkers).hurry(STORAGE_GRACE_MS);
      await postgresWatch;
      await localNode?.leave();
      // Transfers continue without the hub and are adopted by the next one, so the processes they need keep running.
      const jobs = localNode === null ? 0 : await localNode.activeJobs();
      const standby =
        (
          await app
            .get(HubLease)
            .view()
            .catch(() => null)
        )?.standby ?? null;
      if (standby !== null) await leaveWork(config, log);
      await app.close();
      if (jobs === 0) {
        await localNode?.stop();
        await ownPostgres?.stop();
      } else {
        log.info('transfers keep running for the next start to adopt', { active_jobs: jobs });
      }
      lock.release();
    },
    reload() {
      reloadAndNotify(live, sources, 'hub', log);
    },
  };
}

/** Another hub is active: ends what this one has under way here, which it can no longer record, and the process. */
async function giveWay(config: HubConfig, reason: string, fail: (reason: string) => void): Promise<void> {
  const answered = pause(LAST_ANSWERS_MS);
  await leaveWork(config, loggerFor('Hub')).catch((error: unknown) => loggerFor('Hub').error('not all work of this hub could be ended', { error }));
  await answered;
  fail(`this hub is no longer the active one, and ends: ${reason}`);
}

function localNodeOf(config: HubConfig, hubUrl: string, app: NestExpressApplication): LocalNode {
  const commands = app.get(CommandBus);
  const ids = app.get(Ids);
  return new LocalNode({
    dataDirectory: localNodeDirectory(config.dataDirectory),
    entryPoint: join(import.meta.dirname, '../node/main.node.js'),
    settings: () => ({
      SENDENSE_LISTEN_PORT: String(config.localNodePort),
      SENDENSE_HUB_URL: hubUrl,
      SENDENSE_BESIDE_HUB: 'true',
      SENDENSE_TOKEN_FILE: config.nodeTokenFile,
      SENDENSE_LIBVIRT_URI: config.localNodeLibvirtUri,
      SENDENSE_LIBVIRT_SCRATCH_DIRECTORY: config.localNodeLibvirtScratchDirectory,
      SENDENSE_GUEST_SOCKET_DIRECTORY: config.localNodeGuestSocketDirectory,
    }),
    reloadable: () => ({
      image_roots: config.localNodeImageRoots,
      image_templates: config.localNodeImageTemplates,
      vm_storage_roots: config.localNodeVmStorageRoots,
      libvirt_scratch_max_bytes: config.localNodeLibvirtScratchMaxBytes,
      log_level: config.logLevel,
      log_format: config.logFormat,
    }),
    version: programVersion(),
    log: loggerFor('LocalNode'),
    async onReady({ url }) {
      await commands.execute(new RegisterLocalNode(url, { commandId: ids.next(), correlationId: ids.next(), actor: 'system:local-node' }));
    },
  });
}

function portOf(app: NestExpressApplication): number {
  const address = app.getHttpServer().address();
  if (typeof address !== 'object' || address === null) throw new Error('the HTTP server has no port');
  return address.port;
}

/** The port of the last run, which clients and nodes still use. */
function lastPort(urlFile: string): number | null {
  try {
    const port = Number(new URL(readFileSync(urlFile, 'utf8')).port);
    return port > 0 ? port : null;
  } catch {
    return null;
  }
}

if (import.meta.main) runHub();
