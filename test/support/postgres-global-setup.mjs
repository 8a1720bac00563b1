import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeTestPostgres } from './postgres-global-teardown.mjs';

const PREFIX = 'sendense-test-postgres-';

/** Only names a directory: the first spec that needs a database starts the server there. What a killed run has left behind is removed. */
export default async function setup() {
  for (const name of await readdir(tmpdir())) {
    if (name.startsWith(PREFIX) && !(await ownerLives(join(tmpdir(), name)))) await removeTestPostgres(join(tmpdir(), name));
  }
  const directory = await mkdtemp(join(tmpdir(), PREFIX));
  await writeFile(join(directory, 'owner'), String(process.pid));
  process.env.SENDENSE_TEST_POSTGRES_DIRECTORY = directory;
}

async function ownerLives(directory) {
  const owner = Number(await readFile(join(directory, 'owner'), 'utf8').catch(() => ''));
  // Without its owner's pid it is one that another run is making just now.
  if (!(owner > 0)) return true;
  try {
    process.kill(owner, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
