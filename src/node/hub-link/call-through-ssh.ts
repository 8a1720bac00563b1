import { request } from 'node:http';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { execa } from 'execa';
import { textTail } from '../../lib/process/tool-error.js';
import { withTemporaryDirectory } from '../../lib/process/temporary-directory.js';
import { toolEnvironment } from '../../lib/process/tool-environment.js';
import { HUB_HOST_KEY_ALIAS, knownHostsText } from '../../tunnel/interface/tunnel-settings.js';

/** The hub's API as reached through its tunnel server. */
export interface ThroughSsh {
  readonly host: string;
  readonly tunnelPort: number;
  readonly user: string;
  /** `ssh-ed25519 <base64>`. Connections to a server with another key are refused. */
  readonly hostKey: string;
  /** The private key itself, in a form that ssh reads, or the file that holds it. */
  readonly key: { readonly text: string } | { readonly file: string };
  /** On the hub's loopback interface. */
  readonly apiPort: number;
}

export interface RawCall {
  readonly method: 'GET' | 'POST';
  /** Includes the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

/** Why the hub could not be called. */
export type SshCallProblem = 'host_key_changed' | 'key_refused' | 'unreachable' | 'cut_short';

export class SshCallError extends Error {
  override readonly name = 'SshCallError';
  constructor(
    readonly code: SshCallProblem,
    message: string,
  ) {
    super(message);
  }
}

const LARGEST_ANSWER_BYTES = 1024 * 1024;
const CONNECT_SECONDS = 15;

/**
 * Makes one HTTP call to the hub's API over an SSH connection of its own, which is closed afterwards. No port is opened for it: the connection is ssh's
 * standard input and output.
 * @throws SshCallError; the signal's reason
 */
export async function callThroughSsh(target: ThroughSsh, call: RawCall, signal: AbortSignal): Promise<RawAnswer> {
  return withTemporaryDirectory('ssh', async (folder) => {
    const knownHosts = join(folder, 'known_hosts');
    await writeFile(knownHosts, knownHostsText(target.hostKey), { mode: 0o600 });
    const keyFile = 'file' in target.key ? target.key.file : join(folder, 'key');
    if ('text' in target.key) await writeFile(keyFile, target.key.text, { mode: 0o600 });
    return exchange(argvOf(target, keyFile, knownHosts), call, signal);
  });
}

function argvOf(target: ThroughSsh, keyFile: string, knownHosts: string): readonly [string, ...string[]] {
  const options: Readonly<Record<string, string>> = {
    BatchMode: 'yes',
    ConnectTimeout: String(CONNECT_SECONDS),
    StrictHostKeyChecking: 'yes',
    HostKeyAlias: HUB_HOST_KEY_ALIAS,
    HostKeyAlgorithms: 'ssh-ed25519',
    UserKnownHostsFile: knownHosts,
    GlobalKnownHostsFile: '/dev/null',
    UpdateHostKeys: 'no',
    IdentitiesOnly: 'yes',
    IdentityAgent: 'none',
    IdentityFile: keyFile,
    PreferredAuthentications: 'publickey',
    LogLevel: 'ERROR',
  };
  const settings = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const where = ['-p', String(target.tunnelPort), '-l', target.user, '-W', `127.0.0.1:${target.apiPort}`, '--', target.host];
  return ['ssh', '-F', 'none', ...settings, ...where];
}

async function exchange([file, ...argv]: readonly [string, ...string[]], call: RawCall, signal: AbortSignal): Promise<RawAnswer> {
  const leaving = new AbortController();
  const child = execa(file, argv, {
    reject: false,
    cancelSignal: AbortSignal.any([signal, leaving.signal]),
    killSignal: 'SIGKILL',
    buffer: { stdout: false, stderr: true },
    extendEnv: false,
    env: toolEnvironment(),
  });
  const connection = Duplex.from({ readable: child.stdout, writable: child.stdin });
  connection.on('error', () => undefined);
  try {
    return await ask(connection, call, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof SshCallError) throw error;
    // The connection broke because ssh has exited or is about to; its error output gives the reason.
    const { stderr, code } = await child;
    throw problemOf(code === 'ENOENT' ? 'ssh is not installed' : textTail(stderr));
  } finally {
    leaving.abort();
    connection.destroy();
    await child;
  }
}

async function ask(connection: Duplex, call: RawCall, signal: AbortSignal): Promise<RawAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
  const headers = { host: 'hub', connection: 'close', 'content-length': String(Buffer.byteLength(call.body)), ...call.headers };
  // A request needs no more of its socket than a duplex stream offers (http.request, createConnection).
  const outgoing = request({ method: call.method, path: call.path, headers, signal, createConnection: () => connection }, (incoming) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    incoming.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > LARGEST_ANSWER_BYTES) incoming.destroy(new Error(`the hub's answer is longer than ${LARGEST_ANSWER_BYTES} bytes`));
      chunks.push(chunk);
    });
    incoming.on('error', reject);
    incoming.on('end', () => {
      if (!incoming.complete) {
        reject(new SshCallError('cut_short', 'the connection ended in the middle of the answer'));
        return;
      }
      const entries = Object.entries(incoming.headers).map(([name, value]): [string, string] => [name, String(value)]);
      resolve({ status: incoming.statusCode ?? 0, headers: new Headers(entries), body: Buffer.concat(chunks) });
    });
  });
  outgoing.on('error', reject);
  outgoing.end(call.body);
  return promise;
}

function problemOf(stderr: string): SshCallError {
  if (/host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|no matching host key type/i.test(stderr)) {
    return new SshCallError(
      'host_key_changed',
      'the tunnel server presents a different host key than the hub announced: it is not that hub, or its key was replaced',
    );
  }
  if (/permission denied/i.test(stderr)) return new SshCallError('key_refused', `the tunnel server does not accept the key: ${stderr}`);
  return new SshCallError('unreachable', `the hub is unreachable through its tunnel server: ${stderr === '' ? 'the connection was closed' : stderr}`);
}
