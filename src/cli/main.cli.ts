import { parseArgs } from 'node:util';
import { messageOf } from '../kernel/error-message.js';
import { programVersion } from '../lib/config/version.js';

const USAGE = `Usage: sendense <command> [--config FILE]

Commands:
  hub       run the hub in the foreground; it starts a local node unless start_local_node is false
  node      run a node in the foreground
  node enrol
            pair this machine with a hub as a node: sendense node enrol --help
  tunnel-server
            run the hub's end of the tunnels in the foreground; use a separate account
  tunnel    run the node's end of the tunnel in the foreground, with the node's settings
  node deploy HOST, node remove HOST
            install or remove a node on another machine over SSH: sendense node deploy --help
  restore   restore from a repository without a hub: sendense restore --help
  repository import PATH
            import the restore points of an existing repository into the running hub
  token     add, list, revoke and rotate API tokens: sendense token --help
  validate  check this installation and suggest fixes: sendense validate --help
  help      show this text
  version   show the version

Settings come from the YAML file given by --config (or SENDENSE_CONFIG) and from SENDENSE_* variables, which take precedence.
`;

async function main(argv: readonly string[]): Promise<void> {
  // Programs that parse their own arguments.
  if (argv[0] === 'restore') {
    process.exitCode = await (await import('./restore/restore.program.js')).runRestoreProgram(argv.slice(1));
    return;
  }
  if (argv[0] === 'repository') {
    process.exitCode = await (await import('./repository/repository.program.js')).runRepositoryProgram(argv.slice(1), process.env);
    return;
  }
  if (argv[0] === 'token') {
    process.exitCode = (await import('./token/token.program.js')).runTokenProgram(argv.slice(1), process.env);
    return;
  }
  if (argv[0] === 'node' && (argv[1] === 'deploy' || argv[1] === 'remove')) {
    process.exitCode = await (await import('./node/deploy.program.js')).runDeployProgram(argv.slice(1), process.env);
    return;
  }
  if (argv[0] === 'node' && argv[1] === 'enrol') {
    process.exitCode = await (await import('./node/enrol.program.js')).runEnrolProgram(argv.slice(2), process.env);
    return;
  }
  if (argv[0] === 'validate') {
    const interrupted = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());
    const print = (text: string): void => void process.stdout.write(text);
    const { runValidateProgram } = await import('./validate/validate.program.js');
    process.exitCode = await runValidateProgram(argv.slice(1), { environment: process.env, print, signal: interrupted.signal });
    return;
  }
  let parsed;
  try {
    parsed = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: { config: { type: 'string' }, help: { type: 'boolean', short: 'h' }, version: { type: 'boolean' } },
    });
  } catch (error) {
    refuse(messageOf(error));
  }
  const { values, positionals } = parsed;
  const [word, ...extra] = positionals;
  if (extra.length > 0) refuse(`too many arguments after the command: ${extra.join(' ')}`);
  const command = values.help === true ? 'help' : values.version === true ? 'version' : word;
  switch (command) {
    case 'hub':
      // Loaded on demand: each program has large dependencies that the others do not need.
      (await ofThisRelease('hub', () => import('../hub/main.hub.js'))).runHub(values.config);
      break;
    case 'node':
      (await import('../node/main.node.js')).runNode(values.config);
      break;
    case 'tunnel-server':
      (await ofThisRelease('tunnel-server', () => import('../tunnel/main.tunnel-server.js'))).runTunnelServer(values.config);
      break;
    case 'tunnel':
      (await import('../tunnel/main.tunnel.js')).runTunnel(values.config);
      break;
    case 'help':
      process.stdout.write(USAGE);
      break;
    case 'version':
      process.stdout.write(`${programVersion()}\n`);
      break;
    case undefined:
      refuse('missing command');
      break;
    default:
      refuse(`unknown command ${JSON.stringify(command)}`);
  }
}

/** A node's release lacks the programs that only a hub needs. */
async function ofThisRelease<Program>(name: string, load: () => Promise<Program>): Promise<Program> {
  try {
    return await load();
  } catch (error) {
    const missing = error instanceof Error && 'url' in error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND' ? String(error.url) : '';
    if (missing.endsWith(`/main.${name}.js`)) refuse(`this release is a node's and has no ${name}; run it from the release of the hub`);
    throw error;
  }
}

function refuse(problem: string): never {
  process.stderr.write(`sendense: ${problem}\n\n${USAGE}`);
  process.exit(2);
}

await main(process.argv.slice(2));
