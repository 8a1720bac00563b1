import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PlantedTree, PROJECT } from './planted-tree.js';

const THING = 'export type Thing = { readonly a: 1 };\n';
const typeFrom = (...paths: readonly string[]): string =>
  paths.map((path, index) => `import type { Thing as T${index} } from '${path}';\nexport type U${index} = T${index};\n`).join('');
const effectOf = (...modules: readonly string[]): string => modules.map((module) => `import '${module}';\n`).join('');

/** Everything that the table allows; none of it may be reported. */
const ALLOWED: Readonly<Record<string, string>> = {
  'src/kernel/event.ts': THING,
  'src/kernel/decider.ts': typeFrom('./event.js'),
  'src/lib/clock/clock.ts': THING + typeFrom('../../kernel/event.js') + effectOf('uuid'),
  'src/lib/process/run-tool.ts': THING + effectOf('execa', 'pg', 'node:child_process'),
  'src/hub/store/postgres/postgres.module.ts': THING + typeFrom('../../../../migrations/all-migrations.js'),
  'src/hub/store/event-store/event-store.port.ts': THING,
  'src/contract/vm-list.ts': THING + typeFrom('../kernel/event.js'),
  'src/storage/hashing/file-hasher.ts': THING + typeFrom('../../lib/clock/clock.js', '../../contract/vm-list.js'),
  'src/tunnel/interface/tunnel-sockets.ts': THING + typeFrom('../../lib/clock/clock.js'),
  'src/tunnel/node-end/tunnel.ts': THING + typeFrom('../interface/tunnel-sockets.js', '../../node/node.config.js'),
  'migrations/all-migrations.ts': THING,
  'src/hub/pets/cats/model/cat.events.ts': THING + typeFrom('../../../../kernel/event.js'),
  'src/hub/pets/cats/model/cat.commands.ts': THING + effectOf('@nestjs/cqrs') + typeFrom('./cat.events.js', '../../../../contract/vm-list.js'),
  'src/hub/pets/cats/model/cat.queries.ts': THING + typeFrom('./cat.events.js'),
  'src/hub/pets/cats/model/cat.state.ts': THING + typeFrom('./cat.events.js', '../../dogs/model/dog.events.js'),
  'src/hub/pets/cats/feed-cat/feed-cat.decide.ts':
    THING + typeFrom('../model/cat.state.js', '../../dogs/model/dog.commands.js', '../brush-cat/brush-cat.decide.js'),
  'src/hub/pets/cats/brush-cat/brush-cat.decide.ts': THING + typeFrom('../model/cat.state.js'),
  'src/hub/pets/cats/feed-cat/feed-cat.handler.ts':
    THING +
    effectOf('@nestjs/cqrs') +
    typeFrom(
      './feed-cat.decide.js',
      '../model/cat.state.js',
      '../../../../lib/clock/clock.js',
      '../../dogs/model/dog.queries.js',
      '../../dogs/model/dog.reader.js',
      '../../../../../projections/dogs/dogs.read-model.js',
    ),
  'src/hub/pets/cats/cats.module.ts': THING + typeFrom('./feed-cat/feed-cat.handler.js', '../dogs/dogs.module.js'),
  'src/hub/pets/dogs/model/dog.events.ts': THING,
  'src/hub/pets/dogs/model/dog.reader.ts': THING,
  'src/hub/pets/dogs/model/dog.commands.ts': THING,
  'src/hub/pets/dogs/model/dog.queries.ts': THING,
  'src/hub/pets/dogs/dogs.module.ts': THING,
  'src/node/node.config.ts': THING + typeFrom('../lib/clock/clock.js'),
  'src/node/main.node.ts': THING,
  'src/node/sources/source.port.ts': THING + typeFrom('../../contract/vm-list.js', '../../tunnel/interface/tunnel-sockets.js'),
  'src/node/backup-jobs/backup-jobs.handler.ts': THING + typeFrom('../sources/source.port.js'),
  'projections/dogs/dogs.projection.ts':
    THING + typeFrom('../../src/hub/pets/dogs/model/dog.events.js', '../../src/kernel/event.js', '../../src/hub/store/event-store/event-store.port.js'),
  'projections/dogs/dogs.read-model.ts': THING + typeFrom('./dogs.projection.js') + effectOf('typeorm'),
  'src/hub/hub.module.ts': THING + typeFrom('./pets/cats/cats.module.js', '../../projections/dogs/dogs.projection.js'),
  'src/hub/main.hub.ts': THING + typeFrom('./hub.module.js'),
  'src/hub/hub.config.ts': THING + typeFrom('../lib/clock/clock.js'),
  'src/hub/nodes/node-link/node-client.ts': typeFrom(
    '../../hub.config.js',
    '../../../storage/hashing/file-hasher.js',
    '../../../tunnel/interface/tunnel-sockets.js',
  ),
  'src/cli/token/token.program.ts':
    THING +
    typeFrom(
      '../../hub/main.hub.js',
      '../../hub/hub.config.js',
      '../../node/main.node.js',
      '../../storage/hashing/file-hasher.js',
      '../../tunnel/interface/tunnel-sockets.js',
    ),
  'test/support/stand-in.ts': THING,
};

