import type { MountTableEntry } from '../../lib/files/mount-table.js';

/** A share of a file server. One that was read from outside must be checked with `shareProblem` first. */
export type Share =
  | { readonly type: 'nfs'; readonly server: string; readonly export: string; readonly options: readonly string[] }
  | { readonly type: 'cifs'; readonly server: string; readonly share: string; readonly options: readonly string[]; readonly credentials: string | null };

/** A member of a share that breaks a rule. */
export type ShareProblem = { readonly field: 'server' | 'export' | 'share' | 'options' | 'credentials'; readonly detail: string };

/** Where and for whom a share is mounted. */
export type MountTarget = {
  readonly point: string;
  /** The account whose files they are where the server knows no accounts of this machine. */
  readonly uid: number;
  readonly gid: number;
  /** Absolute path of the file with the account of the server; null: none. */
  readonly credentialsFile: string | null;
};

export type MountAttempt = { readonly version: string; readonly argv: readonly [string, ...string[]] };

export const MAX_OPTIONS = 32;

/** Newest first. */
const NFS_VERSIONS = ['4.2', '4.1', '3'];
const CIFS_VERSIONS = ['3.1.1', '3.0.2', '3.0', '2.1'];
/** Versions of SMB that cannot encrypt. */
const WITHOUT_ENCRYPTION = new Set(['2.1']);

/** Neither a file system's code nor its device nodes and set-user-ID programs may be used from a share. */
const ALWAYS = ['rw', 'nosuid', 'nodev', 'noexec'];

const NUMBER = /^\d{1,9}$/;
const one = (...words: readonly string[]): RegExp => new RegExp(`^(?:${words.map((word) => word.replaceAll('.', '\\.')).join('|')})$`);

/** Options by name; null: it has no value. Any other option is refused, above all those that take a path, an account or an identity. */
const ALLOWED: Readonly<Record<Share['type'], Readonly<Record<string, RegExp | null>>>> = {
  nfs: {
    hard: null,
    soft: null,
    softerr: null,
    nolock: null,
    noresvport: null,
    vers: one(...NFS_VERSIONS),
    proto: one('tcp', 'tcp6', 'rdma'),
    sec: one('sys', 'krb5', 'krb5i', 'krb5p'),
    port: NUMBER,
    mountport: NUMBER,
    timeo: NUMBER,
    retrans: NUMBER,
    rsize: NUMBER,
    wsize: NUMBER,
    nconnect: /^(?:[1-9]|1[0-6])$/,
  },
  cifs: {
    hard: null,
    soft: null,
    /** A word of ours: do without encryption. */
    noseal: null,
    vers: one(...CIFS_VERSIONS),
    sec: one('ntlmssp', 'ntlmsspi', 'krb5', 'krb5i'),
    cache: one('strict', 'none'),
    port: NUMBER,
    echo_interval: NUMBER,
    rsize: NUMBER,
    wsize: NUMBER,
  },
};

