import { killByPidFile } from '../../platform/process/kill-by-pid-file.js';
import { removeSocketDirectory, socketDirectory } from '../sources/image/socket-place.js';
import { serverPidFiles } from './transfer.plan.js';

/** Ends the servers that a stopped copy may have left, and removes their sockets. @param directory the copy's run directory */
export async function endCopyServers(directory: string): Promise<void> {
  for (const pidFile of serverPidFiles(socketDirectory(directory))) await killByPidFile(pidFile);
  await removeSocketDirectory(directory);
}
