import { hostname } from 'node:os';
import { text as textOf } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { messageOf } from '../../kernel/error-message.js';
import { ConfigError, loadConfig } from '../../lib/config/load-config.js';
import { NodeConfig } from '../../node/node.config.js';
import { programVersion } from '../../lib/config/version.js';
import { askHidden } from '../terminal/hidden-prompt.js';
import { enrolNode, type EnrolledNode, EnrolmentError } from '../../node/main.hub-link.js';
import { parsePairingCode } from '../../tunnel/interface/pairing-code.js';

const USAGE = `Usage: sendense node enrol [--config FILE] [--again] [--local-host ADDRESS] [--json]

Enrols this machine as a node of a hub. The hub's pairing code (from POST /api/v1/nodes) is read from
standard input, so that it does not appear in process lists:

  sendense node enrol < code.txt

It creates the node's key and token, sends them to the hub through the hub's tunnel server, whose host key is in the
code, and saves the settings of the node and its tunnel in the node's data directory. An operator then approves the node by
the fingerprint printed here.

  --config FILE          the node's settings, as for "sendense node"
  --again                enrol a machine that is already enrolled, replacing its key and token
  --local-host ADDRESS   loopback address on which the node reaches the hub's ports; default: 127.0.0.1
  --json                 print the result as JSON

Exit codes: 0 paired, 1 refused or the hub could not be reached, 2 wrong usage.
`;

const DEADLINE_MS = 90_000;

/** @param argv the arguments after `node enrol` @returns the exit code */
export async function runEnrolProgram(argv: readonly string[], environment: NodeJS.ProcessEnv): Promise<number> {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...argv],
      allowPositionals: false,
      options: {
        config: { type: 'string' },
        again: { type: 'boolean' },
        'local-host': { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    // A code given as an argument by mistake must not be repeated on the screen or in a log.
    return refuse(
      error instanceof TypeError && 'code' in error && error.code === 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL'
        ? 'the pairing code is read from standard input'
        : String(error),
    );
  }
  const { values } = parsed;
  if (values.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  try {
    const config = loadConfig(NodeConfig, { file: values.config, environment });
    const code = parsePairingCode(process.stdin.isTTY ? ((await askHidden('Pairing code (not echoed): ')) ?? '') : await textOf(process.stdin));
    if (code === null) return refuse('standard input is not a pairing code');
    if (config.nodeId !== null && config.nodeId !== code.nodeId) {
      return fail(`the settings give this node the id ${config.nodeId}, but the hub assigned ${code.nodeId}: remove node_id from the settings`);
    }
    const place = { dataDirectory: config.dataDirectory, tunnelDirectory: config.tunnelDirectory, tokenFile: config.tokenFile };
    const machine = { hostname: hostname().replaceAll(/[^A-Za-z0-9._-]/g, '-'), version: programVersion() };
    const options = { again: values.again === true, localHost: values['local-host'] ?? '127.0.0.1' };
    const node = await enrolNode(code, place, machine, options, AbortSignal.timeout(DEADLINE_MS));
    process.stdout.write(values.json === true ? `${JSON.stringify(node)}\n` : report(node));
    return 0;
  } catch (error) {
    if (error instanceof ConfigError) return refuse(error.message);
    if (error instanceof EnrolmentError) return fail(error.message);
    if (error instanceof Error && error.name === 'TimeoutError') return fail(`the hub did not answer within ${DEADLINE_MS / 1000} s`);
    return fail(messageOf(error));
  }
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

function fail(problem: string): number {
  process.stderr.write(`sendense node enrol: ${problem}\n`);
  return 1;
}

function refuse(problem: string): number {
  process.stderr.write(`sendense node enrol: ${problem}\n\n${USAGE}`);
  return 2;
}
