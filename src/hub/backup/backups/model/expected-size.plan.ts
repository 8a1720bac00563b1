/** A restore point of the same VM in the same repository. */
export type StoredPoint = { readonly backup_type: 'full' | 'incremental'; /** Length of its files. */ readonly bytes: number };

/** Few, because VMs change; an even number would need a mean. */
const NEWEST = 5;
const FEWEST_INCREMENTALS = 3;

/**
 * The space that a backup will need, from what the VM's earlier ones needed: the newest full, or the median of the newest five incrementals.
 * @param history newest first
 * @returns null if there is too little to go by: no full, or fewer than three incrementals
 */
export function expectedBytes(type: 'full' | 'incremental', history: readonly StoredPoint[]): number | null {
  const sizes = history
    .filter(({ backup_type }) => backup_type === type)
    .slice(0, type === 'full' ? 1 : NEWEST)
    .map(({ bytes }) => bytes)
    .sort((one, other) => one - other);
  if (type === 'incremental' && sizes.length < FEWEST_INCREMENTALS) return null;
  // Of an even number the lower one: a backup that may fit is started.
  return sizes[Math.floor((sizes.length - 1) / 2)] ?? null;
}

/** Whether a backup is refused before it starts: only if it is known that it cannot fit. */
export function cannotFit(expected: number | null, freeBytes: number): expected is number {
  return expected !== null && expected > freeBytes;
}
