/** Name of an export, under 64 characters and with nothing that needs escaping in an NBD URI. */
export function restoreExportName(vmName: string, diskIndex: number, exportId: string): string {
  const vm = vmName.replaceAll(/[^A-Za-z0-9._]+/g, '_').slice(0, 30);
  return `restore-${vm}-disk${diskIndex}-${exportId.slice(-8)}`;
}

/** Where the folders of overlays are. */
export function overlaysDirectory(runDirectory: string): string {
  return `${runDirectory}/restore-exports`;
}

/** Folder of one export's overlay. */
export function overlayDirectory(runDirectory: string, exportId: string): string {
  return `${overlaysDirectory(runDirectory)}/${exportId}`;
}
