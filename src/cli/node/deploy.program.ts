import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '../../kernel/error-message.js';
import { HubConfig } from '../../hub/hub.config.js';
import { loadConfig } from '../../lib/config/load-config.js';
import { askHidden } from '../terminal/hidden-prompt.js';
import { SshSession, type SshTarget, usualSshFiles } from '../ssh/ssh-session.js';
import { DeployError } from './deployment.error.js';
import { deployNode } from './deploy-node.steps.js';
import { HubApi } from './hub-api.client.js';
import { releaseSource } from './release-archive.packer.js';
import { RemoteHost } from './remote-host.connection.js';
import { removeNode } from './remove-node.steps.js';
import { StepList } from './step-list.printer.js';

const USAGE = `Usage: sendense node deploy [USER@]HOST [options]
       sendense node remove [USER@]HOST [options]

deploy installs a node on another machine over SSH: it checks the host, copies and installs this release, pairs it with the hub, starts it, and verifies the tunnel
end to end. It may be run again, and upgrades an existing node; a release that does not come up is rolled back to the previous one.
remove revokes the node at the hub and removes everything of Sendense from the host.

  --name NAME                    the node's name at the hub; default: the host's own name
  --archive FILE                 a release made by deployment/make-archive.sh; default: the release of this program
  --port PORT                    port of the host's SSH server; default: 22
  --identity FILE                private key to log in with; default: the agent, then the keys in ~/.ssh, then a password prompt
  --known-hosts FILE             default: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
  --host-key-fingerprint SHA256:...   fingerprint of the host's key, instead of known_hosts
  --hub URL                      default: the hub of this machine, found through its data directory
  --token-file FILE              default: api.token in the hub's data directory
  --config FILE                  settings of the hub of this machine

Exit codes: 0 done, 1 failed (the message says which step, and how to undo it), 2 wrong usage.
`;

const OPTIONS = {
  name: { type: 'string' },
  archive: { type: 'string' },
  port: { type: 'string' },
  identity: { type: 'string' },
  'known-hosts': { type: 'string' },
  'host-key-fingerprint': { type: 'string' },
  hub: { type: 'string' },
  'token-file': { type: 'string' },
  config: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

type Values = ReturnType<typeof parsed>['values'];

/** @param argv the arguments after `node`: `deploy` or `remove`, then its own @returns the exit code */
export async function runDeployProgram(argv: readonly string[], environment: NodeJS.ProcessEnv): Promise<number> {
  let line;
  try {
    line = parsed(argv);
  } catch (error) {
    return refuse(messageOf(error));
  }
  const { values, positionals } = line;
  if (values.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  const [command, host, ...extra] = positionals;
  if ((command !== 'deploy' && command !== 'remove') || host === undefined || extra.length > 0)
    return refuse(`exactly one host is required: sendense node ${command ?? 'deploy'} HOST`);
  const port = Number(values.port ?? '22');
  if (!Number.isInteger(port) || port < 1 || port > 65535) return refuse(`--port must be a number from 1 to 65535, but is ${String(values.port)}`);
  const fingerprint = values['host-key-fingerprint'];
  if (fingerprint !== undefined && !/^SHA256:[A-Za-z0-9+/]{43}$/.test(fingerprint)) {
    return refuse(`--host-key-fingerprint must be SHA256: followed by 43 characters, as ssh-keygen -l prints it, but is ${fingerprint}`);
  }
  return carryOut(command, targetOf(host, port, values), values, environment);
}

async function carryOut(command: 'deploy' | 'remove', target: SshTarget, values: Values, environment: NodeJS.ProcessEnv): Promise<number> {
  const steps = new StepList((text) => process.stderr.write(text));
  let session: SshSession | null = null;
  const began = performance.now();
  try {
    const hub = await hubOf(values, environment);
    const host = await steps.run('log in', async (note) => {
      session = await SshSession.connect(target);
      note(`${target.user}@${target.host}, host key ${session.hostKeyFingerprint}`);
      return RemoteHost.on(session, askHidden);
    });
    const took = (): string => `${((performance.now() - began) / 1000).toFixed(1)} s`;
    if (command === 'remove') {
      const stays = await removeNode(host, hub, steps);
      process.stdout.write(`Nothing of Sendense is left on ${target.host} (${took()}).\n${stays === '' ? '' : `${stays}\n`}`);
      return 0;
    }
    const { nodeId, name, release, replaced } = await deployNode(host, hub, await releaseSource(values.archive ?? null), steps, { name: values.name ?? null });
    process.stdout.write(
      `Node ${name} (${nodeId}) on ${target.host} runs release ${release}${replaced === null ? '' : ` instead of ${replaced}`}, and its tunnel is up (${took()}).\n`,
    );
    return 0;
  } catch (error) {
    process.stderr.write(`sendense node ${command}: ${steps.last === '' ? '' : `"${steps.last}" failed: `}${messageOf(error)}\n`);
    if (steps.last !== '' && steps.last !== 'log in' && steps.last !== 'check the host') {
      process.stderr.write(
        `Fix the cause and run the command again; completed steps are not repeated. To undo everything: sendense node remove ${target.user}@${target.host}\n`,
      );
    }
    return 1;
  } finally {
    // Assigned in a callback, so the compiler does not see the assignment.
    (session as SshSession | null)?.end();
  }
}

function targetOf(userAndHost: string, port: number, values: Values): SshTarget {
  const usual = usualSshFiles();
  const at = userAndHost.lastIndexOf('@');
  return {
    host: userAndHost.slice(at + 1),
    user: at > 0 ? userAndHost.slice(0, at) : usual.user,
    port,
    hostKeyFingerprint: values['host-key-fingerprint'] ?? null,
    knownHostsFiles: values['known-hosts'] === undefined ? usual.knownHostsFiles : [values['known-hosts']],
    identityFiles: usual.identityFiles,
    requiredIdentity: values.identity ?? null,
    agentSocket: values.identity === undefined ? usual.agentSocket : null,
    askSecret: askHidden,
  };
}

async function hubOf(values: Values, environment: NodeJS.ProcessEnv): Promise<HubApi> {
  const config = loadConfig(HubConfig, { file: values.config, environment });
  try {
    const url = values.hub ?? (await readFile(join(config.dataDirectory, 'hub.url'), 'utf8')).trim();
    const token = config.apiToken ?? (await readFile(values['token-file'] ?? config.apiTokenFile, 'utf8')).trim();
    return new HubApi(url.replace(/\/$/, ''), token);
  } catch (error) {
    throw new DeployError(
      `there is no hub in ${config.dataDirectory} (${messageOf(error)}); run this as root on the hub's machine, or give --hub URL and --token-file FILE`,
    );
  }
}

function parsed(argv: readonly string[]) {
  return parseArgs({ args: [...argv], allowPositionals: true, options: OPTIONS });
}

function refuse(problem: string): number {
  process.stderr.write(`sendense node: ${problem}\n\n${USAGE}`);
  return 2;
}
