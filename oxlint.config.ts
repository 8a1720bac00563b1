import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'oxlint';
import { CLI_TOOLS, HUB_TOOLS } from './bin/lint-plugin.mjs';

/** These take the time, ids and settings from the machine, and hand them to the others. */
const AT_THE_MACHINE = [
  'src/{contract,lib,storage,tunnel}/**',
  `src/hub/{${HUB_TOOLS.join(',')}}/**`,
  `src/cli/{${CLI_TOOLS.join(',')}}/**`,
  'src/node/{hub-link,libvirt}/**',
  'src/*/main.*.ts',
];
/** Classes of the messages between hub and node. They are data without methods, so a copy of one loses nothing. */
const MESSAGES = globSync(join(import.meta.dirname, 'src/contract/*.ts'))
  .flatMap((file) => [...readFileSync(file, 'utf8').matchAll(/^export class (Node\w+)/gm)])
  .map(([, name]) => name);
const SHELL = [
  {
    selector: 'Property[key.name="shell"]:not([value.value=false])',
    message: 'No shell: hand the program an argv array, in which nothing can be quoted wrongly.',
  },
  {
    selector: 'CallExpression > Literal[value=/^(.*\\/)?(ba|da)?sh$/] ~ ArrayExpression > Literal[value="-c"]',
    message: 'No shell: hand the program an argv array, in which nothing can be quoted wrongly.',
  },
];
const ENUM = [{ selector: 'TSEnumDeclaration', message: 'No enum: use a union of literals, which is what JSON and events have.' }];
const CLOCK = [
  { selector: 'CallExpression[callee.object.name="Date"][callee.property.name="now"]', message: 'Take the time from Clock (src/lib/clock/clock.ts).' },
  { selector: 'NewExpression[callee.name="Date"][arguments.length=0]', message: 'Take the time from Clock (src/lib/clock/clock.ts).' },
];
const RANDOM = [
  {
    selector: 'CallExpression[callee.object.name="Math"][callee.property.name="random"]',
    message: 'Take ids from Ids or derivedId (src/lib/clock/clock.ts).',
  },
];
const ENVIRONMENT = [
  {
    selector: 'MemberExpression[object.name="process"][property.name="env"]',
    message: 'Take settings from HubConfig or NodeConfig (src/hub/hub.config.ts, src/node/node.config.ts).',
  },
];

const SHELL_IMPORTS = [
  { name: 'node:child_process', importNames: ['exec', 'execSync'], message: 'These run a shell: use runTool or ProcessSupervisor with an argv array.' },
  { name: 'execa', importNames: ['execaCommand', 'execaCommandSync', '$'], message: 'These parse a command line: use runTool or execa with an argv array.' },
];
const CQRS_IMPORTS = [
  {
    name: '@nestjs/cqrs',
    importNames: ['EventBus', 'EventPublisher', 'EventsHandler', 'IEventHandler', 'AggregateRoot', 'Saga', 'UnhandledExceptionBus'],
    message: 'Its events are fire-and-forget: react through a catch-up subscription of EventStore, which keeps order and checkpoint.',
  },
];
const PLATFORM_ONLY_IMPORTS = [
  { name: 'uuid', message: 'Take ids from Ids or derivedId (src/lib/clock/clock.ts).' },
  { name: 'node:crypto', importNames: ['randomUUID', 'randomBytes', 'randomInt'], message: 'Take ids from Ids or derivedId (src/lib/clock/clock.ts).' },
];
const HTTP_EXCEPTIONS = [
  { group: ['@nestjs/common'], importNamePattern: 'Exception$', message: 'Throw a DomainError; only the filter in src/lib/http knows HTTP statuses.' },
];

