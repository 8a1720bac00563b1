import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '../../../lib/logging/logger.js';
import { signalProcess } from '../../../lib/process/process-identity.js';
import { parseIdentity } from '../../../lib/process/shell-process-supervisor.js';
import { writeAuthorizedKeys } from '../../nodes/node-link/authorized-keys.js';
import type { HubConfig } from '../../hub.config.js';

/**
 * Ends what this machine does for a hub that is not active here: its tools (exports, mounts, copies), whose outcome it can no longer record, and the tunnels
 * of its nodes, which then connect to the active hub. Run directories stay; the next active hub here records nothing from them that its events contradict.
 */
export async function leaveWork(config: HubConfig, log: Logger): Promise<void> {
  const ended = endTools(config.runDirectory);
  if (ended > 0) log.warn('ended the tools of this machine, because another hub is active', { tools: ended });
  await writeAuthorizedKeys(config.tunnelDirectory, []);
}

/** Kills every process that a run directory below names. @returns how many were running */
function endTools(runDirectory: string): number {
  let ended = 0;
  for (const entry of readdirSync(runDirectory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name !== 'process') continue;
    const identity = parseIdentity(readFileSync(join(entry.parentPath, entry.name), 'utf8'));
    if (identity !== null && signalProcess(identity, 'SIGKILL')) ended += 1;
  }
  return ended;
}
