/** Where an NBD export is reached: a TCP port, or a Unix socket of this machine. */
export type NbdPlace = { readonly host: string; readonly port: number } | { readonly socket: string };

/** With keyFile (as pskFileText writes it) the export is reached by TLS alone, and both sides prove that they have the key. */
export type NbdAddress = NbdPlace & { readonly keyFile?: string };

/** The name under which an export's key stands in its file. It is no secret. */
export const PSK_USER = 'sendense';
/** qemu looks for this name in the directory that it is given. */
export const PSK_FILE = 'keys.psk';

/** 32 random bytes, in hexadecimal digits. */
export const EXPORT_KEY = /^[0-9a-f]{64}$/;

/** The file that qemu, libnbd and our own client read a key from. */
export function pskFileText(key: string): string {
  return `${PSK_USER}:${key}\n`;
}

/** @throws Error, without the file's content, for another one */
export function keyInPskFile(text: string): string {
  const key = text.trim().slice(PSK_USER.length + 1);
  if (!text.startsWith(`${PSK_USER}:`) || !EXPORT_KEY.test(key)) throw new Error('the key file of an export has not the form that it is written in');
  return key;
}

/** The URI by which libnbd's tools reach an export. An empty export name is the default export. */
export function nbdUri(address: NbdAddress, exportName: string): string {
  const name = encodeURIComponent(exportName);
  const { keyFile } = address;
  const [scheme, user] = keyFile === undefined ? ['nbd', ''] : ['nbds', `${PSK_USER}@`];
  const parameters = [
    ...('socket' in address ? [`socket=${encodeURIComponent(address.socket)}`] : []),
    ...(keyFile === undefined ? [] : [`tls-psk-file=${encodeURIComponent(keyFile)}`]),
  ];
  const query = parameters.length === 0 ? '' : `?${parameters.join('&')}`;
  if ('socket' in address) return `${scheme}+unix://${user}/${name}${query}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${scheme}://${user}${host}:${address.port}/${name}${query}`;
}

/** Where an export listens, for people and for a node: a TCP port takes TLS alone, and whoever connects needs the export's key besides. */
export function exportUri(place: NbdPlace, exportName: string): string {
  const uri = nbdUri(place, exportName);
  return 'socket' in place ? uri : uri.replace(/^nbd:/, 'nbds:');
}

/** The parts of a URI that exportUri writes, or that says `nbd` where a port takes anybody. @throws Error for another one */
export function parseExportUri(uri: string): { readonly place: NbdPlace; readonly needsKey: boolean; readonly exportName: string } {
  const needsKey = uri.startsWith('nbds:');
  const { address, exportName } = parseNbdAddress(needsKey ? uri.replace(/^nbds:/, 'nbd:') : uri);
  if (address.keyFile !== undefined) throw new Error(`${uri} must not name a key file`);
  return { place: address, needsKey, exportName };
}

/** The parts of a URI that nbdUri writes for a TCP port without a key. @throws Error for another one */
export function parseNbdUri(uri: string): { readonly host: string; readonly port: number; readonly exportName: string } {
  const { address, exportName } = parseNbdAddress(uri);
  if ('socket' in address || address.keyFile !== undefined) throw new Error(`${uri} is not an nbd:// URI`);
  return { host: address.host, port: address.port, exportName };
}

/** The parts of any URI that nbdUri writes. @throws Error for another one */
export function parseNbdAddress(uri: string): { readonly address: NbdAddress; readonly exportName: string } {
  // The parser of URLs takes no user where there is no host.
  const plain = uri.replace(`://${PSK_USER}@`, '://');
  const parts = URL.canParse(plain) ? new URL(plain) : null;
  const [, secure, unix] = /^nbd(s?)(\+unix)?:$/.exec(parts?.protocol ?? '') ?? [];
  const socket = parts?.searchParams.get('socket') ?? null;
  const keyFile = parts?.searchParams.get('tls-psk-file') ?? null;
  if (parts === null || secure === undefined || (unix === undefined ? parts.hostname === '' : socket === null))
    throw new Error(`${uri} is not the URI of an NBD export`);
  if ((secure === '') !== (keyFile === null)) throw new Error(`${uri} must name a key file exactly where it is nbds`);
  const key = keyFile === null ? {} : { keyFile };
  const exportName = decodeURIComponent(parts.pathname.slice(1));
  if (socket !== null) return { address: { socket, ...key }, exportName };
  return { address: { host: parts.hostname.replace(/^\[(.*)\]$/, '$1'), port: parts.port === '' ? DEFAULT_PORT : Number(parts.port), ...key }, exportName };
}

/** IANA's port of NBD. */
const DEFAULT_PORT = 10809;
