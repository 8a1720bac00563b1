import { hostname } from 'node:os';
import { text as textOf } from 'node:stream/consumers';
import { loadConfig } from '../../lib/config/load-config.js';
import { NodeConfig } from '../../node/node.config.js';
import { programVersion } from '../../lib/config/version.js';
import { CliCommand } from '../terminal/command.js';
import { askHidden } from '../terminal/hidden-prompt.js';
import { enrolNode, type EnrolledNode } from '../../node/main.hub-link.js';
import { parsePairingCode } from '../../tunnel/interface/pairing-code.js';

interface Options {
  readonly config?: string;
  readonly again?: true;
  readonly localHost: string;
  readonly json?: true;
}

const DEADLINE_MS = 90_000;

export function enrolCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const command: CliCommand = new CliCommand('enrol')
    .description(
      `Enrols this machine as a node of a hub. The hub's pairing code (from POST /api/v1/nodes) is read from standard input, so that it does not appear in \
process lists: sendense node enrol < code.txt

It creates the node's key and token, sends them to the hub through the hub's tunnel server, whose host key is in the code, and saves the settings of the node \
and its tunnel in the node's data directory. An operator then approves the node by the fingerprint printed here.`,
    )
    .option('--config <file>', 'the node\'s settings, as for "sendense node"')
    .option('--again', 'enrol a machine that is already enrolled, replacing its key and token')
    .option('--local-host <address>', "loopback address on which the node reaches the hub's ports", '127.0.0.1')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExit codes: 0 paired, 1 refused or the hub could not be reached, 2 wrong usage')
    // Not refused by commander, which would repeat a code given by mistake on the screen and in logs.
    .allowExcessArguments()
    .does(async (options: Options) => {
      if (command.args.length > 0) return command.error('the pairing code is read from standard input');
      const config = loadConfig(NodeConfig, { file: options.config, environment });
      const code = parsePairingCode(process.stdin.isTTY ? ((await askHidden('Pairing code (not echoed): ')) ?? '') : await textOf(process.stdin));
      if (code === null) return command.error('standard input is not a pairing code');
      if (config.nodeId !== null && config.nodeId !== code.nodeId) {
        throw new Error(`the settings give this node the id ${config.nodeId}, but the hub assigned ${code.nodeId}: remove node_id from the settings`);
      }
      const place = { dataDirectory: config.dataDirectory, tunnelDirectory: config.tunnelDirectory, tokenFile: config.tokenFile };
      const machine = { hostname: hostname().replaceAll(/[^A-Za-z0-9._-]/g, '-'), version: programVersion() };
      const deadline = AbortSignal.timeout(DEADLINE_MS);
      const enrolment = { again: options.again === true, localHost: options.localHost };
      const node = await enrolNode(code, place, machine, enrolment, deadline).catch((error: unknown) => {
        throw error === deadline.reason ? new Error(`the hub did not answer within ${DEADLINE_MS / 1000} s`, { cause: error }) : error;
      });
      process.stdout.write(options.json === true ? `${JSON.stringify(node)}\n` : report(node));
    });
  return command;
}

function report(node: EnrolledNode): string {
  return `This machine has paired as node "${node.name}" (${node.node_id}).

The fingerprint of its key:
  ${node.public_key_fingerprint}

An operator approves it at the hub after checking that the hub shows the same fingerprint:
  POST /api/v1/nodes/${node.node_id}/approve  {"public_key_fingerprint": "${node.public_key_fingerprint}"}

"sendense tunnel" and "sendense node" can be started now; the tunnel comes up once the node is approved.
`;
}