/** What typescript-eslint calls "strict, type-checked". */
const TYPESCRIPT_RULES = [
  'await-thenable',
  'ban-ts-comment',
  'no-array-delete',
  'no-base-to-string',
  'no-confusing-void-expression',
  'no-deprecated',
  'no-duplicate-type-constituents',
  'no-dynamic-delete',
  'no-empty-object-type',
  'no-explicit-any',
  'no-extra-non-null-assertion',
  'no-extraneous-class',
  'no-floating-promises',
  'no-for-in-array',
  'no-generated-empty-object-type',
  'no-implied-eval',
  'no-invalid-void-type',
  'no-meaningless-void-operator',
  'no-misused-new',
  'no-misused-promises',
  'no-misused-spread',
  'no-namespace',
  'no-non-null-asserted-nullish-coalescing',
  'no-non-null-asserted-optional-chain',
  'no-non-null-assertion',
  'no-redundant-type-constituents',
  'no-require-imports',
  'no-this-alias',
  'no-unnecessary-boolean-literal-compare',
  'no-unnecessary-condition',
  'no-unnecessary-template-expression',
  'no-unnecessary-type-arguments',
  'no-unnecessary-type-assertion',
  'no-unnecessary-type-constraint',
  'no-unnecessary-type-conversion',
  'no-unnecessary-type-parameters',
  'no-unsafe-argument',
  'no-unsafe-assignment',
  'no-unsafe-call',
  'no-unsafe-declaration-merging',
  'no-unsafe-function-type',
  'no-unsafe-member-access',
  'no-unsafe-return',
  'no-unsafe-unary-minus',
  'no-useless-default-assignment',
  'no-wrapper-object-types',
  'only-throw-error',
  'prefer-as-const',
  'prefer-namespace-keyword',
  'prefer-promise-reject-errors',
  'prefer-reduce-type-parameter',
  'prefer-return-this-type',
  'related-getter-setter-pairs',
  'require-await',
  'restrict-plus-operands',
  'restrict-template-expressions',
  'return-await',
  'triple-slash-reference',
  'unbound-method',
  'unified-signatures',
  'use-unknown-in-catch-callback-variable',
];
/** What ESLint recommends for TypeScript. */
const JAVASCRIPT_RULES = [
  'for-direction',
  'no-array-constructor',
  'no-async-promise-executor',
  'no-case-declarations',
  'no-compare-neg-zero',
  'no-cond-assign',
  'no-constant-binary-expression',
  'no-constant-condition',
  'no-control-regex',
  'no-debugger',
  'no-delete-var',
  'no-dupe-else-if',
  'no-duplicate-case',
  'no-empty',
  'no-empty-character-class',
  'no-empty-pattern',
  'no-empty-static-block',
  'no-ex-assign',
  'no-extra-boolean-cast',
  'no-fallthrough',
  'no-global-assign',
  'no-invalid-regexp',
  'no-irregular-whitespace',
  'no-loss-of-precision',
  'no-misleading-character-class',
  'no-nonoctal-decimal-escape',
  'no-prototype-builtins',
  'no-regex-spaces',
  'no-self-assign',
  'no-shadow-restricted-names',
  'no-sparse-arrays',
  'no-unassigned-vars',
  'no-unexpected-multiline',
  'no-unsafe-finally',
  'no-unsafe-optional-chaining',
  'no-unused-expressions',
  'no-unused-labels',
  'no-unused-private-class-members',
  'no-useless-assignment',
  'no-useless-backreference',
  'no-useless-catch',
  'no-useless-constructor',
  'no-useless-escape',
  'no-var',
  'prefer-const',
  'prefer-rest-params',
  'prefer-spread',
  'preserve-caught-error',
  'require-yield',
  'use-isnan',
  'valid-typeof',
];
const all = (prefix: string, names: readonly string[]): Record<string, 'error'> => Object.fromEntries(names.map((name) => [`${prefix}${name}`, 'error']));
const off = (names: readonly string[]): Record<string, 'off'> => Object.fromEntries(names.map((name) => [name, 'off']));
// ESLint's own, which oxlint runs as it is.
const SYNTAX = 'eslint-js/no-restricted-syntax';
const IMPORTS = 'eslint-js/no-restricted-imports';

