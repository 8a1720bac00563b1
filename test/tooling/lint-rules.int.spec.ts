import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PlantedTree, PROJECT } from './planted-tree.js';

const TABLE: readonly (readonly [what: string, rule: string, path: string, code: string])[] = [
  ['any', 'typescript/no-explicit-any', 'src/hub/pets/cats/feed-cat/any.handler.ts', 'export const value: any = 1;'],
  [
    'a non-null assertion',
    'typescript/no-non-null-assertion',
    'src/hub/pets/cats/feed-cat/bang.handler.ts',
    'export const first = (list: string[]): string => list[0]!;',
  ],
  ['an enum', 'eslint-js/no-restricted-syntax', 'src/contract/enum.ts', "export enum Power {\n  On = 'on',\n}"],
  [
    'a floating promise',
    'typescript/no-floating-promises',
    'src/hub/pets/cats/feed-cat/floating.handler.ts',
    'const work = async (): Promise<void> => Promise.resolve();\nexport function start(): void {\n  work();\n}',
  ],
  [
    'a switch that forgets a variant',
    'typescript/switch-exhaustiveness-check',
    'src/hub/pets/cats/feed-cat/switch.handler.ts',
    "export function legs(animal: 'cat' | 'bird'): number | undefined {\n  switch (animal) {\n    case 'cat':\n      return 4;\n  }\n  return undefined;\n}",
  ],
  ['Date.now()', 'eslint-js/no-restricted-syntax', 'src/hub/pets/cats/feed-cat/now.handler.ts', 'export const now = (): number => Date.now();'],
  ['new Date()', 'eslint-js/no-restricted-syntax', 'src/hub/pets/cats/feed-cat/new-date.reactor.ts', 'export const now = (): Date => new Date();'],
  ['new Date() in a projection', 'eslint-js/no-restricted-syntax', 'projections/cats/dated.projection.ts', 'export const now = (): Date => new Date();'],
  ['Math.random()', 'eslint-js/no-restricted-syntax', 'src/hub/pets/cats/feed-cat/random.handler.ts', 'export const dice = (): number => Math.random();'],
  [
    'an id of its own',
    'eslint-js/no-restricted-imports',
    'src/hub/pets/cats/feed-cat/own-id.handler.ts',
    "import { randomUUID } from 'node:crypto';\nexport const id = (): string => randomUUID();",
  ],
  ['settings from the environment', 'eslint-js/no-restricted-syntax', 'src/hub/pets/cats/feed-cat/env.handler.ts', "export const home = process.env['HOME'];"],
  [
    'shell: true',
    'eslint-js/no-restricted-syntax',
    'src/lib/process/shell.ts',
    "import { spawn } from 'node:child_process';\nexport const run = (): void => void spawn('ls', ['-l'], { shell: true });",
  ],
  [
    'sh -c',
    'eslint-js/no-restricted-syntax',
    'src/lib/process/sh-c.ts',
    "import { spawn } from 'node:child_process';\nexport const run = (line: string): void => void spawn('sh', ['-c', line]);",
  ],
  [
    'exec',
    'eslint-js/no-restricted-imports',
    'src/lib/process/exec.ts',
    "import { exec } from 'node:child_process';\nexport const run = (line: string): void => void exec(line);",
  ],
  [
    'execSync',
    'eslint-js/no-restricted-imports',
    'src/lib/process/exec-sync.ts',
    "import { execSync } from 'node:child_process';\nexport const run = (line: string): string => execSync(line, { encoding: 'utf8' });",
  ],
  [
    "execa's command lines",
    'eslint-js/no-restricted-imports',
    'src/lib/process/command-line.ts',
    "import { execaCommand } from 'execa';\nexport const run = execaCommand;",
  ],
  [
    'the event bus of @nestjs/cqrs',
    'eslint-js/no-restricted-imports',
    'src/hub/pets/cats/feed-cat/bus.reactor.ts',
    "import { EventBus } from '@nestjs/cqrs';\nexport const bus = EventBus;",
  ],
  [
    'an HTTP status in the domain',
    'eslint-js/no-restricted-imports',
    'src/hub/pets/cats/feed-cat/status.handler.ts',
    "import { NotFoundException } from '@nestjs/common';\nexport const missing = (): Error => new NotFoundException();",
  ],
  [
    'Nest in a decision',
    'eslint-js/no-restricted-imports',
    'src/hub/pets/cats/feed-cat/nest.decide.ts',
    "import { Injectable } from '@nestjs/common';\nexport const injectable = Injectable;",
  ],
  [
    'Node in a plan',
    'eslint-js/no-restricted-imports',
    'src/hub/pets/cats/feed-cat/node.plan.ts',
    "import { join } from 'node:path';\nexport const path = join('a', 'b');",
  ],
  ['a package in a state', 'eslint-js/no-restricted-imports', 'src/hub/pets/cats/model/id.state.ts', "import { v7 } from 'uuid';\nexport const id = v7();"],
  [
    'Nest in events',
    'eslint-js/no-restricted-imports',
    'src/hub/pets/cats/model/bus.events.ts',
    "import { Command } from '@nestjs/cqrs';\nexport const base = Command;",
  ],
  [
    'a package in a command',
    'eslint-js/no-restricted-imports',
    'src/hub/pets/cats/model/id.commands.ts',
    "import { v7 } from 'uuid';\nexport const id = v7();",
  ],
  ['the clock in a decision', 'eslint-js/no-restricted-syntax', 'src/hub/pets/cats/feed-cat/clock.decide.ts', 'export const now = (): number => Date.now();'],
  ['randomness in a plan of the library', 'eslint-js/no-restricted-syntax', 'src/lib/nbd/dice.plan.ts', 'export const dice = (): number => Math.random();'],
  ['process in events', 'eslint/no-restricted-globals', 'src/hub/pets/cats/model/pid.events.ts', 'export const pid = process.pid;'],
  [
    'a timer in a command',
    'eslint/no-restricted-globals',
    'src/hub/pets/cats/model/timer.commands.ts',
    'export const later = (work: () => void): unknown => setTimeout(work, 1);',
  ],
  [
    'the network in the kernel',
    'eslint/no-restricted-globals',
    'src/kernel/net.ts',
    "export const page = async (): Promise<Response> => fetch('http://localhost');",
  ],
  ['console', 'eslint/no-console', 'src/hub/pets/cats/feed-cat/console.handler.ts', "export const say = (): void => console.log('x');"],
  ['a note of what is left to do', 'eslint/no-warning-comments', 'src/hub/pets/cats/feed-cat/later.handler.ts', '// TODO the rest\nexport const value = 1;'],
  ['a wrong type', 'typescript/TS2322', 'src/hub/pets/cats/feed-cat/wrong-type.handler.ts', "export const legs: number = 'four';"],
  ['a barrel', 'sendense/file-name', 'src/hub/pets/cats/index.ts', "export { legs } from './feed-cat/right.handler.js';"],
  ['utils', 'sendense/file-name', 'src/lib/http/utils.ts', 'export const value = 1;'],
  ['a bare role', 'sendense/file-name', 'src/hub/pets/cats/feed-cat/handler.ts', 'export const value = 1;'],
  ['a file without a role', 'sendense/file-name', 'src/hub/pets/cats/feed-cat/feeding.ts', 'export const value = 1;'],
  ['camelCase in a name', 'sendense/file-name', 'src/hub/pets/cats/feed-cat/feedCat.handler.ts', 'export const value = 1;'],
];

