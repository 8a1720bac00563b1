import { InvalidArgumentError } from 'commander';
import { messageOf } from '../../kernel/error-message.js';
import { hubOf, type HubOptions, withHubOptions } from '../api/hub-options.js';
import { SshSession, type SshTarget, usualSshFiles } from '../ssh/ssh-session.js';
import { CliCommand } from '../terminal/command.js';
import { askHidden } from '../terminal/hidden-prompt.js';
import { deployNode } from './deploy-node.steps.js';
import { releaseSource } from './release-archive.packer.js';
import { RemoteHost } from './remote-host.connection.js';
import { removeNode } from './remove-node.steps.js';
import { StepList } from './step-list.printer.js';

interface Options extends HubOptions {
  readonly port: number;
  readonly identity?: string;
  readonly knownHosts?: string;
  readonly hostKeyFingerprint?: string;
  readonly name?: string;
  readonly archive?: string;
}

export function deployCommand(environment: NodeJS.ProcessEnv): CliCommand {
  return remoteCommand('deploy', environment)
    .description(
      'Installs a node on another machine over SSH: it checks the host, copies and installs this release, pairs it with the hub, starts it, and verifies ' +
        'the tunnel end to end. It may be run again, and upgrades an existing node; a release that does not come up is rolled back to the previous one.',
    )
    .option('--name <name>', "the node's name at the hub; default: the host's own name")
    .option('--archive <file>', 'a release made by deployment/make-archive.sh; default: the release of this program');
}

export function removeCommand(environment: NodeJS.ProcessEnv): CliCommand {
  return remoteCommand('remove', environment).description('Revokes the node at the hub and removes everything of Sendense from the host.');
}

function remoteCommand(name: 'deploy' | 'remove', environment: NodeJS.ProcessEnv): CliCommand {
  const command = new CliCommand(name)
    .argument('<[user@]host>', 'the machine to log in to')
    .option('--port <port>', "port of the host's SSH server", portNumber, 22)
    .option('--identity <file>', 'private key to log in with; default: the agent, then the keys in ~/.ssh, then a password prompt')
    .option('--known-hosts <file>', 'default: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts')
    .option('--host-key-fingerprint <fingerprint>', "SHA256:... of the host's key, instead of known_hosts", sha256Fingerprint)
    .addHelpText('after', '\nExit codes: 0 done, 1 failed (the message says which step, and how to undo it), 2 wrong usage')
    .does(async (host: string, options: Options) => carryOut(name, targetOf(host, options), options, environment));
  return withHubOptions(command);
}

async function carryOut(command: 'deploy' | 'remove', target: SshTarget, options: Options, environment: NodeJS.ProcessEnv): Promise<void> {
  const steps = new StepList((text) => process.stderr.write(text));
  let session: SshSession | null = null;
  const began = performance.now();
  try {
    const hub = await hubOf(options, environment);
    const host = await steps.run('log in', async (note) => {
      session = await SshSession.connect(target);
      note(`${target.user}@${target.host}, host key ${session.hostKeyFingerprint}`);
      return RemoteHost.on(session, askHidden);
    });
    const took = (): string => `${((performance.now() - began) / 1000).toFixed(1)} s`;
    if (command === 'remove') {
      const remains = await removeNode(host, hub, steps);
      process.stdout.write(`Nothing of Sendense is left on ${target.host} (${took()}).\n${remains === '' ? '' : `${remains}\n`}`);
      return;
    }
    const { nodeId, name, release, replaced } = await deployNode(host, hub, await releaseSource(options.archive ?? null), steps, {
      name: options.name ?? null,
    });
    process.stdout.write(
      `Node ${name} (${nodeId}) on ${target.host} runs release ${release}${replaced === null ? '' : ` instead of ${replaced}`}, and its tunnel is up (${took()}).\n`,
    );
  } catch (error) {
    if (steps.last === '') throw error;
    const undo = `Fix the cause and run the command again; completed steps are not repeated. To undo everything: sendense node remove ${target.user}@${target.host}`;
    const nothingDone = steps.last === 'log in' || steps.last === 'check the host';
    throw new Error(`"${steps.last}" failed: ${messageOf(error)}${nothingDone ? '' : `\n${undo}`}`, { cause: error });
  } finally {
    // Assigned in a callback, so the compiler does not see the assignment.
    (session as SshSession | null)?.end();
  }
}

function targetOf(userAndHost: string, options: Options): SshTarget {
  const usual = usualSshFiles();
  const at = userAndHost.lastIndexOf('@');
  return {
    host: userAndHost.slice(at + 1),
    user: at > 0 ? userAndHost.slice(0, at) : usual.user,
    port: options.port,
    hostKeyFingerprint: options.hostKeyFingerprint ?? null,
    knownHostsFiles: options.knownHosts === undefined ? usual.knownHostsFiles : [options.knownHosts],
    identityFiles: usual.identityFiles,
    requiredIdentity: options.identity ?? null,
    agentSocket: options.identity === undefined ? usual.agentSocket : null,
    askSecret: askHidden,
  };
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new InvalidArgumentError('It must be a number from 1 to 65535.');
  return port;
}

function sha256Fingerprint(text: string): string {
  if (!/^SHA256:[A-Za-z0-9+/]{43}$/.test(text)) throw new InvalidArgumentError('It must be SHA256: followed by 43 characters, as ssh-keygen -l prints it.');
  return text;
}
