import { type NbdAddress, parseNbdAddress, PSK_USER } from '../nbd/nbd-uri.js';

/** Object id under which qemu's tools get the key. */
const KEY_ID = 'key';

/**
 * A file name argument for qemu's tools, from a URI written by nbdUri. (A URI has no parameter for patience, and qemu's URIs have none for keys: see
 * keyArguments.)
 * @param patienceSeconds how long qemu tries to reconnect after a loss, in seconds; it holds all requests and repeats them. 0: requests fail at the first loss
 */
export function nbdSource(uri: string, patienceSeconds: number): string {
  const { address, exportName } = parseNbdAddress(uri);
  const key = address.keyFile === undefined ? {} : { 'tls-creds': KEY_ID };
  const file = { driver: 'nbd', server: serverOf(address), export: exportName, 'reconnect-delay': patienceSeconds, 'open-timeout': patienceSeconds, ...key };
  return `json:${JSON.stringify({ driver: 'raw', file })}`;
}

/** The key of an export; its file must be named `keys.psk`. */
export function keyArguments(uri: string): readonly string[] {
  const { keyFile } = parseNbdAddress(uri).address;
  if (keyFile === undefined) return [];
  // A comma inside a value is doubled.
  return ['--object', `tls-creds-psk,id=${KEY_ID},endpoint=client,username=${PSK_USER},dir=${folderOf(keyFile).replaceAll(',', ',,')}`];
}

function folderOf(file: string): string {
  return file.slice(0, file.lastIndexOf('/'));
}

function serverOf(address: NbdAddress): object {
  return 'socket' in address ? { type: 'unix', path: address.socket } : { type: 'inet', host: address.host, port: String(address.port) };
}