/** What may be done, where it may be done. */
const RIGHT: Readonly<Record<string, string>> = {
  'src/lib/clock/clock.ts': 'export const now = (): Date => new Date();',
  'src/lib/config/settings.ts': "export const home = process.env['HOME'];",
  'src/lib/process/run-tool.ts':
    "import { spawn } from 'node:child_process';\nexport const run = (argv: readonly string[]): unknown => spawn('qemu-img', argv, { shell: false });",
  'src/hub/pets/cats/feed-cat/right.handler.ts': "import { CommandBus } from '@nestjs/cqrs';\nexport const legs = 4;\nexport const bus = CommandBus;",
  'src/hub/pets/cats/feed-cat/right.decide.ts':
    "import type { Fed } from '../model/cat.events.js';\nexport const at = (event: Fed): Date => new Date(event.at);",
  'src/hub/pets/cats/model/cat.commands.ts': "import { Command } from '@nestjs/cqrs';\nexport class Feed extends Command<number> {}",
  'src/hub/pets/cats/model/cat.events.ts': 'export interface Fed {\n  readonly at: string;\n}',
  'src/hub/pets/cats/feed-cat/right.decide.spec.ts': 'export const now = (): number => Date.now();',
};

/** What `oxlint --format json` prints; the code is `<plugin>(<rule>)`. */
interface Report {
  readonly diagnostics: readonly { readonly message: string; readonly code: string; readonly filename: string }[];
  readonly number_of_files: number;
}

let tree: PlantedTree;
let report: Report;

beforeAll(() => {
  tree = new PlantedTree({
    ...RIGHT,
    ...Object.fromEntries(TABLE.map(([, , path, code]) => [path, `${code}\n`])),
    'package.json': JSON.stringify({ name: 'planted', type: 'module' }),
    'tsconfig.json': JSON.stringify({
      extends: join(PROJECT, 'tsconfig.json'),
      compilerOptions: { noEmit: true, rootDir: '.' },
      include: ['src', 'projections'],
    }),
    'oxlint.config.ts': `export { default } from ${JSON.stringify(join(PROJECT, 'oxlint.config.ts'))};\n`,
  });
  report = JSON.parse(tree.run('oxlint/bin/oxlint', '--format', 'json', 'src', 'projections')) as Report; // of a tool of a fixed version
}, 120_000);

afterAll(() => {
  tree.remove();
});

describe('lint rules', () => {
  it('look at every file', () => {
    expect(report.number_of_files).toBe(TABLE.length + Object.keys(RIGHT).length);
  });

  it.each(TABLE)('%s is refused by %s', (_what, rule, path) => {
    const found = report.diagnostics.filter(({ filename }) => filename === path);
    expect(found.map(({ code }) => code.replace(/^(.*)\((.*)\)$/, '$1/$2'))).toEqual([rule]);
    // Says what to do, not only what is wrong.
    expect(found[0]?.message.length).toBeGreaterThan(15);
  });

  it.each(Object.keys(RIGHT))('%s is left alone', (path) => {
    expect(report.diagnostics.filter(({ filename }) => filename === path)).toEqual([]);
  });
});
