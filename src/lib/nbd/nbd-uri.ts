/** The address of an NBD export: a TCP port, or a Unix socket on this machine. */
export type NbdPlace = { readonly host: string; readonly port: number } | { readonly socket: string };

/** With keyFile (in the format of pskFileText) the export is reached by TLS only, and both sides prove that they have the key. */
export type NbdAddress = NbdPlace & { readonly keyFile?: string };

/** The user name of an export's key in its file. Not a secret. */
export const PSK_USER = 'sendense';
/** qemu looks for this name in its key directory. */
export const PSK_FILE = 'keys.psk';

/** 32 random bytes in hexadecimal. */
export const EXPORT_KEY = /^[0-9a-f]{64}$/;

/** The key file format of qemu, libnbd and our own client. */
export function pskFileText(key: string): string {
  return `${PSK_USER}:${key}\n`;
}

/** @throws Error, without the file's content, when the format differs */
export function keyInPskFile(text: string): string {
  const key = text.trim().slice(PSK_USER.length + 1);
  if (!text.startsWith(`${PSK_USER}:`) || !EXPORT_KEY.test(key)) throw new Error('the key file of an export is malformed');
  return key;
}

/** The URI for libnbd's tools. An empty export name is the default export. */
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

/** The public URI of an export: a TCP port accepts only TLS, and clients need the export's key in addition. */
export function exportUri(place: NbdPlace, exportName: string): string {
  const uri = nbdUri(place, exportName);
  return 'socket' in place ? uri : uri.replace(/^nbd:/, 'nbds:');
}

/** Parses a URI written by exportUri, or one with `nbd` for a port that accepts any client. @throws Error for any other URI */
export function parseExportUri(uri: string): { readonly place: NbdPlace; readonly needsKey: boolean; readonly exportName: string } {
  const needsKey = uri.startsWith('nbds:');
  const { address, exportName } = parseNbdAddress(needsKey ? uri.replace(/^nbds:/, 'nbd:') : uri);
  if (address.keyFile !== undefined) throw new Error(`${uri} must not name a key file`);
  return { place: address, needsKey, exportName };
}

/** Parses a URI that nbdUri writes for a TCP port without a key. @throws Error for any other URI */
export function parseNbdUri(uri: string): { readonly host: string; readonly port: number; readonly exportName: string } {
  const { address, exportName } = parseNbdAddress(uri);
  if ('socket' in address || address.keyFile !== undefined) throw new Error(`${uri} is not an nbd:// URI`);
  return { host: address.host, port: address.port, exportName };
}

/** Parses any URI that nbdUri writes. @throws Error for any other URI */
export function parseNbdAddress(uri: string): { readonly address: NbdAddress; readonly exportName: string } {
  // The URL parser accepts no user without a host.
  const plain = uri.replace(`://${PSK_USER}@`, '://');
  const parts = URL.canParse(plain) ? new URL(plain) : null;
  const [, secure, unix] = /^nbd(s?)(\+unix)?:$/.exec(parts?.protocol ?? '') ?? [];
  const socket = parts?.searchParams.get('socket') ?? null;
  const keyFile = parts?.searchParams.get('tls-psk-file') ?? null;
  if (parts === null || secure === undefined || (unix === undefined ? parts.hostname === '' : socket === null))
    throw new Error(`${uri} is not the URI of an NBD export`);
  if ((secure === '') !== (keyFile === null)) throw new Error(`${uri} must name a key file if and only if its scheme is nbds`);
  const key = keyFile === null ? {} : { keyFile };
  const exportName = decodeURIComponent(parts.pathname.slice(1));
  if (socket !== null) return { address: { socket, ...key }, exportName };
  return { address: { host: parts.hostname.replace(/^\[(.*)\]$/, '$1'), port: parts.port === '' ? DEFAULT_PORT : Number(parts.port), ...key }, exportName };
}

/** IANA's port for NBD. */
const DEFAULT_PORT = 10809;