/** rule -> files that each break it, and no other rule */
const PLANTED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'no-cycles': { 'src/lib/clock/tick.ts': THING + typeFrom('./tock.js'), 'src/lib/clock/tock.ts': THING + typeFrom('./tick.js') },
  'kernel-stands-alone': { 'src/kernel/clocked.ts': typeFrom('../lib/clock/clock.js'), 'src/kernel/rooted.ts': effectOf('node:fs') },
  'hub-and-node-stand-apart': {
    'src/hub/store/node-aware.ts': typeFrom('../../node/sources/source.port.js'),
    'src/hub/nodes/node-link/tunnel-end.ts': typeFrom('../../../tunnel/node-end/tunnel.js'),
    'src/node/sources/recording.source.ts': typeFrom('../../hub/store/event-store/event-store.port.js'),
    'src/node/sources/printing.source.ts': typeFrom('../../cli/token/token.program.js'),
  },
  'tunnel-stands-apart': {
    'src/tunnel/hub-end/recording.ts': typeFrom('../../hub/store/event-store/event-store.port.js'),
    'src/tunnel/node-end/sourced.ts': typeFrom('../../node/sources/source.port.js'),
  },
  'keeper-stands-apart': {
    'src/keeper/recording.ts': typeFrom('../hub/store/event-store/event-store.port.js'),
    'src/keeper/sourced.ts': typeFrom('../node/sources/source.port.js'),
  },
  'tunnel-interface-knows-no-end': { 'src/tunnel/interface/ended.ts': typeFrom('../node-end/tunnel.js') },
  'command-line-uses-entry-points': {
    'src/cli/token/recording.program.ts': typeFrom('../../hub/store/event-store/event-store.port.js'),
    'src/cli/token/sourced.program.ts': typeFrom('../../node/sources/source.port.js'),
    'src/cli/token/tunnelled.program.ts': typeFrom('../../tunnel/node-end/tunnel.js'),
  },
  'lib-imports-kernel-only': {
    'src/lib/http/cat-aware.ts': typeFrom('../../hub/pets/cats/model/cat.events.js'),
    'src/lib/http/contract-aware.ts': typeFrom('../../contract/vm-list.js'),
    'src/lib/config/hub-aware.ts': typeFrom('../../hub/hub.config.js'),
  },
  'contract-imports-kernel-only': { 'src/contract/clocked.ts': typeFrom('../lib/clock/clock.js') },
  'storage-knows-no-program': { 'src/storage/hashing/recording.ts': typeFrom('../../hub/store/event-store/event-store.port.js') },
  'database-belongs-to-the-hub': {
    'src/node/sources/rows.source.ts': typeFrom('../../../projections/dogs/dogs.read-model.js'),
    'src/cli/token/migrating.program.ts': typeFrom('../../../migrations/all-migrations.js'),
  },
  'settings-are-plain': { 'src/hub/rich.config.ts': typeFrom('./store/event-store/event-store.port.js') },
  'tools-know-no-context': {
    'src/hub/store/postgres/cat-rows.ts': typeFrom('../../pets/cats/model/cat.events.js'),
    'src/hub/store/postgres/dog-rows.ts': typeFrom('../../../../projections/dogs/dogs.read-model.js'),
    'src/node/libvirt/sourced.ts': typeFrom('../sources/source.port.js'),
  },
  'events-and-commands-import-kernel-only': {
    'src/hub/pets/cats/model/stray.events.ts': typeFrom('../../../../lib/clock/clock.js'),
    'src/hub/pets/cats/model/stray.commands.ts': typeFrom('../../dogs/model/dog.events.js'),
  },
  'pure-files-import-pure-files': {
    'src/hub/pets/cats/feed-cat/nest.decide.ts': effectOf('@nestjs/common'),
    'src/hub/pets/cats/feed-cat/file.plan.ts': effectOf('node:fs'),
    'src/hub/pets/cats/model/timed.state.ts': typeFrom('../../../../lib/clock/clock.js'),
    'src/hub/pets/cats/feed-cat/impure.decide.ts': typeFrom('./feed-cat.handler.js'),
    'src/hub/pets/cats/feed-cat/reading.decide.ts': typeFrom('../../dogs/model/dog.reader.js'),
  },
  'no-sibling-slices': {
    'src/hub/pets/cats/brush-cat/brush-cat.handler.ts': typeFrom('../feed-cat/feed-cat.handler.js'),
    'src/hub/pets/cats/brush-cat/brush-cat.reactor.ts': typeFrom('../feed-cat/feed-cat.decide.js'),
    'src/node/get-health/get-health.handler.ts': typeFrom('../backup-jobs/backup-jobs.handler.js'),
  },
  'contexts-meet-in-messages': {
    'src/hub/pets/dogs/chase-cat/chase-cat.handler.ts': typeFrom('../../cats/feed-cat/feed-cat.handler.js'),
    'src/hub/pets/dogs/chase-cat/chase-cat.reactor.ts': typeFrom('../../cats/model/cat.state.js'),
  },
  'modules-are-imported-by-modules': { 'src/hub/pets/dogs/bark/bark.handler.ts': typeFrom('../dogs.module.js') },
  'rows-come-through-read-models': { 'src/hub/pets/dogs/list-dogs/list-dogs.handler.ts': typeFrom('../../../../../projections/dogs/dogs.projection.js') },
  'projections-see-events-only': {
    'projections/cats/cats.projection.ts': typeFrom('../../src/hub/pets/cats/model/cat.state.js'),
    'projections/cats/timed.projection.ts': typeFrom('../../src/lib/clock/clock.js'),
  },
  'only-tools-touch-the-world': {
    'src/hub/pets/dogs/walk/execa.handler.ts': effectOf('execa'),
    'src/hub/pets/dogs/walk/pg.handler.ts': effectOf('pg'),
    'src/hub/pets/dogs/walk/ssh.handler.ts': effectOf('ssh2'),
    'src/hub/pets/dogs/walk/store.handler.ts': effectOf('@eventstore/db-client'),
    'src/hub/pets/dogs/walk/process.reactor.ts': effectOf('node:child_process'),
    'projections/dogs/pg.projection.ts': effectOf('pg'),
  },
  'product-imports-no-test': { 'src/hub/pets/dogs/walk/stand-in.handler.ts': typeFrom('../../../../../test/support/stand-in.js') },
  'imports-resolve': { 'src/hub/pets/dogs/walk/lost.handler.ts': effectOf('./nowhere.js') },
  'no-dev-dependency-in-the-product': { 'src/hub/pets/dogs/walk/dev.handler.ts': effectOf('supertest') },
};

