/** Name of the change id (QCOW2 bitmap, libvirt checkpoint) that a backup job sets at its instant. A source may append a dot and a suffix per disk. */
export function changeIdOf(hubId: string, jobId: string): string {
  return `${changeIdPrefix(hubId)}${jobId}`;
}

/** The backup job that set a change id of this hub. */
export function jobOfChangeId(hubId: string, changeId: string): string {
  return changeId.slice(changeIdPrefix(hubId).length).split('.', 1)[0] ?? '';
}

export function changeIdPrefix(hubId: string): string {
  return `sendense-${hubId.slice(0, 8)}-`;
}
