import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import ssh2, { type AnyAuthMethod, type Client, type ConnectConfig, type SFTPWrapper } from 'ssh2';
import { messageOf } from '../../kernel/error-message.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { knownHostKeys } from './known-hosts.js';

export type SshErrorCode =
  | 'host_unreachable'
  | 'host_key_unknown'
  | 'host_key_changed'
  | 'host_key_revoked'
  | 'host_key_mismatch'
  | 'authentication_failed'
  | 'identity_unreadable'
  | 'connection_lost';

/** The message says what was wrong with which host, and what to do. */
export class SshError extends Error {
  override readonly name = 'SshError';
  constructor(
    readonly code: SshErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export interface SshTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** `SHA256:...` as ssh-keygen -l prints it; null: the host's key must be in a known_hosts file. */
  readonly hostKeyFingerprint: string | null;
  readonly knownHostsFiles: readonly string[];
  /** Private key files to try; a missing file is skipped unless it is requiredIdentity. */
  readonly identityFiles: readonly string[];
  readonly requiredIdentity: string | null;
  /** Path of an agent's socket; null: none. */
  readonly agentSocket: string | null;
  /** Asks for a password or passphrase when nothing else is left; null when there is no one to ask. */
  readonly askSecret: ((question: string) => Promise<string | null>) | null;
}

export interface RemoteOutput {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const CONNECT_PATIENCE_MS = 20_000;
const KEEPALIVE_MS = 5_000;
/** Signature algorithms for each type of host key, strongest first. */
const KEY_ALGORITHMS = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256'],
} as const;
type KeyType = keyof typeof KEY_ALGORITHMS;
const KEY_TYPES: readonly KeyType[] = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'ssh-rsa'];

/** The files and agent that ssh itself would use for the current user. */
export function usualSshFiles(): Pick<SshTarget, 'knownHostsFiles' | 'identityFiles' | 'user' | 'agentSocket'> {
  const folder = join(homedir(), '.ssh');
  const agent = process.env['SSH_AUTH_SOCK'];
  return {
    knownHostsFiles: [join(folder, 'known_hosts'), '/etc/ssh/ssh_known_hosts'],
    identityFiles: ['id_ed25519', 'id_ecdsa', 'id_rsa'].map((name) => join(folder, name)),
    user: userInfo().username,
    agentSocket: agent === undefined || agent === '' ? null : agent,
  };
}

/**
 * A connection to another machine's own SSH server, for installing software there. The host's key is always checked against known_hosts or a fingerprint before
 * anything is sent; an unknown key ends the connection.
 */
export class SshSession {
  private constructor(
    private readonly client: Client,
    readonly host: string,
    /** Of the key that the host presented, as ssh-keygen -l prints it. */
    readonly hostKeyFingerprint: string,
  ) {}

  /** @throws SshError */
  static async connect(target: SshTarget): Promise<SshSession> {
    const known = await keysOf(target);
    // Request a key type that can be checked: a host has one key of each type, and known_hosts often has only one of them.
    const types =
      target.hostKeyFingerprint === null && known.some(({ revoked }) => !revoked)
        ? KEY_TYPES.filter((type) => known.some((key) => key.type === type && !key.revoked))
        : KEY_TYPES;
    const attempts = target.hostKeyFingerprint === null ? [types] : types.map((type) => [type]);
    let failure: unknown = null;
    for (const attempt of attempts) {
      try {
        return await connectOnce(
          target,
          attempt,
          (key) => judge(target, known, key),
          (client, fingerprint) => new SshSession(client, target.host, fingerprint),
        );
      } catch (error) {
        // A fingerprint does not say which of the host's keys it belongs to. A key type that the host lacks fails in the key exchange.
        const isMismatch = error instanceof SshError && error.code === 'host_key_mismatch';
        if (!isMismatch && !isNoCommonKeyType(error)) throw asSshError(error, target);
        // Report the strongest key that the host presented.
        if (failure === null || (isMismatch && !(failure instanceof SshError))) failure = error;
      }
    }
    throw asSshError(failure, target);
  }

