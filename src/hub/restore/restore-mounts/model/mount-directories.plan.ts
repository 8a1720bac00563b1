/** Where the folders of all mounts are. */
export function mountsDirectory(runDirectory: string): string {
  return `${runDirectory}/mounts`;
}

/** The folder of one mount, named by its id; everything that the mount has on the machine lies in it or is backed by it. */
export function mountDirectory(runDirectory: string, mountId: string): string {
  return `${mountsDirectory(runDirectory)}/${mountId}`;
}
