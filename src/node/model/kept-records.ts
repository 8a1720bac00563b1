import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What survives a killed node, with the request that it is about. */
interface KeptRecord {
  readonly format: 1;
  readonly request: object;
}

/**
 * Reads the records `<root>/<id>/<file>`. Only this program writes them, and replaces each whole, so checking the format number and two members is sufficient.
 * @returns also the ids of those that cannot be read
 */
export async function readKeptRecords<Kept extends KeptRecord>(
  root: string,
  file: string,
  member: keyof Kept & string,
  idOf: (request: Kept['request']) => string,
): Promise<{ readonly records: readonly Kept[]; readonly broken: readonly string[] }> {
  const isKept = (value: unknown): value is Kept =>
    typeof value === 'object' && value !== null && 'format' in value && value.format === 1 && 'request' in value && member in value;
  await mkdir(root, { recursive: true, mode: 0o700 });
  const records: Kept[] = [];
  const broken: string[] = [];
  for (const id of await readdir(root)) {
    const record: unknown = await readFile(join(root, id, file), 'utf8')
      .then((text): unknown => JSON.parse(text))
      .catch(() => null);
    if (isKept(record) && idOf(record.request) === id) records.push(record);
    else broken.push(id);
  }
  return { records, broken };
}
