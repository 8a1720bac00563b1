import '../lib/process/lean-heap.js';
import 'reflect-metadata';
import { mkdirSync } from 'node:fs';
import { loadConfigOrExit } from '../lib/config/load-config.js';
import { TunnelServerConfig } from './tunnel-server.config.js';
import { configureLogging, loggerFor } from '../lib/logging/logger.js';
import { portToListenOn } from '../lib/process/listen-port.js';
import { ProgramLock } from '../lib/process/program-lock.js';
import { type RunningService, runUntilSignalled } from '../lib/process/program-run.js';
import { TunnelServer } from './hub-end/tunnel-server.js';

const PORT_PATIENCE_MS = 15_000;

/** Starts the hub's end of the tunnels and returns; it then runs until a signal stops it. @param configFile from `--config` */
export function runTunnelServer(configFile?: string): void {
  const config = loadConfigOrExit(TunnelServerConfig, { file: configFile, environment: process.env });
  configureLogging({ level: config.logLevel, format: config.logFormat, program: 'tunnel-server' });
  runUntilSignalled(loggerFor('TunnelServer'), () => start(config));
}

async function start(config: TunnelServerConfig): Promise<RunningService> {
  const log = loggerFor('TunnelServer');
  mkdirSync(config.tunnelDirectory, { recursive: true, mode: 0o700 });
  const lock = await ProgramLock.acquire(config.tunnelDirectory, 'tunnel-server');
  if (process.getuid?.() === 0) log.warn('this program runs as root but needs no root privileges; run it under its own account');
  const listenPort = await portToListenOn(config.tunnelListenHost, config.tunnelListenPort, null, PORT_PATIENCE_MS);
  const server = await TunnelServer.start({ tunnelDirectory: config.tunnelDirectory, listenHost: config.tunnelListenHost, listenPort, log });
  log.info('the tunnel server listens', { host: config.tunnelListenHost, port: server.port, tunnel_directory: config.tunnelDirectory });
  return {
    async stop() {
      await server.stop();
      lock.release();
    },
  };
}

if (import.meta.main) runTunnelServer();
