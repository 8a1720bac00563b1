import { describe, expect, it } from '@jest/globals';
import { exportDirectory, exportsDirectory } from './export-directories.plan.js';

describe('the run directory of an export', () => {
  it('has the name of its id, in the folder of all exports', () => {
    expect(exportsDirectory('/run/sendense')).toBe('/run/sendense/exports');
    expect(exportDirectory('/run/sendense', 'e-1')).toBe('/run/sendense/exports/e-1');
  });
});