/** A name, an IPv4 address, or an IPv6 address without brackets and zone. */
const SERVER = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})$/;
/** Without commas, control characters and backslashes; a segment `..` is refused separately. */
const EXPORT = /^\/[^\p{C},\\]{0,1023}$/u;
const SHARE = /^[^\p{C},\\/"*?<>|:;+=[\]]{1,80}(?:\/[^\p{C},\\/]{1,255}){0,16}$/u;
const CREDENTIALS = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** The first rule that a share breaks; null: none. */
export function shareProblem(share: Share): ShareProblem | null {
  if (!SERVER.test(share.server)) {
    return { field: 'server', detail: 'must be a host name or an IP address without brackets, port or user' };
  }
  if (share.type === 'nfs') {
    if (!EXPORT.test(share.export) || hasDots(share.export)) {
      return { field: 'export', detail: 'must be an absolute path without "..", commas, backslashes and control characters' };
    }
  } else {
    if (!SHARE.test(share.share) || hasDots(share.share)) {
      return {
        field: 'share',
        detail: 'must be the name of a share, optionally followed by /<folder>, without "..", commas, backslashes and control characters',
      };
    }
    if (share.credentials !== null && !CREDENTIALS.test(share.credentials)) {
      return { field: 'credentials', detail: 'must be the name of a file of letters, digits, ".", "_" and "-", not a path' };
    }
  }
  const problem = optionsProblem(share);
  return problem === null ? null : { field: 'options', detail: problem };
}

function hasDots(path: string): boolean {
  return path.split('/').some((segment) => segment === '..' || segment === '.');
}

function optionsProblem({ type, options }: Share): string | null {
  if (options.length > MAX_OPTIONS) return `must be at most ${MAX_OPTIONS}`;
  const names = new Set<string>();
  for (const option of options) {
    const [name = '', ...rest] = option.split('=');
    const value = rest.length === 0 ? null : rest.join('=');
    const rule = Object.hasOwn(ALLOWED[type], name) ? ALLOWED[type][name] : undefined;
    if (rule === undefined) return `"${option}" is not one of the allowed options: ${Object.keys(ALLOWED[type]).join(', ')}`;
    if (rule === null ? value !== null : value === null || !rule.test(value)) return `"${option}" has no valid value`;
    if (names.has(name)) return `"${name}" is given twice`;
    names.add(name);
  }
  const answers = ['hard', 'soft', 'softerr'].filter((name) => names.has(name));
  return answers.length > 1 ? `${answers.join(' and ')} contradict each other` : null;
}

/** As `mount` names it in the mount table. */
export function sourceOf(share: Share): string {
  const host = share.server.includes(':') ? `[${share.server}]` : share.server;
  return share.type === 'nfs' ? `${host}:${share.export}` : `//${share.server}/${share.share}`;
}

/**
 * What to run to mount a checked share, newest version of the protocol first. One is tried after another only if the server does not speak the version.
 * Source and target are options of their own, so nothing that begins with a hyphen is taken for one.
 */
export function mountAttempts(share: Share, target: MountTarget): readonly MountAttempt[] {
  const pinned = share.options.find((option) => option.startsWith('vers='))?.slice('vers='.length);
  const given = share.options.filter((option) => !option.startsWith('vers=') && option !== 'noseal');
  const encrypted = !share.options.includes('noseal');
  const all = share.type === 'nfs' ? NFS_VERSIONS : CIFS_VERSIONS.filter((version) => !encrypted || !WITHOUT_ENCRYPTION.has(version));
  const versions = pinned === undefined ? all : [pinned];
  return versions.map((version) => {
    const options =
      share.type === 'nfs'
        ? [...ALWAYS, `vers=${version}`, 'retry=0', ...(given.some((option) => /^(?:hard|soft|softerr)$/.test(option)) ? [] : ['hard']), ...given]
        : [
            ...ALWAYS,
            `vers=${version}`,
            // QEMU's locks would be mandatory at the server, so that not even their owner could write through another descriptor.
            'nobrl',
            ...(encrypted ? ['seal'] : []),
            `uid=${target.uid}`,
            `gid=${target.gid}`,
            'forceuid',
            'forcegid',
            'file_mode=0644',
            'dir_mode=0755',
            ...(target.credentialsFile === null ? ['guest'] : [`credentials=${target.credentialsFile}`]),
            ...given,
          ];
    return {
      version,
      argv: ['mount', '--types', share.type, '--options', options.join(','), '--source', sourceOf(share), '--target', target.point],
    };
  });
}

/** Why a share cannot be mounted. Stable. */
export type MountFailure =
  'version_unsupported' | 'access_denied' | 'not_exported' | 'unreachable' | 'client_missing' | 'credentials_invalid' | 'mount_point_unsafe' | 'failed';

/** What the output of a failed mount means. @param stderr in the locale C */
export function failureOf(share: Share, stderr: string): { readonly reason: MountFailure; readonly hint: string } {
  const is = (pattern: RegExp): boolean => pattern.test(stderr);
  if (is(/unknown filesystem type|No such device|bad option; for several filesystems|need a \/sbin\/mount/)) {
    const tools = share.type === 'nfs' ? 'nfs-common' : 'cifs-utils';
    return { reason: 'client_missing', hint: `This machine cannot mount ${share.type}: install ${tools}, and use a kernel that has the file system.` };
  }
  if (share.type === 'nfs') {
    if (is(/Protocol not supported|requested NFS version|Operation not supported|incorrect mount option/)) {
      return { reason: 'version_unsupported', hint: 'The server does not offer this version of NFS.' };
    }
    if (is(/access denied|Permission denied|Operation not permitted/)) {
      return { reason: 'access_denied', hint: "The server refuses this machine: check the export's list of clients and its security (sec=)." };
    }
    if (is(/No such file or directory/)) return { reason: 'not_exported', hint: 'The server does not export this path.' };
  } else {
    if (is(/error\((?:13|126|127|129)\)|Permission denied|Required key not available/)) {
      return { reason: 'access_denied', hint: 'The server refuses the account or its password: check the credentials file.' };
    }
    if (is(/error\(112\)|Host is down/)) {
      return {
        reason: 'version_unsupported',
        hint: 'Error 112 ("Host is down") most often means that the server does not speak this version of SMB, or refuses unencrypted or unsigned connections.',
      };
    }
    if (is(/error\(95\)|Operation not supported/))
      return { reason: 'version_unsupported', hint: 'The server does not speak this version of SMB, or cannot encrypt.' };
    if (is(/error\((?:2|6)\)|No such file or directory|No such device or address/)) return { reason: 'not_exported', hint: 'The server has no such share.' };
  }
  if (is(/error\((?:101|110|111|113|115)\)|timed out|refused|No route to host|unreachable|could not resolve|Name or service not known|in progress/i)) {
    return { reason: 'unreachable', hint: 'The server does not answer: check its name or address, its port and the firewall.' };
  }
  return { reason: 'failed', hint: 'Check the server and the options of the share.' };
}

/** The mount that is on top at exactly this path. */
export function mountAt(point: string, table: readonly MountTableEntry[]): MountTableEntry | undefined {
  return table.findLast(({ mountPoint }) => mountPoint === point);
}

/** Whether an entry of the mount table is this share. */
export function isMountOf(share: Share, entry: MountTableEntry): boolean {
  const types = share.type === 'nfs' ? ['nfs', 'nfs4'] : ['cifs', 'smb3'];
  return types.includes(entry.filesystemType) && trimmed(entry.source) === trimmed(sourceOf(share));
}

/** mount(8) may leave out a slash at the end. */
function trimmed(source: string): string {
  return source.replace(/(?<=[^/:])\/+$/, '');
}

/** The version of its protocol that a mounted share uses, from its entry's options; null if they do not name it. */
export function versionOf({ options }: MountTableEntry): string | null {
  return options.find((option) => option.startsWith('vers='))?.slice('vers='.length) ?? null;
}