interface CruiseResult {
  readonly summary: {
    readonly violations: readonly { readonly from: string; readonly rule: { readonly name: string }; readonly cycle?: readonly { readonly name: string }[] }[];
  };
}

let tree: PlantedTree;
let found: ReadonlyMap<string, readonly string[]>;

beforeAll(() => {
  const manifest = {
    name: 'planted',
    type: 'module',
    dependencies: {
      '@eventstore/db-client': '*',
      '@nestjs/cqrs': '*',
      '@nestjs/common': '*',
      execa: '*',
      pg: '*',
      ssh2: '*',
      typeorm: '*',
      uuid: '*',
    },
    devDependencies: { supertest: '*' },
  };
  tree = new PlantedTree({
    ...ALLOWED,
    ...Object.assign({}, ...Object.values(PLANTED)),
    'package.json': JSON.stringify(manifest),
    'tsconfig.json': JSON.stringify({ compilerOptions: { module: 'nodenext', moduleResolution: 'nodenext', target: 'es2024' } }),
  });
  const output = tree.run(
    'dependency-cruiser/bin/dependency-cruise.mjs',
    '--config',
    join(PROJECT, '.dependency-cruiser.cjs'),
    '--output-type',
    'json',
    'src',
    'projections',
    'migrations',
  );
  const result = JSON.parse(output) as CruiseResult; // of a tool of a fixed version
  const files = Map.groupBy(result.summary.violations, ({ rule }) => rule.name);
  found = new Map(
    [...files].map(([rule, violations]) => [rule, [...new Set(violations.flatMap(({ from, cycle = [] }) => [from, ...cycle.map(({ name }) => name)]))].sort()]),
  );
}, 60_000);

afterAll(() => {
  tree.remove();
});

describe('import rules', () => {
  it.each(Object.entries(PLANTED))('%s reports what was planted, and nothing else', (rule, planted) => {
    expect(found.get(rule)).toEqual(Object.keys(planted).sort());
  });

  it('leave what the table allows alone', () => {
    const reported = [...found.values()].flat();
    expect(reported.filter((file) => file in ALLOWED)).toEqual([]);
  });

  it('are all planted here', () => {
    const rules = createRequire(import.meta.url)(join(PROJECT, '.dependency-cruiser.cjs')) as { forbidden: readonly { name: string }[] };
    expect(rules.forbidden.map(({ name }) => name).sort()).toEqual(Object.keys(PLANTED).sort());
  });
});
