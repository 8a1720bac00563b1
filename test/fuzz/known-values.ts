import { isList, type Json } from '../support/api-contract.js';

const KEPT = 40;
/** What an id is called where it is given, by what it is called where it is shown. */
const SAME_KIND: Readonly<Record<string, readonly string[]>> = {
  created_by_backup_id: ['backup_id'],
  parent_backup_id: ['backup_id'],
  next_cursor: ['cursor'],
};
/** What `id` in a path is, by the segment before it. */
const BY_SEGMENT: Readonly<Record<string, string>> = {
  vms: 'vm_id',
  repositories: 'repository_id',
  nodes: 'node_id',
  projections: 'projection',
  streams: 'stream',
};

/** What the hub itself has named in its answers: ids, names, positions and cursors that a request may use. */
export class KnownValues {
  private readonly values = new Map<string, string[]>();

  /** Remembers every text of an answer by the name of its member. */
  learn(answer: Json, path: string): void {
    if (typeof answer !== 'object' || answer === null) return;
    if (isList(answer)) {
      answer.slice(0, KEPT).forEach((each) => {
        this.learn(each, path);
      });
      return;
    }
    for (const [name, value] of Object.entries(answer)) {
      if (typeof value === 'string' && value.length < 500) for (const kind of [name, ...(SAME_KIND[name] ?? [])]) this.add(kind, value);
      else if (name === 'port' && typeof value === 'number') this.add(name, String(value));
      else this.learn(value, path);
      if (name === 'job_id' && typeof value === 'string' && path.includes('/restore/')) this.add('restore_job_id', value);
    }
  }

  add(kind: string, value: string): void {
    const known = this.values.get(kind) ?? [];
    if (known.includes(value)) return;
    this.values.set(kind, [...known, value].slice(-KEPT));
  }

  /** One that is known; null where there is none. @param choice from 0 to 1 */
  pick(kind: string, choice: number): string | null {
    const known = this.values.get(kind) ?? [];
    return known[Math.min(known.length - 1, Math.floor(choice * known.length))] ?? null;
  }
}

/** What kind of value a parameter of a path takes. */
export function kindOfParameter(path: string, name: string): string {
  const segments = path.split('/');
  if (name === 'id' || name === 'name' || name === 'stream') return BY_SEGMENT[segments[segments.indexOf(`{${name}}`) - 1] ?? ''] ?? name;
  if (name === 'jobId') return 'job_id';
  if (name === 'job_id') return path.includes('/restore/') ? 'restore_job_id' : 'backup_id';
  return name;
}
