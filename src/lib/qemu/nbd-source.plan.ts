import { type NbdAddress, parseNbdAddress, PSK_USER } from '../nbd/nbd-uri.js';

/** Name of the object by which qemu's tools have the key. */
const KEY_ID = 'key';

/**
 * What qemu's tools take in place of a file name, for a URI that nbdUri writes. (A URI itself has no place for patience, and qemu's knows no keys: see keyArguments.)
 * @param patienceSeconds how long qemu tries to reconnect after a loss, in seconds; it holds all requests and repeats them. 0: requests fail at the first loss
 */
export function nbdSource(uri: string, patienceSeconds: number): string {
  const { address, exportName } = parseNbdAddress(uri);
  const key = address.keyFile === undefined ? {} : { 'tls-creds': KEY_ID };
  const file = { driver: 'nbd', server: serverOf(address), export: exportName, 'reconnect-delay': patienceSeconds, 'open-timeout': patienceSeconds, ...key };
  return `json:${JSON.stringify({ driver: 'raw', file })}`;
}

/** The key of an export, whose file must have the name `keys.psk`. */
export function keyArguments(uri: string): readonly string[] {
  const { keyFile } = parseNbdAddress(uri).address;
  if (keyFile === undefined) return [];
  // A comma inside a value is written twice.
  return ['--object', `tls-creds-psk,id=${KEY_ID},endpoint=client,username=${PSK_USER},dir=${folderOf(keyFile).replaceAll(',', ',,')}`];
}

function folderOf(file: string): string {
  return file.slice(0, file.lastIndexOf('/'));
}

function serverOf(address: NbdAddress): object {
  return 'socket' in address ? { type: 'unix', path: address.socket } : { type: 'inet', host: address.host, port: String(address.port) };
}
