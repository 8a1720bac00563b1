import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Virsh } from '../../libvirt/virsh.js';
import { asDomainError } from './inspect-domain.js';

let folder: string;
const path = process.env['PATH'] ?? '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-virsh-'));
  process.env['PATH'] = `${folder}:${path}`;
});

afterEach(async () => {
  process.env['PATH'] = path;
  await rm(folder, { recursive: true });
});

/** A virsh that is killed the given number of times before it answers. */
async function killedTimes(kills: number): Promise<Virsh> {
  const script = `#!/bin/sh\necho call >>${folder}/calls\n[ "$(wc -l <${folder}/calls)" -gt ${kills} ] || kill -KILL $$\necho running\n`;
  await writeFile(join(folder, 'virsh'), script);
  await chmod(join(folder, 'virsh'), 0o755);
  return new Virsh('test:///default');
}

async function calls(): Promise<number> {
  return (await readFile(join(folder, 'calls'), 'utf8')).split('\n').length - 1;
}

describe('a virsh that is killed', () => {
  it('is retried once', async () => {
    expect(await (await killedTimes(1)).state('some-uuid')).toBe('running');
    expect(await calls()).toBe(2);
  });

  it('is reported as killed, not as a refusal, if it is killed again', async () => {
    const virsh = await killedTimes(9);
    const error: unknown = await virsh.state('some-uuid').catch((thrown: unknown) => asDomainError(thrown, 'some-uuid'));
    expect(error).toMatchObject({
      kind: 'unavailable',
      code: 'tool_killed',
      message: expect.stringMatching(/virsh was ended by SIGKILL.*out-of-memory killer/),
    });
    expect(await calls()).toBe(2);
  });

  it('is not retried for commands that must not run twice', async () => {
    const virsh = await killedTimes(1);
    await expect(virsh.beginBackup('some-uuid', '<backup/>', null)).rejects.toMatchObject({ code: 'client_killed' });
    expect(await calls()).toBe(1);
  });
});
