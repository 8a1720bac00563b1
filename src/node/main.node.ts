import '../lib/process/lean-heap.js';
import '../lib/process/file-threads.js';
import 'reflect-metadata';
import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { NodeAgentModule } from './node-agent.module.js';
import { LiveConfig } from '../lib/config/live-config.js';
import { makeDataDirectory, readOrMakeId, readToken, writeWhole } from '../lib/config/kept-files.js';
import { type ConfigSources, exitWithProblems, loadConfigOrExit } from '../lib/config/load-config.js';
import { NodeConfig } from './node.config.js';
import { reloadAndNotify } from '../lib/config/reload-on-hangup.js';
import { programVersion } from '../lib/config/version.js';
import { configureHttp } from '../lib/http/configure-http.js';
import { configureLogging, loggerFor } from '../lib/logging/logger.js';
import { NestLogger } from '../lib/logging/nest-logger.js';
import { baseUrl, portToListenOn } from '../lib/process/listen-port.js';
import { removeOrphanedDirectories } from '../lib/process/temporary-directory.js';
import { ProgramLock } from '../lib/process/program-lock.js';
import { localApiPort, readTunnelSettings } from '../tunnel/interface/tunnel-settings.js';
import { type RunningService, runUntilSignalled } from '../lib/process/program-run.js';
import { useSpawner } from '../lib/process/spawner.js';

const PORT_PATIENCE_MS = 15_000;

/** Starts the node and returns; the node runs until a signal ends it. @param configFile of `--config` */
export function runNode(configFile?: string): void {
  const sources = { file: configFile, environment: process.env };
  const config = loadConfigOrExit(NodeConfig, sources);
  const token = readToken(config.tokenFile);
  if (token === null)
    exitWithProblems([
      `token_file: ${config.tokenFile} does not exist; enrol this machine (sendense node enrol), copy the hub's node.token there, or set another path`,
    ]);
  configureLogging({ level: config.logLevel, format: config.logFormat, program: 'node' });
  runUntilSignalled(loggerFor('Node'), () => start(config, sources, token));
}

async function start(configured: NodeConfig, sources: ConfigSources, nodeToken: string): Promise<RunningService> {
  const { dataDirectory } = configured;
  makeDataDirectory(dataDirectory);
  const lock = await ProgramLock.acquire(dataDirectory, 'node');
  useSpawner();
  removeOrphanedDirectories();
  const nodeId = configured.nodeId ?? readOrMakeId(join(dataDirectory, 'node.id'));
  // An enrolled node reaches its hub through its tunnel, unless its settings say otherwise.
  const tunnel = await readTunnelSettings(configured.tunnelDirectory);
  const throughTunnel = tunnel !== null && configured.hubUrl === new NodeConfig().hubUrl;
  const hubUrl = throughTunnel ? { hubUrl: baseUrl(tunnel.local_host, localApiPort(tunnel)) } : {};
  const live = new LiveConfig(NodeConfig, configured, { nodeId, ...hubUrl });
  const config = live.settings;
  const port = await portToListenOn(config.listenHost, config.listenPort, null, PORT_PATIENCE_MS);

  const app = await NestFactory.create<NestExpressApplication>(NodeAgentModule.forRoot({ config, nodeToken }), {
    logger: new NestLogger(),
    bodyParser: false,
    abortOnError: false,
    forceCloseConnections: true,
  });
  configureHttp(app);
  await app.listen(port, config.listenHost);
  const address = app.getHttpServer().address();
  if (typeof address !== 'object' || address === null) throw new Error('the HTTP server has no port');
  const url = baseUrl(config.listenHost, address.port);
  writeWhole(join(dataDirectory, 'node.url'), `${url}\n`);
  loggerFor('Node').info('the node listens', { url, node_id: nodeId, data_directory: dataDirectory, version: programVersion() });

  return {
    async stop() {
      await app.close();
      lock.release();
    },
    reload() {
      reloadAndNotify(live, sources, 'node', loggerFor('Node'));
    },
  };
}

if (import.meta.main) runNode();
