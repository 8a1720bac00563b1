/** LIBGUESTFS_CACHEDIR: where libguestfs keeps the machine of its sandbox, which takes it a while to make. */
const INHERITED = ['PATH', 'HOME', 'TZ', 'TMPDIR', 'LD_LIBRARY_PATH', 'XDG_RUNTIME_DIR', 'LIBGUESTFS_CACHEDIR'];

/**
 * What a tool needs to run, and not the database address and tokens that our own environment may hold. Tools speak English whatever the locale of the service, because
 * some of their messages are understood.
 */
export function toolEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const environment: Record<string, string> = { LC_ALL: 'C.UTF-8' };
  for (const name of INHERITED) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  return { ...environment, ...extra };
}
