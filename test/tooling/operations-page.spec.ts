import 'reflect-metadata';
import { globSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { validateSync } from 'class-validator';
import { HubConfig } from '../../src/hub/hub.config.js';
import { fileKey, type LoadableConfig } from '../../src/lib/config/load-config.js';
import { NodeConfig } from '../../src/node/node.config.js';
import { KeeperConfig } from '../../src/keeper/keeper.config.js';
import { TunnelServerConfig } from '../../src/tunnel/tunnel-server.config.js';

const ROOT = resolve(import.meta.dirname, '../..');
const page = readFileSync(resolve(ROOT, 'docs/operations.md'), 'utf8');
const sources = globSync('src/**/*.ts', { cwd: ROOT, exclude: (path) => path.endsWith('.spec.ts') })
  .map((path) => readFileSync(resolve(ROOT, path), 'utf8'))
  .join('\n');

describe('docs/operations.md', () => {
  it.each([
    ['Hub', new HubConfig()],
    ['Node', new NodeConfig()],
    ['Tunnel server', new TunnelServerConfig()],
    ['Keeper', new KeeperConfig()],
  ] as const)('names every setting of the %s, in its order, with its default and its rule', (title, config) => {
    const rules = rulesOf(config);
    const expected = Object.entries(config).map(([field, value]) => [`\`${fileKey(field)}\``, defaultOf(config, field, value), rules.get(field) ?? '']);
    expect(rowsOf(`### ${title}`).map((cells) => cells.slice(0, 3))).toEqual(expected);
  });

  it.each([
    ['Hub', new HubConfig()],
    ['Node', new NodeConfig()],
  ] as const)('names the settings of the %s that a reload takes over', (title, config) => {
    const line = page.slice(page.indexOf(`\n### ${title}\n`)).match(/^Reloaded: (.*)\.$/m)?.[1];
    expect(line).toBe(
      config
        .reloadableFields()
        .map((field) => `\`${fileKey(field)}\``)
        .join(', '),
    );
  });

  it('names every metric, and none that there is not', () => {
    const names = [...sources.matchAll(/name: '(sendense_[a-z_]+)'/g)].map(([, name]) => name).sort();
    const told = rowsOf('## Metrics').map(([name]) => name?.replaceAll('`', ''));
    expect(told.sort()).toEqual(names);
  });

  it('explains only error codes that there are', () => {
    const codes = rowsOf('## Troubleshooting by error code').flatMap(([cell]) => [...(cell ?? '').matchAll(/`([a-z_]+)`/g)].map(([, code]) => code ?? ''));
    expect(codes.length).toBeGreaterThan(20);
    // Codes of exports are those of the export's events under a prefix.
    const unknown = codes.filter((code) => !sources.includes(`'${code}'`) && !sources.includes(`'${code.replace('export_', '')}'`));
    expect(unknown).toEqual([]);
  });
});

/** Cells of the rows of the first table below a heading. */
function rowsOf(heading: string): string[][] {
  const lines = page.slice(page.indexOf(`\n${heading}\n`) + heading.length + 2).split('\n');
  const first = lines.findIndex((line) => line.startsWith('|'));
  const rest = lines.slice(first);
  const end = rest.findIndex((line) => !line.startsWith('|'));
  return rest.slice(2, end === -1 ? undefined : end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** What each field's own rule says to a value of a wrong type. */
function rulesOf(config: LoadableConfig & object): ReadonlyMap<string, string> {
  const broken = Object.assign(Object.create(Object.getPrototypeOf(config) as object) as object, config);
  for (const field of Object.keys(config)) Reflect.set(broken, field, {});
  return new Map(validateSync(broken).map(({ property, constraints }) => [property, Object.values(constraints ?? {}).join(' and ')]));
}

function defaultOf(config: LoadableConfig, field: string, value: unknown): string {
  const inDataDirectory = config.pathsInDataDirectory()[field];
  if (inDataDirectory !== undefined) return `\`<data>/${inDataDirectory}\``;
  // It depends on who runs the program; the page tells root's.
  if (field === 'dataDirectory') return config instanceof HubConfig ? '`/var/lib/sendense`' : '`/var/lib/sendense-node`';
  if (value === null) return 'none';
  return `\`${Array.isArray(value) ? value.join(':') : JSON.stringify(value).replaceAll('"', '')}\``;
}
