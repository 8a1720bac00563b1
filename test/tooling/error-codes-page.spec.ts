import { globSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';

const ROOT = resolve(import.meta.dirname, '../..');
const PAGE = resolve(ROOT, 'docs/error-codes.md');
const CODE = /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/;
/** Functions that put the codes of a route into the OpenAPI document. */
const DOCUMENTING: ReadonlySet<string> = new Set(['ApiProblem', 'problemResponse', 'unreadResponse', 'also']);
/** Errors with a `code` that is mapped to another one, or printed, before it could reach an answer or a record. */
const INTERNAL: ReadonlySet<string> = new Set([
  'HashingFailedError',
  'HubRefusalError',
  'HubRefusedNodeError',
  'LibvirtError',
  'LibvirtErrorCode',
  'SshCallError',
  'SshCallProblem',
  'SshError',
  'SshErrorCode',
  'WorkerError',
]);

describe('docs/error-codes.md', () => {
  const sources = globSync('src/**/*.ts', { cwd: ROOT, exclude: (path) => path.endsWith('.spec.ts') }).map((path) =>
    parsed(path, readFileSync(resolve(ROOT, path), 'utf8')),
  );
  const codes = codesOf(sources);
  const described = codesOnPage(readFileSync(PAGE, 'utf8'));

  it('describes each code that the sources contain', () => {
    expect(codes.size).toBeGreaterThan(250);
    expect([...codes].filter(([code]) => !described.includes(code)).map(([code, path]) => `${code} (${path})`)).toEqual([]);
  });

  it('describes no code that the sources do not contain', () => {
    expect(described.filter((code) => !codes.has(code))).toEqual([]);
  });

  it('describes each code once', () => {
    expect(described.filter((code, index) => described.indexOf(code) !== index)).toEqual([]);
  });

  it.each([
    ['an error', `throw new DomainError('conflict', 'planted', 'No.');`],
    ['a condition in an error', `throw new HttpProblem(400, broken ? 'planted' : OTHER, 'No.');`],
    ['a constant', `const LOST = 'planted'; throw new DomainError('conflict', LOST, 'No.');`],
    ['a helper', `const refuse = (kind: Kind, code: string): never => fail(kind, code); refuse('invalid', 'planted');`],
    ['a method', `class A { a(): void { this.failed('planted'); } failed(code: string): void {} }`],
    ['a failure', `const failure = { code: 'planted', detail: 'No.' };`],
    ['a decorator', `class A { @ApiProblem(409, 'planted') a(): void {} }`],
    ['the type of an event', `interface Failed { readonly code: 'planted' | 'other'; }`],
    ['a named type', `type FailureCode = 'other' | 'planted';`],
    ['a list', `const DAMAGE_CODES = ['planted'] as const;`],
    ['a function', `function codeOf(kind: string): string { return kind === 'a' ? 'planted' : 'other'; }`],
  ])('finds a code of %s', (_place, text) => {
    const errors = 'class DomainError { constructor(kind: Kind, code: string) {} } class HttpProblem { constructor(status: number, code: string) {} }';
    const files = [parsed('errors.ts', errors), parsed('planted.ts', text)];
    expect([...codesOf(files)]).toContainEqual(['planted', 'planted.ts']);
  });
});

function parsed(path: string, text: string): ts.SourceFile {
  return ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
}

/** Codes in the first column of all tables. */
function codesOnPage(page: string): readonly string[] {
  return page
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => [...(line.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, code]) => code ?? ''));
}