  /** Runs a program on the host until it exits. @param input its standard input @throws SshError when the connection ends first */
  async run(argv: readonly [string, ...string[]], input = ''): Promise<RemoteOutput> {
    return new Promise((resolve, reject) => {
      const lost = (): void => {
        reject(new SshError('connection_lost', `the connection to ${this.host} was lost while ${argv[0]} was running there`));
      };
      this.client.once('close', lost);
      this.client.exec(argv.map(shellQuoted).join(' '), (error, stream) => {
        if (error !== undefined) {
          reject(new SshError('connection_lost', `${this.host} could not start ${argv[0]}: ${error.message}`, { cause: error }));
          return;
        }
        const stdout: Buffer[] = [];
        const stderr: Buffer[] = [];
        let exitCode: number | null = null;
        stream.on('data', (chunk: Buffer) => stdout.push(chunk));
        stream.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
        stream.on('exit', (code: number | null) => {
          exitCode = code;
        });
        stream.on('close', () => {
          this.client.off('close', lost);
          // A program killed by a signal has no exit code.
          resolve({ exitCode: exitCode ?? 255, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() });
        });
        stream.end(input);
      });
    });
  }

  /** Copies a file to the host, readable for its owner only. @throws SshError */
  async put(file: string, remotePath: string): Promise<void> {
    const sftp = await new Promise<SFTPWrapper>((resolve, reject) => {
      this.client.sftp((error, wrapper) => {
        if (error === undefined) resolve(wrapper);
        else
          reject(
            new SshError('connection_lost', `${this.host} does not accept files (its SSH server needs the sftp subsystem): ${error.message}`, { cause: error }),
          );
      });
    });
    await new Promise<void>((resolve, reject) => {
      const failed = (error: Error | null): void => {
        reject(new SshError('connection_lost', `${file} could not be copied to ${this.host}:${remotePath}: ${error?.message ?? 'the connection was lost'}`));
      };
      const lost = (): void => failed(null);
      this.client.once('close', lost);
      sftp.fastPut(file, remotePath, { mode: 0o600 }, (error) => {
        this.client.off('close', lost);
        if (error === null || error === undefined) resolve();
        else failed(error);
      });
    });
    sftp.end();
  }

  end(): void {
    this.client.end();
  }
}

