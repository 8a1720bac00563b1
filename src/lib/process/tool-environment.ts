/** LIBGUESTFS_CACHEDIR: libguestfs caches its sandbox appliance there, which takes a while to build. */
const INHERITED = ['PATH', 'HOME', 'TZ', 'TMPDIR', 'LD_LIBRARY_PATH', 'XDG_RUNTIME_DIR', 'LIBGUESTFS_CACHEDIR'];

/**
 * The environment that a tool needs, without the database address and tokens that our own may hold. Tools print English regardless of the service's locale,
 * because some of their messages are parsed.
 */
export function toolEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const environment: Record<string, string> = { LC_ALL: 'C.UTF-8' };
  for (const name of INHERITED) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  return { ...environment, ...extra };
}
