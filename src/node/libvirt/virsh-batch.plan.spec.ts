import { describe, expect, it } from '@jest/globals';
import { batchText, splitBatch } from './virsh-batch.plan.js';

const SEPARATOR = '0b5cc7f6-5a38-4f2b-9c8e-3c1d2a1f0e5b';

describe('several commands in one argument of virsh', () => {
  it('are separated, and a separator is printed to both outputs after each', () => {
    expect(
      batchText(
        [
          ['domstate', 'u-1'],
          ['checkpoint-list', 'u-1', '--name'],
        ],
        SEPARATOR,
      ),
    ).toBe(`domstate u-1; echo ${SEPARATOR}; echo --err ${SEPARATOR}; checkpoint-list u-1 --name; echo ${SEPARATOR}; echo --err ${SEPARATOR}`);
  });

  it.each([
    ["it's", `'it'\\''s'`],
    ['a; destroy b', `'a; destroy b'`],
    ['a"b\\c\nd', `'a"b\\c\nd'`],
    ['', `''`],
  ])('treat %j as one word', (word, quoted) => {
    expect(batchText([['checkpoint-dumpxml', word]], SEPARATOR)).toMatch(`checkpoint-dumpxml ${quoted}; `);
  });
});

describe('the answers', () => {
  it('are texts and refusals, matched to their commands', () => {
    const said = {
      stdout: `${SEPARATOR}running\n${SEPARATOR}${SEPARATOR}`,
      stderr: `error: failed to get domain 'x'\nerror: ${SEPARATOR}\nwarning: odd\nerror: ${SEPARATOR}\nerror: Requested operation is not valid: domain is not running\nerror: ${SEPARATOR}\n`,
    };
    expect(splitBatch(said, SEPARATOR)).toMatchObject([
      { error: { code: 'domain_not_found' } },
      { text: 'running\n' },
      { error: { code: 'domain_not_running' } },
    ]);
  });

  it('are as many as virsh reached', () => {
    expect(splitBatch({ stdout: '', stderr: 'error: failed to connect to the hypervisor\n' }, SEPARATOR)).toEqual([]);
    expect(splitBatch({ stdout: `a${SEPARATOR}b`, stderr: `error: ${SEPARATOR}\n` }, SEPARATOR)).toEqual([{ text: 'a' }]);
  });
});