export default defineConfig({
  plugins: ['typescript'],
  jsPlugins: [
    { name: 'eslint-js', specifier: 'oxlint-plugin-eslint' },
    { name: 'sendense', specifier: join(import.meta.dirname, 'bin/lint-plugin.mjs') },
  ],
  categories: { correctness: 'off' },
  options: { typeAware: true, typeCheck: true, reportUnusedDisableDirectives: 'error', respectEslintDisableDirectives: false },
  ignorePatterns: ['node_modules/**', 'dist/**', '.setup/**', '.sendense/**'],
  rules: all('', JAVASCRIPT_RULES),
  overrides: [
    {
      files: ['**/*.ts'],
      rules: {
        ...all('typescript/', TYPESCRIPT_RULES),
        'sendense/file-name': 'error',
        'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
        'typescript/no-extraneous-class': ['error', { allowWithDecorator: true, allowEmpty: true }],
        'typescript/no-misused-spread': ['error', { allow: [{ from: 'file', name: MESSAGES }] }],
        'typescript/restrict-plus-operands': [
          'error',
          { allowAny: false, allowBoolean: false, allowNullish: false, allowNumberAndString: false, allowRegExp: false },
        ],
        'typescript/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
        'typescript/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
        'typescript/return-await': ['error', 'error-handling-correctness-only'],
        'no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrorsIgnorePattern: '^_' }],
        // `for (;;)` and `while (true)` with an exit inside say what they do.
        'typescript/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
        eqeqeq: 'error',
        'no-console': ['error'],
        'no-warning-comments': ['error', { terms: ['todo', 'fixme', 'xxx', 'hack'] }],
        [SYNTAX]: ['error', ...SHELL, ...ENUM],
        [IMPORTS]: ['error', { paths: [...SHELL_IMPORTS, ...CQRS_IMPORTS] }],
      },
    },
    {
      // Whatever decides or reacts gets time, ids and settings handed in.
      files: ['src/**/*.ts', 'projections/**/*.ts'],
      excludeFiles: [...AT_THE_MACHINE, '**/*.spec.ts'],
      rules: {
        [SYNTAX]: ['error', ...SHELL, ...ENUM, ...CLOCK, ...RANDOM, ...ENVIRONMENT],
        [IMPORTS]: ['error', { paths: [...SHELL_IMPORTS, ...CQRS_IMPORTS, ...PLATFORM_ONLY_IMPORTS], patterns: HTTP_EXCEPTIONS }],
      },
    },
    {
      // Pure: the same input gives the same output, for ever.
      files: ['**/*.{events,commands,queries,state,decide,plan}.ts', 'src/kernel/**/*.ts'],
      excludeFiles: ['**/*.spec.ts'],
      rules: {
        [SYNTAX]: ['error', ...SHELL, ...ENUM, ...CLOCK, ...RANDOM],
        'no-restricted-globals': [
          'error',
          ...['process', 'setTimeout', 'setInterval', 'setImmediate', 'fetch', 'performance', 'crypto', 'global', 'globalThis'].map((name) => ({
            name,
            message: 'A pure file has neither clock, randomness, process nor network: get it in the command.',
          })),
        ],
        [IMPORTS]: [
          'error',
          {
            patterns: [
              { regex: '^(node:|@nestjs/)', message: 'A pure file has neither Nest nor Node: do it in the handler or reactor, and hand over the facts.' },
              { regex: '^(?!node:|@nestjs/|croner$)[^.]', message: 'A pure file imports pure files only, and croner for calendars.' },
            ],
          },
        ],
      },
    },
    {
      // A command extends the class that types its answer.
      files: ['**/*.commands.ts'],
      rules: {
        [IMPORTS]: [
          'error',
          { paths: CQRS_IMPORTS, patterns: [{ regex: '^(?!@nestjs/cqrs$)[^.]', message: 'A command imports Command of @nestjs/cqrs and pure files only.' }] },
        ],
      },
    },
    {
      files: ['**/*.spec.ts', 'test/**/*.ts'],
      rules: off([
        // Matchers and mocks take methods apart from their object.
        'typescript/unbound-method',
        // Jest's asymmetric matchers and the bodies of HTTP answers are typed `any`.
        'typescript/no-unsafe-assignment',
        'typescript/no-unsafe-member-access',
        'typescript/no-unsafe-argument',
        'typescript/no-unsafe-return',
        'typescript/no-unsafe-call',
        // Stand-ins keep the signature of what they stand in for.
        'typescript/require-await',
      ]),
    },
    { files: ['test/bench/**/*.ts'], rules: { 'no-console': 'off' } },
  ],
});
