import { randomBytes } from 'node:crypto';
import { link, lstat, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeSocketDirectory, removeSocketDirectory, socketDirectory } from '../../../lib/process/socket-place.js';
import { errnoOf } from '../../../lib/process/system-error.js';
import { keyInPskFile, PSK_FILE, pskFileText } from '../../../lib/nbd/nbd-uri.js';

/**
 * How clients reach an export: `unix` is a socket in a private directory, for programs of the hub's own account; `tls` is a TCP port with TLS-PSK, where both
 * sides need the export's key.
 */
export type ExportTransport = 'unix' | 'tls';

const KEY_BYTES = 32;
const SOCKET = 'nbd.sock';
/**
 * The group ffdhe2048 of RFC 7919, under the file name that qemu looks for next to the key. It is public, and TLS 1.3 does not use it. Without the file,
 * qemu-nbd generates a group at every start, which takes seconds.
 */
const DH_FILE = 'dh-params.pem';
const DH_PARAMETERS = `-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
`;

/** Directory of an export's key or socket, below the hub's run directory. */
export function exportAccessDirectory(runDirectory: string, exportId: string): string {
  return join(runDirectory, 'export-access', exportId);
}

export function exportKeyFile(runDirectory: string, exportId: string): string {
  return join(exportAccessDirectory(runDirectory, exportId), PSK_FILE);
}

export function exportSocket(runDirectory: string, exportId: string): string {
  return join(socketDirectory(socketsOf(runDirectory, exportId)), SOCKET);
}

/**
 * Creates the files an export needs before its server starts. An export on a socket records the port it holds, although it does not listen there.
 * Files of an earlier attempt are kept. @throws Error when a directory belongs to another account
 */
export async function prepareExportAccess(runDirectory: string, exportId: string, transport: ExportTransport, port: number): Promise<void> {
  await mkdir(exportAccessDirectory(runDirectory, exportId), { recursive: true, mode: 0o700 });
  if (transport === 'unix') {
    await writeFile(portFile(runDirectory, exportId), `${port}\n`, { mode: 0o600 });
    await makeSocketDirectory(socketsOf(runDirectory, exportId));
  } else {
    await writeFile(join(exportAccessDirectory(runDirectory, exportId), DH_FILE), DH_PARAMETERS, { mode: 0o600 });
    await writeKeyFile(exportKeyFile(runDirectory, exportId), randomBytes(KEY_BYTES).toString('hex'));
  }
}

/** Never replaces a file: a client may already have read the key. */
export async function writeKeyFile(file: string, key: string): Promise<void> {
  const fresh = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await writeFile(fresh, pskFileText(key), { mode: 0o600, flag: 'wx' });
  try {
    await link(fresh, file);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  } finally {
    await rm(fresh, { force: true });
  }
}

/** null: the export has no key. */
export async function readExportKey(runDirectory: string, exportId: string): Promise<string | null> {
  const text = await readFile(exportKeyFile(runDirectory, exportId), 'utf8').catch(ifMissing(null));
  return text === null ? null : keyInPskFile(text);
}

/** The transport prepared for an export; null: none. */
export async function preparedTransport(runDirectory: string, exportId: string): Promise<ExportTransport | null> {
  if (await exists(exportKeyFile(runDirectory, exportId))) return 'tls';
  return (await exists(exportAccessDirectory(runDirectory, exportId))) ? 'unix' : null;
}

/** Ports held by exports on sockets: nothing listens on them, but they are in use. */
export async function portsOfSockets(runDirectory: string): Promise<ReadonlySet<number>> {
  const ids = await exportsWithAccess(runDirectory);
  const ports = await Promise.all(ids.map((id) => readFile(portFile(runDirectory, id), 'utf8').catch(ifMissing(null))));
  return new Set(ports.filter((port) => port !== null).map(Number));
}

/** Call only after the export's server has ended. */
export async function removeExportAccess(runDirectory: string, exportId: string): Promise<void> {
  await removeSocketDirectory(socketsOf(runDirectory, exportId));
  await rm(exportAccessDirectory(runDirectory, exportId), { recursive: true, force: true });
}

/** Exports that have a key or a socket. */
export async function exportsWithAccess(runDirectory: string): Promise<readonly string[]> {
  return readdir(exportAccessDirectory(runDirectory, '')).catch(ifMissing([]));
}

function portFile(runDirectory: string, exportId: string): string {
  return join(exportAccessDirectory(runDirectory, exportId), 'port');
}

function ifMissing<Value>(value: Value): (error: unknown) => Value {
  return (error) => {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return value;
  };
}

function socketsOf(runDirectory: string, exportId: string): string {
  return join(exportAccessDirectory(runDirectory, exportId), 's');
}

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(ifMissing(null))) !== null;
}
