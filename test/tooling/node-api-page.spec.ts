import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';

const ROOT = resolve(import.meta.dirname, '../..');
const METHODS: ReadonlySet<string> = new Set(['Get', 'Post', 'Put', 'Patch', 'Delete']);
const page = readFileSync(resolve(ROOT, 'docs/node-api.md'), 'utf8');

interface Route {
  /** Such as `GET /backup/{job_id}`. */
  readonly name: string;
  readonly decorators: readonly string[];
}

describe('docs/node-api.md', () => {
  it('has each route of the node, and no other', () => {
    const routes = routesOf('main.node.ts').map(({ name }) => name);
    expect(routes.length).toBeGreaterThan(15);
    expect(headingsBelow('## Routes of the node').sort()).toEqual(routes.sort());
  });

  it('has each route of the hub that nodes call, and no other', () => {
    const routes = routesOf('main.hub.ts').filter(({ name, decorators }) => decorators.includes('NodeOnly') || isPublicCommand(name, decorators));
    expect(routes.length).toBeGreaterThan(3);
    expect(headingsBelow('## Routes of the hub').sort()).toEqual(routes.map(({ name }) => name).sort());
  });

  it('names only codes that docs/error-codes.md explains', () => {
    const explained = readFileSync(resolve(ROOT, 'docs/error-codes.md'), 'utf8')
      .split('\n')
      .flatMap((line) => /^\| `([a-z_]+)` \|/.exec(line)?.[1] ?? []);
    const refusals = [...page.matchAll(/^- Refuses.*(?:\n {2}.*)*/gm), ...page.matchAll(/^\| [45]\d\d.*/gm)].map(([text]) => text);
    const named = refusals.flatMap((text) => [...text.matchAll(/\d{3}\b[^;.]*/g)].flatMap(([part]) => codesIn(part)));
    expect(named.length).toBeGreaterThan(40);
    expect(named.filter((code) => !explained.includes(code))).toEqual([]);
  });
});

function codesIn(text: string): readonly string[] {
  return [...text.matchAll(/`([a-z]+(?:_[a-z]+)+)`/g)].map(([, code]) => code ?? '');
}

function isPublicCommand(name: string, decorators: readonly string[]): boolean {
  return decorators.includes('Public') && !name.startsWith('GET ');
}

function headingsBelow(heading: string): string[] {
  const after = page.slice(page.indexOf(`\n${heading}\n`) + heading.length + 2);
  const end = after.indexOf('\n## ');
  return [...after.slice(0, end === -1 ? undefined : end).matchAll(/^### (.*)$/gm)].map(([, route]) => route ?? '');
}

/** Routes of the controllers that a program reaches by its imports. */
function routesOf(entryPoint: string): Route[] {
  const [main] = globSync(`src/**/${entryPoint}`, { cwd: ROOT });
  if (main === undefined) throw new Error(`there is no ${entryPoint}`);
  const seen = new Set<string>();
  const pending = [resolve(ROOT, main)];
  const routes: Route[] = [];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (seen.has(path) || !existsSync(path)) continue;
    seen.add(path);
    const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
    for (const statement of source.statements) {
      if (ts.isClassDeclaration(statement)) routes.push(...routesOfClass(statement));
      if ((ts.isImportDeclaration(statement) || ts.isExportDeclaration(statement)) && statement.moduleSpecifier !== undefined) {
        const target = (statement.moduleSpecifier as ts.StringLiteral).text;
        if (target.startsWith('.')) pending.push(join(dirname(path), target.replace(/\.js$/, '.ts')));
      }
    }
  }
  return routes;
}

function routesOfClass(declaration: ts.ClassDeclaration): readonly Route[] {
  const ofClass = decoratorsOf(declaration);
  const controller = ofClass.get('Controller');
  if (controller === undefined) return [];
  return declaration.members.flatMap((member) => {
    const own = decoratorsOf(member);
    return [...own].flatMap(([decorator, path]) => {
      if (!METHODS.has(decorator)) return [];
      const full = ['', controller, path]
        .join('/')
        .replaceAll(/\/+/g, '/')
        .replace(/\/$/, '')
        .replaceAll(/:(\w+)/g, '{$1}');
      return [{ name: `${decorator.toUpperCase()} ${full}`, decorators: [...ofClass.keys(), ...own.keys()] }];
    });
  });
}

/** By name, with the first argument where that is a text. */
function decoratorsOf(node: ts.Node): ReadonlyMap<string, string> {
  const decorators = ts.canHaveDecorators(node) ? (ts.getDecorators(node) ?? []) : [];
  return new Map(
    decorators.flatMap(({ expression }) => {
      if (!ts.isCallExpression(expression)) return [];
      const [first] = expression.arguments;
      return [[expression.expression.getText(), first !== undefined && ts.isStringLiteral(first) ? first.text : ''] as const];
    }),
  );
}
