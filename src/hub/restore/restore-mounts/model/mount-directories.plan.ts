/** Parent of the directories of all mounts. */
export function mountsDirectory(runDirectory: string): string {
  return `${runDirectory}/mounts`;
}

/** Directory of one mount, named by its id; all of its resources on the machine are in it or backed by it. */
export function mountDirectory(runDirectory: string, mountId: string): string {
  return `${mountsDirectory(runDirectory)}/${mountId}`;
}
