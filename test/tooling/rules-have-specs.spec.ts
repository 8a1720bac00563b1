import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PlantedTree, PROJECT } from './planted-tree.js';

const RULE = /\.(decide|plan)\.ts$/;
/** A test at the beginning of a line; one that is skipped or still to be written is none. */
const TEST = /^ *(?:it|test)(?:\.each)?\b(?!\.)/m;

/** What is wrong with the specs of deciders and planners, one sentence for each file. */
function rulesWithoutSpec(root: string): readonly string[] {
  const rules = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((file) => RULE.test(file));
  return rules
    .map((file) => join('src', file))
    .sort()
    .flatMap((file) => {
      const spec = file.replace(/\.ts$/, '.spec.ts');
      if (!existsSync(join(root, spec))) return [`${file} has no spec: write ${basename(spec)} next to it`];
      const text = readFileSync(join(root, spec), 'utf8');
      if (!importsValueOf(file, text)) return [`${spec} does not import ${basename(file)}`];
      return TEST.test(text) ? [] : [`${spec} holds no test`];
    });
}

/** Types alone do not count: a spec that imports nothing else of a rule calls nothing of it. */
function importsValueOf(file: string, spec: string): boolean {
  const imports = spec.matchAll(/^import (?<names>[^;]*?) from '(?<from>[^']+)';/gm);
  return [...imports].some(({ groups }) => {
    const { names = '', from } = groups ?? {};
    return from === `./${basename(file, '.ts')}.js` && names.replaceAll(/\btype\b[^,}]*/g, '').replaceAll(/[{},\s]/g, '') !== '';
  });
}

const PLANTED = {
  'feed-cat/fed.decide.ts': 'export const decide = 1;',
  'feed-cat/fed.decide.spec.ts':
    "import { type Cat, decide } from './fed.decide.js';\n\ndescribe('a cat', () => {\n  it('eats', () => expect(decide).toBe(1));\n});",
  'feed-cat/each.plan.ts': 'export const plan = 1;',
  'feed-cat/each.plan.spec.ts': "import {\n  plan,\n} from './each.plan.js';\n\nit.each([\n  [1],\n])('%s is a plan', (one) => expect(plan).toBe(one));",
  'feed-cat/bare.decide.ts': 'export const decide = 1;',
  'feed-cat/combined.spec.ts': "import { decide } from './bare.decide.js';\nit('is tested elsewhere', () => expect(decide).toBe(1));",
  'feed-cat/bare.plan.ts': 'export const plan = 1;',
  'feed-cat/other.decide.ts': 'export const decide = 1;',
  'feed-cat/other.decide.spec.ts': "import { decide } from './fed.decide.js';\nit('tests another rule', () => expect(decide).toBe(1));",
  'feed-cat/typed.plan.ts': 'export type Plan = 1;\nexport const plan = 1;',
  'feed-cat/typed.plan.spec.ts': "import { type Plan } from './typed.plan.js';\nit('calls nothing', () => expect(1 satisfies Plan).toBe(1));",
  'feed-cat/erased.plan.ts': 'export type Plan = 1;\nexport const plan = 1;',
  'feed-cat/erased.plan.spec.ts': "import type { Plan } from './erased.plan.js';\nit('calls nothing', () => expect(1 satisfies Plan).toBe(1));",
  'feed-cat/empty.decide.ts': 'export const decide = 1;',
  'feed-cat/empty.decide.spec.ts': "import { decide } from './empty.decide.js';\nexport const fixture = decide;",
  'feed-cat/skipped.decide.ts': 'export const decide = 1;',
  'feed-cat/skipped.decide.spec.ts':
    "import { decide } from './skipped.decide.js';\nit.skip('is skipped', () => expect(decide).toBe(1));\nit.todo('is not written');",
} as const;

describe('deciders and planners', () => {
  it('each have a spec of their own name', () => {
    expect(rulesWithoutSpec(PROJECT)).toEqual([]);
  });
});

describe('the check of specs', () => {
  let tree: PlantedTree;
  beforeAll(() => {
    tree = new PlantedTree(Object.fromEntries(Object.entries(PLANTED).map(([file, text]) => [`src/hub/pets/cats/${file}`, `${text}\n`])));
  });
  afterAll(() => {
    tree.remove();
  });

  it('names each rule without a spec, without its import or without a test, and no other', () => {
    const at = (name: string): string => `src/hub/pets/cats/feed-cat/${name}`;
    expect(rulesWithoutSpec(tree.root)).toEqual([
      `${at('bare.decide.ts')} has no spec: write bare.decide.spec.ts next to it`,
      `${at('bare.plan.ts')} has no spec: write bare.plan.spec.ts next to it`,
      `${at('empty.decide.spec.ts')} holds no test`,
      `${at('erased.plan.spec.ts')} does not import erased.plan.ts`,
      `${at('other.decide.spec.ts')} does not import other.decide.ts`,
      `${at('skipped.decide.spec.ts')} holds no test`,
      `${at('typed.plan.spec.ts')} does not import typed.plan.ts`,
    ]);
  });
});
