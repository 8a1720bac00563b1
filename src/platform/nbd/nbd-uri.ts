/** Where an NBD export is reached: a TCP port, or a Unix socket of this machine. */
export type NbdAddress = { readonly host: string; readonly port: number } | { readonly socket: string };

/** The URI by which libnbd's tools reach an export. An empty export name is the default export. */
export function nbdUri(address: NbdAddress, exportName: string): string {
  const name = encodeURIComponent(exportName);
  if ('socket' in address) return `nbd+unix:///${name}?socket=${encodeURIComponent(address.socket)}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `nbd://${host}:${address.port}/${name}`;
}

/** The parts of an `nbd://` URI, as nbdUri writes it. @throws Error for another one */
export function parseNbdUri(uri: string): { readonly host: string; readonly port: number; readonly exportName: string } {
  const parts = URL.canParse(uri) ? new URL(uri) : null;
  if (parts?.protocol !== 'nbd:' || parts.hostname === '') throw new Error(`${uri} is not an nbd:// URI`);
  return {
    host: parts.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parts.port === '' ? DEFAULT_PORT : Number(parts.port),
    exportName: decodeURIComponent(parts.pathname.slice(1)),
  };
}

/** The parts of any URI that nbdUri writes. @throws Error for another one */
export function parseNbdAddress(uri: string): { readonly address: NbdAddress; readonly exportName: string } {
  const parts = URL.canParse(uri) ? new URL(uri) : null;
  const socket = parts?.protocol === 'nbd+unix:' ? parts.searchParams.get('socket') : null;
  if (parts !== null && socket !== null) return { address: { socket }, exportName: decodeURIComponent(parts.pathname.slice(1)) };
  const { host, port, exportName } = parseNbdUri(uri);
  return { address: { host, port }, exportName };
}

/** IANA's port of NBD. */
const DEFAULT_PORT = 10809;
