import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { HubSystem } from './hub-system.js';

/** Where a restore export is, and the file that holds its key. */
export interface PublishedExport {
  readonly uri: string;
  readonly keyFile: string;
}

/** Fetches the key of a restore export into a file of the test's directory. */
export async function keyFileOf(system: HubSystem, exportId: string): Promise<string> {
  const { psk_file } = (await system.api<{ psk_file: string }>('GET', `/restore/exports/${exportId}/key`)).body;
  const keyFile = join(system.directory, `${exportId}.psk`);
  await writeFile(keyFile, `${psk_file}\n`, { mode: 0o600 });
  return keyFile;
}

/** Runs a command of a shell in which `$uri` is the export without TLS: nbdkit serves programs that know none. */
export async function through({ uri, keyFile }: PublishedExport, command: string): Promise<void> {
  await promisify(execFile)('nbdkit', ['-U', '-', 'nbd', `uri=${uri}`, 'tls=require', `tls-psk=${keyFile}`, '--run', command]);
}