/** Quotes one word for a POSIX shell: an SSH server passes the command line to the user's shell as a single string. */
export function shellQuoted(word: string): string {
  return /^[A-Za-z0-9_/.:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** `SHA256:<base64 without padding>` of a key in its wire encoding. */
export function fingerprintOf(blob: Buffer): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

async function connectOnce(
  target: SshTarget,
  types: readonly KeyType[],
  verdict: (key: Buffer) => SshError | null,
  session: (client: Client, fingerprint: string) => SshSession,
): Promise<SshSession> {
  const attempts = authentication(target);
  return new Promise((resolve, reject) => {
    const client = new ssh2.Client();
    let refusal: SshError | null = null;
    let fingerprint = '';
    const config: ConnectConfig = {
      host: target.host,
      port: target.port,
      username: target.user,
      // Our own timeout applies until the host presents its key. After that a user may be typing a password.
      readyTimeout: 0,
      keepaliveInterval: KEEPALIVE_MS,
      keepaliveCountMax: 6,
      algorithms: { serverHostKey: types.flatMap((type) => [...KEY_ALGORITHMS[type]]) },
      hostVerifier: (key: Buffer) => {
        clearTimeout(silence);
        fingerprint = fingerprintOf(key);
        refusal = verdict(key);
        return refusal === null;
      },
      // ssh2 asks for one method after another until the host accepts one; false: none is left.
      authHandler: (_methods, _partial, next) => {
        // The types leave out `false`, which ends the attempts according to ssh2's README.
        const give = next as (method: AnyAuthMethod | false) => void;
        attempts.next().then(
          ({ value, done }) => give(done === true ? false : value),
          (error: unknown) => {
            refusal = asSshError(error, target);
            give(false);
          },
        );
      },
      ...(target.agentSocket === null ? {} : { agent: target.agentSocket }),
    };
    client.on('ready', () => {
      resolve(session(client, fingerprint));
    });
    const silence = setTimeout(() => {
      client.destroy();
      reject(new SshError('host_unreachable', `${target.host}:${target.port} does not answer`));
    }, CONNECT_PATIENCE_MS);
    client.on('error', (error) => {
      clearTimeout(silence);
      client.destroy();
      reject(refusal ?? error);
    });
    client.on('close', () => {
      reject(refusal ?? new SshError('connection_lost', `${target.host} closed the connection`));
    });
    client.connect(config);
  });
}

/** Methods to log in: agent, keys, and finally a password, prompted for only when everything else was refused. */
async function* authentication(target: SshTarget): AsyncGenerator<AnyAuthMethod> {
  const username = target.user;
  if (target.agentSocket !== null) yield { type: 'agent', username, agent: target.agentSocket };
  for (const file of target.requiredIdentity === null ? target.identityFiles : [target.requiredIdentity]) {
    const key = await privateKey(file, target);
    if (key !== null) yield { type: 'publickey', username, ...key };
  }
  const password = target.askSecret === null ? null : await target.askSecret(`Password for ${username}@${target.host}: `);
  if (password === null) return;
  yield { type: 'password', username, password };
  // A host with PAM may accept the same password only through keyboard-interactive.
  yield {
    type: 'keyboard-interactive',
    username,
    prompt: (_name, _instructions, _language, prompts, finish) => {
      finish(prompts.map(({ echo }) => (echo === true ? '' : password)));
    },
  };
}

async function privateKey(file: string, target: SshTarget): Promise<{ readonly key: Buffer; readonly passphrase?: string } | null> {
  const required = file === target.requiredIdentity;
  let key: Buffer;
  try {
    key = await readFile(file);
  } catch (error) {
    if (!required && errnoOf(error) === 'ENOENT') return null;
    throw new SshError('identity_unreadable', `the key ${file} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  const parsed = ssh2.utils.parseKey(key);
  if (!(parsed instanceof Error)) return { key };
  if (/encrypted|passphrase/i.test(parsed.message)) {
    const passphrase = target.askSecret === null ? null : await target.askSecret(`Passphrase for ${file}: `);
    if (passphrase !== null && !(ssh2.utils.parseKey(key, passphrase) instanceof Error)) return { key, passphrase };
    if (required) throw new SshError('identity_unreadable', `the passphrase does not open ${file}; an agent that holds the key works too`);
    return null;
  }
  if (required) throw new SshError('identity_unreadable', `${file} is not a private key: ${parsed.message}`);
  return null;
}

async function keysOf(target: SshTarget): Promise<ReturnType<typeof knownHostKeys>> {
  const texts = await Promise.all(
    target.knownHostsFiles.map((file) =>
      readFile(file, 'utf8').catch((error: unknown) => {
        if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EACCES') return '';
        throw error;
      }),
    ),
  );
  return knownHostKeys(texts.join('\n'), target.host, target.port);
}

/** null: the key is the host's. */
function judge(target: SshTarget, known: Awaited<ReturnType<typeof keysOf>>, key: Buffer): SshError | null {
  const shown = fingerprintOf(key);
  const { host, hostKeyFingerprint: wanted } = target;
  const alike = known.filter(({ blob }) => blob.equals(key));
  if (alike.some(({ revoked }) => revoked)) return new SshError('host_key_revoked', `${host} presents the key ${shown}, which known_hosts marks as revoked`);
  if (wanted !== null) {
    return wanted === shown
      ? null
      : new SshError('host_key_mismatch', `${host} presents the key ${shown} instead of ${wanted}: this is another machine, or the fingerprint is wrong`);
  }
  if (alike.length > 0) return null;
  if (known.length > 0) {
    return new SshError(
      'host_key_changed',
      `${host} presents the key ${shown}, but known_hosts has a different one: either the machine was reinstalled (ssh-keygen -R removes the old key), or someone is intercepting the connection`,
    );
  }
  return new SshError(
    'host_key_unknown',
    `the key of ${host} is unknown. It presents ${shown}: compare it with the output of 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' on the host's own console, ` +
      `and repeat with --host-key-fingerprint ${shown}`,
  );
}

function isNoCommonKeyType(error: unknown): boolean {
  return error instanceof Error && /no matching host key/i.test(error.message);
}

function asSshError(error: unknown, { host, port, user }: SshTarget): SshError {
  if (error instanceof SshError) return error;
  const message = messageOf(error);
  const level = typeof error === 'object' && error !== null && 'level' in error ? error.level : null;
  if (level === 'client-authentication') {
    return new SshError('authentication_failed', `${host} accepts no key or password for ${user}; name a key with --identity, or another user as USER@HOST`, {
      cause: error,
    });
  }
  if (level === 'client-socket' || level === 'client-timeout') {
    return new SshError('host_unreachable', `${host}:${port} cannot be reached: ${message}`, { cause: error });
  }
  return new SshError('connection_lost', `the connection to ${host}:${port} failed: ${message}`, { cause: error });
}
