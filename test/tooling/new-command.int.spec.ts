import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { inLongProof } from '../support/long-proof.js';
import { COMPILE, EDITS, NEW_FILES, OVER_HTTP } from './new-command.fixture.js';
import { PlantedTree, PROJECT } from './planted-tree.js';

const COPIED = ['src', 'projections', 'migrations', 'test/support', 'test/run', 'test/golden-streams', 'bin/api-schemas.mjs'];
const SETTINGS = ['package.json', 'jest.config.js', 'tsconfig.json', '.dependency-cruiser.cjs'];
/** Registered in the golden streams. */
const VM = '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b';
const TIMEOUT_MS = 240_000;

describe('docs/checklists/new-command.md, followed in a copy of the project', () => {
  let tree: PlantedTree;

  beforeAll(() => {
    tree = new PlantedTree({ 'test/over-http.spec.ts': OVER_HTTP, 'compile.mjs': COMPILE, ...NEW_FILES });
    for (const path of [...COPIED, ...SETTINGS]) {
      cpSync(join(PROJECT, path), join(tree.root, path), { recursive: true, filter: (file) => !/\.spec\.ts$|__snapshots__/.test(file) });
    }
    for (const [path, edits] of Object.entries(EDITS)) {
      const edited = edits.reduce(
        (text, [before, after]) => {
          if (text.split(before).length !== 2) throw new Error(`${path} must contain this text once: ${before}`);
          return text.replace(before, () => after);
        },
        readFileSync(join(PROJECT, path), 'utf8'),
      );
      writeFileSync(join(tree.root, path), edited);
    }
  }, TIMEOUT_MS);

  afterAll(() => {
    tree.remove();
  });

  /** Runs specs of the copy. @returns what jest reports */
  function jest(env: Readonly<Record<string, string>>, ...patterns: readonly string[]): string {
    const argv = ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js', '--runInBand', ...patterns];
    return spawnSync(process.execPath, argv, { cwd: tree.root, env: { ...process.env, ...env }, encoding: 'utf8' }).stderr;
  }

  it('adds one folder and edits at most six files', () => {
    expect(new Set(Object.keys(NEW_FILES).map((path) => dirname(path))).size).toBe(1);
    expect(Object.keys(EDITS).length).toBeLessThanOrEqual(6);
  });

  it(
    'keeps the import rules',
    () => {
      const ofTheVms = ['--do-not-follow', '^(?!src/hub/backup/vms/|projections/vms/)', 'src/hub/backup/vms', 'projections/vms'];
      const argv = ['--config', '.dependency-cruiser.cjs', '--output-type', 'err', ...ofTheVms];
      expect(tree.run('dependency-cruiser/bin/dependency-cruise.mjs', ...argv)).toContain('no dependency violations found');
    },
    TIMEOUT_MS,
  );

  it(
    'compiles, and gives the request a schema',
    () => {
      // Whatever imports an edited file might no longer compile.
      const names = Object.keys(EDITS).map((path) => path.slice(path.lastIndexOf('/') + 1, -'.ts'.length));
      const concerned = globSync('{src,projections}/**/*.ts', { cwd: tree.root }).filter((path) => {
        const text = readFileSync(join(tree.root, path), 'utf8');
        return names.some((name) => text.includes(`/${name}.js'`));
      });
      const files = new Set([...Object.keys(NEW_FILES), ...Object.keys(EDITS), ...concerned]);
      expect(execFileSync(process.execPath, ['compile.mjs', ...files], { cwd: tree.root, encoding: 'utf8' })).toBe('');
      const schemas: unknown = JSON.parse(readFileSync(join(tree.root, 'dist/src/hub/api-schemas.json'), 'utf8'));
      expect(schemas).toMatchObject({ NoteVmRequest: { required: ['note'] }, VmResponse: { properties: { note: { type: ['string', 'null'] } } } });
    },
    TIMEOUT_MS,
  );

  it('keeps the rule of the command', () => expect(jest({}, 'note-vm')).toMatch(/Tests: +2 passed, 2 total/), TIMEOUT_MS);

  inLongProof(() => {
    it(
      'is documented and answered over HTTP, and shows the new column of rows that were there before',
      async () => {
        const { createTestDatabase } = await import('../support/postgres.js');
        const { appendGoldenHistory, startQueryApp } = await import('../support/query-app.js');
        const { ReadModels } = await import('../../src/hub/store/postgres/read-models.js');
        const database = await createTestDatabase();
        const { app, store, close } = await startQueryApp({ databaseUrl: database.databaseUrl });
        await appendGoldenHistory(store);
        await app.get(ReadModels, { strict: false }).current();
        await close();
        expect(jest({ DATABASE_BEFORE: database.databaseUrl, VM_BEFORE: VM }, 'over-http')).toMatch(/Tests: +2 passed, 2 total/);
        await database.drop();
      },
      TIMEOUT_MS,
    );
  });
});
