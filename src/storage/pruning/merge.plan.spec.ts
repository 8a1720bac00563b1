import { describe, expect, it } from '@jest/globals';
import { commitArgv, compareChainsArgv, flattenArgv, storedAreas } from './merge.plan.js';

const qcow2 = (filename: string, backing: object | null) => ({ driver: 'qcow2', file: { driver: 'file', filename }, backing });

describe('merging layers into a copy of the file below them', () => {
  const [tool, ...argv] = commitArgv('/r/t/copy.qcow2', ['/r/2.qcow2', '/r/3.qcow2'], '/r/t/overlay');

  it('opens the layers on the copy, whatever their headers name, and an overlay in place of the topmost', () => {
    expect([tool, ...argv.slice(0, -1)]).toEqual(['qemu-img', 'commit', '-q', '-d', '-b', '/r/t/copy.qcow2']);
    const copy = { driver: 'qcow2', discard: 'unmap', 'detect-zeroes': 'unmap', file: { driver: 'file', filename: '/r/t/copy.qcow2' } };
    const layer = (filename: string, backing: object) => ({ driver: 'qcow2', file: { driver: 'file', filename, locking: 'off' }, backing });
    expect(JSON.parse((argv.at(-1) ?? '').replace(/^json:/, ''))).toEqual(qcow2('/r/t/overlay', layer('/r/3.qcow2', layer('/r/2.qcow2', copy))));
  });
});

describe('flattening a chain', () => {
  it('names every file and keeps to the limit', () => {
    const source = `json:${JSON.stringify(qcow2('/b', qcow2('/a', null)))}`;
    expect(flattenArgv(['/a', '/b'], '/t', null)).toEqual(['qemu-img', 'convert', '-q', '-O', 'qcow2', source, '/t']);
    expect(flattenArgv(['/a', '/b'], '/t', 1_000)).toEqual(['qemu-img', 'convert', '-q', '-r', '1000', '-O', 'qcow2', source, '/t']);
  });
});

describe('comparing two chains', () => {
  it('names every file of both', () => {
    expect(compareChainsArgv(['/a'], ['/b', '/c'])).toEqual([
      'qemu-img',
      'compare',
      `json:${JSON.stringify(qcow2('/a', null))}`,
      `json:${JSON.stringify(qcow2('/c', qcow2('/b', null)))}`,
    ]);
  });
});

describe('areas for which a chain stores something', () => {
  async function* lines(...each: readonly string[]): AsyncGenerator<string> {
    yield* each;
  }
  async function areasOf(...printed: readonly string[]): Promise<readonly (readonly [number, number])[]> {
    const areas: (readonly [number, number])[] = [];
    for await (const area of storedAreas(lines(...printed))) areas.push(area);
    return areas;
  }
  const extent = (start: number, length: number, present: boolean, zero = false) =>
    `{ "start": ${start}, "length": ${length}, "depth": 0, "present": ${present}, "zero": ${zero}, "data": ${!zero}},`;

  it('are its data and its zeroes, whatever file they are in', async () => {
    const printed = [`[${extent(0, 10, true)}`, extent(10, 5, true, true), extent(15, 5, false, true), extent(20, 5, true), ''];
    expect(await areasOf(...printed)).toEqual([
      [0, 15],
      [20, 25],
    ]);
    expect(await areasOf(`[${extent(0, 10, false, true)}`)).toEqual([]);
  });

  it('are not guessed', async () => {
    await expect(areasOf('[{ "start": 0, "length": 5 }]')).rejects.toThrow(/cannot parse/);
  });
});
