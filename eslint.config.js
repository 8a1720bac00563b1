import { globSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** Folders of hub and command line that know no context: they are tools of those that do. */
const HUB_TOOLS = [
  'exports/nbd-servers',
  'nodes/local-node',
  'nodes/node-link',
  'operations/host-tools',
  'operations/http',
  'people/tokens',
  'repositories/repository-storage',
  'restore/downloads',
  'restore/mounts',
  'store',
];
const CLI_TOOLS = ['api', 'config', 'ssh', 'terminal'];
/** Every file of a context of the hub, and of a command, is `<behaviour>.<role>.ts`. */
const CONTEXT_FILE = new RegExp(`^src/(?:hub/(?!(?:${HUB_TOOLS.join('|')})/)[^/]+/[^/]+/|cli/(?!(?:${CLI_TOOLS.join('|')})/)[^/]+/)`);
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
const KEBAB_CASE = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*\.ts$/;
const SAYS_NOTHING =
  /^(index|utils?|common|helpers?|misc|shared|types|constants|handler|controller|service|module|dto|reactor|plan|decide|state|events|commands)\.(spec\.)?ts$/;

/** Names tell what a file is about and which role it has; whoever looks for a behaviour finds it by name. */
const fileName = {
  meta: { type: 'suggestion', schema: [] },
  create: (context) => ({
    Program(node) {
      const name = basename(context.filename);
      const path = relative(context.cwd, context.filename);
      const report = (message) => context.report({ node, loc: { line: 1, column: 0 }, message });
      if (!KEBAB_CASE.test(name)) report(`${name}: file names are kebab-case`);
      else if (SAYS_NOTHING.test(name))
        report(`${name} does not say what it is about: call it <behaviour>.<role>.ts, and import files directly instead of through a barrel`);
      else if (CONTEXT_FILE.test(path) && !name.endsWith('.spec.ts') && name.split('.').length < 3) {
        report(`${name} has no role: call it <behaviour>.<role>.ts`);
      }
    },
  }),
};

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

/** @param {string} rootDirectory holds tsconfig.json */
export function configFor(rootDirectory) {
  return tseslint.config(
    { ignores: ['dist/**', '.setup/**', '.sendense/**'] },
    { linterOptions: { reportUnusedDisableDirectives: 'error' } },
    {
      files: ['**/*.ts'],
      extends: [js.configs.recommended, ...tseslint.configs.strictTypeChecked],
      languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: rootDirectory } },
      plugins: { sendense: { rules: { 'file-name': fileName } } },
      rules: {
        'sendense/file-name': 'error',
        '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
        '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true, allowEmpty: true }],
        // Answers are built as literals of the class that describes them in OpenAPI.
        '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
        '@typescript-eslint/no-misused-spread': ['error', { allow: [{ from: 'file', name: MESSAGES }] }],
        '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
        '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
        '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrorsIgnorePattern: '^_' }],
        // `for (;;)` and `while (true)` with an exit inside say what they do.
        '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
        eqeqeq: 'error',
        'no-console': ['error'],
        'no-warning-comments': ['error', { terms: ['todo', 'fixme', 'xxx', 'hack'] }],
        'no-restricted-syntax': ['error', ...SHELL],
        'no-restricted-imports': ['error', { paths: [...SHELL_IMPORTS, ...CQRS_IMPORTS] }],
      },
    },
    {
      // Whatever decides or reacts gets time, ids and settings handed in.
      files: ['src/**/*.ts', 'projections/**/*.ts'],
      ignores: [...AT_THE_MACHINE, '**/*.spec.ts'],
      rules: {
        'no-restricted-syntax': ['error', ...SHELL, ...CLOCK, ...RANDOM, ...ENVIRONMENT],
        'no-restricted-imports': ['error', { paths: [...SHELL_IMPORTS, ...CQRS_IMPORTS, ...PLATFORM_ONLY_IMPORTS], patterns: HTTP_EXCEPTIONS }],
      },
    },
    {
      // Pure: the same input gives the same output, for ever.
      files: ['**/*.{events,commands,queries,state,decide,plan}.ts', 'src/kernel/**/*.ts'],
      ignores: ['**/*.spec.ts'],
      rules: {
        'no-restricted-syntax': ['error', ...SHELL, ...CLOCK, ...RANDOM],
        'no-restricted-globals': [
          'error',
          ...['process', 'setTimeout', 'setInterval', 'setImmediate', 'fetch', 'performance', 'crypto', 'global', 'globalThis'].map((name) => ({
            name,
            message: 'A pure file has neither clock, randomness, process nor network: get it in the command.',
          })),
        ],
        'no-restricted-imports': [
          'error',
          {
            patterns: [
              { regex: '^(node:|@nestjs/)', message: 'A pure file has neither Nest nor Node: do it in the handler or reactor, and hand over the facts.' },
              { regex: '^(?!node:|@nestjs/)[^.]', message: 'A pure file imports pure files only.' },
            ],
          },
        ],
      },
    },
    {
      // A command extends the class that types its answer.
      files: ['**/*.commands.ts'],
      rules: {
        'no-restricted-imports': [
          'error',
          { paths: CQRS_IMPORTS, patterns: [{ regex: '^(?!@nestjs/cqrs$)[^.]', message: 'A command imports Command of @nestjs/cqrs and pure files only.' }] },
        ],
      },
    },
    {
      files: ['**/*.spec.ts', 'test/**/*.ts'],
      rules: {
        // Matchers and mocks take methods apart from their object.
        '@typescript-eslint/unbound-method': 'off',
        // Jest's asymmetric matchers and the bodies of HTTP answers are typed `any`.
        '@typescript-eslint/no-unsafe-assignment': 'off',
        '@typescript-eslint/no-unsafe-member-access': 'off',
        '@typescript-eslint/no-unsafe-argument': 'off',
        '@typescript-eslint/no-unsafe-return': 'off',
        '@typescript-eslint/no-unsafe-call': 'off',
        // Stand-ins keep the signature of what they stand in for.
        '@typescript-eslint/require-await': 'off',
      },
    },
    { files: ['test/bench/**/*.ts'], rules: { 'no-console': 'off' } },
    {
      files: ['**/*.{js,cjs}'],
      extends: [js.configs.recommended],
      languageOptions: { globals: { module: 'writable', process: 'readonly', console: 'readonly' } },
    },
  );
}

export default configFor(import.meta.dirname);
