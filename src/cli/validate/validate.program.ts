import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Option } from 'commander';
import { Clock, Ids } from '../../lib/clock/clock.js';
import { HubConfig } from '../../hub/hub.config.js';
import { withEnvironmentFile } from '../config/environment-file.js';
import { ConfigError, loadConfig } from '../../lib/config/load-config.js';
import { NodeConfig } from '../../node/node.config.js';
import { programVersion } from '../../lib/config/version.js';
import { keptText } from '../config/kept-text.js';
import { baseUrl } from '../../lib/process/listen-port.js';
import { localApiPort, readTunnelSettings, TUNNEL_FILES, type TunnelSettings } from '../../tunnel/interface/tunnel-settings.js';
import { databaseCheck } from './check-hub/database.check.js';
import { eventStoreDbCheck } from './check-hub/eventstoredb.check.js';
import { hubPairCheck } from './check-hub/hub-pair.check.js';
import { asking, hubServiceChecks } from './check-hub/hub-service.check.js';
import { ledgerCheck } from './check-hub/ledger.check.js';
import { nbdPortsCheck } from './check-hub/nbd-ports.check.js';
import { nodesChecks } from './check-hub/nodes.check.js';
import { recordsChecks } from './check-hub/records.check.js';
import { repositoriesCheck } from './check-hub/repositories.check.js';
import { tunnelServerCheck } from './check-hub/tunnel-server.check.js';
import { dataSpaceCheck, foldersCheck, secretsCheck } from './check-machine/files.check.js';
import { KERNEL_PLACES, kernelChecks, type KernelPlaces } from './check-machine/kernel.check.js';
import { hubLinkChecks } from './check-node/hub-link.check.js';
import { hypervisorCheck } from './check-node/hypervisor.check.js';
import { nodeServiceCheck } from './check-node/node-service.check.js';
import { scratchCheck } from './check-node/scratch.check.js';
import { tunnelChecks } from './check-node/tunnel.check.js';
import { programsCheck } from './check-programs/programs.check.js';
import { type Check, type CheckResult, fail, pass, type Role, runCheck } from './model/check.plan.js';
import { ServiceView } from './model/service-view.access.js';
import { HubApi } from '../api/hub-api.client.js';
import { hubUrl } from '../api/hub-options.js';
import { CliCommand } from '../terminal/command.js';
import { checkLines, overallStatus, summaryLine } from './model/report.plan.js';
import { Trial } from './try-backup/trial.step.js';
import { trialChecks } from './try-backup/trial.check.js';

/** The first checks of the trial; the later ones depend on their results. */
const ASKING: ReadonlySet<string> = new Set(['event_store_append', 'trial_backup']);

/** The program's dependencies, replaced in tests. */
export interface ValidateContext {
  readonly environment: NodeJS.ProcessEnv;
  readonly print: (text: string) => void;
  readonly kernel?: KernelPlaces;
  readonly signal: AbortSignal;
}

interface Options {
  readonly role?: Role | 'both';
  readonly config?: string;
  readonly nodeConfig?: string;
  readonly hub?: string;
  readonly tokenFile?: string;
  readonly repository?: string;
  readonly trial: boolean;
  readonly json?: true;
}

/** The configurations on this machine; null: not present, an array of problems: not readable. */
interface Machine {
  readonly hub: HubConfig | readonly string[] | null;
  readonly node: NodeConfig | readonly string[] | null;
  /** The hub starts the node itself. */
  readonly isLocalNode: boolean;
}

export function validateCommand(context: ValidateContext): CliCommand {
  return new CliCommand('validate')
    .description('Checks an installation and suggests fixes. Makes a small trial backup, restores it, and removes it again.')
    .addOption(
      new Option(
        '--role <role>',
        'what to check on this machine; default: what has run here. With "both" the node is that of --node-config, or else the local node that the hub starts',
      ).choices(['hub', 'node', 'both']),
    )
    .option('--config <file>', "the hub's settings, or the node's with --role node")
    .option('--node-config <file>', 'with "both": the settings of a node other than the hub\'s local one')
    .option('--hub <url>', 'default: the running hub of this machine; for a node its hub_url', hubUrl)
    .option('--token-file <file>', "the hub's API token; default: api.token in the hub's data directory. With --role node, the trial backup needs it")
    .option('--repository <name>', 'make the trial backup in this repository of the hub; default: a temporary one at the hub')
    .option('--no-trial', 'skip the trial backup')
    .option('--json', 'print JSON, for programs')
    .addHelpText('after', '\nExit codes: 0 no check failed, 1 a check failed, 2 wrong usage')
    .does(async (options: Options) => validate(options, context));
}

