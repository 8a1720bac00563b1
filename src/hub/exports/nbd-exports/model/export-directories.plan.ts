/** Parent of the run directories of all exports. */
export function exportsDirectory(runDirectory: string): string {
  return `${runDirectory}/exports`;
}

/** Run directory of one export's qemu-nbd. */
export function exportDirectory(runDirectory: string, exportId: string): string {
  return `${exportsDirectory(runDirectory)}/${exportId}`;
}
