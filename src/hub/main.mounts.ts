import '../lib/process/lean-heap.js';
import 'reflect-metadata';
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { loadConfigOrExit } from '../lib/config/load-config.js';
import { configureLogging, loggerFor } from '../lib/logging/logger.js';
import { type RunningService, runUntilSignalled } from '../lib/process/program-run.js';
import { MountHelperServer } from '../storage/share-mounts/mount-helper.server.js';
import { MountsConfig } from '../storage/share-mounts/mounts.config.js';
import { ShareMounter } from '../storage/share-mounts/share-mounter.js';

/** Starts the mount helper, as root, and returns; it then runs until a signal stops it, and leaves what is mounted. @param configFile from `--config` */
export function runMounts(configFile?: string): void {
  const config = loadConfigOrExit(MountsConfig, { file: configFile, environment: process.env });
  configureLogging({ level: config.logLevel, format: config.logFormat, program: 'mounts' });
  runUntilSignalled(loggerFor('Mounts'), () => start(config));
}

async function start(config: MountsConfig): Promise<RunningService> {
  const log = loggerFor('Mounts');
  if (process.getuid?.() !== 0) throw new Error('the mount helper mounts file systems, so it must run as root');
  // A hub may run as any account; the owner of its data directory is the one that may connect.
  const { uid, gid } = statSync(config.hubDataDirectory);
  mkdirSync(dirname(config.mountHelperSocket), { recursive: true });
  const directories = { directory: config.mountsDirectory, credentialsDirectory: config.mountCredentialsDirectory };
  const server = await MountHelperServer.start(config.mountHelperSocket, gid, new ShareMounter({ ...directories, uid, gid }, log), log);
  log.info('the mount helper listens', { socket: config.mountHelperSocket, mounts_directory: config.mountsDirectory, for_uid: uid });
  return { stop: () => server.stop() };
}

if (import.meta.main) runMounts();