/** @returns the exit code */
async function validate(options: Options, context: ValidateContext): Promise<number> {
  const machine = machineOf(options, context.environment);
  const results: CheckResult[] = [];
  const perform = async (checks: readonly Check[]): Promise<void> => {
    for (const check of checks) {
      // After a signal only the cleanup still runs.
      if (context.signal.aborted && check.id !== 'trial_removal') continue;
      const result = await runCheck(check);
      results.push(result);
      if (options.json !== true) context.print(checkLines(result));
    }
  };
  await perform(configChecks(machine));
  await perform(await checksOf(machine, options, context));
  const status = overallStatus(results);
  if (options.json === true) context.print(`${JSON.stringify({ status, version: programVersion(), checks: results }, null, 2)}\n`);
  else context.print(summaryLine(results));
  return status === 'fail' || context.signal.aborted ? 1 : 0;
}

function machineOf(options: Options, environment: NodeJS.ProcessEnv): Machine {
  const hub =
    options.role === 'node'
      ? null
      : loaded(() => loadConfig(HubConfig, { file: options.config, environment: withEnvironmentFile(options.config, environment) }));
  if (options.role === 'hub') return { hub, node: null, isLocalNode: false };
  if (options.role === 'node') return { hub: null, node: loaded(() => loadConfig(NodeConfig, { file: options.config, environment })), isLocalNode: false };
  if (options.nodeConfig !== undefined) {
    // Environment variables have the same names for hub and node; here they apply to the hub.
    return { hub, node: loaded(() => loadConfig(NodeConfig, { file: options.nodeConfig, environment: {} })), isLocalNode: false };
  }
  const localNode = hub instanceof HubConfig && hub.startLocalNode ? localNodeConfig(hub) : null;
  if (options.role === 'both') return { hub, node: localNode, isLocalNode: localNode !== null };
  if (hub instanceof HubConfig && !existsSync(join(hub.sharedDirectory, 'hub.id'))) {
    const node = loaded(() => loadConfig(NodeConfig, { environment: {} }));
    if (node instanceof NodeConfig && existsSync(join(node.dataDirectory, 'node.id'))) return { hub: null, node, isLocalNode: false };
  }
  return { hub, node: localNode, isLocalNode: localNode !== null };
}

/** The settings that the hub passes to its local node. */
function localNodeConfig(hub: HubConfig): NodeConfig {
  const dataDirectory = join(hub.dataDirectory, 'local-node');
  return Object.assign(new NodeConfig(), {
    dataDirectory,
    tokenFile: hub.nodeTokenFile,
    tunnelDirectory: join(dataDirectory, 'tunnel'),
    runDirectory: join(dataDirectory, 'run'),
    besideHub: true,
    imageRoots: hub.localNodeImageRoots,
    vmStorageRoots: hub.localNodeVmStorageRoots,
    libvirtUri: hub.localNodeLibvirtUri,
    libvirtScratchDirectory: hub.localNodeLibvirtScratchDirectory,
    libvirtScratchMaxBytes: hub.localNodeLibvirtScratchMaxBytes,
  });
}

