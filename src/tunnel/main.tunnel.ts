import '../lib/process/lean-heap.js';
import 'reflect-metadata';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Clock } from '../lib/clock/clock.js';
import { loadConfigOrExit } from '../lib/config/load-config.js';
import { NodeConfig } from '../node/node.config.js';
import { configureLogging, loggerFor } from '../lib/logging/logger.js';
import { ProgramLock } from '../lib/process/program-lock.js';
import { type RunningService, runUntilSignalled } from '../lib/process/program-run.js';
import { Tunnel } from './node-end/tunnel.js';

/** Starts the node's end of the tunnel and returns; it then runs until a signal stops it. @param configFile from `--config`: the node's */
export function runTunnel(configFile?: string): void {
  const config = loadConfigOrExit(NodeConfig, { file: configFile, environment: process.env });
  configureLogging({ level: config.logLevel, format: config.logFormat, program: 'tunnel' });
  runUntilSignalled(loggerFor('Tunnel'), () => start(config));
}

async function start(config: NodeConfig): Promise<RunningService> {
  mkdirSync(config.tunnelDirectory, { recursive: true, mode: 0o700 });
  const lock = await ProgramLock.acquire(config.tunnelDirectory, 'tunnel');
  const clock = new Clock();
  const tunnel = new Tunnel({
    tunnelDirectory: config.tunnelDirectory,
    connections: config.tunnelConnections,
    nodeAddress: () => nodeAddress(config),
    now: () => clock.iso(),
    log: loggerFor('Tunnel'),
  });
  tunnel.start();
  return {
    async stop() {
      await tunnel.stop();
      lock.release();
    },
  };
}

/** The node's own address; if it listens on any free port, the node itself reports which one. */
function nodeAddress(config: NodeConfig): string | null {
  if (config.listenPort !== 0) return hostAndPort(config.listenHost, config.listenPort);
  try {
    return new URL(readFileSync(join(config.dataDirectory, 'node.url'), 'utf8').trim()).host;
  } catch {
    return null;
  }
}

function hostAndPort(host: string, port: number): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

if (import.meta.main) runTunnel();
