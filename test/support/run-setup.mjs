import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeTestPostgres } from './run-teardown.mjs';

const PREFIX = 'sendense-test-postgres-';
/** Below the ports that the kernel gives to clients. */
const LOWEST_PORT = 20_000;
const PORTS_OF_A_RUN = 3_000;
const RUNS = 4;

export default async function setup() {
  await nameDatabase();
  await claimPorts();
}

/** Keeps runs at the same time apart. The first port of a run is taken as long as it lasts; a fifth run chooses among all ports. */
async function claimPorts() {
  for (let run = 0; run < RUNS; run++) {
    const first = LOWEST_PORT + run * PORTS_OF_A_RUN;
    const claimed = await new Promise((resolve) => {
      const server = createServer().unref();
      server.once('error', () => resolve(false));
      server.listen({ port: first, host: '127.0.0.1', exclusive: true }, () => resolve(true));
    });
    if (!claimed) continue;
    process.env.SENDENSE_TEST_PORTS = `${first + 1}-${first + PORTS_OF_A_RUN - 1}`;
    return;
  }
}

/** Only names a directory: the first spec that needs a database starts the server there. What a killed run has left behind is removed. */
async function nameDatabase() {
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