/** Codes, each with the first file that has it. */
function codesOf(sources: readonly ts.SourceFile[]): ReadonlyMap<string, string> {
  const codes = new Map<string, string>();
  const texts = new Map<string, string>();
  /** Places of a parameter named `code`, by name of the function. A function of the same file hides those of other files. */
  const places = new Map<string, ReadonlySet<number>>();
  const placesOfFile = new Map<ts.SourceFile, Map<string, Set<number>>>();

  for (const source of sources) {
    const own = new Map<string, Set<number>>();
    placesOfFile.set(source, own);
    visit(source, (node) => {
      if (ts.isVariableDeclaration(node) && node.initializer !== undefined && ts.isStringLiteral(node.initializer))
        texts.set(node.name.getText(), node.initializer.text);
      if (!ts.isFunctionLike(node)) return;
      const name = nameOf(node);
      if (name === null) return;
      const known = own.get(name) ?? new Set<number>();
      own.set(name, known);
      node.parameters.forEach((parameter, index) => {
        if (parameter.name.getText() === 'code') known.add(index);
      });
    });
    for (const [name, found] of own) if (found.size > 0) places.set(name, new Set([...(places.get(name) ?? []), ...found]));
  }

  for (const source of sources) {
    const add = (found: readonly string[]): void => {
      for (const code of found) if (CODE.test(code) && !codes.has(code)) codes.set(code, source.fileName);
    };
    const literals = (node: ts.Node | undefined): readonly string[] => {
      if (node === undefined) return [];
      if (ts.isStringLiteralLike(node)) return [node.text];
      if (ts.isIdentifier(node)) return [texts.get(node.text) ?? []].flat();
      if (ts.isConditionalExpression(node)) return [...literals(node.whenTrue), ...literals(node.whenFalse)];
      if (ts.isBinaryExpression(node))
        return node.operatorToken.kind === ts.SyntaxKind.QuestionQuestionToken ? [...literals(node.left), ...literals(node.right)] : [];
      if (ts.isAsExpression(node) || ts.isParenthesizedExpression(node)) return literals(node.expression);
      if (ts.isArrayLiteralExpression(node)) return node.elements.flatMap(literals);
      if (ts.isObjectLiteralExpression(node)) return node.properties.flatMap((member) => (ts.isPropertyAssignment(member) ? literals(member.initializer) : []));
      return [];
    };
    visit(source, (node) => {
      if (ts.isNewExpression(node) || ts.isCallExpression(node)) {
        const name = node.expression.getText().split('.').at(-1) ?? '';
        if (INTERNAL.has(name)) return;
        for (const place of placesOfFile.get(source)?.get(name) ?? places.get(name) ?? []) add(literals(node.arguments?.[place]));
        if (DOCUMENTING.has(name)) add((node.arguments ?? []).flatMap(literals));
      } else if (ts.isPropertyAssignment(node)) {
        if (node.name.getText() === 'code') add(literals(node.initializer));
      } else if (ts.isPropertySignature(node) || ts.isPropertyDeclaration(node) || ts.isParameter(node)) {
        if (node.name.getText() === 'code') add(literalsOfType(node.type));
      } else if (ts.isTypeAliasDeclaration(node)) {
        if (/(Code|Problem)$/.test(node.name.text) && !INTERNAL.has(node.name.text)) add(literalsOfType(node.type));
      } else if (ts.isVariableDeclaration(node)) {
        if (/(CODES|PROBLEMS)$/.test(node.name.getText())) add(literals(node.initializer));
      } else if (ts.isFunctionDeclaration(node) && /[cC]ode(Of)?$/.test(node.name?.text ?? '') && !INTERNAL.has(node.type?.getText() ?? '')) {
        visit(node, (inner) => {
          if (ts.isReturnStatement(inner)) add(literals(inner.expression));
        });
      }
    });
  }
  return codes;
}

/** The name by which a function is called; null where it has none. */
function nameOf(node: ts.SignatureDeclaration): string | null {
  if (ts.isConstructorDeclaration(node)) return node.parent.name?.text ?? null;
  if (node.name !== undefined) return node.name.getText();
  return ts.isVariableDeclaration(node.parent) ? node.parent.name.getText() : null;
}

function literalsOfType(node: ts.TypeNode | undefined): readonly string[] {
  if (node === undefined) return [];
  if (ts.isUnionTypeNode(node)) return node.types.flatMap(literalsOfType);
  return ts.isLiteralTypeNode(node) && ts.isStringLiteral(node.literal) ? [node.literal.text] : [];
}

function visit(node: ts.Node, look: (node: ts.Node) => void): void {
  look(node);
  ts.forEachChild(node, (child) => visit(child, look));
}
