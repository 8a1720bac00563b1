/** Name of an export: under 64 characters, and needs no escaping in an NBD URI. */
export function restoreExportName(vmName: string, diskIndex: number, exportId: string): string {
  const vm = vmName.replaceAll(/[^A-Za-z0-9._]+/g, '_').slice(0, 30);
  return `restore-${vm}-disk${diskIndex}-${exportId.slice(-8)}`;
}

/** Parent of all overlay directories. */
export function overlaysDirectory(runDirectory: string): string {
  return `${runDirectory}/restore-exports`;
}

/** Directory of one export's overlay. */
export function overlayDirectory(runDirectory: string, exportId: string): string {
  return `${overlaysDirectory(runDirectory)}/${exportId}`;
}
