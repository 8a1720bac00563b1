import { readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';

export default async function teardown() {
  const directory = process.env.SENDENSE_TEST_POSTGRES_DIRECTORY;
  if (directory !== undefined) await removeTestPostgres(directory);
}

/** Ends the server of a test directory at once (its data is thrown away) and removes the directory. */
export async function removeTestPostgres(directory) {
  const cluster = join(directory, 'postgres', 'cluster');
  const pid = Number((await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')[0]);
  const isOurs = async () => pid > 0 && (await readlink(`/proc/${pid}/cwd`).catch(() => undefined)) === cluster;
  if (await isOurs()) {
    // SIGQUIT is PostgreSQL's immediate shutdown.
    process.kill(pid, 'SIGQUIT');
    for (const ends = performance.now() + 10_000; (await isOurs()) && performance.now() < ends;) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
