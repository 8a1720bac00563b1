import { realpath } from 'node:fs/promises';
import { sep } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** A root that takes longer to resolve keeps its last resolved path. */
const ROOT_PATIENCE_MS = 1_000;
const rootsBeingResolved = new Map<string, Promise<string | null>>();
const rootsResolved = new Map<string, string | null>();

/** Skips roots that do not exist (yet). A root whose file system hangs delays nobody who accesses another one, and only one call at a time hangs in it. */
export async function realPaths(roots: readonly string[]): Promise<readonly string[]> {
  return (await Promise.all(roots.map(realRoot))).filter((path) => path !== null);
}

async function realRoot(root: string): Promise<string | null> {
  let resolving = rootsBeingResolved.get(root);
  if (resolving === undefined) {
    resolving = realPathOrNull(root).then((path) => {
      rootsBeingResolved.delete(root);
      rootsResolved.set(root, path);
      return path;
    });
    rootsBeingResolved.set(root, resolving);
  }
  const patience = new AbortController();
  const late = pause(ROOT_PATIENCE_MS, null, { signal: patience.signal }).then(
    () => rootsResolved.get(root) ?? null,
    () => null,
  );
  try {
    return await Promise.race([resolving, late]);
  } finally {
    patience.abort();
  }
}

export async function realPathOrNull(path: string): Promise<string | null> {
  try {
    return await realpath(path);
  } catch {
    return null;
  }
}

/** @param realRoots folders */
export function isWithin(path: string, realRoots: readonly string[]): boolean {
  return realRoots.some((root) => path.startsWith(root === sep ? root : `${root}${sep}`));
}