function loaded<Config>(load: () => Config): Config | readonly string[] {
  try {
    return load();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

function configChecks(machine: Machine): readonly Check[] {
  const check = (role: Role, config: object | null): readonly Check[] =>
    config === null
      ? []
      : [
          {
            id: `${role}_config`,
            role,
            title: 'settings',
            run: () =>
              Promise.resolve(
                Array.isArray(config) ? fail(config.join('; '), 'Correct these settings; docs/operations.md lists the rules.') : pass('every setting is valid'),
              ),
          },
        ];
  return [...check('hub', machine.hub), ...check('node', machine.isLocalNode ? null : machine.node)];
}

async function checksOf(machine: Machine, options: Options, context: ValidateContext): Promise<readonly Check[]> {
  const clock = new Clock();
  const hub = machine.hub instanceof HubConfig ? machine.hub : null;
  const found = machine.node instanceof NodeConfig ? machine.node : null;
  const tunnel = found === null ? null : await readTunnelSettings(found.tunnelDirectory).catch(() => null);
  const url = options.hub ?? (hub === null ? nodesHubUrl(found, tunnel) : await hubUrlOf(hub));
  const node = found === null ? null : Object.assign(new NodeConfig(), found, { hubUrl: machine.isLocalNode ? url : nodesHubUrl(found, tunnel) });
  const { token, problem } = await apiToken(hub, options);
  const api = new HubApi(url, token);

  const checks: Check[] = [];
  if (hub !== null) {
    const service = await ServiceView.of(hub.dataDirectory, 'hub');
    const nodeTokens = join(hub.sharedDirectory, 'node-tokens');
    const nodeTokenFiles = (await readdir(nodeTokens).catch(() => [])).map((name) => join(nodeTokens, name));
    const asked = (...some: readonly Check[]): readonly Check[] => some.map((check) => asking(api, check));
    checks.push(
      dataSpaceCheck('hub', hub.dataDirectory, service),
      secretsCheck('hub', [
        hub.apiTokenFile,
        hub.nodeTokenFile,
        join(hub.dataDirectory, 'postgres', 'connection.json'),
        join(hub.tunnelDirectory, 'host_ed25519'),
        join(hub.sharedDirectory, 'ledger.key'),
        ...nodeTokenFiles,
      ]),
      programsCheck('hub', { libvirt: false, tunnel: false }),
      ...kernelChecks(hub, service.pid, context.kernel ?? KERNEL_PLACES),
      ...hubServiceChecks(hub, api, problem),
      hubPairCheck(hub, api),
      databaseCheck(hub),
      ...(hub.eventStore === 'eventstoredb' ? [eventStoreDbCheck(hub)] : []),
      ...asked(...recordsChecks(api), ledgerCheck(api), nbdPortsCheck(hub, api), repositoriesCheck(api, service), ...nodesChecks(api, clock)),
      tunnelServerCheck(hub),
    );
  }
  if (node !== null) {
    const service = await ServiceView.of(node.dataDirectory, 'node');
    checks.push(
      dataSpaceCheck('node', node.dataDirectory, service),
      secretsCheck('node', [node.tokenFile, join(node.tunnelDirectory, TUNNEL_FILES.privateKey)]),
      programsCheck('node', { libvirt: node.libvirtUri !== '', tunnel: tunnel !== null }),
      nodeServiceCheck(node),
      ...hubLinkChecks(node, tunnel !== null, clock),
      ...tunnelChecks(node, tunnel, api),
      foldersCheck({
        id: 'image_roots',
        title: 'folders of VM images',
        setting: 'image_roots',
        folders: node.imageRoots,
        needed: 'read',
        missingIs: 'warn',
        service,
      }),
      hypervisorCheck(node, service),
      scratchCheck(node, service),
      foldersCheck({
        id: 'vm_storage_roots',
        title: 'folders for restored VMs',
        setting: 'vm_storage_roots',
        folders: node.libvirtUri === '' ? [] : node.vmStorageRoots,
        needed: 'write',
        missingIs: 'warn',
        service,
      }),
    );
  }
  const nodeId = node === null ? null : (node.nodeId ?? (await keptText(join(node.dataDirectory, 'node.id'))));
  if (options.trial && node !== null && nodeId !== null) {
    const trial = new Trial({
      hub: api,
      nodeId,
      imageRoots: node.imageRoots,
      nodeDirectory: node.dataDirectory,
      hubDirectory: hub?.dataDirectory ?? null,
      repository: options.repository ?? null,
      name: `sendense-validate-${new Ids().next()}`,
      tunnelDirectory: node.tunnelDirectory,
      signal: context.signal,
    });
    checks.push(...trialChecks(hub === null ? 'node' : 'hub', trial, tunnel !== null).map((check) => (ASKING.has(check.id) ? asking(api, check) : check)));
  }
  return checks;
}

/** As the node does itself: an enrolled node uses its tunnel unless its settings say otherwise. */
function nodesHubUrl(node: NodeConfig | null, tunnel: TunnelSettings | null): string {
  const { hubUrl: unlessSet } = new NodeConfig();
  if (node === null || node.hubUrl !== unlessSet) return node?.hubUrl ?? unlessSet;
  return tunnel === null ? unlessSet : baseUrl(tunnel.local_host, localApiPort(tunnel));
}

/** The address in the file that the hub writes at startup; without one, the configured port. */
async function hubUrlOf(config: HubConfig): Promise<string> {
  return (await keptText(join(config.dataDirectory, 'hub.url'))) ?? `http://127.0.0.1:${config.listenPort}`;
}

async function apiToken(hub: HubConfig | null, options: Options): Promise<{ readonly token: string | null; readonly problem: string | null }> {
  const file = options.tokenFile ?? hub?.apiTokenFile ?? null;
  if (options.tokenFile === undefined && hub !== null && hub.apiToken !== null) return { token: hub.apiToken, problem: null };
  const token = file === null ? null : await keptText(file);
  return { token, problem: token === null ? `the hub's token cannot be read from ${file ?? 'anywhere'}` : null };
}
