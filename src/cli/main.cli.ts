import { programVersion } from '../lib/config/version.js';
import { CliCommand, runCommand } from './terminal/command.js';

const argv = process.argv.slice(2);

/** A program that runs in the foreground. */
function service(name: string, summary: string, run: (configFile: string | undefined) => Promise<void>): CliCommand {
  return new CliCommand(name)
    .description(summary)
    .option('--config <file>', 'settings (YAML); default: SENDENSE_CONFIG')
    .does(async (options: { config?: string }) => run(options.config));
}

/** Adds a command whose program has large dependencies, and is therefore loaded only if the command line names it. */
async function add(parent: CliCommand, name: string, summary: string, load: () => Promise<CliCommand>): Promise<void> {
  parent.addCommand(argv.includes(name) ? (await load()).summary(summary) : new CliCommand(name).description(summary));
}

/** A node's release lacks the programs that only a hub needs. */
async function ofThisRelease<Program>(name: string, load: () => Promise<Program>): Promise<Program> {
  try {
    return await load();
  } catch (error) {
    const missing = error instanceof Error && 'url' in error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND' ? String(error.url) : '';
    if (missing.endsWith(`/main.${name}.js`)) sendense.error(`this release is a node's and has no ${name}; run it from the release of the hub`);
    throw error;
  }
}

const sendense = new CliCommand('sendense')
  .description('Backups of virtual machines: a hub that keeps them, and nodes next to the machines.')
  .version(programVersion(), '--version', 'show the version')
  .addHelpText('after', '\nSettings come from the YAML file given by --config (or SENDENSE_CONFIG) and from SENDENSE_* variables, which take precedence.');

const { env } = process;
sendense.addCommand(
  new CliCommand('hub')
    .description('run the hub in the foreground; it starts a local node unless start_local_node is false')
    .option('--config <file>', 'settings (YAML); default: SENDENSE_CONFIG')
    .option('--standby', 'wait while another hub is active on the same database, and take over from it')
    .does(async (options: { config?: string; standby?: boolean }) => {
      (await ofThisRelease('hub', () => import('../hub/main.hub.js'))).runHub(options.config, { standby: options.standby });
    }),
);
const node = service('node', 'run a node in the foreground; or install, pair or remove one: sendense node --help', async (config) => {
  (await import('../node/main.node.js')).runNode(config);
});
sendense.addCommand(node);
await add(node, 'enrol', 'pair this machine with a hub as a node', async () => (await import('./node/enrol.program.js')).enrolCommand(env));
await add(node, 'deploy', 'install a node on another machine over SSH', async () => (await import('./node/deploy.program.js')).deployCommand(env));
await add(node, 'remove', 'remove a node from another machine over SSH', async () => (await import('./node/deploy.program.js')).removeCommand(env));
await add(node, 'list', 'list nodes', async () => {
  const { listCommand, NODES } = await import('./api/resource.command.js');
  return listCommand(NODES, env);
});
await add(node, 'show', 'show one node', async () => {
  const { showCommand, NODES } = await import('./api/resource.command.js');
  return showCommand(NODES, env);
});
sendense.addCommand(
  service('tunnel-server', "run the hub's end of the tunnels in the foreground; use a separate account", async (config) => {
    (await ofThisRelease('tunnel-server', () => import('../tunnel/main.tunnel-server.js'))).runTunnelServer(config);
  }),
);
sendense.addCommand(
  service('tunnel', "run the node's end of the tunnel in the foreground, with the node's settings", async (config) => {
    (await import('../tunnel/main.tunnel.js')).runTunnel(config);
  }),
);
sendense.addCommand(
  new CliCommand('keeper')
    .description('run the keeper in the foreground: it makes the files of locked restore points immutable until their locks end')
    .option('--config <file>', 'settings (YAML); default: SENDENSE_CONFIG')
    .option('--once', 'look at the repositories once, and end')
    .option('--confirm-clock', 'trust the clock as it is now, and end; for example after the machine was off for weeks')
    .does(async ({ config, ...options }: { config?: string; once?: boolean; confirmClock?: boolean }) => {
      (await ofThisRelease('keeper', () => import('../keeper/main.keeper.js'))).runKeeper(config, options);
    }),
);
sendense.addCommand(
  service('mounts', "run the hub's mount helper in the foreground, as root: it mounts the shares of repositories", async (config) => {
    (await ofThisRelease('mounts', () => import('../hub/main.mounts.js'))).runMounts(config);
  }),
);
await add(sendense, 'blackout', 'show and change shared blackouts', async () => (await import('./blackout/blackout.program.js')).blackoutCommand(env));
await add(sendense, 'policy', 'show, create and run policies', async () => (await import('./policy/policy.program.js')).policyCommand(env));
await add(sendense, 'vm', 'show, register and remove VMs', async () => (await import('./vm/vm.program.js')).vmCommand(env));
await add(sendense, 'backup', 'start, show, watch and cancel backups', async () => (await import('./backup/backup.program.js')).backupCommand(env));
await add(sendense, 'copy', 'copy restore points into other repositories', async () => (await import('./copy/copy.program.js')).copyCommand(env));
await add(sendense, 'mount', 'mount disks of restore points, list and download files', async () =>
  (await import('./mount/mount.program.js')).mountCommand(env),
);
await add(sendense, 'recover', 'restore disks and VMs with a running hub', async () => (await import('./recover/recover.program.js')).recoverCommand(env));
await add(sendense, 'restore', 'restore from a repository without a hub', async () => (await import('./restore/restore.program.js')).restoreCommand());
await add(sendense, 'repository', "show the hub's repositories, import existing ones", async () =>
  (await import('./repository/repository.program.js')).repositoryCommand(env),
);
await add(sendense, 'events', 'copy the history of a hub to another event store', async () => (await import('./events/events.program.js')).eventsCommand(env));
await add(sendense, 'ledger', 'verify the history of a hub, and rotate the key that signs it', async () =>
  (await import('./ledger/ledger.program.js')).ledgerCommand(env),
);
await add(sendense, 'audit', 'replay what the hub has recorded as a timeline', async () => (await import('./audit/audit.program.js')).auditCommand(env));
await add(sendense, 'history', 'show what has changed, and why', async () => (await import('./history/history.program.js')).historyCommand(env));
await add(sendense, 'report', 'print reports, also of the past', async () => (await import('./report/report.program.js')).reportCommand(env));
await add(sendense, 'token', 'add, list, revoke and rotate API tokens', async () => (await import('./token/token.program.js')).tokenCommand(env));
await add(sendense, 'validate', 'check this installation and suggest fixes', async () => {
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());
  const print = (text: string): void => void process.stdout.write(text);
  return (await import('./validate/validate.program.js')).validateCommand({ environment: env, print, signal: interrupted.signal });
});
sendense.addCommand(new CliCommand('version').description('show the version').does(() => void process.stdout.write(`${programVersion()}\n`)));

// A reader such as head has what it wants and is gone.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});
const exitCode = await runCommand(sendense, argv);
// A service that runs on sets its own when it ends.
if (exitCode !== 0) process.exitCode = exitCode;
