import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect } from '@jest/globals';
import { requireTools } from '../../../test/support/require-tools.js';
import { batchText, splitBatch } from './virsh-batch.plan.js';

const run = promisify(execFile);
const { describe, it } = requireTools('virsh');

describe('virsh', () => {
  it('passes every word of a batch unchanged, and answers each command', async () => {
    const words = ["it's; list", '"; echo x', 'a\\b', 'two\nlines', '$(id)', '--', 'ü'];
    const batch = batchText(
      words.map((word) => ['echo', word]),
      'separator',
    );
    const said = await run('virsh', ['--quiet', batch]);
    expect(splitBatch(said, 'separator')).toEqual(words.map((word) => ({ text: word === '--' ? '' : word })));
  });
});
