/** Where an NBD export is reached: a TCP port, or a Unix socket of this machine. */
export type NbdAddress = { readonly host: string; readonly port: number } | { readonly socket: string };

/** The URI by which libnbd's tools reach an export. An empty export name is the default export. */
export function nbdUri(address: NbdAddress, exportName: string): string {
  const name = encodeURIComponent(exportName);
  if ('socket' in address) return `nbd+unix:///${name}?socket=${encodeURIComponent(address.socket)}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `nbd://${host}:${address.port}/${name}`;
}
